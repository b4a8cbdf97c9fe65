/**
 * What came and could not be read: written down, told, and asked for again until it is here or
 * known to be lost. Never silent, and never for ever: each ends as `recovered` or `lost`.
 *
 * ```text
 *   noted ──► asked ──askReply: again──► asked, message id known ──that message──► recovered
 *     │         │  ▲ each askRetryMs, doubling         └─ it came before ─────────► recovered
 *     │         │  └───┘
 *     │         ├──askReply: lost──────► lost
 *     │         └──14 days─────────────► lost
 *     └─ nobody could send it again ───► lost
 * ```
 *
 * Asking needs a session that works: errands repair it first (introductions.ts). What is lost has
 * its line in the history, where people look. Between our own devices nothing is asked for: what
 * they tell each other is repeated until it is confirmed (copies.ts).
 *
 * Bounds: `unreadableMax` records, the oldest go first; `asksBurst` messages at once and
 * `asksPerHour` to one contact; `askIdsMax` envelopes in each.
 */
import { assert } from '../../crypto/errors.ts'
import { hexDecode, hex, utf8 } from '../../crypto/bytes.ts'
import type { CheckedEnvelope } from '../envelope.ts'
import { decode, oneOf, optional, struct, text, u32, u64, u8 } from '../codec/struct.ts'
import { deviceIdCodec, envelopeIdCodec, messageIdCodec } from '../ids.ts'
import type { DeviceId, EnvelopeId, MessageId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { AskAgainBody } from '../message/ask-again.ts'
import type { AskReplyBody } from '../message/ask-reply.ts'
import { openMessage } from '../message/sealed.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Unreadable } from './api.ts'
import type { Batch } from './batch.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import { historyFace } from './history.ts'
import type { History } from './history.ts'
import { keys, lastNumber } from './keys.ts'
import type { Outbox } from './outbox.ts'
import { contactIdCodec, kinds } from './records.ts'
import type { ContactId } from './records.ts'
import { sendBody } from './sending.ts'
import type { Turn, Turns } from './turns.ts'

const states = { asked: 0, recovered: 1, lost: 2 } as const
const stateNames = ['asked', 'recovered', 'lost'] as const

export interface UnreadableRecord {
  /** Absent for a request box: nobody is known to ask. */
  readonly contact: ContactId | undefined
  readonly envelopeId: EnvelopeId
  readonly expiryHour: number
  /** That says it sent it; unproven. */
  readonly device: DeviceId | undefined
  readonly code: string
  readonly atMs: number
  readonly state: (typeof states)[keyof typeof states]
  readonly asks: number
  readonly askedAtMs: number
  /** The sender says that it comes again under this id. */
  readonly messageId: MessageId | undefined
}

export const unreadableCodec = struct<UnreadableRecord>({
  contact: optional(contactIdCodec),
  envelopeId: envelopeIdCodec,
  expiryHour: u32,
  device: optional(deviceIdCodec),
  code: text(limits.refusalCodeBytesMax),
  atMs: u64,
  state: oneOf(Object.values(states), 'unreadable state'),
  asks: u8,
  askedAtMs: u64,
  messageId: optional(messageIdCodec),
})

/** Another try would end the same: an update is wanted, or the device is not theirs any more. */
const hopelessCodes: ReadonlySet<string> = new Set(['MESSAGE_KIND_UNKNOWN', 'DEVICE_REVOKED'])

export interface UnreadableMail {
  readonly envelope: CheckedEnvelope
  /** Of the inbox that it came to, to see which device says it sent it. */
  readonly sealKey?: Uint8Array
  readonly code: string
}

export interface UnreadableParts {
  readonly book: ContactBook
  readonly turns: Turns
  readonly history: History
  readonly outbox: Outbox
  /** Something is to be asked for. */
  readonly onNeed: (turn: Turn) => void
}

export class Unreadables {
  readonly #context: Context
  readonly #parts: UnreadableParts
  /** Those that are asked for, by number. */
  readonly #open = new Map<number, UnreadableRecord>()
  readonly #buckets = new Map<ContactId, TokenBucket>()
  /** Messages that came in a turn which is not durable yet. */
  readonly #fresh = new WeakMap<Turn, Set<MessageId>>()
  #next = 1

  constructor(context: Context, parts: UnreadableParts) {
    this.#context = context
    this.#parts = parts
  }

  async load(): Promise<void> {
    for await (const { key, value } of kvEntries(this.#context.kv, keys.unreadables)) {
      const record = decode(unreadableCodec, value)
      if (record.state === states.asked) this.#open.set(lastNumber(key), record)
      this.#next = lastNumber(key) + 1
    }
  }

  /** The oldest first. */
  async list(): Promise<Unreadable[]> {
    const found: Unreadable[] = []
    for await (const { value } of kvEntries(this.#context.kv, keys.unreadables)) {
      found.push(this.#face(decode(unreadableCodec, value)))
    }
    return found
  }

  /** In the turn of the contact whose inbox it came to, or without one for a request box. */
  note(batch: Batch, problem: UnreadableMail, turn?: Turn): void {
    const { envelope, code, sealKey } = problem
    if (turn?.id === this.#context.own.self) {
      this.#context.log.warn({ code }, 'a word of another device of ours could not be read; it is said again')
      return
    }
    assert(utf8(code).length <= limits.refusalCodeBytesMax, 'codes are short')
    const opened = sealKey && openMessage(envelope.envelope.ciphertext, sealKey)
    const isHopeless = turn === undefined || hopelessCodes.has(code)
    const record: UnreadableRecord = {
      contact: turn?.id,
      envelopeId: envelope.id,
      expiryHour: envelope.envelope.expiryHour,
      device: opened?.ok === true ? opened.value.senderDevice : undefined,
      code,
      atMs: this.#context.clock.now(),
      state: isHopeless ? states.lost : states.asked,
      asks: 0,
      askedAtMs: 0,
      messageId: undefined,
    }
    const number = this.#next++
    this.#write(batch, number, record, turn)
    this.#evict(batch, number - limits.unreadableMax)
    if (turn !== undefined && !isHopeless) this.#parts.onNeed(turn)
  }

  /** In a turn: this message is here now, by whatever way. */
  arrived(turn: Turn, messageId: MessageId): void {
    if (this.#open.size === 0) return
    // The answer that names it may come in the same turn, behind it.
    this.#fresh.set(turn, (this.#fresh.get(turn) ?? new Set()).add(messageId))
    for (const [number, record] of this.#open) {
      if (record.messageId !== messageId || record.contact !== turn.id) continue
      this.#write(turn.batch, number, { ...record, state: states.recovered }, turn)
    }
  }

  isAskDue(contact: ContactId): boolean {
    return this.#due(contact).length > 0
  }

  /** Asks for what is due; false while nothing can be sealed for them. In a turn of the contact. */
  ask(turn: Turn): boolean {
    const due = this.#due(turn.id)
    if (turn.contact === undefined || due.length === 0) return true
    if (turn.readySessions.length === 0 || turn.contact.card === undefined) return false
    if (!this.#bucket(turn.id).take(1)) return true
    const { outbox } = this.#parts
    const body: AskAgainBody = {
      type: 'askAgain',
      envelopes: due.map(([, { envelopeId, expiryHour, device }]) => ({ envelopeId, expiryHour, device })),
    }
    if (!sendBody(this.#context, turn, { outbox, kind: kinds.control, body })) return false
    const askedAtMs = this.#context.clock.now()
    for (const [number, record] of due) {
      const asked = { ...record, asks: Math.min(255, record.asks + 1), askedAtMs }
      turn.batch.put(keys.unreadable(number), unreadableCodec, asked)
      turn.batch.then(() => this.#open.set(number, asked))
    }
    return true
  }

  /** Our question did not reach them: it is put again, as far as the rate allows. In a turn. */
  askSoon(turn: Turn): void {
    for (const [number, record] of this.#open) {
      if (record.contact !== turn.id || record.asks === 0 || record.messageId !== undefined) continue
      const due = { ...record, asks: 0 }
      turn.batch.put(keys.unreadable(number), unreadableCodec, due)
      turn.batch.then(() => this.#open.set(number, due))
    }
  }

  /** The sender's answer. In a turn of the contact. */
  async take(turn: Turn, reply: AskReplyBody): Promise<void> {
    const lost = new Set(reply.lost)
    const again = new Map(reply.again.map(({ envelopeId, messageId }) => [envelopeId, messageId]))
    for (const [number, record] of this.#open) {
      if (record.contact !== turn.id) continue
      if (again.has(record.envelopeId)) {
        const messageId = again.get(record.envelopeId)
        const isHere = messageId === undefined || this.#fresh.get(turn)?.has(messageId) === true
          || await this.#context.kv.get(keys.arrived(turn.id, messageId)) !== undefined
        const state = isHere ? states.recovered : states.asked
        this.#write(turn.batch, number, { ...record, state, messageId }, turn)
      } else if (lost.has(record.envelopeId)) {
        this.#write(turn.batch, number, { ...record, state: states.lost }, turn)
      }
    }
  }

  /** Ends what was asked for in vain for as long as any mail lives. */
  async expire(): Promise<void> {
    const lastMs = this.#context.clock.now() - limits.envelopeTtlMs
    const over = new Set([...this.#open.values()].flatMap(({ contact, atMs }) =>
      contact !== undefined && atMs <= lastMs ? [contact] : []))
    for (const contact of over) {
      await this.#parts.turns.run(contact, (turn) => {
        for (const [number, record] of this.#open) {
          if (record.contact !== contact || record.atMs > lastMs) continue
          this.#write(turn.batch, number, { ...record, state: states.lost }, turn)
        }
      })
    }
  }

  /** The contact is being removed: nobody is left to ask. In a turn of the contact. */
  drop(turn: Turn): void {
    for (const [number, record] of this.#open) {
      if (record.contact !== turn.id) continue
      turn.batch.delete(keys.unreadable(number))
      turn.batch.then(() => this.#open.delete(number))
    }
  }

  #due(contact: ContactId): [number, UnreadableRecord][] {
    const nowMs = this.#context.clock.now()
    return [...this.#open]
      .filter(([, record]) => record.contact === contact && askDueMs(record) <= nowMs)
      .slice(0, limits.askIdsMax)
  }

  #write(batch: Batch, number: number, record: UnreadableRecord, turn: Turn | undefined): void {
    batch.put(keys.unreadable(number), unreadableCodec, record)
    if (record.state === states.lost && turn?.contact !== undefined) this.#showLost(batch, turn, record)
    const before = this.#open.get(number)
    batch.then(() => {
      if (record.state === states.asked) this.#open.set(number, record)
      else this.#open.delete(number)
      // A message id that became known changes nothing for the person.
      if (before?.state === record.state) return
      this.#context.emit({ type: 'undecryptable', ...this.#face(record) })
    })
  }

  /** Where it would have stood, had it been readable: people look into the conversation. */
  #showLost(batch: Batch, turn: Turn, lost: UnreadableRecord): void {
    const receivedAtMs = this.#context.clock.now()
    const record = {
      contact: turn.id,
      isOutgoing: false,
      // The real id is not known; this one is never confirmed to anybody.
      id: hex(hexDecode(lost.envelopeId).subarray(0, 16)) as MessageId,
      text: '',
      sentAtMs: lost.atMs,
      receivedAtMs,
      afterGap: false,
      unreadable: lost.code,
    }
    let cursor = 0
    this.#parts.history.append(batch, record, (given) => { cursor = given })
    batch.then(() => {
      const entry = historyFace({ cursor, record }, this.#parts.book.nameOf(turn.id))
      this.#context.emit({ type: 'message', entry })
    })
  }

  #evict(batch: Batch, number: number): void {
    if (number <= 0) return
    const record = this.#open.get(number)
    batch.delete(keys.unreadable(number))
    batch.then(() => {
      this.#open.delete(number)
      if (record === undefined) return
      this.#context.emit({ type: 'undecryptable', ...this.#face({ ...record, state: states.lost }) })
    })
  }

  #face({ contact, envelopeId: id, code, atMs, state }: UnreadableRecord): Unreadable {
    const name = contact === undefined ? '' : this.#parts.book.nameOf(contact)
    return { id, contact: name, code, atMs, state: stateNames[state] }
  }

  #bucket(contact: ContactId): TokenBucket {
    const rate = { perSecond: limits.asksPerHour / 3_600, burst: limits.asksBurst }
    const bucket = this.#buckets.get(contact) ?? new TokenBucket(this.#context.clock, rate)
    if (this.#buckets.size >= limits.cachedThreadsMax) this.#buckets.clear()
    this.#buckets.set(contact, bucket)
    return bucket
  }
}

function askDueMs({ asks, askedAtMs }: UnreadableRecord): number {
  if (asks === 0) return 0
  return askedAtMs + Math.min(limits.askRetryMaxMs, limits.askRetryMs * 2 ** (asks - 1))
}

/**
 * Outgoing texts: numbered, encrypted and durable in one batch before anything leaves. Texts that
 * are written while one batch is on its way to disk share the next one.
 *
 * A text for a contact who has not answered yet has no session or inbox to go to: it waits, in
 * order, and is sealed by `flush` when it can be.
 */
import { utf8 } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { decode, encode } from '../codec/struct.ts'
import { routes } from '../frame/receipt.ts'
import type { MessageId } from '../ids.ts'
import { messageIdCodec } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import { noteOf } from '../message/file.ts'
import type { FileBody } from '../message/file.ts'
import { encodePayload } from '../message/payload.ts'
import type { Body, Payload } from '../message/payload.ts'
import type { MessageStatus } from './api.ts'
import type { Batch } from './batch.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { fileKeysOf, fileRecordCodec } from './file-records.ts'
import type { History } from './history.ts'
import { keys } from './keys.ts'
import { statusFace } from './message-status.ts'
import type { Outbox } from './outbox.ts'
import { progress } from './outbox-item.ts'
import type { OutboxItem } from './outbox-item.ts'
import { contactRootKey, kinds, messageCodec, readRecord, states } from './records.ts'
import type { ContactId, HistoryRecord, MessageRecord } from './records.ts'
import { cardTarget, newMessageId, sealEnvelope } from './sealing.ts'
import type { SealedEnvelope } from './sealing.ts'
import { checkTrust, isChanged } from './trust.ts'
import type { Turn, Turns } from './turns.ts'

/** A file whose pieces are stored: all that is left is to tell the contact. */
export interface StoredFile {
  /** Of the message; chosen when the transfer began. */
  readonly id: MessageId
  readonly body: FileBody
  /** Adds to the batch what has to be durable together with the message. */
  readonly write: (batch: Batch) => void
}

interface PendingText {
  readonly text: string
  readonly file?: StoredFile
  readonly settle: (status: MessageStatus) => void
  readonly fail: (error: unknown) => void
}

/** Bytes of text in one turn: bounds one write. */
const turnBytesMax = 512 * 1024

/** Encrypts for the contact's inbox, or `undefined` while there is no inbox or no session. */
export function sealForContact(context: Context, turn: Turn, message: {
  payload: Payload
  expiresAtMs: number
}): SealedEnvelope | undefined {
  const card = turn.contact?.card
  const sessions = turn.readySessions
  if (card === undefined || sessions.length === 0) return undefined
  for (const { device, session } of sessions) turn.keepSession(device, session)
  const senderDevice = context.account.deviceId
  const list = turn.contact!.toldListNumber < context.own.list.list.number ? context.own.list : undefined
  return sealEnvelope({
    ...message, senderDevice, sessions, list, target: cardTarget(card), random: context.random,
  })
}

/** What nobody sees in the conversation: `control` and receipts. False while it cannot be sealed. */
export function sendBody(
  context: Context,
  turn: Turn,
  message: { outbox: Outbox, body: Body, kind: typeof kinds.control | typeof kinds.receipts },
): boolean {
  const sentAtMs = context.clock.now()
  const messageId = newMessageId(context)
  const expiresAtMs = sentAtMs + limits.envelopeTtlMs
  const payload: Payload = { messageId, sentAtMs, sequence: 0, body: message.body }
  const sealed = sealForContact(context, turn, { payload, expiresAtMs })
  if (sealed === undefined) return false
  message.outbox.add(turn.batch, { sealed, contact: turn.id, messageId, kind: message.kind, expiresAtMs })
  return true
}

export class Sending {
  readonly #context: Context
  readonly #turns: Turns
  readonly #history: History
  readonly #outbox: Outbox
  readonly #copies: Copies
  readonly #nameOf: (id: ContactId) => string
  readonly #pending = new Map<ContactId, PendingText[]>()
  /** Texts without an envelope yet. */
  readonly #waiting = new Map<ContactId, number>()
  #unsealed = 0

  constructor(
    context: Context,
    parts: {
      turns: Turns, history: History, outbox: Outbox, copies: Copies, nameOf: (id: ContactId) => string,
    },
  ) {
    this.#context = context
    this.#turns = parts.turns
    this.#history = parts.history
    this.#outbox = parts.outbox
    this.#copies = parts.copies
    this.#nameOf = parts.nameOf
  }

  async load(): Promise<void> {
    const prefix = keys.allWaiting
    for await (const entry of kvEntries(this.#context.kv, prefix)) {
      this.#count(entry.key.slice(prefix.length, entry.key.lastIndexOf('/')) as ContactId, 1)
    }
  }

  /** Texts not yet known to be delivered. */
  get undelivered(): number {
    return this.#outbox.texts + this.#unsealed
  }

  isWaiting(contact: ContactId): boolean {
    return this.#waiting.has(contact)
  }

  /** @throws TEXT_EMPTY, TEXT_TOO_LONG, OUTBOX_FULL, CONTACT_UNKNOWN, TRUST_CHANGED, STORE_* */
  send(contact: ContactId, text: string): Promise<MessageStatus> {
    const length = utf8(text).length
    if (length === 0) {
      return Promise.reject(new OpenIMError('TEXT_EMPTY', 'there is nothing to send: write something'))
    }
    if (length > limits.textBytesMax) {
      const problem = `a text of ${length} bytes, the limit is ${limits.textBytesMax}: send it in parts`
      return Promise.reject(new OpenIMError('TEXT_TOO_LONG', problem))
    }
    const queued = this.#pending.get(contact)?.length ?? 0
    if (this.undelivered + queued >= limits.outboxMax) {
      const problem = `${limits.outboxMax} messages are not delivered yet: wait for some to arrive`
      return Promise.reject(new OpenIMError('OUTBOX_FULL', problem))
    }
    return this.#queue(contact, { text })
  }

  /** @throws CONTACT_UNKNOWN, TRUST_CHANGED, STORE_* */
  sendFile(contact: ContactId, file: StoredFile): Promise<MessageStatus> {
    return this.#queue(contact, { text: '', file })
  }

  #queue(contact: ContactId, shown: Pick<PendingText, 'text' | 'file'>): Promise<MessageStatus> {
    return new Promise((settle, fail) => {
      const queue = this.#pending.get(contact) ?? []
      this.#pending.set(contact, queue)
      queue.push({ ...shown, settle, fail })
      void this.#drain(contact)
    })
  }

  async #drain(contact: ContactId): Promise<void> {
    let taken: PendingText[] = []
    try {
      const statuses = await this.#turns.run(contact, (turn) => {
        taken = this.#take(contact)
        return taken.map((pending) => this.#write(turn, pending))
      })
      taken.forEach((pending, i) => pending.settle(statuses[i]!()))
    } catch (error) {
      for (const pending of taken) pending.fail(error)
    }
  }

  #take(contact: ContactId): PendingText[] {
    const queue = this.#pending.get(contact) ?? []
    let bytes = 0
    let count = 0
    while (count < queue.length && count < limits.turnItemsMax && bytes < turnBytesMax) {
      bytes += 3 * queue[count++]!.text.length
    }
    const taken = queue.splice(0, count)
    if (queue.length === 0) this.#pending.delete(contact)
    return taken
  }

  /** One text into the turn; gives its status once that is durable. */
  #write(turn: Turn, { text, file }: PendingText): () => MessageStatus {
    if (turn.contact === undefined) {
      throw new OpenIMError('CONTACT_UNKNOWN', 'the contact was removed meanwhile')
    }
    checkTrust(turn.contact)
    const id = file?.id ?? newMessageId(this.#context)
    const body: Body = file?.body ?? { type: 'text', text }
    const sentAtMs = this.#context.clock.now()
    const sequence = turn.thread.nextSequence
    turn.thread = { ...turn.thread, nextSequence: sequence + 1 }
    let message: MessageRecord = {
      contact: turn.id, cursor: 0, sequence, state: states.queued, have: 0, want: 0, route: routes.none,
      level: 0, sentAtMs, storedAtMs: 0, deliveredAtMs: 0, readAtMs: 0, code: '',
    }
    const entry = {
      contact: turn.id,
      isOutgoing: true,
      id,
      text,
      sentAtMs,
      receivedAtMs: sentAtMs,
      afterGap: false,
      file: file === undefined ? undefined : noteOf(file.body),
    }
    file?.write(turn.batch)
    this.#history.append(turn.batch, entry, (cursor) => { message = { ...message, cursor } })
    const payload = encodePayload({ messageId: id, sentAtMs, sequence, body })
    this.#copies.add(turn.batch, { type: 'sentCopy', contact: contactRootKey(turn.id), payload })
    // Behind texts that wait, so that they leave in order.
    const sealed = this.isWaiting(turn.id) ? undefined : this.#seal(turn, { id, sentAtMs, sequence, body })
    if (sealed === undefined) {
      turn.batch.late(() => turn.batch.put(keys.message(id), messageCodec, message))
      turn.batch.putBytes(keys.waiting(turn.id, sequence), messageIdBytes(id))
      turn.batch.then(() => this.#count(turn.id, 1))
    } else {
      message = { ...message, want: progress({ ...sealed.target, holders: [] }).want }
      this.#outbox.add(turn.batch, {
        sealed, contact: turn.id, messageId: id, kind: kinds.text, message: () => message,
        expiresAtMs: sentAtMs + limits.envelopeTtlMs,
      })
    }
    const status = (): MessageStatus => statusFace(id, message, this.#nameOf(turn.id))
    turn.batch.then(() => this.#context.emit({ type: 'status', status: status() }))
    return status
  }

  #seal(
    turn: Turn,
    text: {
      id: MessageId, sentAtMs: number, sequence: number, body: Body | undefined, expiresAtMs?: number,
    },
  ): SealedEnvelope | undefined {
    const { id, sentAtMs, sequence, body, expiresAtMs = sentAtMs + limits.envelopeTtlMs } = text
    if (body === undefined) return undefined
    const payload: Payload = { messageId: id, sentAtMs, sequence, body }
    return sealForContact(this.#context, turn, { payload, expiresAtMs })
  }

  /** What an entry of the history was sent as. */
  async #bodyOf({ id, text, file }: HistoryRecord): Promise<Body | undefined> {
    if (file === undefined) return { type: 'text', text }
    const record = await readRecord(this.#context.kv, fileRecordCodec, fileKeysOf.file(id))
    return record?.body === undefined ? undefined : { type: 'file', ...record.body }
  }

  /** Seals waiting texts as far as one turn goes; true when it is worth calling again. */
  flush(contact: ContactId): Promise<boolean> {
    return this.#turns.run(contact, async (turn) => {
      if (isChanged(turn.contact)) return false
      const rows = await this.#context.kv.list({
        prefix: keys.waitings(contact), limit: limits.turnItemsMax,
      })
      for (const row of rows) {
        const id = decode(messageIdCodec, row.value)
        const message = await readRecord(this.#context.kv, messageCodec, keys.message(id))
        const entry = message === undefined ? undefined : await this.#history.record(message.cursor)
        if (message !== undefined && entry !== undefined) {
          const { sentAtMs, sequence } = message
          const sealed = this.#seal(turn, { id, sentAtMs, sequence, body: await this.#bodyOf(entry) })
          if (sealed === undefined) return false
          this.#outbox.add(turn.batch, {
            sealed, contact, messageId: id, kind: kinds.text, message: () => message,
            expiresAtMs: sentAtMs + limits.envelopeTtlMs,
          })
          turn.batch.delete(keys.message(id))
        }
        turn.batch.delete(row.key)
        turn.batch.then(() => this.#count(contact, -1))
      }
      return rows.length === limits.turnItemsMax
    })
  }

  /**
   * Seals texts anew: same message, fresh envelope; the receiver drops what it has already. As far
   * as one turn goes; true when it is worth calling again.
   */
  repeat(contact: ContactId, choose: () => readonly OutboxItem[]): Promise<boolean> {
    return this.#turns.run(contact, async (turn) => {
      let count = 0
      for (const item of choose().slice(0, limits.turnItemsMax)) {
        if (await this.again(turn, item)) count++
      }
      return count === limits.turnItemsMax
    })
  }

  /** One text on its way, sealed anew in a turn of its contact; false when that cannot be done now. */
  async again(turn: Turn, item: OutboxItem): Promise<boolean> {
    const { messageId: id, message, expiresAtMs } = item.record
    const entry = message === undefined ? undefined : await this.#history.record(message.cursor)
    const isHeld = item.isSettling || isChanged(turn.contact)
    if (message === undefined || entry === undefined || isHeld) return false
    const { sentAtMs, sequence } = message
    const sealed = this.#seal(turn, { id, sentAtMs, sequence, body: await this.#bodyOf(entry), expiresAtMs })
    if (sealed === undefined) return false
    this.#outbox.add(turn.batch, {
      sealed, contact: turn.id, messageId: id, kind: kinds.text, expiresAtMs, replaces: item,
    })
    return true
  }

  /** The same of a text that is not on its way any more; it keeps the state that it earned. */
  async anew(turn: Turn, text: { id: MessageId, message: MessageRecord }): Promise<boolean> {
    const { id, message } = text
    const entry = await this.#history.record(message.cursor)
    if (entry === undefined || isChanged(turn.contact)) return false
    const { sentAtMs, sequence } = message
    const expiresAtMs = this.#context.clock.now() + limits.envelopeTtlMs
    const sealed = this.#seal(turn, { id, sentAtMs, sequence, body: await this.#bodyOf(entry), expiresAtMs })
    if (sealed === undefined) return false
    this.#outbox.add(turn.batch, {
      sealed, contact: turn.id, messageId: id, kind: kinds.text, expiresAtMs, message: () => message,
    })
    turn.batch.delete(keys.message(id))
    return true
  }

  /** Waiting texts whose time is over: told, never dropped. */
  async expire(onStatus: (id: MessageId, record: MessageRecord) => void): Promise<void> {
    for (const contact of [...this.#waiting.keys()]) {
      await this.#fail(contact, { code: 'MESSAGE_EXPIRED', onStatus })
    }
  }

  /** The contact is being removed: what waits for them fails. In a turn of the contact. */
  async abandon(turn: Turn, onStatus: (id: MessageId, record: MessageRecord) => void): Promise<void> {
    for (const row of await this.#context.kv.list({ prefix: keys.waitings(turn.id) })) {
      await this.#failOne(turn.batch, row, { contact: turn.id, code: 'CONTACT_REMOVED', onStatus })
    }
  }

  async #fail(
    contact: ContactId,
    input: { code: string, onStatus: (id: MessageId, record: MessageRecord) => void },
  ): Promise<void> {
    const lastMs = this.#context.clock.now() - limits.envelopeTtlMs
    await this.#turns.run(contact, async (turn) => {
      for (const row of await this.#context.kv.list({
        prefix: keys.waitings(contact), limit: limits.turnItemsMax,
      })) {
        const message = await readRecord(
          this.#context.kv,
          messageCodec,
          keys.message(decode(messageIdCodec, row.value)),
        )
        if (message !== undefined && message.sentAtMs > lastMs) return
        await this.#failOne(turn.batch, row, { contact, ...input })
      }
    })
  }

  async #failOne(batch: Batch, row: { key: string, value: Uint8Array }, input: {
    contact: ContactId, code: string, onStatus: (id: MessageId, record: MessageRecord) => void
  }): Promise<void> {
    const id = decode(messageIdCodec, row.value)
    const message = await readRecord(this.#context.kv, messageCodec, keys.message(id))
    batch.delete(row.key)
    batch.then(() => this.#count(input.contact, -1))
    if (message === undefined) return
    const failed: MessageRecord = { ...message, state: states.failed, code: input.code }
    batch.put(keys.message(id), messageCodec, failed)
    batch.then(() => input.onStatus(id, failed))
  }

  #count(contact: ContactId, change: number): void {
    const count = (this.#waiting.get(contact) ?? 0) + change
    this.#unsealed += change
    if (count > 0) this.#waiting.set(contact, count)
    else this.#waiting.delete(contact)
  }
}

function messageIdBytes(id: MessageId): Uint8Array {
  return encode(messageIdCodec, id)
}

/**
 * Mail as it comes: envelope → inbox → contact → decrypt → store → acknowledge.
 *
 * What arrives while one write is under way shares the next one, so a backlog costs few writes.
 * Plaintext, ratchet and the mark against doubles go to disk together; only then is the envelope
 * acknowledged, so a crash at any point gets it again and drops it by its mark. What cannot be
 * read is written down and told, then acknowledged.
 */
import { utf8 } from '../../crypto/bytes.ts'
import { assert, errorCode } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { verifyDeviceList } from '../account.ts'
import { formatAddress } from '../address.ts'
import { decode, encode } from '../codec/struct.ts'
import { parseEnvelope } from '../envelope.ts'
import type { CheckedEnvelope } from '../envelope.ts'
import type { DeliverFrame } from '../frame/deliver.ts'
import type { BoxId } from '../ids.ts'
import { messageIdCodec } from '../ids.ts'
import { limits } from '../limits.ts'
import type { ContactRequestBody } from '../message/contact-request.ts'
import { openMessage } from '../message/sealed.ts'
import type { SealedMessage } from '../message/sealed.ts'
import { sleep } from '../timers.ts'
import { Batch } from './batch.ts'
import { arrivedKey, handleBody } from './bodies.ts'
import type { BodyParts, Incoming } from './bodies.ts'
import type { Inboxes, IntroBox } from './inboxes.ts'
import { keys, lastNumber } from './keys.ts'
import type { Prekeys } from './prekeys.ts'
import { contactId, contactRootKey, newContact, trusts, unreadableCodec } from './records.ts'
import type { ContactId, ContactRecord } from './records.ts'
import { listsIdentity } from './sealing.ts'
import type { Sending } from './sending.ts'
import type { Turn, Turns } from './turns.ts'
import { joinFirst, unwrap, unwrapFirst } from './unwrap.ts'
import type { FirstMessage } from './unwrap.ts'
import type { Uplink } from './uplink.ts'

export interface ReceivingParts extends BodyParts {
  readonly turns: Turns
  readonly inboxes: Inboxes
  readonly prekeys: Prekeys
  readonly sending: Sending
  readonly uplink: Uplink
}

/** Mail of one inbox that waits for its turn. */
interface Lane {
  readonly mail: CheckedEnvelope[]
  isRunning: boolean
}

const nothing = new Uint8Array(0)

/** Ends a turn without a trace. */
class RequestRefused extends Error {
  readonly refusal: { readonly ok: false, readonly code: string }

  constructor(refusal: { readonly ok: false, readonly code: string }) {
    super(refusal.code)
    this.refusal = refusal
  }
}

export class Receiving {
  readonly #parts: ReceivingParts
  readonly #lanes = new Map<BoxId, Lane>()
  readonly #stopping = new AbortController()
  #queued = 0
  #roomWaiters: (() => void)[] = []
  #nextUnreadable = 1

  constructor(parts: ReceivingParts) {
    this.#parts = parts
  }

  async load(): Promise<void> {
    const [last] = await this.#parts.context.kv.list({ prefix: keys.unreadables, limit: 1, reverse: true })
    if (last !== undefined) this.#nextUnreadable = lastNumber(last.key) + 1
  }

  stop(): void {
    this.#stopping.abort()
    this.#makeRoom()
  }

  /** Settles when there is room for the next frame. */
  async deliver(frame: DeliverFrame): Promise<void> {
    for (const bytes of frame.envelopes) {
      const parsed = parseEnvelope(bytes)
      if (parsed.ok) this.#queue(parsed.value)
      else this.#parts.context.log.warn(
        { code: parsed.code },
        'the node delivered something that is no envelope',
      )
    }
    while (this.#queued >= limits.receiveQueueMax && !this.#stopping.signal.aborted) {
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve))
    }
  }

  #queue(envelope: CheckedEnvelope): void {
    const { box } = envelope
    const { book, inboxes, context } = this.#parts
    if (book.ofBox(box) === undefined && inboxes.intro(box) === undefined) {
      // Left at the node: a later state of this account may know the inbox.
      context.log.warn({ box }, 'mail for an inbox that is not ours')
      return
    }
    const lane = this.#lanes.get(box) ?? { mail: [], isRunning: false }
    this.#lanes.set(box, lane)
    lane.mail.push(envelope)
    this.#queued++
    if (lane.isRunning) return
    lane.isRunning = true
    void this.#run(box, lane)
  }

  async #run(box: BoxId, lane: Lane): Promise<void> {
    // One turn of the loop lets frames that come together share a write.
    await Promise.resolve()
    let atOnce: number = limits.turnItemsMax
    while (lane.mail.length > 0 && !this.#stopping.signal.aborted) {
      const mail = lane.mail.slice(0, atOnce)
      const failure = await this.#take(box, mail)
      if (failure === undefined) {
        lane.mail.splice(0, mail.length)
        this.#queued -= mail.length
        this.#makeRoom()
        atOnce = limits.turnItemsMax
      } else if (failure.startsWith('STORE_')) {
        await sleep(this.#parts.context.clock, limits.receiveRetryMs, this.#stopping.signal)
      } else if (mail.length > 1) {
        // One of them breaks us: found by taking them one at a time.
        atOnce = 1
      } else {
        // Left at the node, which offers it again in the next session.
        const atMs = this.#parts.context.clock.now()
        this.#parts.context.emit({ type: 'undecryptable', contact: this.#nameOf(box), code: failure, atMs })
        lane.mail.splice(0, 1)
        this.#queued--
        this.#makeRoom()
      }
    }
    lane.isRunning = false
    this.#lanes.delete(box)
  }

  #nameOf(box: BoxId): string {
    const contact = this.#parts.book.ofBox(box)
    return contact === undefined ? '' : this.#parts.book.nameOf(contact)
  }

  #makeRoom(): void {
    const waiters = this.#roomWaiters
    this.#roomWaiters = []
    for (const waiter of waiters) waiter()
  }

  /** The code of what went wrong, `undefined` when all is durable and acknowledged. */
  async #take(box: BoxId, mail: readonly CheckedEnvelope[]): Promise<string | undefined> {
    const { book, turns, context } = this.#parts
    try {
      const contact = book.ofBox(box)
      if (contact !== undefined) await turns.run(contact, (turn) => this.#takeMail(turn, mail))
      else for (const envelope of mail) await this.#takeRequest(envelope)
      return undefined
    } catch (error) {
      context.log.warn({ err: error, mail: mail.length }, 'mail could not be taken over')
      return errorCode(error) ?? 'MESSAGE_FAILED'
    }
  }

  async #takeMail(turn: Turn, mail: readonly CheckedEnvelope[]): Promise<void> {
    const { contact } = turn
    if (contact === undefined) return
    const marks = new Set<string>()
    let wasRenewed = false
    for (const envelope of mail) {
      const seenKey = keys.seen(envelope.envelope.expiryHour, envelope.id)
      if (await this.#wasSeen(turn, seenKey, marks)) continue
      marks.add(seenKey)
      const read = await this.#readMail(turn, { envelope, sealKey: contact.box.sealKey, marks })
      if (read.ok) wasRenewed ||= read.value.isRenewal
      else this.#unreadable(turn.batch, { envelope, from: turn.id, code: read.code }, turn)
      turn.batch.putBytes(seenKey, read.ok ? read.value.mark : nothing)
    }
    this.#parts.ordering.settle(turn)
    if (wasRenewed && turn.contact !== undefined) turn.contact = { ...turn.contact, isBroken: false }
    turn.batch.then(() => {
      this.#acknowledge(contact.box.id, mail)
      // They began anew: what they took and never confirmed may be lost to them.
      if (wasRenewed) void this.#repeat(turn.id)
    })
  }

  /** True when it was taken over before; then its receipt may have been lost, so it is owed again. */
  async #wasSeen(turn: Turn, seenKey: string, marks: ReadonlySet<string>): Promise<boolean> {
    if (marks.has(seenKey)) return true
    const seen = await this.#parts.context.kv.get(seenKey)
    if (seen === undefined) return false
    if (seen.value.length > 0) this.#parts.receipts.arrived(turn, decode(messageIdCodec, seen.value))
    return true
  }

  async #readMail(turn: Turn, input: {
    envelope: CheckedEnvelope, sealKey: Uint8Array, marks: Set<string>
  }): Promise<Result<{ isRenewal: boolean, mark: Uint8Array }>> {
    const { context, prekeys } = this.#parts
    const opened = openMessage(input.envelope.envelope.ciphertext, input.sealKey)
    if (!opened.ok) return opened
    const unwrapped = await unwrap(context, turn, { message: opened.value, prekeys })
    if (!unwrapped.ok) {
      if (isSessionProblem(unwrapped.code)) this.#breakSession(turn)
      return unwrapped
    }
    const { device, payload, isRenewal } = unwrapped.value
    const handled = await this.#handle(turn, { device, payload, body: payload.body }, input.marks)
    if (!handled.ok) return handled
    const mark = payload.body.type === 'receipts' ? nothing : encode(messageIdCodec, payload.messageId)
    return { ok: true, value: { isRenewal, mark } }
  }

  /** Does what a payload says, once per message id, and owes its receipt each time. */
  async #handle(turn: Turn, incoming: Incoming, marks: Set<string>): Promise<Result<undefined>> {
    const { context, receipts } = this.#parts
    const { payload } = incoming
    const seenAtMs = Math.min(payload.sentAtMs, context.clock.now())
    turn.thread = { ...turn.thread, lastSeenAtMs: Math.max(turn.thread.lastSeenAtMs, seenAtMs) }
    if (payload.body.type === 'receipts') return handleBody(this.#parts, turn, incoming)
    const arrived = arrivedKey(turn, payload)
    if (!marks.has(arrived) && await context.kv.get(arrived) === undefined) {
      const handled = await handleBody(this.#parts, turn, incoming)
      if (!handled.ok) return handled
      marks.add(arrived)
      turn.batch.mark(arrived)
    }
    receipts.arrived(turn, payload.messageId)
    return { ok: true, value: undefined }
  }

  #breakSession(turn: Turn): void {
    if (turn.contact === undefined || turn.contact.isBroken) return
    turn.contact = { ...turn.contact, isBroken: true }
    this.#parts.onNeed(turn)
  }

  /** Somebody answers an invite of ours. */
  async #takeRequest(envelope: CheckedEnvelope): Promise<void> {
    const { context, inboxes } = this.#parts
    // Asked for each time: the request before may have used the invite up.
    const intro = inboxes.intro(envelope.box)
    if (intro === undefined) return
    const seenKey = keys.seen(envelope.envelope.expiryHour, envelope.id)
    if (await context.kv.get(seenKey) === undefined) {
      const welcomed = await this.#welcome(intro, { envelope, seenKey })
      if (!welcomed.ok) {
        const batch = new Batch()
        this.#unreadable(batch, { envelope, from: undefined, code: welcomed.code })
        batch.mark(seenKey)
        await batch.commit(context.kv)
      }
    }
    this.#acknowledge(intro.box, [envelope])
  }

  /** One contact, one session, one answer; a refusal leaves nothing behind. */
  async #welcome(
    intro: IntroBox,
    input: { envelope: CheckedEnvelope, seenKey: string },
  ): Promise<Result<undefined>> {
    const { context, prekeys, turns } = this.#parts
    const message = openMessage(input.envelope.envelope.ciphertext, intro.sealKey)
    if (!message.ok) return message
    const first = await unwrapFirst(context, { message: message.value, prekeys })
    if (!first.ok) return first
    const body = this.#checkRequest(intro, first.value)
    if (!body.ok) return body
    const request = { message: message.value, first: first.value, body: body.value }
    const id = contactId(body.value.rootKey)
    try {
      await turns.run(id, (turn) => this.#takeUp(turn, { intro, seenKey: input.seenKey, ...request }))
      return { ok: true, value: undefined }
    } catch (error) {
      this.#parts.book.release(id)
      if (!(error instanceof RequestRefused)) throw error
      if (error.refusal.code === 'DEVICE_LIST_FORK') await this.#alarm(id)
      return error.refusal
    }
  }

  #checkRequest(intro: IntroBox, first: FirstMessage): Result<ContactRequestBody> {
    const { context, book } = this.#parts
    const { body } = first.payload
    if (body.type !== 'contactRequest') return { ok: false, code: 'CONTACT_REQUEST' }
    const id = contactId(body.rootKey)
    if (id === contactId(context.account.rootKey)) return { ok: false, code: 'CONTACT_SELF' }
    const list = verifyDeviceList(body.deviceList, body.rootKey)
    if (!list.ok) return list
    if (!listsIdentity(list.value, first.session.remote)) return { ok: false, code: 'DEVICE_UNKNOWN' }
    if (intro.usedBy !== undefined && intro.usedBy !== id) return { ok: false, code: 'INVITE_USED' }
    if (book.get(id) === undefined && book.size >= limits.contactsMax) {
      return { ok: false, code: 'CONTACT_TOO_MANY' }
    }
    return { ok: true, value: body }
  }

  /** In the turn of the one who asks, known or not. @throws RequestRefused */
  async #takeUp(turn: Turn, input: {
    intro: IntroBox, seenKey: string, message: SealedMessage, first: FirstMessage, body: ContactRequestBody
  }): Promise<void> {
    const { context, prekeys, inboxes, ordering } = this.#parts
    const { intro, first, body } = input
    turn.contact ??= this.#newContact(turn.id, body)
    const joined = await joinFirst(context, turn, { message: input.message, first, prekeys })
    if (!joined.ok) throw new RequestRefused(joined)
    const incoming = { device: first.device, payload: first.payload, body }
    const handled = await this.#handle(turn, incoming, new Set())
    if (!handled.ok) throw new RequestRefused(handled)
    turn.batch.putBytes(input.seenKey, encode(messageIdCodec, first.payload.messageId))
    // The same request in another envelope is answered again.
    turn.contact = { ...turn.contact, isAnswerDue: true }
    inboxes.use(turn.batch, intro, turn.id)
    ordering.settle(turn)
    this.#parts.onNeed(turn)
  }

  /** Two device lists of one number: the contact's root key is in two hands. */
  #alarm(id: ContactId): Promise<void> {
    return this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined) return
      const changed = { ...turn.contact, trust: trusts.changed }
      turn.contact = changed
      turn.batch.then(
        () => this.#parts.context.emit({ type: 'contact', contact: this.#parts.book.face(changed) }),
      )
    })
  }

  #newContact(id: ContactId, body: ContactRequestBody): ContactRecord {
    const { book, inboxes, context } = this.#parts
    return newContact({
      id,
      name: book.offerName(body.name, id),
      box: inboxes.create(),
      addedAtMs: context.clock.now(),
    })
  }

  /** Written down and told; the envelope is acknowledged with the batch. */
  #unreadable(
    batch: Batch,
    problem: { envelope: CheckedEnvelope, from: ContactId | undefined, code: string },
    turn?: Turn,
  ): void {
    const { context, book } = this.#parts
    const { envelope, from, code } = problem
    const number = this.#nextUnreadable++
    const atMs = context.clock.now()
    const address = from === undefined ? '' : formatAddress(contactRootKey(from))
    assert(utf8(code).length <= 64, 'codes are short')
    batch.put(
      keys.unreadable(number),
      unreadableCodec,
      { from: address, envelopeId: envelope.id, code, atMs },
    )
    if (number > limits.unreadableMax) batch.delete(keys.unreadable(number - limits.unreadableMax))
    const name = turn?.contact?.name ?? (from === undefined ? '' : book.nameOf(from))
    batch.then(() => context.emit({ type: 'undecryptable', contact: name, code, atMs }))
  }

  #acknowledge(box: BoxId, mail: readonly CheckedEnvelope[]): void {
    this.#parts.uplink.post({ type: 'acknowledge', box, envelopeIds: mail.map(({ id }) => id) })
  }

  async #repeat(contact: ContactId): Promise<void> {
    const { sending, outbox, context } = this.#parts
    try {
      while (await sending.repeat(contact, () => outbox.unconfirmed(contact, 'all')));
    } catch (error) {
      context.log.warn({ err: error }, 'texts could not be sealed anew')
    }
  }
}

/** What a fresh session would cure. */
function isSessionProblem(code: string): boolean {
  return code.startsWith('SESSION_') || code.startsWith('HANDSHAKE_')
}

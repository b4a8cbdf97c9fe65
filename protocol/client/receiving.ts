/**
 * Mail as it comes: envelope → inbox → contact → decrypt → store → acknowledge.
 *
 * What arrives while one write is under way shares the next one, so a backlog costs few writes.
 * Plaintext, ratchet and the mark against doubles go to disk together; only then is the envelope
 * acknowledged, so a crash at any point gets it again and drops it by its mark. What cannot be
 * read is written down and told, then acknowledged.
 *
 * With several devices: what a sibling must get and has no key for is forwarded (forwarding.ts);
 * what was not wrapped for us while a sibling has it comes from there; what our devices say to each
 * other is handed on (siblings.ts); contact requests are the primary's, the others only acknowledge
 * them; mail whose inbox or sender is not known yet waits (strays.ts).
 */
import { equalBytes } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { verifyDeviceList } from '../account.ts'
import { decode, encode } from '../codec/struct.ts'
import { isSigned, parseEnvelope } from '../envelope.ts'
import type { CheckedEnvelope } from '../envelope.ts'
import type { DeliverFrame } from '../frame/deliver.ts'
import type { BoxId, EnvelopeId } from '../ids.ts'
import { messageIdCodec } from '../ids.ts'
import { limits } from '../limits.ts'
import { openMessage } from '../message/sealed.ts'
import type { SealedMessage } from '../message/sealed.ts'
import { sleep } from '../timers.ts'
import { arrivedKey, handleBody } from './bodies.ts'
import type { BodyParts, Incoming } from './bodies.ts'
import { pinDevices } from './bundles.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { forward } from './forwarding.ts'
import type { Inboxes } from './inboxes.ts'
import { keys } from './keys.ts'
import type { Prekeys } from './prekeys.ts'
import { contactRootKey } from './records.ts'
import type { ContactId } from './records.ts'
import { Requests } from './requests.ts'
import type { Sending } from './sending.ts'
import type { SessionResets } from './session-resets.ts'
import type { Siblings, Told } from './siblings.ts'
import { Strays } from './strays.ts'
import type { Turn, Turns } from './turns.ts'
import { unwrap } from './unwrap.ts'
import type { Uplink } from './uplink.ts'

export interface ReceivingParts extends BodyParts {
  readonly turns: Turns
  readonly inboxes: Inboxes
  readonly prekeys: Prekeys
  readonly sending: Sending
  readonly uplink: Uplink
  readonly resets: SessionResets
  readonly copies: Copies
  readonly siblings: Siblings
}

/** Mail of one inbox that waits for its turn. */
interface Lane {
  readonly mail: CheckedEnvelope[]
  isRunning: boolean
}

const nothing = new Uint8Array(0)

export class Receiving {
  readonly #parts: ReceivingParts
  readonly #lanes = new Map<BoxId, Lane>()
  readonly #strays = new Strays()
  /** Mail that waited for a list which was looked for since. */
  readonly #lastTries = new Set<EnvelopeId>()
  readonly #requests: Requests
  readonly #stopping = new AbortController()
  #queued = 0
  #roomWaiters: (() => void)[] = []

  constructor(parts: ReceivingParts) {
    this.#parts = parts
    this.#requests = new Requests(parts, {
      handle: (turn, incoming) => this.handle(turn, incoming),
      unreadable: (batch, problem) => parts.unreadables.note(batch, problem),
    })
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
      // Left at the node: a sibling may be about to tell us of the inbox.
      context.log.debug({ box }, 'mail for an inbox that is not known here')
      this.#strays.keep(box, envelope)
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

  /** A sibling told us of inboxes: mail for them may have come before. */
  onBoxes(): void {
    const { book, inboxes } = this.#parts
    for (const key of this.#strays.keys()) {
      const box = key as BoxId
      if (book.ofBox(box) === undefined && inboxes.intro(box) === undefined) continue
      for (const envelope of this.#strays.take(box)) this.#queue(envelope)
    }
  }

  /** A newer device list of this contact, or of our own, is known. */
  onList(contact: ContactId): void {
    for (const envelope of this.#strays.take(contact)) this.#queue(envelope)
  }

  /** The newest list was looked for: what its devices did not write is named now. */
  onFetched(contact: ContactId): void {
    for (const envelope of this.#strays.take(contact)) {
      this.#lastTries.add(envelope.id)
      this.#queue(envelope)
    }
  }

  /** A new session: the node offers everything again. */
  reset(): void {
    this.#strays.clear()
    this.#lastTries.clear()
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
        const [{ id }] = mail as [CheckedEnvelope]
        const contact = this.#nameOf(box)
        this.#parts.context.emit({ type: 'undecryptable', id, contact, code: failure, atMs, state: 'asked' })
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
      if (contact !== undefined) await turns.run(contact, (turn) => this.#takeMail(turn, box, mail))
      else for (const envelope of mail) await this.#requests.take(envelope)
      if (contact === undefined) this.#acknowledge(box, mail)
      return undefined
    } catch (error) {
      context.log.warn({ err: error, mail: mail.length }, 'mail could not be taken over')
      return errorCode(error) ?? 'MESSAGE_FAILED'
    }
  }

  async #takeMail(turn: Turn, box: BoxId, mail: readonly CheckedEnvelope[]): Promise<void> {
    const { contact } = turn
    const sealKey = [contact?.box, ...contact?.oldBoxes ?? []].find((one) => one?.id === box)?.sealKey
    if (contact === undefined || sealKey === undefined) return
    const told: Told[] = []
    const taken: CheckedEnvelope[] = []
    let wasRenewed = false
    for (const envelope of mail) {
      const seenKey = keys.seen(envelope.envelope.expiryHour, envelope.id)
      if (!await this.#wasSeen(turn, seenKey)) {
        const read = await this.#readMail(turn, { envelope, sealKey, told })
        if (!read.ok && this.#waits(turn, envelope, read.code)) continue
        if (!read.ok && this.#isForged(envelope)) continue
        turn.taken.add(seenKey)
        if (read.ok) wasRenewed ||= read.value.isRenewal
        else this.#parts.unreadables.note(turn.batch, { envelope, sealKey, code: read.code }, turn)
        turn.batch.putBytes(seenKey, read.ok ? read.value.mark : nothing)
      }
      taken.push(envelope)
    }
    await this.#takeTold(turn, told)
    this.#parts.ordering.settle(turn)
    if (wasRenewed && turn.contact !== undefined) turn.contact = { ...turn.contact, isBroken: false }
    turn.batch.then(() => {
      if (taken.length > 0) this.#acknowledge(box, taken)
      // They began anew: what they took and never confirmed may be lost to them.
      if (wasRenewed) void this.#repeat(turn.id)
    })
  }

  /** True when it was taken over before; then its receipt may have been lost, so it is owed again. */
  async #wasSeen(turn: Turn, seenKey: string): Promise<boolean> {
    if (turn.taken.has(seenKey)) return true
    const seen = await this.#parts.context.kv.get(seenKey)
    if (seen === undefined) return false
    if (seen.value.length > 0) this.#parts.receipts.arrived(turn, decode(messageIdCodec, seen.value))
    return true
  }

  /** Not of whoever may write here: somebody on the way made or damaged it, and the real one comes yet. */
  #isForged({ envelope, id }: CheckedEnvelope): boolean {
    if (isSigned(envelope)) return false
    this.#parts.context.log.warn({ envelope: id }, 'the node delivered forged mail')
    return true
  }

  /** What our other devices told, once all of this page is decrypted: it concerns many contacts. */
  async #takeTold(turn: Turn, told: readonly Told[]): Promise<void> {
    if (told.length === 0) return
    const results = await this.#parts.siblings.take(turn, told)
    for (const [i, result] of results.entries()) {
      const { envelope, payload } = told[i]!
      if (result.ok) {
        turn.batch.mark(arrivedKey(turn, payload))
        this.#parts.receipts.arrived(turn, payload.messageId)
      } else {
        this.#parts.unreadables.note(turn.batch, { envelope, code: result.code }, turn)
      }
    }
  }

  /** Whether mail of a device that is in no list of ours waits for a newer list. */
  #waits(turn: Turn, envelope: CheckedEnvelope, code: string): boolean {
    const { contact } = turn
    if (code !== 'DEVICE_UNKNOWN' || contact === undefined) return false
    const isSelf = turn.id === this.#parts.context.own.self
    if (this.#lastTries.delete(envelope.id) && !isSelf) return false
    if (!isSelf && contact.seed === undefined) return false
    if (!this.#strays.keep(turn.id, envelope)) return false
    if (isSelf || contact.isListDue) return true
    turn.contact = { ...contact, isListDue: true }
    this.#parts.onNeed(turn)
    return true
  }

  async #readMail(turn: Turn, input: {
    envelope: CheckedEnvelope, sealKey: Uint8Array, told: Told[]
  }): Promise<Result<{ isRenewal: boolean, mark: Uint8Array }>> {
    const { context, prekeys, copies, resets } = this.#parts
    const { own } = context
    const opened = openMessage(input.envelope.envelope.ciphertext, input.sealKey)
    if (!opened.ok) return opened
    const message = opened.value
    if (message.deviceList !== undefined) this.#takeList(turn, message.deviceList)
    if (isForSibling(context, turn, message)) return { ok: true, value: { isRenewal: false, mark: nothing } }
    const unwrapped = await unwrap(context, turn, { message, prekeys, resets })
    if (!unwrapped.ok) {
      if (isSessionProblem(unwrapped.code)) this.#breakSession(turn)
      return unwrapped
    }
    const { device, payload, isRenewal } = unwrapped.value
    const isSelf = turn.id === own.self
    if (isSelf && isRenewal) copies.renew(turn.batch, device)
    const incoming = { device, payload, body: payload.body }
    const handled = isSelf
      ? await this.#hear(turn, incoming, input)
      : await this.handle(turn, incoming)
    if (!handled.ok) return handled
    if (!isSelf || payload.body.type !== 'receipts') forward(this.#parts, turn, { message, device, payload })
    const mark = payload.body.type === 'receipts' ? nothing : encode(messageIdCodec, payload.messageId)
    return { ok: true, value: { isRenewal, mark } }
  }

  /** A list that goes with a message counts before its sender is looked for. */
  #takeList(turn: Turn, bytes: Uint8Array): void {
    const pinned = turn.contact?.deviceList
    if (pinned !== undefined && equalBytes(pinned, bytes)) return
    const list = verifyDeviceList(bytes, contactRootKey(turn.id))
    // A fork is an alarm, and what comes is read with the list that was there before.
    if (list.ok) pinDevices(turn, list.value)
  }

  /** What a sibling says: at once when it is about copies, else together with the rest of its page. */
  async #hear(
    turn: Turn,
    { device, payload }: Incoming,
    input: { envelope: CheckedEnvelope, told: Told[] },
  ): Promise<Result<undefined>> {
    const { context, siblings, receipts } = this.#parts
    context.own.noteSeen(device, Math.min(payload.sentAtMs, context.clock.now()))
    if (payload.body.type === 'receipts') return siblings.confirm(turn, device, payload.body)
    const arrived = arrivedKey(turn, payload)
    // Twice in one page: its receipt waits for what becomes of the first.
    if (turn.taken.has(arrived)) return { ok: true, value: undefined }
    if (await context.kv.get(arrived) !== undefined) {
      receipts.arrived(turn, payload.messageId)
    } else {
      turn.taken.add(arrived)
      input.told.push({ envelope: input.envelope, device, payload })
    }
    return { ok: true, value: undefined }
  }

  /**
   * Does what a payload says, once per message id, and owes its receipt each time. Straight from the
   * contact or by way of a sibling, in a turn of the contact.
   */
  async handle(turn: Turn, incoming: Incoming): Promise<Result<undefined>> {
    const { context, receipts } = this.#parts
    const { payload } = incoming
    const seenAtMs = Math.min(payload.sentAtMs, context.clock.now())
    turn.thread = { ...turn.thread, lastSeenAtMs: Math.max(turn.thread.lastSeenAtMs, seenAtMs) }
    if (payload.body.type === 'receipts') return handleBody(this.#parts, turn, incoming)
    const arrived = arrivedKey(turn, payload)
    if (!turn.taken.has(arrived) && await context.kv.get(arrived) === undefined) {
      const handled = await handleBody(this.#parts, turn, incoming)
      if (!handled.ok) return handled
      turn.taken.add(arrived)
      turn.batch.mark(arrived)
      this.#parts.unreadables.arrived(turn, payload.messageId)
    }
    receipts.arrived(turn, payload.messageId)
    return { ok: true, value: undefined }
  }

  #breakSession(turn: Turn): void {
    if (turn.contact === undefined || turn.contact.isBroken) return
    turn.contact = { ...turn.contact, isBroken: true }
    this.#parts.onNeed(turn)
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

/** Our own echo, or a message that another device of ours got: then it comes from there. */
function isForSibling({ own, account }: Context, turn: Turn, message: SealedMessage): boolean {
  const isSelf = turn.id === own.self
  if (isSelf && message.senderDevice === account.deviceId) return true
  const ids = message.entries.map(({ recipientDevice }) => recipientDevice)
  return !ids.includes(account.deviceId) && (isSelf || own.siblings.some((sibling) => ids.includes(sibling)))
}

/** What a fresh session would cure. */
function isSessionProblem(code: string): boolean {
  return code.startsWith('SESSION_') || code.startsWith('HANDSHAKE_')
}

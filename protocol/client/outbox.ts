/**
 * Envelopes on their way: durable here before they leave, submitted in order with a bounded number
 * in flight, kept until the contact's own receipt says that it could be read.
 *
 * ```text
 *   waiting ──submit──► sent ──accepted──► accepted ──proofs──► stored ──receipt──► gone
 *      ▲                  │                   │                   │
 *      └─ reset, stuck ───┘                   └──── tombstone ────┴──► buried ──receipt──► gone
 *                                                                        └ none: sealed anew
 * ```
 *
 * After a reset of the session everything that is not settled is submitted again; envelopes are
 * idempotent by id. A tombstone says that the owner's side took the envelope; only
 * the encrypted receipt says that it was readable, so a buried text waits for it a little and is
 * then sealed anew (a double is dropped by its message id).
 */
import type { ReceiptFrame } from '../frame/receipt.ts'
import { receiptStates } from '../frame/receipt.ts'
import { purposes } from '../frame/submit.ts'
import { expiryHour } from '../envelope.ts'
import type { BoxId, EnvelopeId, MessageId } from '../ids.ts'
import { decode } from '../codec/struct.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import { Repeater } from '../timers.ts'
import { Batch } from './batch.ts'
import type { Context } from './context.ts'
import type { EarlyReceipts } from './early-receipts.ts'
import { keys, lastNumber } from './keys.ts'
import { advance } from './message-status.ts'
import { isBuried, progress, ReceiptCheck, repeatDueMs } from './outbox-item.ts'
import type { OutboxItem } from './outbox-item.ts'
import { filedCodec, kinds, messageCodec, outboxCodec, readRecord, states } from './records.ts'
import type { ContactId, FiledRecord, Kind, MessageRecord, OutboxRecord } from './records.ts'
import type { SealedEnvelope, Target } from './sealing.ts'
import type { Turn } from './turns.ts'
import type { Uplink } from './uplink.ts'

/** Nothing will be tried any more after these; everything else is retried by the node or here. */
const finalCodes: ReadonlySet<string> = new Set(['ENVELOPE_REFUSED', 'ENVELOPE_EXPIRED'])
/** Expiry and silence are looked at this often; what is due earlier calls for a look itself. */
const sweepMs = 60_000
/** The node had no room: it is asked again after this. */
const refusedMs = 5_000
/** A submitted envelope that the node says nothing about is submitted again after this. */
const silenceMs = 60_000

export interface NewEnvelope {
  readonly sealed: SealedEnvelope
  readonly contact: ContactId
  readonly messageId: MessageId
  readonly kind: Kind
  readonly expiresAtMs: number
  /** State of a text; asked for when the batch is written (its cursor is known then). */
  readonly message?: () => MessageRecord
  /** The same message under an older seal, which this one replaces. */
  readonly replaces?: OutboxItem
}

export interface OutboxOptions {
  /** A text changed its state, durably. */
  readonly onStatus: (id: MessageId, record: MessageRecord) => void
  /** Taken by their side, but no receipt came: it may not have been readable. */
  readonly onUnconfirmed: (contact: ContactId) => void
}

export class Outbox {
  readonly #context: Context
  readonly #uplink: Uplink
  readonly #early: EarlyReceipts
  readonly #options: OutboxOptions
  readonly #check = new ReceiptCheck()
  readonly #items = new Map<EnvelopeId, OutboxItem>()
  readonly #byMessage = new Map<MessageId, OutboxItem>()
  readonly #byContact = new Map<ContactId, Set<OutboxItem>>()
  /** To be submitted, in order. */
  readonly #queue = new Set<OutboxItem>()
  readonly #sent = new Set<OutboxItem>()
  readonly #sweep: Repeater
  #nextNumber = 1
  #texts = 0
  /** Counts sessions; 0 before the first. */
  #session = 0
  #isPumping = false

  constructor(
    context: Context,
    parts: { uplink: Uplink, early: EarlyReceipts },
    options: OutboxOptions,
  ) {
    this.#context = context
    this.#uplink = parts.uplink
    this.#early = parts.early
    this.#options = options
    this.#sweep = new Repeater(context, () => this.#runSweep(), {
      everyMs: sweepMs,
      onError: (error) => context.log.warn({ err: error }, 'the outbox could not be swept'),
    })
  }

  async load(): Promise<void> {
    for await (const entry of kvEntries(this.#context.kv, keys.outboxes)) {
      const number = lastNumber(entry.key)
      const record = decode(outboxCodec, entry.value)
      this.#remember({ number, record, place: 'waiting', sentAtMs: 0, bytes: undefined, isSettling: false })
      this.#nextNumber = number + 1
    }
  }

  start(): void {
    this.#sweep.start()
  }

  async stop(): Promise<void> {
    this.#session = 0
    await this.#sweep.stop()
  }

  /** Texts that are not yet known to be delivered and readable. */
  get texts(): number {
    return this.#texts
  }

  message(id: MessageId): MessageRecord | undefined {
    return this.#byMessage.get(id)?.record.message
  }

  /** What is on its way to this contact under this envelope. */
  find(id: EnvelopeId, contact: ContactId): OutboxItem | undefined {
    const item = this.#items.get(id)
    return item?.record.contact === contact ? item : undefined
  }

  /** What an envelope was that is not on its way any more; for as long as somebody may ask. */
  filed(envelope: { envelopeId: EnvelopeId, expiryHour: number }): Promise<FiledRecord | undefined> {
    const { envelopeId, expiryHour } = envelope
    return readRecord(this.#context.kv, filedCodec, keys.filed(expiryHour, envelopeId))
  }

  has(id: MessageId): boolean {
    return this.#byMessage.has(id)
  }

  /** Into the batch; submitted when that is durable. */
  add(batch: Batch, envelope: NewEnvelope): void {
    const { sealed, contact, messageId, kind, expiresAtMs, replaces } = envelope
    const number = this.#nextNumber++
    let record: OutboxRecord | undefined
    batch.late(() => {
      record = {
        envelopeId: sealed.id,
        box: sealed.target.box,
        contact,
        messageId,
        kind,
        expiresAtMs,
        homes: sealed.target.homes,
        replicas: sealed.target.replicas,
        holders: [],
        buriedAtMs: 0,
        repeats: replaces === undefined ? 0 : Math.min(255, replaces.record.repeats + 1),
        listNumber: sealed.listNumber,
        message: replaces?.record.message ?? envelope.message?.(),
      }
      batch.put(keys.outbox(number), outboxCodec, record)
      batch.putBytes(keys.body(number), sealed.bytes)
    })
    if (replaces !== undefined) this.#settle(batch, replaces)
    batch.then(() => {
      const bytes = this.#queue.size < limits.submitWindow ? sealed.bytes : undefined
      const item: OutboxItem = {
        number, record: record!, place: 'waiting', sentAtMs: 0, bytes, isSettling: false,
      }
      this.#remember(item)
      this.#queue.add(item)
      void this.#pump()
    })
  }

  /** What the node knows of a submitted envelope. Nothing is believed that is not proven. */
  receive(frame: ReceiptFrame): void {
    const item = this.#items.get(frame.envelopeId)
    if (item === undefined || item.isSettling) return
    const { state, proofs } = frame
    if (state === receiptStates.refused) this.#refused(item, frame)
    else if (state === receiptStates.acknowledged && isBuried(item.record, proofs)) this.#buried(item)
    else this.#accepted(item, frame)
    void this.#pump()
  }

  /** The contact's own word that these arrived (or were read) there. In a turn of the contact. */
  async confirm(turn: Turn, receipt: { ids: readonly MessageId[], state: 2 | 3 }): Promise<void> {
    const { batch, id: contact } = turn
    for (const id of new Set(receipt.ids)) {
      const item = this.#byMessage.get(id)
      if (item !== undefined && item.record.contact !== contact) continue
      const { kv } = this.#context
      const before = item?.record.message ?? await readRecord(kv, messageCodec, keys.message(id))
      if (item !== undefined && !item.isSettling) this.#conclude(turn, item)
      if (before === undefined && item === undefined) await this.#early.note(turn, id, receipt.state)
      if (before === undefined || before.contact !== contact) continue
      const after = advance(before, receipt.state, this.#context.clock.now())
      if (after === before && item === undefined) continue
      batch.put(keys.message(id), messageCodec, after)
      if (after !== before) batch.then(() => this.#options.onStatus(id, after))
    }
  }

  /** Done with, whatever it was (a request that was answered). In a turn of the contact. */
  settle(turn: Turn, id: MessageId): void {
    const item = this.#byMessage.get(id)
    if (item !== undefined && !item.isSettling) this.#conclude(turn, item)
  }

  /** The contact's inbox moved: what is under way goes to its new holders. */
  reroute(batch: Batch, contact: ContactId, target: Target): void {
    for (const item of this.#of(contact)) {
      const { record } = item
      if (record.box !== target.box || record.buriedAtMs > 0) continue
      item.record = { ...record, homes: target.homes, replicas: target.replicas }
      batch.put(keys.outbox(item.number), outboxCodec, item.record)
      batch.then(() => this.#submitAgain(item))
    }
  }

  /** Texts that their side took without a receipt: due to be repeated, or all of them. Oldest first. */
  unconfirmed(contact: ContactId, which: 'due' | 'all'): OutboxItem[] {
    const nowMs = this.#context.clock.now()
    return this.#of(contact).filter(({ record }) =>
      record.buriedAtMs > 0 && (which === 'all' || repeatDueMs(record) <= nowMs))
  }

  /** Texts sealed for an inbox that the contact has left, or whose envelope was damaged here. */
  misplaced(contact: ContactId, box: BoxId): OutboxItem[] {
    return this.#of(contact).filter(({ record, place }) =>
      record.kind === kinds.text && (record.box !== box || place === 'lost'))
  }

  /** The contact is being removed: nothing more goes to them. */
  abandon(batch: Batch, contact: ContactId): void {
    for (const item of this.#of(contact)) {
      const { message, messageId } = item.record
      this.#settle(batch, item)
      if (message !== undefined) this.#fail(batch, { id: messageId, message, code: 'CONTACT_REMOVED' })
    }
  }

  /** A new session: the node may know nothing of what was sent in the old one. */
  reset(): void {
    this.#session++
    this.#queue.clear()
    this.#sent.clear()
    const stored: OutboxItem[] = []
    for (const item of this.#items.values()) {
      item.place = 'waiting'
      if (progress(item.record).isStored) stored.push(item)
      else if (item.record.buriedAtMs === 0) this.#queue.add(item)
    }
    // These last, and only to hear of a tombstone that the old session may have lost.
    for (const item of stored) if (item.record.buriedAtMs === 0) this.#queue.add(item)
    void this.#pump()
  }

  /** What is under way to one contact, oldest first. */
  #of(contact: ContactId): OutboxItem[] {
    return [...this.#byContact.get(contact) ?? []].filter((item) => !item.isSettling)
  }

  #accepted(item: OutboxItem, frame: ReceiptFrame): void {
    this.#arrived(item)
    const { record } = item
    const holders = this.#check.holders(record, frame.proofs)
    const next = { ...record, holders }
    const { have, want, isStored } = progress(next)
    if (record.kind !== kinds.text) {
      item.record = next
      if (isStored && record.kind === kinds.receipts) {
        this.#write((batch) => this.#settle(batch, item, { withdraw: false }))
      }
      return
    }
    const before = record.message!
    const stored = isStored ? advance(before, states.stored, this.#context.clock.now()) : before
    const isFurther = have > before.have || want !== before.want || stored !== before
    if (!isFurther && frame.code === before.code) return
    const proven = isFurther ? { have, want, route: frame.route, level: frame.level } : {}
    const message = { ...stored, ...proven, code: isStored ? '' : frame.code }
    item.record = { ...next, message }
    this.#saveRecord(item, message)
  }

  #buried(item: OutboxItem): void {
    this.#arrived(item)
    const { record } = item
    if (record.buriedAtMs > 0) return
    if (record.kind !== kinds.text) {
      this.#write((batch) => this.#settle(batch, item, { withdraw: false }))
      return
    }
    const nowMs = this.#context.clock.now()
    const message = advance(record.message!, states.delivered, nowMs)
    item.record = { ...record, buriedAtMs: nowMs, message }
    this.#saveRecord(item, message)
    this.#sweep.soon(limits.receiptPatienceMs)
  }

  #refused(item: OutboxItem, frame: ReceiptFrame): void {
    this.#arrived(item)
    const { record } = item
    const { message } = record
    if (!finalCodes.has(frame.code)) {
      // The node did not take it; the sweep offers it again.
      item.place = 'waiting'
      this.#sweep.soon(refusedMs)
      if (message === undefined || message.code === frame.code) return
      item.record = { ...record, message: { ...message, code: frame.code } }
      this.#saveRecord(item, item.record.message!)
      return
    }
    this.#context.log.warn(
      { envelope: record.envelopeId, code: frame.code },
      'an envelope was refused for good',
    )
    // Proven copies lie with its holders: one that refuses it cannot undo them.
    if (message !== undefined && message.state !== states.queued) return
    this.#write((batch) => {
      this.#settle(batch, item, { withdraw: false })
      const code = frame.code === 'ENVELOPE_EXPIRED' ? 'MESSAGE_EXPIRED' : frame.code
      if (message !== undefined) this.#fail(batch, { id: record.messageId, message, code })
    })
  }

  /** The node answered: it is no longer in flight. */
  #arrived(item: OutboxItem): void {
    this.#sent.delete(item)
    this.#queue.delete(item)
    item.place = 'accepted'
    item.bytes = undefined
  }

  #fail(batch: Batch, failed: { id: MessageId, message: MessageRecord, code: string }): void {
    const state = failed.message.state >= states.delivered ? failed.message.state : states.failed
    const message = { ...failed.message, state, code: state === states.failed ? failed.code : '' }
    batch.put(keys.message(failed.id), messageCodec, message)
    batch.then(() => this.#options.onStatus(failed.id, message))
  }

  /** They have it, and with it the device list that it carried. */
  #conclude(turn: Turn, item: OutboxItem): void {
    this.#settle(turn.batch, item)
    const { listNumber } = item.record
    if (turn.contact === undefined || turn.contact.toldListNumber >= listNumber) return
    turn.contact = { ...turn.contact, toldListNumber: listNumber }
  }

  /** Removes an item: marked now, gone when the batch is durable, back if that fails. */
  #settle(batch: Batch, item: OutboxItem, options: { withdraw: boolean } = { withdraw: true }): void {
    item.isSettling = true
    this.#delete(batch, item)
    const { envelopeId, contact, kind, messageId, expiresAtMs } = item.record
    // Their other devices may not have been able to read it.
    const fileKey = keys.filed(expiryHour(expiresAtMs), envelopeId)
    if (kind !== kinds.copy) batch.put(fileKey, filedCodec, { contact, kind, messageId })
    if (options.withdraw) {
      batch.then(() => this.#uplink.post({ type: 'withdraw', envelopeIds: [envelopeId] }))
    }
    batch.otherwise(() => { item.isSettling = false })
  }

  #delete(batch: Batch, item: OutboxItem): void {
    batch.delete(keys.outbox(item.number))
    batch.delete(keys.body(item.number))
    batch.then(() => this.#forget(item))
  }

  #remember(item: OutboxItem): void {
    const { envelopeId, messageId, contact, kind } = item.record
    this.#items.set(envelopeId, item)
    this.#byMessage.set(messageId, item)
    this.#byContact.set(contact, (this.#byContact.get(contact) ?? new Set()).add(item))
    if (kind === kinds.text) this.#texts++
  }

  #forget(item: OutboxItem): void {
    const { envelopeId, messageId, contact, kind } = item.record
    if (!this.#items.delete(envelopeId)) return
    if (this.#byMessage.get(messageId) === item) this.#byMessage.delete(messageId)
    const others = this.#byContact.get(contact)
    others?.delete(item)
    if (others?.size === 0) this.#byContact.delete(contact)
    this.#queue.delete(item)
    this.#sent.delete(item)
    if (kind === kinds.text) this.#texts--
  }

  #saveRecord(item: OutboxItem, message: MessageRecord): void {
    const { record } = item
    this.#write((batch) => {
      batch.put(keys.outbox(item.number), outboxCodec, record)
      batch.then(() => this.#options.onStatus(record.messageId, message))
    })
  }

  /** News from the node are written as they come; the store keeps their order. */
  #write(build: (batch: Batch) => void): void {
    const batch = new Batch()
    build(batch)
    batch.commit(this.#context.kv).catch((error: unknown) => {
      // The proof is lost with it; the node tells it again after the next reset.
      this.#context.log.warn({ err: error }, 'a message state could not be written')
    })
  }

  #submitAgain(item: OutboxItem): void {
    if (!this.#items.has(item.record.envelopeId)) return
    this.#sent.delete(item)
    item.place = 'waiting'
    this.#queue.add(item)
    void this.#pump()
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return
    this.#isPumping = true
    try {
      while (this.#session > 0 && this.#sent.size < limits.submitWindow) {
        const [item] = this.#queue
        if (item === undefined) return
        const session = this.#session
        this.#queue.delete(item)
        if (!await this.#submit(item) && session === this.#session) {
          item.place = 'waiting'
          this.#queue.add(item)
          return
        }
      }
    } catch (error) {
      this.#context.log.warn({ err: error }, 'an envelope could not be read')
    } finally {
      this.#isPumping = false
    }
  }

  /** False when the session did not take it. */
  async #submit(item: OutboxItem): Promise<boolean> {
    const session = this.#session
    const bytes = item.bytes ?? (await this.#context.kv.get(keys.body(item.number)))?.value
    if (session !== this.#session || item.isSettling) return true
    if (bytes === undefined) {
      item.place = 'lost'
      this.#options.onUnconfirmed(item.record.contact)
      return true
    }
    item.bytes = undefined
    item.place = 'sent'
    item.sentAtMs = this.#context.clock.monotonicMs()
    this.#sent.add(item)
    const { homes, replicas, kind } = item.record
    const purpose = kind === kinds.receipts ? purposes.signal : purposes.message
    const taken = await this.#uplink.send({
      type: 'submit', envelope: bytes, homes, replicas, purpose, level: 0,
    })
    if (!taken) this.#sent.delete(item)
    return taken
  }

  async #runSweep(): Promise<void> {
    const nowMs = this.#context.clock.now()
    const stuckMs = this.#context.clock.monotonicMs() - silenceMs
    const unconfirmed = new Set<ContactId>()
    let nextMs = sweepMs
    const batch = new Batch()
    for (const item of [...this.#items.values()]) {
      const { record } = item
      if (item.isSettling) continue
      if (record.expiresAtMs <= nowMs) {
        this.#settle(batch, item)
        if (record.message !== undefined) {
          this.#fail(batch, { id: record.messageId, message: record.message, code: 'MESSAGE_EXPIRED' })
        }
      } else if (record.buriedAtMs > 0) {
        const waitMs = repeatDueMs(record) - nowMs
        if (waitMs <= 0) unconfirmed.add(record.contact)
        else nextMs = Math.min(nextMs, waitMs)
      } else if (item.place === 'waiting' || (item.place === 'sent' && item.sentAtMs < stuckMs)) {
        this.#submitAgain(item)
      }
    }
    await batch.commit(this.#context.kv)
    for (const contact of unconfirmed) this.#options.onUnconfirmed(contact)
    // They are sealed anew a page at a time.
    this.#sweep.soon(unconfirmed.size > 0 ? Math.min(nextMs, refusedMs) : nextMs)
  }
}

/**
 * This device's words to its siblings, sealed in turns of the self contact: copies that wait
 * (copies.ts), and for a freshly linked device all contacts and the last of the history, a few
 * pages ahead of what it confirmed. How far a new device was told is durable, so it goes on where
 * it stopped.
 *
 * Every text that this device has or gets is owed to the new one by some record, at any moment:
 *
 * ```text
 *   turns that began before it was listed  ─► history, held/, orphan/  ─► told from there, under sync/
 *   turns that began later                 ─► copy/, in their own batch
 * ```
 *
 * So nothing is read before the former are over (`Turns.passed`), or one under way could be missed
 * by both.
 */
import { decode, oneOf, optional, struct, text, u32, u64 } from '../codec/struct.ts'
import type { BoxId, DeviceId, MessageId } from '../ids.ts'
import type { InboxCard } from '../inbox-card.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { HistoryPageEntry } from '../message/history-page.ts'
import { decodePayload, encodePayload } from '../message/payload.ts'
import type { SiblingBody } from '../message/payload.ts'
import type { ReceivedCopyBody } from '../message/received-copy.ts'
import type { Timer } from '../ports.ts'
import type { Batch } from './batch.ts'
import type { ContactBook } from './contact-book.ts'
import { stateBody } from './contact-states.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { fileKeysOf, fileRecordCodec } from './file-records.ts'
import type { History } from './history.ts'
import type { Inboxes } from './inboxes.ts'
import { keys, lastNumber, lastPart } from './keys.ts'
import type { Outbox } from './outbox.ts'
import { contactRootKey, heldCodec, kinds, messageCodec, readRecord, states } from './records.ts'
import type { ContactRecord } from './records.ts'
import { cardTarget, newMessageId, sealEnvelope } from './sealing.ts'
import type { Target } from './sealing.ts'
import { orphanCodec } from './siblings.ts'
import type { Turn, Turns } from './turns.ts'

/** Bytes sealed in one turn: bounds one write. */
const turnBytesMax = 512 * 1024
/** Next sequences told of one contact: those of the devices heard last. */
const positionsMax = 4 * limits.devicesMax
/** Contacts told in one turn. */
const contactsAtOnce = 16
/** Fields of an entry besides its text. */
const entryBytes = 96
/** What it takes to fetch a file, with the longest name and the most holders. */
const fileBytes = 1_024

const stages = { contacts: 0, history: 1 } as const

/** How far a new device was told what was before it. */
interface SyncRecord {
  readonly stage: (typeof stages)[keyof typeof stages]
  /** The last contact told, or empty. */
  readonly contact: string
  /** Older than this; absent at first. */
  readonly cursor: number | undefined
  readonly offset: number
  /** Messages still to tell, once they were counted. */
  readonly left: number
}

const syncCodec = struct<SyncRecord>({
  stage: oneOf(Object.values(stages), 'sync stage'),
  contact: text(64),
  cursor: optional(u64),
  offset: u32,
  left: u32,
})

export interface TellingParts {
  readonly book: ContactBook
  readonly turns: Turns
  readonly copies: Copies
  readonly history: History
  readonly outbox: Outbox
  readonly inboxes: Inboxes
}

export class Telling {
  readonly #context: Context
  readonly #parts: TellingParts
  readonly #onDue: () => void
  #timer: Timer | undefined

  /** @param onDue time has come to call `flush` */
  constructor(context: Context, parts: TellingParts, onDue: () => void) {
    this.#context = context
    this.#parts = parts
    this.#onDue = onDue
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Into the batch: a new device is to hear of all contacts and of what was said. */
  begin(batch: Batch, device: DeviceId): void {
    const start = { stage: stages.contacts, contact: '', cursor: undefined, offset: 0, left: 0 }
    batch.put(keys.sync(device), syncCodec, start)
  }

  end(batch: Batch, device: DeviceId): void {
    batch.delete(keys.sync(device))
  }

  /** As far as one turn goes; true when it is worth calling again. */
  async flush(): Promise<boolean> {
    const { turns, copies, outbox } = this.#parts
    const { own } = this.#context
    const isMore = await turns.run(own.self, async (turn) => {
      if (turn.contact === undefined) return false
      const isFilled = await this.#fill(turn)
      return await this.#seal(turn) || isFilled
    })
    const dueMs = copies.nextDueMs((id) => outbox.has(id))
    this.#timer?.cancel()
    this.#timer = dueMs === undefined ? undefined : this.#context.clock.after(dueMs, () => this.#onDue())
    return isMore
  }

  async #seal(turn: Turn): Promise<boolean> {
    const { copies, outbox } = this.#parts
    const { clock, random, account, own } = this.#context
    const card = turn.contact?.card
    if (card === undefined) return false
    copies.prune(turn.batch, own.siblings)
    const sessions = new Map(turn.readySessions.map(({ device, session }) => [device, session]))
    const due = copies.due({
      reachable: new Set(sessions.keys()),
      isUnderWay: (id) => outbox.has(id),
      limit: limits.turnItemsMax,
    })
    let bytes = 0
    for (const [i, copy] of due.entries()) {
      const payload = await copies.payload(copy.number)
      const decoded = payload === undefined ? undefined : decodePayload(payload)
      if (payload === undefined || decoded?.ok !== true) continue
      bytes += payload.length
      if (i > 0 && bytes > turnBytesMax) return true
      const chosen = copy.devices.map((device) => ({ device, session: sessions.get(device)! }))
      for (const { device, session } of chosen) turn.keepSession(device, session)
      const expiresAtMs = clock.now() + limits.envelopeTtlMs
      const sealed = sealEnvelope({
        senderDevice: account.deviceId, payload: decoded.value, sessions: chosen,
        target: this.#targetOf(turn.contact!, card, copy.record.box),
        list: turn.contact!.toldListNumber < own.list.list.number ? own.list : undefined,
        expiresAtMs, random,
      })
      const { messageId } = copy.record
      outbox.add(turn.batch, { sealed, contact: turn.id, messageId, kind: kinds.copy, expiresAtMs })
      copies.sealed(turn.batch, copy)
    }
    return due.length === limits.turnItemsMax
  }

  #targetOf(self: ContactRecord, card: InboxCard, box: BoxId | undefined): Target {
    const old = self.oldBoxes.find(({ id }) => id === box)
    return cardTarget(old === undefined ? card : this.#parts.inboxes.card(old))
  }

  /** A few pages ahead for each new device; true when there is more to seal now. */
  async #fill(turn: Turn): Promise<boolean> {
    const { kv, own } = this.#context
    let isFilled = false
    for (const { key, value } of await kv.list({ prefix: keys.syncs, limit: limits.devicesMax })) {
      const device = lastPart(key) as DeviceId
      if (!own.siblings.includes(device)) {
        turn.batch.delete(key)
      } else if (this.#parts.copies.countFor(device) < limits.historyPagesAhead) {
        const record = decode(syncCodec, value)
        if (record.stage === stages.contacts) await this.#tellContacts(turn, device, record)
        else await this.#tellHistory(turn, device, record)
        isFilled = true
      }
    }
    return isFilled
  }

  async #tellContacts(turn: Turn, device: DeviceId, record: SyncRecord): Promise<void> {
    const { book, turns } = this.#parts
    await turns.passed(turn.id)
    const left = book.people().filter(({ id }) => id > record.contact).sort((a, b) => (a.id < b.id ? -1 : 1))
    const told = left.slice(0, contactsAtOnce)
    for (const { id } of told) {
      // What is shown, what is held and what comes next are of one moment.
      await turns.run(id, (inner) => this.#tellContact(turn, device, inner))
    }
    const isOver = told.length === left.length
    if (isOver) await this.#tellOrphans(turn, device)
    turn.batch.put(keys.sync(device), syncCodec, {
      ...record,
      stage: isOver ? stages.history : stages.contacts,
      contact: told.at(-1)?.id ?? record.contact,
    })
  }

  async #tellContact(turn: Turn, device: DeviceId, { contact, thread }: Turn): Promise<void> {
    if (contact === undefined) return
    const own = { device: this.#context.account.deviceId, next: thread.nextSequence }
    const positions = [...thread.receiving, own].slice(-positionsMax)
    const body = stateBody(contact, { isRemoved: false, positions })
    this.#parts.copies.add(turn.batch, body, { devices: [device] })
    await this.#tellHeld(turn, device, contact)
  }

  /** What was said of contacts that this device does not know itself yet is in no history either. */
  async #tellOrphans(turn: Turn, device: DeviceId): Promise<void> {
    for await (const { value } of kvEntries(this.#context.kv, keys.allOrphans)) {
      const orphan = decode(orphanCodec, value)
      if (orphan.device === device) continue
      this.#parts.copies.add(turn.batch, this.#passedOn(orphan.device, orphan.payload), { devices: [device] })
    }
  }

  /** Texts that wait for a predecessor are in no history yet. */
  async #tellHeld(turn: Turn, device: DeviceId, { id }: ContactRecord): Promise<void> {
    const prefix = keys.helds(id)
    for await (const { key, value } of kvEntries(this.#context.kv, prefix)) {
      const sender = key.slice(prefix.length, key.lastIndexOf('/')) as DeviceId
      const { isOutgoing, id: messageId, text, sentAtMs, file } = decode(heldCodec, value)
      const stored = file === undefined ? undefined : await this.#fileOf(messageId)
      if (text === undefined || (file !== undefined && stored === undefined)) continue
      const payload = encodePayload({
        messageId,
        sentAtMs,
        sequence: lastNumber(key),
        body: stored === undefined ? { type: 'text', text } : { type: 'file', ...stored },
      })
      const contact = contactRootKey(id)
      const body = isOutgoing
        ? this.#passedOn(sender, this.#payloadOf({ type: 'sentCopy', contact, payload }))
        : { type: 'receivedCopy', contact, device: sender, payload } as const
      this.#parts.copies.add(turn.batch, body, { devices: [device] })
    }
  }

  /** The word of another device of ours, as its word: the place in the order is that device's. */
  #passedOn(device: DeviceId, payload: Uint8Array): ReceivedCopyBody {
    return { type: 'receivedCopy', contact: contactRootKey(this.#context.own.self), device, payload }
  }

  #payloadOf(body: SiblingBody): Uint8Array {
    const messageId = newMessageId(this.#context)
    return encodePayload({ messageId, sentAtMs: this.#context.clock.now(), sequence: 0, body })
  }

  async #tellHistory(turn: Turn, device: DeviceId, record: SyncRecord): Promise<void> {
    const { history, copies } = this.#parts
    const after = record.cursor === undefined ? {} : { after: record.cursor }
    // Counted once, so that the other side can show how far it is.
    const limit = record.cursor === undefined
      ? limits.historySyncMax
      : Math.min(record.left, limits.historyPageEntriesMax)
    const rest = limit === 0 ? [] : await history.list({ ...after, reverse: true, limit })
    const total = record.cursor === undefined ? rest.length : record.left
    const entries: HistoryPageEntry[] = []
    let bytes = 0
    let last: number | undefined
    for (const { cursor, record: row } of rest) {
      bytes += entryBytes + (row.file === undefined ? 3 * row.text.length : fileBytes)
      const isFull = entries.length > 0 && bytes > limits.historyPageBytesMax
      if (isFull || entries.length === limits.historyPageEntriesMax) break
      last = cursor
      const { contact, isOutgoing, id, text, sentAtMs, receivedAtMs, afterGap } = row
      const state = isOutgoing ? await this.#stateOf(id) : states.queued
      const file = row.file === undefined ? undefined : await this.#fileOf(id)
      entries.push({
        contact: contactRootKey(contact), isOutgoing, id, text, file, sentAtMs, receivedAtMs, afterGap, state,
      })
    }
    const { offset } = record
    const left = last === undefined ? 0 : total - entries.length
    copies.add(turn.batch, { type: 'historyPage', offset, left, entries }, { devices: [device] })
    if (left === 0) {
      this.end(turn.batch, device)
    } else {
      const next = { ...record, cursor: last, offset: offset + entries.length, left }
      turn.batch.put(keys.sync(device), syncCodec, next)
    }
  }

  async #fileOf(id: MessageId): Promise<HistoryPageEntry['file']> {
    return (await readRecord(this.#context.kv, fileRecordCodec, fileKeysOf.file(id)))?.body
  }

  async #stateOf(id: MessageId): Promise<HistoryPageEntry['state']> {
    const { outbox } = this.#parts
    const record = outbox.message(id) ?? await readRecord(this.#context.kv, messageCodec, keys.message(id))
    return record?.state ?? states.queued
  }
}

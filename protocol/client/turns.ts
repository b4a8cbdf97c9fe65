/**
 * Everything that changes a contact (profile, counters, ratchets, held texts) does so in a *turn*:
 * turns of one contact run one after the other, each ends with one atomic batch, and a turn never
 * waits for the network. When the batch fails nothing of the turn stays, in memory neither.
 *
 * What a turn changes of a contact that our other devices share (contact-states.ts) is told to them
 * by that same batch: no caller has to think of it. The *self contact*, under our own root key, is the
 * conversation of our devices among themselves; its turns may run turns of other contacts inside,
 * never the other way round.
 *
 * Ratchets of recently active contacts stay in memory (`cachedMax` of them); the rest are read
 * from the store when their turn comes.
 */
import { SecureSession } from '../../crypto/secure-session.ts'
import { deviceId, findDevice } from '../account.ts'
import { decode } from '../codec/struct.ts'
import type { DeviceId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import { Batch } from './batch.ts'
import type { ContactBook } from './contact-book.ts'
import { formerDevices, isSharedChange, stateBody } from './contact-states.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { keys, lastPart, lastNumber } from './keys.ts'
import { freshThread, heldCodec, readRecord, threadCodec, versionCodec } from './records.ts'
import type {
  ContactId, ContactRecord, ContactVersion, HeldRecord, ThreadRecord,
} from './records.ts'
import { devicesOf } from './sealing.ts'

/** What is kept in memory of a conversation. */
interface Thread {
  record: ThreadRecord
  readonly sessions: Map<DeviceId, SecureSession>
  /** Arrival times of held texts, by device and sequence. */
  readonly held: Map<DeviceId, Map<number, number>>
}

/** One turn of one contact. Fields that are assigned are written when the turn ends. */
export class Turn {
  readonly id: ContactId
  readonly batch = new Batch()
  readonly held: Map<DeviceId, Map<number, number>>
  /** Held texts of this very turn, by record name: not in the store yet. */
  readonly fresh = new Map<string, HeldRecord>()
  /** Marks against doubles of this very turn, by record name: not in the store yet. */
  readonly taken = new Set<string>()
  /** Assign `undefined` to remove the contact. */
  contact: ContactRecord | undefined
  thread: ThreadRecord
  /** It takes over what a sibling decided: there is nothing to tell. */
  isMerge = false
  readonly #self: DeviceId
  readonly #sessions: Map<DeviceId, SecureSession>
  readonly #changed = new Set<DeviceId>()

  constructor(known: { id: ContactId, contact: ContactRecord | undefined, self: DeviceId }, thread: Thread) {
    this.id = known.id
    this.contact = known.contact
    this.#self = known.self
    this.thread = thread.record
    this.held = thread.held
    this.#sessions = thread.sessions
  }

  session(device: DeviceId): SecureSession | undefined {
    return this.#sessions.get(device)
  }

  /** Sessions with devices that the contact's list still names, never this one: ready to be written to. */
  get readySessions(): { device: DeviceId, session: SecureSession }[] {
    const list = this.contact === undefined ? undefined : devicesOf(this.contact)
    if (list === undefined) return []
    return [...this.#sessions]
      .filter(([device]) => device !== this.#self && findDevice(list.list, device) !== undefined)
      .map(([device, session]) => ({ device, session }))
  }

  /** Devices of the list, other than this one, that there is no session with. */
  get missingDevices(): DeviceId[] {
    return listedDevices(this.contact)
      .filter((device) => device !== this.#self && !this.#sessions.has(device))
  }

  /** The session was used (its state moved on) or is new. */
  keepSession(device: DeviceId, session: SecureSession): void {
    this.#sessions.set(device, session)
    this.#changed.add(device)
  }

  /** Sessions with devices that are not listed any more end here; late messages are refused by name. */
  dropSessions(listed: readonly DeviceId[]): void {
    for (const [device, session] of [...this.#sessions]) {
      if (listed.includes(device)) continue
      this.batch.delete(keys.session(this.id, device))
      this.#sessions.delete(device)
      this.#changed.delete(device)
      session.wipe()
    }
  }

  writeSessions(nowMs: number): void {
    for (const device of this.#changed) {
      const session = this.#sessions.get(device)!
      session.expire({ nowMs, keptMs: limits.supersededSessionMs })
      this.batch.putBytes(keys.session(this.id, device), session.serialize())
    }
  }
}

export class Turns {
  readonly #context: Context
  readonly #book: ContactBook
  readonly #copies: Copies
  readonly #onList: (contact: ContactId) => void
  /** Least recently used first. */
  readonly #cache = new Map<ContactId, Thread>()
  readonly #queues = new Map<ContactId, Promise<unknown>>()

  /** @param onList a newer device list of this contact is known, durably */
  constructor(
    context: Context,
    parts: { book: ContactBook, copies: Copies },
    onList: (contact: ContactId) => void,
  ) {
    this.#context = context
    this.#onList = onList
    this.#book = parts.book
    this.#copies = parts.copies
  }

  /** Runs `work` when earlier turns of this contact are over; settles when its batch is durable. */
  run<T>(id: ContactId, work: (turn: Turn) => T | Promise<T>): Promise<T> {
    const turn = (this.#queues.get(id) ?? Promise.resolve()).then(() => this.#run(id, work))
    const settled = turn.then(() => {}, () => {})
    this.#queues.set(id, settled)
    void settled.then(() => {
      if (this.#queues.get(id) === settled) this.#queues.delete(id)
    })
    return turn
  }

  /**
   * Settles when all turns of others than `id` that are under way or wait now are over: what they saw
   * of the world is durable then, and later ones see the world of now.
   */
  async passed(id: ContactId): Promise<void> {
    await Promise.all([...this.#queues].map(([other, queue]) => (other === id ? undefined : queue)))
  }

  /** Settles when no turn is under way or waiting. */
  async idle(): Promise<void> {
    while (this.#queues.size > 0) await Promise.all(this.#queues.values())
  }

  async #run<T>(id: ContactId, work: (turn: Turn) => T | Promise<T>): Promise<T> {
    const thread = await this.#load(id)
    const contact = this.#book.get(id)
    const turn = new Turn({ id, contact, self: this.#context.account.deviceId }, thread)
    // Before all other effects, which look at the book.
    turn.batch.then(() => this.#keep(turn, contact, thread))
    try {
      const result = await work(turn)
      await this.#write(turn, contact, thread)
      await turn.batch.commit(this.#context.kv)
      return result
    } catch (error) {
      turn.batch.drop()
      this.#cache.delete(id)
      throw error
    }
  }

  async #write(turn: Turn, before: ContactRecord | undefined, thread: Thread): Promise<void> {
    const { batch, id } = turn
    if (turn.contact === undefined) {
      if (before === undefined) return
      if (!turn.isMerge) this.#tellRemoval(turn, before)
      batch.delete(keys.contact(id))
      batch.delete(keys.thread(id))
      for (const device of thread.sessions.keys()) batch.delete(keys.session(id, device))
      return
    }
    this.#followList(turn, before)
    if (!turn.isMerge) await this.#tell(turn, before)
    const isReachDue = turn.missingDevices.length > 0
    if (turn.contact.isReachDue !== isReachDue) turn.contact = { ...turn.contact, isReachDue }
    if (turn.contact !== before) this.#book.write(batch, turn.contact)
    if (turn.thread !== thread.record) batch.put(keys.thread(id), threadCodec, turn.thread)
    turn.writeSessions(this.#context.clock.now())
  }

  /** What went with devices that the contact's newest list does not name goes too. */
  #followList(turn: Turn, before: ContactRecord | undefined): void {
    const { contact } = turn
    if (contact?.deviceList === undefined || contact.deviceList === before?.deviceList) return
    const lists = { before: listedDevices(before), after: listedDevices(contact) }
    turn.contact = { ...contact, formerDevices: formerDevices(contact.formerDevices, lists) }
    turn.dropSessions(lists.after)
    turn.batch.then(() => this.#onList(turn.id))
  }

  /** The next version of what is shared, for the other devices. */
  async #tell(turn: Turn, before: ContactRecord | undefined): Promise<void> {
    const { contact, batch, id } = turn
    const { own, account } = this.#context
    if (contact === undefined || id === own.self || own.siblings.length === 0) return
    if (!isSharedChange(before, contact)) {
      // A device of theirs that is new may write to a sibling before that has their list.
      const isNewList = contact.deviceList !== before?.deviceList
      if (isNewList) this.#copies.add(batch, stateBody(contact, { isRemoved: false, positions: [] }))
      return
    }
    const removed = before === undefined ? await this.removal(id) : undefined
    const last = Math.max(contact.version.counter, removed?.counter ?? 0)
    if (removed !== undefined) batch.delete(keys.removed(id))
    turn.contact = { ...contact, version: { counter: last + 1, device: account.deviceId } }
    this.#copies.add(batch, stateBody(turn.contact, { isRemoved: false, positions: [] }))
  }

  #tellRemoval(turn: Turn, before: ContactRecord): void {
    const { own, account } = this.#context
    if (own.siblings.length === 0) return
    const version = { counter: before.version.counter + 1, device: account.deviceId }
    turn.batch.put(keys.removed(turn.id), versionCodec, version)
    this.#copies.add(turn.batch, stateBody({ ...before, version }, { isRemoved: true, positions: [] }))
  }

  /** Which change removed a contact who is not there; our other devices know it too. */
  removal(id: ContactId): Promise<ContactVersion | undefined> {
    return readRecord(this.#context.kv, versionCodec, keys.removed(id))
  }

  /** The turn is durable. */
  #keep(turn: Turn, before: ContactRecord | undefined, thread: Thread): void {
    thread.record = turn.thread
    if (turn.contact === undefined) {
      this.#cache.delete(turn.id)
      this.#book.drop(turn.id)
    } else if (turn.contact !== before) {
      this.#book.take(turn.contact)
    }
  }

  async #load(id: ContactId): Promise<Thread> {
    const cached = this.#cache.get(id)
    if (cached !== undefined) {
      this.#cache.delete(id)
      this.#cache.set(id, cached)
      return cached
    }
    const thread: Thread = {
      record: await readRecord(this.#context.kv, threadCodec, keys.thread(id)) ?? freshThread,
      sessions: new Map(),
      held: await this.#loadHeld(id),
    }
    for (const entry of await this.#context.kv.list({ prefix: keys.sessions(id) })) {
      thread.sessions.set(lastPart(entry.key) as DeviceId, SecureSession.deserialize(entry.value))
    }
    this.#cache.set(id, thread)
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= limits.cachedThreadsMax) break
      this.#cache.delete(oldest)
    }
    return thread
  }

  async #loadHeld(id: ContactId): Promise<Map<DeviceId, Map<number, number>>> {
    const held = new Map<DeviceId, Map<number, number>>()
    if (await this.#context.kv.get(keys.gap(id)) === undefined) return held
    const prefix = keys.helds(id)
    for await (const entry of kvEntries(this.#context.kv, prefix)) {
      const device = entry.key.slice(prefix.length, entry.key.lastIndexOf('/')) as DeviceId
      const times = held.get(device) ?? new Map<number, number>()
      held.set(device, times.set(lastNumber(entry.key), decode(heldCodec, entry.value).receivedAtMs))
    }
    return held
  }
}

function listedDevices(contact: ContactRecord | undefined): DeviceId[] {
  const list = contact === undefined ? undefined : devicesOf(contact)
  return list === undefined ? [] : list.list.devices.map(({ signingKey }) => deviceId(signingKey))
}

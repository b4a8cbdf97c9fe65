/**
 * Everything that changes a contact (profile, counters, ratchets, held texts) does so in a *turn*:
 * turns of one contact run one after the other, each ends with one atomic batch, and a turn never
 * waits for the network. When the batch fails nothing of the turn stays, in memory neither.
 *
 * Ratchets of recently active contacts stay in memory (`cachedMax` of them); the rest are read
 * from the store when their turn comes.
 */
import { SecureSession } from '../../crypto/secure-session.ts'
import { findDevice } from '../account.ts'
import { decode } from '../codec/struct.ts'
import type { DeviceId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { KvStore } from '../ports.ts'
import { Batch } from './batch.ts'
import type { ContactBook } from './contact-book.ts'
import { keys, lastPart, lastNumber } from './keys.ts'
import { freshThread, heldCodec, readRecord, threadCodec } from './records.ts'
import type { ContactId, ContactRecord, HeldRecord, ThreadRecord } from './records.ts'
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
  /** Assign `undefined` to remove the contact. */
  contact: ContactRecord | undefined
  thread: ThreadRecord
  readonly #sessions: Map<DeviceId, SecureSession>
  readonly #changed = new Set<DeviceId>()

  constructor(id: ContactId, contact: ContactRecord | undefined, thread: Thread) {
    this.id = id
    this.contact = contact
    this.thread = thread.record
    this.held = thread.held
    this.#sessions = thread.sessions
  }

  session(device: DeviceId): SecureSession | undefined {
    return this.#sessions.get(device)
  }

  /** Sessions with devices that the contact's list still names: ready to be written to. */
  get readySessions(): { device: DeviceId, session: SecureSession }[] {
    const list = this.contact === undefined ? undefined : devicesOf(this.contact)
    if (list === undefined) return []
    return [...this.#sessions]
      .filter(([device]) => findDevice(list.list, device) !== undefined)
      .map(([device, session]) => ({ device, session }))
  }

  /** The session was used (its state moved on) or is new. */
  keepSession(device: DeviceId, session: SecureSession): void {
    this.#sessions.set(device, session)
    this.#changed.add(device)
  }

  writeSessions(): void {
    for (const device of this.#changed) {
      this.batch.putBytes(keys.session(this.id, device), this.#sessions.get(device)!.serialize())
    }
  }
}

export class Turns {
  readonly #kv: KvStore
  readonly #book: ContactBook
  /** Least recently used first. */
  readonly #cache = new Map<ContactId, Thread>()
  readonly #queues = new Map<ContactId, Promise<unknown>>()

  constructor(components: { kv: KvStore, book: ContactBook }) {
    this.#kv = components.kv
    this.#book = components.book
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

  /** Settles when no turn is under way or waiting. */
  async idle(): Promise<void> {
    while (this.#queues.size > 0) await Promise.all(this.#queues.values())
  }

  async #run<T>(id: ContactId, work: (turn: Turn) => T | Promise<T>): Promise<T> {
    const thread = await this.#load(id)
    const contact = this.#book.get(id)
    const turn = new Turn(id, contact, thread)
    // Before all other effects, which look at the book.
    turn.batch.then(() => this.#keep(turn, contact, thread))
    try {
      const result = await work(turn)
      this.#write(turn, contact, thread)
      await turn.batch.commit(this.#kv)
      return result
    } catch (error) {
      turn.batch.drop()
      this.#cache.delete(id)
      throw error
    }
  }

  #write(turn: Turn, before: ContactRecord | undefined, thread: Thread): void {
    const { batch, contact, id } = turn
    if (contact === undefined) {
      if (before === undefined) return
      batch.delete(keys.contact(id))
      batch.delete(keys.thread(id))
      for (const device of thread.sessions.keys()) batch.delete(keys.session(id, device))
      return
    }
    if (contact !== before) this.#book.write(batch, contact)
    if (turn.thread !== thread.record) batch.put(keys.thread(id), threadCodec, turn.thread)
    turn.writeSessions()
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
      record: await readRecord(this.#kv, threadCodec, keys.thread(id)) ?? freshThread,
      sessions: new Map(),
      held: await this.#loadHeld(id),
    }
    for (const entry of await this.#kv.list({ prefix: keys.sessions(id) })) {
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
    if (await this.#kv.get(keys.gap(id)) === undefined) return held
    const prefix = keys.helds(id)
    for await (const entry of kvEntries(this.#kv, prefix)) {
      const device = entry.key.slice(prefix.length, entry.key.lastIndexOf('/')) as DeviceId
      const times = held.get(device) ?? new Map<number, number>()
      held.set(device, times.set(lastNumber(entry.key), decode(heldCodec, entry.value).receivedAtMs))
    }
    return held
  }
}

/**
 * `MemoryStore`: the `Store` port for tests and simulation, with the durability of a real one.
 *
 * With `syncDelayMs` it models group commit in virtual time: one sync under way, all that is
 * written meanwhile waits for the next; a write settles, and can be read, when its sync has
 * finished. `crash()` is a power cut: what was not synced is gone, and nobody is told that it was
 * stored. With a `random`, the group that was being synced survives every other time, as on real
 * disks, where it may have reached the platter before the answer could be given.
 *
 * ```ts
 * const store = new MemoryStore({ clock }, { syncDelayMs: 5 })
 * store.crash()
 * const after = store.reopen()
 * ```
 */
import { assert, OpenIMError } from '../../crypto/errors.ts'
import { randomFraction } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { checkOperations, ownedOperation } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import { KvTable } from '../../protocol/memory-kv.ts'
import type { Clock, KvStore, Timer } from '../../protocol/ports.ts'
import type { DigestRange, MailboxStore, MailMark, PieceStore, Store } from '../ports.ts'
import { checkBoxLimits, checkPiece, checkTombstone, ownedItem } from './checks.ts'
import { PieceTable } from './memory-pieces.ts'
import { MailTable } from './memory-tables.ts'

export interface MemoryStoreComponents {
  readonly clock: Clock
  /** Decides whether a group survives that was being synced at a crash; without it never. */
  readonly random?: Random
}

export interface MemoryStoreOptions {
  /** How long a sync takes; 0 (the default): every write is durable at once. */
  readonly syncDelayMs?: number
  /** Bodies, keys and values that fit; above it STORE_FULL, until something is deleted. */
  readonly capacityBytes?: number
}

/** What outlives a crash. */
interface Disk {
  readonly mail: MailTable
  readonly pieces: PieceTable
  readonly kv: KvTable
}

interface Write {
  /** Runs the write on the disk and settles its promise. */
  commit(): void
  reject(error: OpenIMError): void
}

export class MemoryStore implements Store {
  readonly mailbox: MailboxStore
  readonly pieces: PieceStore
  readonly kv: KvStore
  readonly #components: MemoryStoreComponents
  readonly #options: MemoryStoreOptions
  readonly #disk: Disk
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** Being synced. */
  #group: Write[] = []
  #queue: Write[] = []
  #timer: Timer | undefined
  #idle: (() => void)[] = []

  constructor(
    components: MemoryStoreComponents,
    options: MemoryStoreOptions = {},
    disk: Disk = { mail: new MailTable(), pieces: new PieceTable(), kv: new KvTable() },
  ) {
    this.#components = components
    this.#options = options
    this.#disk = disk
    this.mailbox = this.#mailboxFace()
    this.pieces = this.#piecesFace()
    this.kv = this.#kvFace()
  }

  /** A power cut: every write not yet synced rejects with STORE_CLOSED, and so does all that follows. */
  crash(): void {
    if (this.#state === 'closed') return
    const { random } = this.#components
    const lost = [...this.#group, ...this.#queue]
    const closed = closedError()
    for (const write of lost) write.reject(closed)
    // Rejected first: the data may be there, but nobody hears so.
    if (random !== undefined && randomFraction(random) < 0.5) for (const write of this.#group) write.commit()
    this.#end()
  }

  /** A new store over what is durable; only after `crash` or `close`. */
  reopen(): MemoryStore {
    assert(this.#state === 'closed', 'a store is reopened after it was closed')
    return new MemoryStore(this.#components, this.#options, this.#disk)
  }

  async close(): Promise<void> {
    if (this.#state === 'open') this.#state = 'closing'
    if (this.#group.length + this.#queue.length > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve))
    }
    if (this.#state !== 'closed') this.#end()
  }

  #end(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#group = []
    this.#queue = []
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** @param growsBytes upper bound of what the write adds */
  #write<T>(growsBytes: number, apply: () => T): Promise<T> {
    if (this.#state !== 'open') return Promise.reject(closedError())
    return new Promise<T>((resolve, reject) => {
      const commit = (): void => {
        try {
          this.#reserve(growsBytes)
          resolve(apply())
        } catch (error) {
          reject(error as Error)
        }
      }
      if (!this.#options.syncDelayMs) {
        commit()
        return
      }
      this.#queue.push({ commit, reject })
      // From a microtask, so that all writes of one turn share the first sync.
      if (this.#group.length === 0 && this.#queue.length === 1) queueMicrotask(() => this.#sync())
    })
  }

  #sync(): void {
    if (this.#state === 'closed' || this.#group.length > 0) return
    this.#group = this.#queue
    this.#queue = []
    this.#timer = this.#components.clock.after(this.#options.syncDelayMs!, () => {
      const group = this.#group
      this.#group = []
      for (const write of group) write.commit()
      if (this.#queue.length > 0) this.#sync()
      else for (const resolve of this.#idle.splice(0)) resolve()
    })
  }

  #reserve(bytes: number): void {
    const { mail, kv, pieces } = this.#disk
    const used = mail.usage().bytes + kv.bytes + pieces.bytes
    const capacity = this.#options.capacityBytes ?? Infinity
    if (bytes > 0 && used + bytes > capacity) {
      throw new OpenIMError('STORE_FULL',
        `${bytes} bytes more than the ${used} stored do not fit in ${capacity}; make room`)
    }
  }

  /** @throws STORE_CLOSED */
  #readable(): Disk {
    if (this.#state === 'closed') throw closedError()
    return this.#disk
  }

  #mailboxFace(): MailboxStore {
    const { clock } = this.#components
    const { mail } = this.#disk
    return {
      setBox: async (box, limits) => {
        checkBoxLimits(limits)
        const own = { ...limits }
        return await this.#write(1, () => mail.setBox(box, own))
      },
      dropBox: async (box) => await this.#write(0, () => mail.dropBox(box)),
      boxes: async () => this.#readable().mail.boxes(clock.now()),
      put: async (items) => {
        const own = items.map(ownedItem)
        const bytes = own.reduce((sum, item) => sum + item.body.length, 0)
        return await this.#write(bytes, () => own.map((item) => mail.put(item, clock.now())))
      },
      list: async (box, page) => this.#readable().mail.list(box, { ...page, nowMs: clock.now() }),
      get: async (box, id) => this.#readable().mail.get(box, id, clock.now()),
      acknowledge: async (box, ids, { expiresAtMs, proof }) => {
        checkTombstone({ expiresAtMs, proof })
        const own = [...ids]
        const tombstone = { expiresAtMs, proof: proof.slice() }
        return await this.#write(0, () => mail.acknowledge(box, own, { ...tombstone, nowMs: clock.now() }))
      },
      tombstone: async (box, id) => this.#readable().mail.tombstone(box, id, clock.now()),
      tombstones: async (box, page) => this.#readable().mail.tombstones(box, { ...page, nowMs: clock.now() }),
      expire: async (nowMs, budget) => await this.#write(0, () => mail.expire(nowMs, budget)),
      usage: async () => this.#readable().mail.usage(),
      digest: (range) => this.#digest(range),
    }
  }

  async *#digest(range: DigestRange): AsyncGenerator<MailMark[]> {
    const marks = this.#readable().mail.digest(range, this.#components.clock.now())
    for (let at = 0; at < marks.length; at += limits.digestPageMarks) {
      yield marks.slice(at, at + limits.digestPageMarks)
    }
  }

  #piecesFace(): PieceStore {
    const { clock } = this.#components
    const { pieces: table } = this.#disk
    return {
      setBox: async (box, limits) => {
        checkBoxLimits(limits)
        const own = { ...limits }
        return await this.#write(1, () => table.setBox(box, own))
      },
      dropBox: async (box) => await this.#write(0, () => table.dropBox(box)),
      boxes: async () => this.#readable().pieces.boxes(clock.now()),
      put: async (box, pieces) => {
        for (const piece of pieces) checkPiece(piece)
        const own = pieces.map(({ id, body }) => ({ id, body: body.slice() }))
        const bytes = own.reduce((sum, { body }) => sum + body.length, 0)
        return await this.#write(bytes, () => table.put(box, own, clock.now()))
      },
      count: async (box) => this.#readable().pieces.count(box, clock.now()),
      list: async (box, page) => this.#readable().pieces.list(box, { ...page, nowMs: clock.now() }),
      expire: async (nowMs) => await this.#write(0, () => table.expire(nowMs)),
    }
  }

  #kvFace(): KvStore {
    const { clock } = this.#components
    const { kv } = this.#disk
    return {
      get: async (key) => this.#readable().kv.get(key, clock.now()),
      list: async (range) => this.#readable().kv.list(range, clock.now()),
      write: async (operations) => {
        const bytes = checkOperations(operations)
        const own = operations.map(ownedOperation)
        const grows = own.some((one) => one.type === 'put')
        return await this.#write(grows ? bytes : 0, () => kv.write(own, clock.now()))
      },
      expire: async (nowMs, budget) => await this.#write(0, () => kv.expire(nowMs, budget)),
    }
  }
}

function closedError(): OpenIMError {
  return new OpenIMError('STORE_CLOSED', 'the store is closed')
}

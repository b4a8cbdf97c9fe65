/**
 * Key-value records in memory: for tests and simulations (node/storage/memory-store.ts adds time,
 * loss and crashes), and for a device that shall forget everything when it ends.
 *
 * Speed matters more than elegance of asymptotics: a simulation runs hundreds of these, most with
 * a few thousand records, so keys are kept in one sorted array.
 */
import { checkOperations, ownedOperation } from './kv.ts'
import type { Clock, KvEntry, KvOperation, KvPut, KvRange, KvStore } from './ports.ts'
import { systemClock } from './system-clock.ts'

/** Nothing outlives the process. */
export function memoryKv(clock: Clock = systemClock): KvStore {
  const table = new KvTable()
  return {
    get: async (key) => table.get(key, clock.now()),
    list: async (range) => table.list(range, clock.now()),
    async write(operations) {
      checkOperations(operations)
      return table.write(operations.map(ownedOperation), clock.now())
    },
    expire: async (nowMs, budget) => table.expire(nowMs, budget),
  }
}

/** Synchronous; each method is one atomic step. */
export class KvTable {
  readonly #rows = new Map<string, KvEntry>()
  /** All keys, in code unit order. */
  readonly #keys: string[] = []
  #nextVersion = 1
  #bytes = 0
  /** Nothing expires before this. */
  #nextExpiryMs = Infinity

  /** Keys and values. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string, nowMs: number): KvEntry | undefined {
    const row = this.#live(key, nowMs)
    return row === undefined ? undefined : entryOf(row)
  }

  list({ prefix, after, limit = Infinity, reverse = false }: KvRange, nowMs: number): KvEntry[] {
    let from = this.#firstNot((key) => key < prefix)
    let to = this.#firstNot((key) => key < prefix || key.startsWith(prefix))
    if (after !== undefined) {
      if (reverse) to = Math.min(to, this.#firstNot((key) => key < after))
      else from = Math.max(from, this.#firstNot((key) => key <= after))
    }
    const entries: KvEntry[] = []
    for (let i = 0; i < to - from && entries.length < limit; i++) {
      const entry = this.get(this.#keys[reverse ? to - 1 - i : from + i]!, nowMs)
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  write(operations: readonly KvOperation[], nowMs: number): boolean {
    for (const one of operations) {
      if (one.type === 'check' && (this.#live(one.key, nowMs)?.version ?? 0) !== one.version) return false
    }
    for (const one of operations) {
      if (one.type === 'put') this.#put(one)
      else if (one.type === 'delete') this.#delete(one.key)
    }
    return true
  }

  expire(nowMs: number, budget: number): number {
    if (nowMs < this.#nextExpiryMs) return 0
    let gone = 0
    this.#nextExpiryMs = Infinity
    for (const { key, expiresAtMs } of [...this.#rows.values()]) {
      if (expiresAtMs > nowMs || gone >= budget) {
        this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresAtMs)
        continue
      }
      this.#delete(key)
      gone++
    }
    return gone
  }

  #live(key: string, nowMs: number): KvEntry | undefined {
    const row = this.#rows.get(key)
    return row === undefined || row.expiresAtMs <= nowMs ? undefined : row
  }

  #put({ key, value, expiresAtMs = Infinity }: KvPut): void {
    const old = this.#rows.get(key)
    if (old === undefined) {
      this.#keys.splice(this.#indexOf(key), 0, key)
      this.#bytes += key.length
    }
    this.#bytes += value.length - (old?.value.length ?? 0)
    this.#rows.set(key, { key, value, expiresAtMs, version: this.#nextVersion++ })
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiresAtMs)
  }

  #delete(key: string): void {
    const old = this.#rows.get(key)
    if (old === undefined) return
    this.#rows.delete(key)
    this.#keys.splice(this.#indexOf(key), 1)
    this.#bytes -= key.length + old.value.length
  }

  #indexOf(key: string): number {
    return this.#firstNot((other) => other < key)
  }

  /** Index of the first key that is not `before`, which holds for a first part of the order. */
  #firstNot(before: (key: string) => boolean): number {
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (before(this.#keys[middle]!)) low = middle + 1
      else high = middle
    }
    return low
  }
}

function entryOf(row: KvEntry): KvEntry {
  return { ...row, value: row.value.slice() }
}

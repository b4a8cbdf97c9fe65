/**
 * Key-value records in memory: for tests and simulations (node/storage/memory-store.ts adds time,
 * loss and crashes), and for a device that shall forget everything when it ends.
 *
 * Speed matters more than elegance of asymptotics: a simulation runs hundreds of these, most with
 * a few thousand records, so keys are kept in one sorted array.
 */
import { checkOperations, ownedOperation } from './kv.ts'
import type { KvEntry, KvOperation, KvRange, KvStore } from './ports.ts'

/** Nothing outlives the process. */
export function memoryKv(): KvStore {
  const table = new KvTable()
  return {
    get: async (key) => table.get(key),
    list: async (range) => table.list(range),
    async write(operations) {
      checkOperations(operations)
      return table.write(operations.map(ownedOperation))
    },
  }
}

/** Synchronous; each method is one atomic step. */
export class KvTable {
  readonly #entries = new Map<string, KvEntry>()
  /** All keys, in code unit order. */
  readonly #keys: string[] = []
  #nextVersion = 1
  #bytes = 0

  /** Keys and values. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string): KvEntry | undefined {
    const entry = this.#entries.get(key)
    return entry === undefined ? undefined : copied(entry)
  }

  list({ prefix, after, limit = Infinity, reverse = false }: KvRange): KvEntry[] {
    let from = this.#firstNot((key) => key < prefix)
    let to = this.#firstNot((key) => key < prefix || key.startsWith(prefix))
    if (after !== undefined) {
      if (reverse) to = Math.min(to, this.#firstNot((key) => key < after))
      else from = Math.max(from, this.#firstNot((key) => key <= after))
    }
    if (reverse) from = Math.max(from, to - limit)
    else to = Math.min(to, from + limit)
    const entries = this.#keys.slice(from, Math.max(from, to)).map((key) => copied(this.#entries.get(key)!))
    return reverse ? entries.reverse() : entries
  }

  write(operations: readonly KvOperation[]): boolean {
    for (const one of operations) {
      if (one.type === 'check' && (this.#entries.get(one.key)?.version ?? 0) !== one.version) return false
    }
    for (const one of operations) {
      if (one.type === 'put') this.#put(one.key, one.value)
      else if (one.type === 'delete') this.#delete(one.key)
    }
    return true
  }

  #put(key: string, value: Uint8Array): void {
    const old = this.#entries.get(key)
    if (old === undefined) {
      this.#keys.splice(this.#indexOf(key), 0, key)
      this.#bytes += key.length
    }
    this.#bytes += value.length - (old?.value.length ?? 0)
    this.#entries.set(key, { key, value, version: this.#nextVersion++ })
  }

  #delete(key: string): void {
    const old = this.#entries.get(key)
    if (old === undefined) return
    this.#entries.delete(key)
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

function copied(entry: KvEntry): KvEntry {
  return { ...entry, value: entry.value.slice() }
}

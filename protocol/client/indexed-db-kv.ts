/**
 * The `KvStore` port over IndexedDB (W3C Indexed Database API 3.0): where a page keeps its device.
 *
 * ```text
 *   database NAME, version 1
 *     records   { key, value: Uint8Array, version, expiresAtMs? }, by key; strings order by code unit,
 *               as ours do; what ends stands in the index "expiresAtMs", too
 *     meta      "version" → the last version given to a record
 * ```
 *
 * Writes are grouped: while one transaction is under way all that comes waits for the next, and each
 * asks for strict durability, so that what is said to be stored survives a power cut as far as the
 * browser goes. Whatever a batch checks is read before anything is written; a transaction lives only
 * while requests of it are under way, so nothing else is awaited in between.
 *
 * One page at a time: two would both write the ratchets of one device. The lock is the browser's own
 * (Web Locks), which ends with the page however it ends. It exists in secure contexts alone (HTTPS,
 * localhost); elsewhere the app sees to it.
 *
 * Alternatives weighed (docs/decisions/0013-client-sdk.md): browser-level.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { checkOperations, ownedOperation } from '../kv.ts'
import { limits } from '../limits.ts'
import type { Clock, KvEntry, KvOperation, KvPut, KvRange, KvStore } from '../ports.ts'
import { systemClock } from '../system-clock.ts'

export interface IndexedDbOptions {
  /** Of the database; one device, one name. */
  readonly name: string
  readonly clock?: Clock
}

interface Row extends Omit<KvEntry, 'expiresAtMs'> {
  readonly expiresAtMs?: number
}

interface Write {
  readonly operations: readonly KvOperation[]
  resolve(done: boolean): void
  reject(error: unknown): void
}

const schemaVersion = 1
const counterKey = 'version'
const expiryIndex = 'expiresAtMs'

export class IndexedDbKv implements KvStore {
  readonly #database: IDBDatabase
  readonly #release: () => void
  readonly #clock: Clock
  #waiting: Write[] = []
  #working: Promise<void> | undefined
  #state: 'open' | 'closed' = 'open'

  /**
   * Opens the database, or makes it. A page that was just left may hold it for a moment: waits.
   * @throws STORE_LOCKED (another page has it), STORE_NEWER, STORE_FULL, STORE_IO
   */
  static async open({ name, clock = systemClock }: IndexedDbOptions): Promise<IndexedDbKv> {
    const release = await takeLock(`openim ${name}`, clock)
    try {
      return new IndexedDbKv(await openDatabase(name), { release, clock })
    } catch (error) {
      release()
      throw error
    }
  }

  private constructor(database: IDBDatabase, { release, clock }: { release: () => void, clock: Clock }) {
    this.#database = database
    this.#release = release
    this.#clock = clock
    // The person clears the site's data, or somebody deletes the database.
    database.onclose = () => this.#end()
    database.onversionchange = () => { void this.close() }
  }

  /** What was written before is stored first. Idempotent. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    await this.#working
    this.#database.close()
    this.#release()
  }

  /** @throws STORE_CLOSED, STORE_IO */
  async get(key: string): Promise<KvEntry | undefined> {
    const row = await this.#read((records) => settled<Row | undefined>(records.get(key)))
    return isLive(row, this.#clock.now()) ? entryOf(row) : undefined
  }

  /** @throws STORE_CLOSED, STORE_IO */
  async list({ prefix, after, limit = Infinity, reverse = false }: KvRange): Promise<KvEntry[]> {
    const range = keyRange({ prefix, after, reverse })
    if (limit < 1 || range === 'nothing') return []
    const nowMs = this.#clock.now()
    return await this.#read(async (records) => {
      const page = { range, limit, reverse, nowMs }
      if (reverse) return await oneByOne(records, page)
      // Faster, and enough unless some have expired.
      const rows = await settled<Row[]>(records.getAll(range, limit === Infinity ? undefined : limit))
      return rows.every((row) => isLive(row, nowMs)) ? rows.map(entryOf) : await oneByOne(records, page)
    })
  }

  /** @throws STORE_CLOSED, STORE_FULL, STORE_IO */
  async write(operations: readonly KvOperation[]): Promise<boolean> {
    checkOperations(operations)
    if (this.#state !== 'open') throw closedError()
    const own = operations.map(ownedOperation)
    const done = new Promise<boolean>((resolve, reject) => {
      this.#waiting.push({ operations: own, resolve, reject })
    })
    this.#working ??= this.#work()
    return await done
  }

  /** @throws STORE_CLOSED, STORE_IO */
  async expire(nowMs: number, budget: number): Promise<number> {
    if (this.#state !== 'open') throw closedError()
    try {
      const transaction = this.#database.transaction('records', 'readwrite', { durability: 'strict' })
      const durable = completed(transaction)
      const index = transaction.objectStore('records').index(expiryIndex)
      const due = index.openCursor(IDBKeyRange.upperBound(nowMs))
      let gone = 0
      due.onsuccess = () => {
        if (due.result === null || gone === budget) return
        due.result.delete()
        gone++
        due.result.continue()
      }
      await durable
      return gone
    } catch (error) {
      throw storeError(error)
    }
  }

  async #read<T>(ask: (records: IDBObjectStore) => Promise<T>): Promise<T> {
    if (this.#state !== 'open') throw closedError()
    try {
      return await ask(this.#database.transaction('records').objectStore('records'))
    } catch (error) {
      throw storeError(error)
    }
  }

  async #work(): Promise<void> {
    // All writes of one turn share the first transaction.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const group = this.#nextGroup()
      try {
        const results = await this.#commit(group.map(({ operations }) => operations))
        for (const [i, { resolve }] of group.entries()) resolve(results[i]!)
      } catch (error) {
        const failure = storeError(error)
        for (const { reject } of group) reject(failure)
      }
    }
    this.#working = undefined
  }

  #nextGroup(): Write[] {
    let bytes = 0
    const tooMany = this.#waiting.findIndex(({ operations }, i) => {
      bytes += checkOperations(operations)
      return i > 0 && bytes > limits.kvBatchBytesMax
    })
    return this.#waiting.splice(0, tooMany === -1 ? this.#waiting.length : tooMany)
  }

  /** Which of the batches were written: durable when it settles. */
  async #commit(batches: readonly (readonly KvOperation[])[]): Promise<boolean[]> {
    const transaction = this.#database.transaction(['records', 'meta'], 'readwrite', { durability: 'strict' })
    const durable = completed(transaction)
    try {
      const results = await apply(transaction, batches, this.#clock.now())
      await durable
      return results
    } catch (error) {
      durable.catch(() => {})
      // Fails when it is over already.
      try { transaction.abort() } catch {}
      throw transaction.error ?? error
    }
  }

  #end(): void {
    this.#state = 'closed'
    this.#release()
  }
}

/** Judges each batch by what was there before it, the earlier batches included. */
async function apply(
  transaction: IDBTransaction,
  batches: readonly (readonly KvOperation[])[],
  nowMs: number,
): Promise<boolean[]> {
  const records = transaction.objectStore('records')
  const meta = transaction.objectStore('meta')
  const checked = new Set(batches.flat().filter(({ type }) => type === 'check').map(({ key }) => key))
  const [counter, ...found] = await Promise.all([
    settled<number | undefined>(meta.get(counterKey)),
    ...Array.from(checked, (key) => settled<Row | undefined>(records.get(key))),
  ])
  const versions = new Map(Array.from(checked, (key, i) => {
    const row = found[i]
    return [key, isLive(row, nowMs) ? row.version : 0]
  }))
  let last = counter ?? 0
  const results = batches.map((operations) => {
    const holds = operations.every((one) => one.type !== 'check' || versions.get(one.key) === one.version)
    if (!holds) return false
    for (const one of operations) {
      if (one.type === 'put') records.put(rowOf(one, ++last))
      else if (one.type === 'delete') records.delete(one.key)
      if (one.type === 'put') versions.set(one.key, (one.expiresAtMs ?? Infinity) > nowMs ? last : 0)
      else if (one.type === 'delete') versions.set(one.key, 0)
    }
    return true
  })
  if (last !== counter) meta.put(last, counterKey)
  return results
}

/** Where to look; the bounds are the prefix and, tighter, `after`. */
function keyRange(
  { prefix, after, reverse }: { prefix: string, after: string | undefined, reverse: boolean },
): IDBKeyRange | 'nothing' {
  const isTighter = after !== undefined && (reverse ? after < pastPrefix(prefix) : after >= prefix)
  const lower = isTighter && !reverse ? after : prefix
  const upper = isTighter && reverse ? after : pastPrefix(prefix)
  if (lower >= upper) return 'nothing'
  return IDBKeyRange.bound(lower, upper, lower === after, true)
}

/** The first string after all that begin with `prefix`; no key is longer than the limit. */
function pastPrefix(prefix: string): string {
  return prefix + '\uffff'.repeat(limits.kvKeyBytesMax + 1)
}

function rowOf({ key, value, expiresAtMs = Infinity }: KvPut, version: number): Row {
  const row = { key, value, version }
  return expiresAtMs === Infinity ? row : { ...row, expiresAtMs }
}

function entryOf({ key, value, version, expiresAtMs = Infinity }: Row): KvEntry {
  return { key, value, version, expiresAtMs }
}

function isLive(row: Row | undefined, nowMs: number): row is Row {
  return row !== undefined && (row.expiresAtMs ?? Infinity) > nowMs
}

async function oneByOne(
  records: IDBObjectStore,
  page: { range: IDBKeyRange, limit: number, reverse: boolean, nowMs: number },
): Promise<KvEntry[]> {
  const { range, limit, reverse, nowMs } = page
  const found: KvEntry[] = []
  const request = records.openCursor(range, reverse ? 'prev' : 'next')
  await new Promise<void>((resolve, reject) => {
    request.onerror = () => reject(request.error as Error)
    request.onsuccess = () => {
      const cursor = request.result
      const row = cursor?.value as Row | undefined
      if (isLive(row, nowMs)) found.push(entryOf(row))
      if (cursor === null || found.length >= limit) resolve()
      else cursor.continue()
    }
  })
  return found
}

function openDatabase(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, schemaVersion)
    request.onupgradeneeded = () => {
      const records = request.result.createObjectStore('records', { keyPath: 'key' })
      records.createIndex(expiryIndex, 'expiresAtMs')
      request.result.createObjectStore('meta')
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(storeError(request.error))
  })
}

function settled<T>(request: IDBRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result as T)
    request.onerror = () => reject(request.error as Error)
  })
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error as Error)
  })
}

/** Settles with the function that gives it back. @throws STORE_LOCKED */
function takeLock(name: string, clock: Clock): Promise<() => void> {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks
  if (locks === undefined) return Promise.resolve(() => {})
  const patience = new AbortController()
  const timer = clock.after(limits.pageLockMs, () => patience.abort())
  return new Promise((resolve, reject) => {
    const held = (): Promise<void> => new Promise((release) => {
      timer.cancel()
      resolve(release)
    })
    locks.request(name, { signal: patience.signal }, held).catch((error: unknown) => {
      timer.cancel()
      reject(patience.signal.aborted
        ? new OpenIMError('STORE_LOCKED', 'another page has this device open: close that one')
        : storeError(error))
    })
  })
}

const codes: Readonly<Record<string, string>> = {
  QuotaExceededError: 'STORE_FULL', VersionError: 'STORE_NEWER', InvalidStateError: 'STORE_CLOSED',
}

/** What IndexedDB says, as one of ours. */
function storeError(cause: unknown): OpenIMError {
  if (cause instanceof OpenIMError) return cause
  const { name = 'unknown', message = '' } = (cause ?? {}) as { name?: string, message?: string }
  return new OpenIMError(codes[name] ?? 'STORE_IO', `IndexedDB: ${name} ${message}`.trimEnd(), { cause })
}

function closedError(): OpenIMError {
  return new OpenIMError('STORE_CLOSED', 'the store is closed')
}

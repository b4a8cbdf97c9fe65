/**
 * `KvStore` over the rows of level-rows.ts. A record whose checksum does not fit is never returned
 * and never dropped: reading it throws STORE_CORRUPT with its key, for only its owner knows what
 * it was worth; writing it heals it.
 */
import { compareBytes, concat, utf8, utf8Decode } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { checkOperations, ownedOperation } from '../../protocol/kv.ts'
import type { Clock, KvEntry, KvOperation, KvPut, KvRange, KvStore } from '../../protocol/ports.ts'
import type { CommitQueue } from './level-commit.ts'
import type { LevelDatabase, LevelHandle } from './level-database.ts'
import type { CorruptionListener, Draft } from './level-draft.ts'
import { decodeRow, kvRow, recordOf, rowKey, timeText } from './level-rows.ts'
import type { KvRow } from './level-rows.ts'

/** Read at once: a page of them is some hundred kilobytes. */
const pageRows = 500

export interface LevelKvComponents {
  readonly database: LevelDatabase
  readonly queue: CommitQueue
  readonly clock: Clock
  readonly onCorrupt: CorruptionListener
}

export class LevelKv implements KvStore {
  readonly #components: LevelKvComponents

  constructor(components: LevelKvComponents) {
    this.#components = components
  }

  /** @throws STORE_CORRUPT */
  async get(key: string): Promise<KvEntry | undefined> {
    const row = await this.#components.database.read((handle) => handle.get(rowKey.kv(key)))
    return row === undefined ? undefined : this.#live(key, row)
  }

  /** @throws STORE_CORRUPT when one of them is damaged */
  async list({ prefix, after, limit, reverse = false }: KvRange): Promise<KvEntry[]> {
    // Bounds are bytes, as LevelDB orders them; no UTF-8 text holds the byte 0xff.
    const first = utf8(rowKey.kv(prefix))
    const end = concat(first, new Uint8Array([0xff]))
    const cut = after === undefined ? undefined : utf8(rowKey.kv(after))
    const range = {
      ...(cut !== undefined && !reverse && compareBytes(cut, first) >= 0 ? { gt: cut } : { gte: first }),
      lt: cut !== undefined && reverse && compareBytes(cut, end) < 0 ? cut : end,
      reverse,
    }
    return await this.#components.database.read((handle) => this.#entries(handle, range, limit ?? Infinity))
  }

  /** Some rows at a time, as many of them may have expired. */
  async #entries(
    handle: LevelHandle,
    range: { gt?: Uint8Array, gte?: Uint8Array, lt: Uint8Array, reverse: boolean },
    limit: number,
  ): Promise<KvEntry[]> {
    const entries: KvEntry[] = []
    const iterator = handle.iterator<Uint8Array, Uint8Array>({ ...range, keyEncoding: 'view' })
    try {
      while (entries.length < limit) {
        const rows = await iterator.nextv(Math.min(limit - entries.length, pageRows))
        if (rows.length === 0) break
        for (const [key, row] of rows) {
          const entry = this.#live(utf8Decode(key).slice(1), row)
          if (entry !== undefined) entries.push(entry)
        }
      }
      return entries
    } finally {
      await iterator.close()
    }
  }

  async write(operations: readonly KvOperation[]): Promise<boolean> {
    const bytes = checkOperations(operations)
    const own = operations.map(ownedOperation)
    const checks = own.filter((one) => one.type === 'check')
    const changes = own.filter((one) => one.type !== 'check')
    return await this.#components.queue.submit({
      grows: own.some((one) => one.type === 'put'),
      bytes,
      reads: () => own.map((one) => rowKey.kv(one.key)),
      apply: (draft) => {
        for (const check of checks) if (this.#version(draft, check.key) !== check.version) return false
        for (const one of changes) {
          remove(draft, one.key)
          if (one.type === 'put') put(draft, one)
        }
        return true
      },
    })
  }

  /** The rows that say when a record ends are few, so this scan needs no mark of where to begin. */
  async expire(nowMs: number, budget: number): Promise<number> {
    let due: string[] = []
    return await this.#components.queue.submit({
      grows: false,
      bytes: budget * 64,
      reads: async (_state, handle) => {
        const range = { gte: 'e', lt: `e${timeText(nowMs)}\uffff`, limit: budget }
        due = await handle.keys(range).all()
        return due.map((key) => rowKey.kv(recordOf(key)))
      },
      apply(draft) {
        let gone = 0
        for (const key of due) {
          const record = recordOf(key)
          // One that was damaged is left to its owner (STORE_CORRUPT).
          const expiresAtMs = kept(draft, record)?.expiresAtMs
          draft.delete(key)
          if (expiresAtMs === undefined || rowKey.recordExpiry(expiresAtMs, record) !== key) continue
          draft.delete(rowKey.kv(record))
          gone++
        }
        return gone
      },
    })
  }

  #version(draft: Draft, key: string): number {
    const row = draft.raw(rowKey.kv(key))
    return row === undefined ? 0 : this.#live(key, row)?.version ?? 0
  }

  #live(key: string, row: Uint8Array): KvEntry | undefined {
    const { version, value, expiresAtMs } = this.#row(key, row)
    return expiresAtMs <= this.#components.clock.now() ? undefined : { key, value, version, expiresAtMs }
  }

  #row(key: string, row: Uint8Array): KvRow {
    const value = decodeRow(kvRow, rowKey.kv(key), row)
    if (value !== undefined) return value
    this.#components.onCorrupt(rowKey.kv(key))
    const message = `the record ${key} is damaged on disk; restore it from a backup`
    throw new OpenIMError('STORE_CORRUPT', message, { details: { key } })
  }
}

/** What is there now; undefined also when it is damaged. */
function kept(draft: Draft, key: string): KvRow | undefined {
  const row = draft.raw(rowKey.kv(key))
  return row === undefined ? undefined : decodeRow(kvRow, rowKey.kv(key), row)
}

function remove(draft: Draft, key: string): void {
  const expiresAtMs = kept(draft, key)?.expiresAtMs ?? Infinity
  if (expiresAtMs !== Infinity) draft.delete(rowKey.recordExpiry(expiresAtMs, key))
  draft.delete(rowKey.kv(key))
}

function put(draft: Draft, { key, value, expiresAtMs = Infinity }: KvPut): void {
  draft.put(kvRow, rowKey.kv(key), { version: draft.nextNumber(), expiresAtMs, value })
  if (expiresAtMs !== Infinity) draft.putBytes(rowKey.recordExpiry(expiresAtMs, key), new Uint8Array())
}

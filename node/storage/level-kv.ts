/**
 * `KvStore` over the rows of level-rows.ts. A record whose checksum does not fit is never returned
 * and never dropped: reading it throws STORE_CORRUPT with its key, for only its owner knows what
 * it was worth; writing it heals it.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { compareBytes, concat, utf8, utf8Decode } from '../../crypto/bytes.ts'
import { checkOperations, ownedOperation } from '../../protocol/kv.ts'
import type { KvEntry, KvOperation, KvRange, KvStore } from '../../protocol/ports.ts'
import type { CommitQueue } from './level-commit.ts'
import type { LevelDatabase } from './level-database.ts'
import type { CorruptionListener, Draft } from './level-draft.ts'
import { decodeRow, kvRow, rowKey } from './level-rows.ts'

export interface LevelKvComponents {
  readonly database: LevelDatabase
  readonly queue: CommitQueue
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
    return row === undefined ? undefined : this.#entry(key, row)
  }

  /** @throws STORE_CORRUPT when one of them is damaged */
  async list({ prefix, after, limit, reverse = false }: KvRange): Promise<KvEntry[]> {
    // Bounds are bytes, as LevelDB orders them; no UTF-8 text holds the byte 0xff.
    const first = utf8(rowKey.kv(prefix))
    const end = concat(first, new Uint8Array([0xff]))
    const cut = after === undefined ? undefined : utf8(rowKey.kv(after))
    const rows = await this.#components.database.read((handle) => handle.iterator<Uint8Array, Uint8Array>({
      ...(cut !== undefined && !reverse && compareBytes(cut, first) >= 0 ? { gt: cut } : { gte: first }),
      lt: cut !== undefined && reverse && compareBytes(cut, end) < 0 ? cut : end,
      limit: limit ?? -1,
      reverse,
      keyEncoding: 'view',
    }).all())
    return rows.map(([key, row]) => this.#entry(utf8Decode(key).slice(1), row))
  }

  async write(operations: readonly KvOperation[]): Promise<boolean> {
    const bytes = checkOperations(operations)
    const own = operations.map(ownedOperation)
    const checks = own.filter((one) => one.type === 'check')
    return await this.#components.queue.submit({
      grows: own.some((one) => one.type === 'put'),
      bytes,
      reads: () => checks.map((one) => rowKey.kv(one.key)),
      apply: (draft) => {
        for (const check of checks) if (this.#version(draft, check.key) !== check.version) return false
        for (const one of own) {
          const row = rowKey.kv(one.key)
          if (one.type === 'put') draft.put(kvRow, row, { version: draft.nextNumber(), value: one.value })
          else if (one.type === 'delete') draft.delete(row)
        }
        return true
      },
    })
  }

  #version(draft: Draft, key: string): number {
    const row = draft.raw(rowKey.kv(key))
    return row === undefined ? 0 : this.#entry(key, row).version
  }

  #entry(key: string, row: Uint8Array): KvEntry {
    const value = decodeRow(kvRow, rowKey.kv(key), row)
    if (value !== undefined) return { key, ...value }
    this.#components.onCorrupt(rowKey.kv(key))
    const message = `the record ${key} is damaged on disk; restore it from a backup`
    throw new OpenIMError('STORE_CORRUPT', message, { details: { key } })
  }
}

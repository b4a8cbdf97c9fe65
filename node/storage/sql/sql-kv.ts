/** `KvStore` over SQL. Names are UTF-8 bytes, ordered as bytes. */
import { compareBytes, concat, utf8, utf8Decode } from '../../../crypto/bytes.ts'
import { checkOperations, ownedOperation } from '../../../protocol/kv.ts'
import type { KvEntry, KvOperation, KvRange, KvStore } from '../../../protocol/ports.ts'
import { bytesOf, numberOf, sqlNumber } from './sql-driver.ts'
import type { SqlRow } from './sql-driver.ts'
import type { SqlParts } from './sql-parts.ts'

/** Values of one statement: what a reader holds in memory at once is bounded by its own limit. */
const listRowsMax = 10_000

export class SqlKv implements KvStore {
  readonly #parts: SqlParts

  constructor(parts: SqlParts) {
    this.#parts = parts
  }

  async get(key: string): Promise<KvEntry | undefined> {
    const text = 'SELECT name, version, expires_at, value FROM openim_kv WHERE name = ? AND expires_at > ?'
    const [row] = await this.#parts.reader.run(text, [utf8(key), sqlNumber(this.#parts.clock.now())])
    return row === undefined ? undefined : entryOf(row)
  }

  async list({ prefix, after, limit = Infinity, reverse = false }: KvRange): Promise<KvEntry[]> {
    // No UTF-8 text holds the byte 0xff.
    const first = utf8(prefix)
    const end = concat(first, new Uint8Array([0xff]))
    const cut = after === undefined ? undefined : utf8(after)
    const isLower = cut !== undefined && !reverse && compareBytes(cut, first) >= 0
    const isUpper = cut !== undefined && reverse && compareBytes(cut, end) < 0
    const entries: KvEntry[] = []
    let [lower, upper] = [isLower ? cut : first, isUpper ? cut : end]
    let isPast = isLower
    while (entries.length < limit) {
      const count = Math.min(limit - entries.length, listRowsMax)
      const rows = await this.#parts.reader.run(
        `SELECT name, version, expires_at, value FROM openim_kv
         WHERE name ${isPast ? '>' : '>='} ? AND name < ? AND expires_at > ?
         ORDER BY name ${reverse ? 'DESC' : 'ASC'} LIMIT ?`,
        [lower, upper, sqlNumber(this.#parts.clock.now()), sqlNumber(count)],
      )
      entries.push(...rows.map(entryOf))
      if (rows.length < count) break
      const last = utf8(entries.at(-1)!.key)
      if (reverse) upper = last
      else [lower, isPast] = [last, true]
    }
    return entries
  }

  async write(operations: readonly KvOperation[]): Promise<boolean> {
    const bytes = checkOperations(operations)
    const own = operations.map(ownedOperation)
    return await this.#parts.lanes.records.submit({
      grows: own.some(({ type }) => type === 'put'),
      bytes,
      needs: () => ({ keys: own.map(({ key }) => key) }),
      apply({ kv }) {
        for (const one of own) if (one.type === 'check' && kv.version(one.key) !== one.version) return false
        for (const one of own) {
          if (one.type === 'put') kv.put(one)
          else if (one.type === 'delete') kv.delete(one.key)
        }
        return true
      },
    })
  }

  async expire(nowMs: number, budget: number): Promise<number> {
    let due: string[] = []
    return await this.#parts.lanes.records.submit({
      grows: false,
      bytes: 1_024,
      async needs(session) {
        const text = 'SELECT name FROM openim_kv WHERE expires_at <= ? ORDER BY expires_at LIMIT ?'
        const rows = await session.run(text, [sqlNumber(nowMs), sqlNumber(Math.max(1, budget))])
        due = rows.map((row) => utf8Decode(bytesOf(row['name'])))
        return { keys: due }
      },
      apply: ({ kv }) => due.filter((key) => kv.expire(key, nowMs)).length,
    })
  }
}

function entryOf(row: SqlRow): KvEntry {
  return {
    key: utf8Decode(bytesOf(row['name'])),
    value: bytesOf(row['value']),
    version: numberOf(row['version']),
    expiresAtMs: numberOf(row['expires_at']),
  }
}

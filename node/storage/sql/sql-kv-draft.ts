/**
 * Records as a group of writes sees and changes them. A version is at least the time of its write:
 * so it grows also over a deletion, unless the clock went back meanwhile.
 */
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import type { KvPut } from '../../../protocol/ports.ts'
import { bytesOf, forEach, insertRows, numberOf, sendEach, sqlNumber } from './sql-driver.ts'
import type { SqlDriver, SqlSession } from './sql-driver.ts'

interface Row {
  readonly version: number
  readonly expiresAtMs: number
  /** Only of new ones. */
  readonly value?: Uint8Array
}

export class KvDraft {
  readonly #driver: SqlDriver
  readonly #nowMs: number
  readonly #stored = new Map<string, Row>()
  readonly #changed = new Map<string, Row | undefined>()

  constructor(driver: SqlDriver, nowMs: number) {
    this.#driver = driver
    this.#nowMs = nowMs
  }

  async load(session: SqlSession, keys: ReadonlySet<string>): Promise<void> {
    const text = 'SELECT name, version, expires_at FROM openim_kv WHERE name (*)'
    for (const row of await forEach(session, text, Array.from(keys, utf8))) {
      const expiresAtMs = numberOf(row['expires_at'])
      this.#stored.set(utf8Decode(bytesOf(row['name'])), { version: numberOf(row['version']), expiresAtMs })
    }
  }

  /** 0: not there, or expired. */
  version(key: string): number {
    const row = this.#row(key)
    return row === undefined || row.expiresAtMs <= this.#nowMs ? 0 : row.version
  }

  put({ key, value, expiresAtMs = Infinity }: KvPut): void {
    const before = this.#row(key)?.version ?? this.#stored.get(key)?.version ?? 0
    this.#changed.set(key, { version: Math.max(before + 1, Math.floor(this.#nowMs)), expiresAtMs, value })
  }

  delete(key: string): void {
    this.#changed.set(key, undefined)
  }

  /** Whether it was there and over. */
  expire(key: string, nowMs: number): boolean {
    const isOver = (this.#row(key)?.expiresAtMs ?? Infinity) <= nowMs
    if (isOver) this.delete(key)
    return isOver
  }

  write(session: SqlSession): void {
    const gone = [...this.#changed].filter(([key, row]) => row === undefined && this.#stored.has(key))
    sendEach(session, 'DELETE FROM openim_kv WHERE name (*)', gone.map(([key]) => utf8(key)))
    const rows = [...this.#changed].flatMap(([key, row]) => row?.value === undefined
      ? []
      : [[utf8(key), BigInt(row.version), sqlNumber(row.expiresAtMs), row.value]])
    insertRows(this.#driver, session, {
      into: 'openim_kv (name, version, expires_at, value)',
      rows,
      end: this.#driver.dialect.upsert('name', ['version', 'expires_at', 'value']),
    })
  }

  #row(key: string): Row | undefined {
    return this.#changed.has(key) ? this.#changed.get(key) : this.#stored.get(key)
  }
}

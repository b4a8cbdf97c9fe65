/**
 * What the SQL store needs of a database: sessions, transactions, and the few places where dialects
 * differ. Implementations: postgresql-driver.ts, mysql-driver.ts. Statements are written with `?`
 * for values, in the common part of both languages.
 *
 * ```text
 *   SqlMailbox, SqlPieces, SqlKv ── reads ──► run          any connection of a pool
 *            │ writes
 *        SqlCommitQueue ──────────────────► transaction    one connection, one at a time
 * ```
 */
import { limits } from '../../../protocol/limits.ts'

/** Numbers of a statement are bigints, bytes are bytes; there is no text in it. */
export type SqlValue = bigint | Uint8Array

/** Bytes come as views of the driver's buffers, numbers as text or numbers. */
export type SqlRow = Readonly<Record<string, unknown>>

export interface SqlSession {
  run(text: string, values?: readonly SqlValue[]): Promise<SqlRow[]>
}

/**
 * Why a statement failed: `away`, the connection is gone or does not answer; `again`, the same
 * transaction may well go through next time; `full`, no room; `other`, a bug or a broken database.
 */
export type SqlTrouble = 'away' | 'again' | 'full' | 'other'

export interface SqlDialect {
  readonly bytesType: (bytesMax: number) => string
  readonly positionType: string
  /** What ends a CREATE TABLE. */
  readonly tableEnd: string
  /** What ends an INSERT whose rows replace those of the same key. */
  upsert(key: string, columns: readonly string[]): string
  /** What ends an INSERT that leaves rows of the same key as they are. */
  ignore(key: string): string
}

export interface SqlDriver extends SqlSession {
  readonly dialect: SqlDialect
  /** Of the values of one statement. */
  readonly statementBytesMax: number
  /** READ COMMITTED; committed when it settles, rolled back when `work` throws. */
  transaction<T>(work: (session: SqlSession) => Promise<T>): Promise<T>
  /** Only one process at a time is in here. */
  migration<T>(work: (session: SqlSession) => Promise<T>): Promise<T>
  trouble(error: unknown): SqlTrouble
  /** Settings under which a power cut may take what was said to be stored, in words. */
  undurable(): Promise<string[]>
  close(): Promise<void>
}

/** Where a database is and as whom to enter it. */
export interface SqlAddress {
  /** Name or IP address; or a folder (PostgreSQL) or file (MySQL) of a UNIX socket, from its `/`. */
  readonly host: string
  readonly port?: number
  readonly user: string
  readonly password?: string
  readonly database: string
  /** With the certificate checked, against `ca` (PEM) where given. Off: only for this machine. */
  readonly tls?: { readonly ca?: string }
}

/** How long to wait, and for how many at once. Tests shorten them. */
export interface SqlPace {
  readonly connectTimeoutMs: number
  readonly queryTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly connectionsMax: number
}

export const defaultPace: SqlPace = {
  connectTimeoutMs: limits.databaseConnectMs,
  queryTimeoutMs: limits.databaseQueryMs,
  idleTimeoutMs: limits.databaseIdleMs,
  connectionsMax: limits.databaseConnectionsMax,
}

// ── Values ──────────────────────────────────────────────────────────────────────────────────

const never = 2n ** 63n - 1n

/** A time or limit: whole numbers, and Infinity as the largest of 64 bits. */
export function sqlNumber(value: number): bigint {
  return value >= Number(never) ? never : BigInt(Math.ceil(value))
}

export function numberOf(value: unknown): number {
  const number = BigInt(value as string | number)
  return number === never ? Infinity : Number(number)
}

/** A copy: the driver's buffer holds more than this row. */
export function bytesOf(value: unknown): Uint8Array {
  return new Uint8Array(value as Uint8Array)
}

// ── Statements over many rows ───────────────────────────────────────────────────────────────

/** Parameters of one statement: PostgreSQL counts them with 16 bits. */
const valuesMax = 8_000

export interface SqlInsert {
  /** `openim_kv (name, value)` */
  readonly into: string
  readonly rows: readonly (readonly SqlValue[])[]
  /** What comes behind the rows. */
  readonly end?: string
}

/** In order, in as few statements as the limits of the database allow. */
export async function insertRows(driver: SqlDriver, session: SqlSession, insert: SqlInsert): Promise<void> {
  const { into, rows, end = '' } = insert
  const width = rows[0]?.length ?? 0
  const tuple = `(${Array.from({ length: width }, () => '?').join(', ')})`
  let at = 0
  while (at < rows.length) {
    const first = at
    for (let bytes = 0; at < rows.length && (at - first + 1) * width <= valuesMax; at++) {
      bytes += bytesIn(rows[at]!)
      if (at > first && bytes > driver.statementBytesMax) break
    }
    const some = rows.slice(first, at)
    const text = `INSERT INTO ${into} VALUES ${some.map(() => tuple).join(', ')} ${end}`
    await session.run(text, some.flat())
  }
}

/** Runs `text` with `(?, ?, …)` in the place of `(*)` for some values after others. */
export async function forEach(
  session: SqlSession,
  text: string,
  values: Iterable<SqlValue>,
): Promise<SqlRow[]> {
  const all = [...values]
  const rows: SqlRow[] = []
  for (let at = 0; at < all.length; at += 1_000) {
    const some = all.slice(at, at + 1_000)
    rows.push(...await session.run(text.replace('(*)', `(${some.map(() => '?').join(', ')})`), some))
  }
  return rows
}

function bytesIn(values: readonly SqlValue[]): number {
  return values.reduce((sum, value) => sum + (typeof value === 'bigint' ? 20 : value.length), 0)
}

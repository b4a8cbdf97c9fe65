/**
 * What the SQL store needs of a database: sessions, transactions, and the few places where dialects
 * differ. Implementations: postgresql-driver.ts, mysql-driver.ts. Statements are written with `?`
 * for values, in the common part of both languages.
 *
 * ```text
 *   SqlMailbox, SqlPieces, SqlKv ── reads ──► run          any connection of a pool
 *            │ writes
 *        SqlCommitQueue ──────────────────► transaction    a connection for each lane
 * ```
 */
import { limits } from '../../../protocol/limits.ts'

/** Numbers of a statement are bigints, bytes are bytes; there is no text in it. */
export type SqlValue = bigint | Uint8Array

/** Bytes come as views of the driver's buffers, numbers as numbers, bigints or their text. */
export type SqlRow = Readonly<Record<string, unknown>>

export interface SqlReader {
  readonly dialect: SqlDialect
  run(text: string, values?: readonly SqlValue[]): Promise<SqlRow[]>
}

/** Statements run in the order of the calls, also when none of them was waited for. */
export interface SqlSession extends SqlReader {
  /** Without waiting for it: when it fails, nothing is committed, and the transaction throws. */
  send(text: string, values?: readonly SqlValue[]): void
}

/**
 * Why a statement failed: `away`, the connection is gone or does not answer; `again`, the same
 * transaction may well go through next time; `full`, no room; `tls`, the other end cannot be trusted;
 * `other`, a bug or a broken database.
 */
export type SqlTrouble = 'away' | 'again' | 'full' | 'tls' | 'other'

/** A piece of a statement, with a `?` for each of its values. */
export interface SqlPart {
  readonly text: string
  readonly values: readonly SqlValue[]
}

export interface SqlDialect {
  readonly bytesType: (bytesMax: number) => string
  readonly positionType: string
  /** What ends a CREATE TABLE. */
  readonly tableEnd: string
  /** The same of a table whose rows change often, but not in what their indexes hold. */
  readonly busyTableEnd: string
  /** Behind a column that is one of some values, which are all numbers or all bytes. */
  oneOf(values: readonly SqlValue[]): SqlPart
  /** Behind `INSERT INTO table (…)`, in order; a column is all numbers or all bytes. */
  rows(rows: readonly (readonly SqlValue[])[]): SqlPart
  /** What ends an INSERT whose rows replace those of the same key. */
  upsert(key: string, columns: readonly string[]): string
  /** What ends an INSERT that leaves rows of the same key as they are. */
  ignore(key: string): string
}

export interface SqlDriver extends SqlReader {
  /** Of the values of one statement. */
  readonly statementBytesMax: number
  /** READ COMMITTED; committed when it settles, rolled back when `work` throws. */
  transaction<T>(work: (session: SqlSession) => Promise<T>): Promise<T>
  /** Only one process at a time is in here. */
  migration<T>(work: (session: SqlReader) => Promise<T>): Promise<T>
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
  /** Of readers; each lane of writes has one of its own. */
  readonly connectionsMax: number
}

export const defaultPace: SqlPace = {
  connectTimeoutMs: limits.databaseConnectMs,
  queryTimeoutMs: limits.databaseQueryMs,
  idleTimeoutMs: limits.databaseIdleMs,
  connectionsMax: limits.databaseConnectionsMax,
}

/** Connections for writes: one for each lane (sql-lanes.ts). */
export const writersMax = 2

// ── Values ──────────────────────────────────────────────────────────────────────────────────

const never = 2n ** 63n - 1n

/** A time or limit: whole numbers, and Infinity as the largest of 64 bits. */
export function sqlNumber(value: number): bigint {
  return value >= Number(never) ? never : BigInt(Math.ceil(value))
}

export function numberOf(value: unknown): number {
  if (typeof value === 'number') return value
  const number = BigInt(value as string | bigint)
  return number === never ? Infinity : Number(number)
}

/** A copy: the driver's buffer holds more than this row. */
export function bytesOf(value: unknown): Uint8Array {
  return new Uint8Array(value as Uint8Array)
}

// ── Statements over many rows ───────────────────────────────────────────────────────────────

/** Values of one statement. */
const valuesMax = 8_000
/** Values of one list: a statement stays small, and its plan a search. */
const listMax = 1_000

export interface SqlInsert {
  /** `openim_kv (name, value)` */
  readonly into: string
  readonly rows: readonly (readonly SqlValue[])[]
  /** What comes behind the rows. */
  readonly end?: string
}

/** In order, in as few statements as the limits of the database allow. */
export function insertRows(driver: SqlDriver, session: SqlSession, insert: SqlInsert): void {
  const { into, rows, end = '' } = insert
  const width = rows[0]?.length ?? 0
  let at = 0
  while (at < rows.length) {
    const first = at
    for (let bytes = 0; at < rows.length && (at - first + 1) * width <= valuesMax; at++) {
      bytes += bytesIn(rows[at]!)
      if (at > first && bytes > driver.statementBytesMax) break
    }
    const { text, values } = session.dialect.rows(rows.slice(first, at))
    session.send(`INSERT INTO ${into} ${text} ${end}`, values)
  }
}

/** `text` names in `(*)` what the column before it is one of: some values after others. */
export async function forEach(
  session: SqlReader,
  text: string,
  values: Iterable<SqlValue>,
): Promise<SqlRow[]> {
  const running = statementsOf(session, text, values).map((part) => session.run(part.text, part.values))
  return (await Promise.all(running)).flat()
}

/** As `forEach`, for what has no result. */
export function sendEach(session: SqlSession, text: string, values: Iterable<SqlValue>): void {
  for (const part of statementsOf(session, text, values)) session.send(part.text, part.values)
}

function statementsOf({ dialect }: SqlReader, text: string, values: Iterable<SqlValue>): SqlPart[] {
  const all = [...values]
  const parts: SqlPart[] = []
  for (let at = 0; at < all.length; at += listMax) {
    const list = dialect.oneOf(all.slice(at, at + listMax))
    parts.push({ text: text.replace('(*)', list.text), values: list.values })
  }
  return parts
}

function bytesIn(values: readonly SqlValue[]): number {
  return values.reduce((sum, value) => sum + (typeof value === 'bigint' ? 20 : value.length), 0)
}

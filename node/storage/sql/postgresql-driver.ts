/**
 * PostgreSQL 13 and later over `pg`: `SqlDriver` with a pool for reads and one for writes. `pg` is
 * an optional dependency, loaded when such a database is opened.
 *
 * Statements are prepared once for each connection, whatever number of rows they are about: rows
 * and lists travel as arrays, in binary (results are text: the driver reads no others). They go out
 * without waiting for each other, so a transaction that reads and then writes waits for the server
 * twice:
 *
 * ```text
 *   ──► BEGIN · lock · SELECT …        ◄── rows
 *   ──► INSERT … · UPDATE … · COMMIT   ◄── done
 * ```
 *
 * Every wait has its end: connecting, a statement, a lock, and a transaction whose process froze
 * (the server ends that one, or it would hold its locks against all others).
 */
import { Socket } from 'node:net'
import type { Pool, PoolClient } from 'pg'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import type { Log } from '../../ports.ts'
import { isTlsRefusal } from '../tls-refusal.ts'
import { defaultPace, writersMax } from './sql-driver.ts'
import type {
  SqlAddress, SqlDialect, SqlDriver, SqlPace, SqlReader, SqlRow, SqlSession, SqlTrouble, SqlValue,
} from './sql-driver.ts'

const dialect: SqlDialect = {
  bytesType: () => 'bytea',
  positionType: 'bigint GENERATED ALWAYS AS IDENTITY',
  tableEnd: '',
  // Room in each page for the next version of a row, which then needs no change of an index.
  busyTableEnd: ' WITH (fillfactor = 50)',
  oneOf: (values) => ({ text: `= ANY(?::${arrayType(values)})`, values: [arrayOf(values)] }),
  rows(rows) {
    const columns = rows[0]!.map((_, i) => rows.map((row) => row[i]!))
    const types = columns.map((column) => `?::${arrayType(column)}`)
    return { text: `SELECT * FROM unnest(${types.join(', ')})`, values: columns.map(arrayOf) }
  },
  upsert: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}`,
  ignore: (key) => `ON CONFLICT (${key}) DO NOTHING`,
}

/** Any number: whoever migrates an openIM schema takes this advisory lock. */
const migrationLock = 0x6f70656e494dn

/**
 * Every statement has its index, so a plan may be made once, also while a table is still empty:
 * without a search of all rows, which would be the best plan just then.
 */
const settings = 'SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off'

/** Statements kept prepared: all of ours; others, or more, are parsed each time. */
const namesMax = 200
const isPrepared = /^(BEGIN|SET LOCAL sync|SELECT|INSERT|UPDATE|DELETE|COMMIT)/

/** Whatever the server's default: nobody is told of what a power cut may take. */
const begin = ['BEGIN ISOLATION LEVEL READ COMMITTED', 'SET LOCAL synchronous_commit = on']

/** `?` into `$1`, `$2`, …; statements hold no other question mark. */
function numbered(text: string): string {
  let count = 0
  return text.replace(/\?/g, () => `$${++count}`)
}

export async function openPostgresql(
  address: SqlAddress,
  components: { readonly log: Log, readonly pace?: SqlPace },
): Promise<SqlDriver> {
  const { log, pace = defaultPace } = components
  const { host, port = 5432, user, password, database, tls } = address
  const { Pool: PoolClass } = await loadPg()
  const pool = (max: number): Pool => {
    const made = new PoolClass({
      host, port, user, database, max,
      ...(password === undefined ? {} : { password }),
      ...(tls === undefined ? {} : { ssl: { rejectUnauthorized: true, ...tls } }),
      application_name: 'openim',
      connectionTimeoutMillis: pace.connectTimeoutMs,
      idleTimeoutMillis: pace.idleTimeoutMs,
      query_timeout: pace.queryTimeoutMs,
      statement_timeout: pace.queryTimeoutMs,
      lock_timeout: pace.queryTimeoutMs,
      idle_in_transaction_session_timeout: 2 * pace.queryTimeoutMs,
      keepAlive: true,
      pipeline: true,
      stream: gatheringSocket,
      onConnect: async (client) => { await client.query(settings) },
    })
    // A connection that ends while nobody uses it: the next user gets another.
    made.on('error', ({ message }) => {
      log.warn({ code: 'STORE_AWAY', reason: message }, 'a database connection ended')
    })
    return made
  }
  return new PostgresqlDriver({ readers: pool(pace.connectionsMax), writers: pool(writersMax) })
}

async function loadPg(): Promise<typeof import('pg')['default']> {
  try {
    return (await import('pg')).default
  } catch (cause) {
    throw new OpenIMError('STORE_DRIVER', 'PostgreSQL needs the package pg: npm install pg', { cause })
  }
}

/**
 * A socket on which all that is written without an `await` leaves in one piece. The driver by itself would
 * make a system call of each statement, which took more time than all else of a write.
 */
function gatheringSocket(): Socket {
  const socket = new Socket()
  const cork = socket.cork.bind(socket)
  const uncork = socket.uncork.bind(socket)
  let isHolding = false
  // The driver corks around the parts of each statement.
  socket.cork = () => {
    if (isHolding) return
    isHolding = true
    cork()
    queueMicrotask(() => {
      isHolding = false
      uncork()
    })
  }
  socket.uncork = () => {}
  return socket
}

class PostgresqlDriver implements SqlDriver {
  readonly dialect = dialect
  readonly statementBytesMax = 4 * 1024 * 1024
  readonly #readers: Pool
  readonly #writers: Pool
  readonly #names = new Map<string, string>()

  constructor({ readers, writers }: { readers: Pool, writers: Pool }) {
    this.#readers = readers
    this.#writers = writers
  }

  async run(text: string, values: readonly SqlValue[] = []): Promise<SqlRow[]> {
    return await onClient(this.#readers, async (client) => await this.#query(client, text, values))
  }

  async transaction<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
    return await onClient(this.#writers, async (client) => {
      const begun = Promise.all(begin.map((text) => this.#query(client, text)))
      // Seen by what waits for it, unless `work` throws first.
      begun.catch(() => {})
      const unsent: [text: string, values: readonly SqlValue[]][] = []
      const sendAll = (): Promise<SqlRow[]>[] =>
        unsent.splice(0).map(([text, values]) => this.#query(client, text, values))
      const result = await work({
        dialect,
        // Nothing is built on a statement that ran outside of its transaction.
        run: async (text, values) =>
          (await Promise.all([begun, ...sendAll(), this.#query(client, text, values)])).at(-1) as SqlRow[],
        // They leave together with what is waited for.
        send: (text, values = []) => { unsent.push([text, values]) },
      })
      // The server takes a COMMIT behind a statement that failed for a ROLLBACK.
      await Promise.all([begun, ...sendAll(), this.#query(client, 'COMMIT')])
      return result
    })
  }

  async #query(client: PoolClient, text: string, values: readonly SqlValue[] = []): Promise<SqlRow[]> {
    const given = values.map((value) =>
      typeof value === 'bigint' ? String(value) : Buffer.from(value.buffer, value.byteOffset, value.length))
    const name = this.#nameOf(text)
    const query = { text: numbered(text), values: given, ...name === undefined ? {} : { name } }
    return (await client.query<SqlRow>(query)).rows
  }

  /** Under which the server keeps it prepared. */
  #nameOf(text: string): string | undefined {
    const known = this.#names.get(text)
    if (known !== undefined || this.#names.size >= namesMax || !isPrepared.test(text)) return known
    const name = `openim_${this.#names.size}`
    this.#names.set(text, name)
    return name
  }

  async migration<T>(work: (session: SqlReader) => Promise<T>): Promise<T> {
    return await this.transaction(async (session) => {
      await session.run('SELECT pg_advisory_xact_lock(?)', [migrationLock])
      return await work(session)
    })
  }

  trouble(error: unknown): SqlTrouble {
    const code = errorCode(error) ?? ''
    if (/^(40001|40P01|55P03)$/.test(code)) return 'again'
    if (/^(53100|53200|54000)$/.test(code)) return 'full'
    // 08: connection; 57P: shut down; 53300: too many; 25P03: idle in a transaction; 57014: cancelled.
    if (/^(08...|57P..|53300|25P03|57014|E[A-Z]+)$/.test(code)) return 'away'
    const hasNone = code === '' && /not support SSL/.test(String(error))
    if (hasNone || isTlsRefusal(code)) return 'tls'
    const isSilent = code === '' && /terminated|timeout|Connection|not queryable/i.test(String(error))
    return isSilent ? 'away' : 'other'
  }

  async undurable(): Promise<string[]> {
    const wanted = "'fsync', 'full_page_writes'"
    const rows = await this.run(`SELECT name, setting FROM pg_settings WHERE name IN (${wanted})`)
    const off = rows.filter(({ setting }) => setting !== 'on')
    return off.map(({ name, setting }) => `${String(name)} = ${String(setting)}`)
  }

  async close(): Promise<void> {
    await Promise.all([this.#readers.end(), this.#writers.end()])
  }
}

// ── Rows and lists ───────────────────────────────────────────────────────────────────────────

const oid = { bytea: 17, bigint: 20 } as const

function arrayType(values: readonly SqlValue[]): string {
  return typeof values[0] === 'bigint' ? 'bigint[]' : 'bytea[]'
}

/**
 * One dimension, counted from 1, without NULL, as the server's array_recv reads it.
 *
 * ```text
 *   dimensions u32 = 1 · hasNull u32 = 0 · oid u32 · count u32 · first u32 = 1 · (length u32 · value) …
 * ```
 */
function arrayOf(values: readonly SqlValue[]): Uint8Array {
  const sizes = values.map((value) => typeof value === 'bigint' ? 8 : value.length)
  const array = Buffer.allocUnsafe(20 + sizes.reduce((sum, size) => sum + 4 + size, 0))
  const id = typeof values[0] === 'bigint' ? oid.bigint : oid.bytea
  for (const [i, word] of [1, 0, id, values.length, 1].entries()) array.writeUInt32BE(word, 4 * i)
  let at = 20
  for (const [i, value] of values.entries()) {
    array.writeUInt32BE(sizes[i]!, at)
    if (typeof value === 'bigint') array.writeBigInt64BE(value, at + 4)
    else array.set(value, at + 4)
    at += 4 + sizes[i]!
  }
  return array
}

/** A connection on which something failed is never used again: nobody knows what it is in. */
async function onClient<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  // While it is out, its end is told to it and not to the pool.
  const ignore = (): void => {}
  client.on('error', ignore)
  try {
    const result = await work(client)
    client.off('error', ignore)
    client.release()
    return result
  } catch (error) {
    client.release(true)
    throw error
  }
}

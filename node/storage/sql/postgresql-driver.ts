/**
 * PostgreSQL 13 and later over `pg`: `SqlDriver` with a pool for reads and one connection for
 * writes. `pg` is an optional dependency, loaded when such a database is opened.
 *
 * Every wait has its end: connecting, a statement, a lock, and a transaction whose process froze
 * (the server ends that one, or it would hold its locks against all others).
 */
import type { Pool, PoolClient } from 'pg'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import type { Log } from '../../ports.ts'
import { defaultPace } from './sql-driver.ts'
import type {
  SqlAddress, SqlDialect, SqlDriver, SqlPace, SqlRow, SqlSession, SqlTrouble, SqlValue,
} from './sql-driver.ts'

const dialect: SqlDialect = {
  bytesType: () => 'bytea',
  positionType: 'bigint GENERATED ALWAYS AS IDENTITY',
  tableEnd: '',
  upsert: (key, columns) =>
    `ON CONFLICT (${key}) DO UPDATE SET ${columns.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}`,
  ignore: (key) => `ON CONFLICT (${key}) DO NOTHING`,
}

/** Any number: whoever migrates an openIM schema takes this advisory lock. */
const migrationLock = 0x6f70656e494dn

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
    })
    // A connection that ends while nobody uses it: the next user gets another.
    made.on('error', ({ message }) => {
      log.warn({ code: 'STORE_AWAY', reason: message }, 'a database connection ended')
    })
    return made
  }
  return new PostgresqlDriver({ readers: pool(pace.connectionsMax), writers: pool(1) })
}

async function loadPg(): Promise<typeof import('pg')['default']> {
  try {
    return (await import('pg')).default
  } catch (cause) {
    throw new OpenIMError('STORE_DRIVER', 'PostgreSQL needs the package pg: npm install pg', { cause })
  }
}

class PostgresqlDriver implements SqlDriver {
  readonly dialect = dialect
  readonly statementBytesMax = 4 * 1024 * 1024
  readonly #readers: Pool
  readonly #writers: Pool

  constructor({ readers, writers }: { readers: Pool, writers: Pool }) {
    this.#readers = readers
    this.#writers = writers
  }

  async run(text: string, values: readonly SqlValue[] = []): Promise<SqlRow[]> {
    return await onClient(this.#readers, async (client) => await sessionOf(client).run(text, values))
  }

  async transaction<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
    return await onClient(this.#writers, async (client) => {
      // Whatever the server's default: nobody is told of what a power cut may take.
      await client.query('BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on')
      const result = await work(sessionOf(client))
      await client.query('COMMIT')
      return result
    })
  }

  async migration<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
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

function sessionOf(client: PoolClient): SqlSession {
  return {
    async run(text, values = []) {
      const given = values.map((value) =>
        typeof value === 'bigint' ? String(value) : Buffer.from(value.buffer, value.byteOffset, value.length))
      return (await client.query(numbered(text), given)).rows as SqlRow[]
    },
  }
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

/**
 * MySQL 8 and MariaDB 10.6 and later over `mysql2`: `SqlDriver` with a pool for reads and one
 * for writes. `mysql2` is an optional dependency, loaded when such a database is opened.
 *
 * Bytes travel as hexadecimal text, twice as long as they are: one statement takes less than half
 * of what the server's `max_allowed_packet` allows, or it would end the connection.
 */
import { isIP } from 'node:net'
import type { Pool, PoolConnection, RowDataPacket } from 'mysql2/promise'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { limits } from '../../../protocol/limits.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { within } from '../../../protocol/timers.ts'
import type { Log } from '../../ports.ts'
import { isTlsRefusal } from '../tls-refusal.ts'
import { storeError } from './sql-commit.ts'
import { defaultPace, writersMax } from './sql-driver.ts'
import type {
  SqlAddress, SqlDialect, SqlDriver, SqlPace, SqlReader, SqlRow, SqlSession, SqlTrouble, SqlValue,
} from './sql-driver.ts'

const dialect: SqlDialect = {
  bytesType: (bytesMax) => bytesMax <= 256 ? `varbinary(${bytesMax})` : 'mediumblob',
  positionType: 'bigint AUTO_INCREMENT',
  tableEnd: ' ENGINE=InnoDB',
  busyTableEnd: ' ENGINE=InnoDB',
  oneOf: (values) => ({ text: `IN (${values.map(() => '?').join(', ')})`, values }),
  rows(rows) {
    const tuple = `(${rows[0]!.map(() => '?').join(', ')})`
    return { text: `VALUES ${rows.map(() => tuple).join(', ')}`, values: rows.flat() }
  },
  upsert: (_key, columns) =>
    `ON DUPLICATE KEY UPDATE ${columns.map((name) => `${name} = VALUES(${name})`).join(', ')}`,
  ignore: (key) => `ON DUPLICATE KEY UPDATE ${key} = ${key}`,
}

/** One value of the largest size must fit, in hexadecimal, with what stands around it. */
const packetBytesMin = 2 * limits.kvValueBytesMax + 64 * 1024
const statementBytesMost = 4 * 1024 * 1024
/** Readers that wait for a connection; more are refused. */
const waitingMax = 1_000

/** @throws STORE_DRIVER, STORE_ADDRESS, STORE_TLS, STORE_AWAY, STORE_IO */
export async function openMysql(
  address: SqlAddress,
  components: { readonly log: Log, readonly pace?: SqlPace },
): Promise<SqlDriver> {
  const { log, pace = defaultPace } = components
  const { host, port = 3306, user, password, database, tls } = address
  if (tls !== undefined && isIP(host) !== 0) {
    // The driver would look for `localhost` in the certificate.
    throw new OpenIMError('STORE_ADDRESS', `TLS needs the name of the host, not its address ${host}`)
  }
  const { createPool } = await loadMysql()
  const pool = (max: number): Pool => createPool({
    ...(host.startsWith('/') ? { socketPath: host } : { host, port }),
    user,
    database,
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { ssl: { rejectUnauthorized: true, verifyIdentity: true, ...tls } }),
    connectionLimit: max,
    maxIdle: max,
    queueLimit: waitingMax,
    connectTimeout: pace.connectTimeoutMs,
    idleTimeout: pace.idleTimeoutMs,
    enableKeepAlive: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
  })
  const pools = { readers: pool(pace.connectionsMax), writers: pool(writersMax) }
  const driver = new MysqlDriver({ ...pools, pace })
  try {
    const flavour = await driver.learn()
    log.debug(flavour, 'the database answers')
    return driver
  } catch (error) {
    await driver.close()
    throw storeError(error, driver.trouble(error))
  }
}

async function loadMysql(): Promise<typeof import('mysql2/promise')> {
  try {
    return await import('mysql2/promise')
  } catch (cause) {
    const message = 'MySQL and MariaDB need the package mysql2: npm install mysql2'
    throw new OpenIMError('STORE_DRIVER', message, { cause })
  }
}

class MysqlDriver implements SqlDriver {
  readonly dialect = dialect
  readonly #readers: Pool
  readonly #writers: Pool
  readonly #connectTimeoutMs: number
  readonly #queryTimeoutMs: number
  readonly #settled = new WeakSet<object>()
  #statementBytesMax = 0

  constructor(options: { readers: Pool, writers: Pool, pace: SqlPace }) {
    this.#readers = options.readers
    this.#writers = options.writers
    this.#connectTimeoutMs = options.pace.connectTimeoutMs
    this.#queryTimeoutMs = options.pace.queryTimeoutMs
  }

  get statementBytesMax(): number {
    return this.#statementBytesMax
  }

  /** @throws STORE_IO when the server takes too little in one packet */
  async learn(): Promise<{ version: string }> {
    const [row] = await this.run('SELECT @@max_allowed_packet AS packet, version() AS version')
    const packet = Number(row!['packet'])
    if (packet < packetBytesMin) {
      throw new OpenIMError('STORE_IO', `max_allowed_packet of the database is ${packet} bytes; `
        + `openIM needs ${packetBytesMin}: set it to 16M`)
    }
    this.#statementBytesMax = Math.min(statementBytesMost, packet / 2 - 32 * 1024)
    return { version: String(row!['version']) }
  }

  async run(text: string, values: readonly SqlValue[] = []): Promise<SqlRow[]> {
    return await this.#onConnection(this.#readers, (session) => session.run(text, values))
  }

  async transaction<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
    return await this.#onConnection(this.#writers, async (session) => {
      let last: Promise<unknown> = session.run('START TRANSACTION')
      // One that failed would not keep the server from running what stands behind it.
      const run = (text: string, values?: readonly SqlValue[]): Promise<SqlRow[]> => {
        const running = last.then(() => session.run(text, values))
        // Seen by the next of them, and by COMMIT.
        running.catch(() => {})
        last = running
        return running
      }
      const result = await work({ dialect, run, send: (text, values) => { void run(text, values) } })
      await run('COMMIT')
      return result
    })
  }

  /** Every CREATE commits by itself here: one that was done before a crash is passed over. */
  async migration<T>(work: (session: SqlReader) => Promise<T>): Promise<T> {
    const name = 'concat(database(), \'.openim\')'
    return await this.#onConnection(this.#writers, async (session) => {
      const waitSeconds = Math.ceil(this.#queryTimeoutMs / 2_000)
      const [row] = await session.run(`SELECT GET_LOCK(${name}, ${waitSeconds}) AS got`)
      if (Number(row!['got']) !== 1) {
        const message = 'another node changes the tables of the database; try again later'
        throw new OpenIMError('STORE_AWAY', message)
      }
      try {
        return await work({
          dialect,
          async run(text, values) {
            try {
              return await session.run(text, values)
            } catch (error) {
              const isDone = /^ER_(TABLE_EXISTS_ERROR|DUP_KEYNAME)$/.test(errorCode(error) ?? '')
              if (isDone && text.startsWith('CREATE')) return []
              throw error
            }
          },
        })
      } finally {
        // A connection that broke has given it back.
        await session.run(`SELECT RELEASE_LOCK(${name})`).catch(() => [])
      }
    })
  }

  trouble(error: unknown): SqlTrouble {
    const code = errorCode(error) ?? ''
    if (/^ER_(LOCK_DEADLOCK|LOCK_WAIT_TIMEOUT|CHECKREAD)$/.test(code)) return 'again'
    if (/^(ER_(DISK_FULL|RECORD_FILE_FULL|OUT_OF_RESOURCES)|HA_ERR_DISK_FULL)$/.test(code)) return 'full'
    // A connection that broke while it began has this code, too.
    const isBroken = /^HANDSHAKE_SSL/.test(code) && /ECONN|EPIPE|disconnected/.test(String(error))
    if (isBroken) return 'away'
    if (/^HANDSHAKE_(NO_SSL_SUPPORT|SSL_ERROR)$/.test(code) || isTlsRefusal(code)) return 'tls'
    const isGone = /^(PROTOCOL_(CONNECTION_LOST|SEQUENCE_TIMEOUT|PACKETS_OUT_OF_ORDER)|E[A-Z]+)$/.test(code)
    const isEnding = /^ER_(SERVER_SHUTDOWN|NORMAL_SHUTDOWN|CONNECTION_KILLED|CON_COUNT_ERROR)$/
    if (isGone || isEnding.test(code) || code === 'STORE_AWAY') return 'away'
    const isSilent = code === '' && /closed state|Queue limit|Pool is closed|timeout/i.test(String(error))
    return isSilent ? 'away' : 'other'
  }

  async undurable(): Promise<string[]> {
    const text = 'SELECT @@innodb_flush_log_at_trx_commit AS flush, @@log_bin AS log, @@sync_binlog AS sync'
    const [row] = await this.run(text)
    const { flush, log, sync } = row!
    return [
      ...String(flush) === '1' ? [] : [`innodb_flush_log_at_trx_commit = ${String(flush)}`],
      ...String(log) === '0' || String(sync) === '1' ? [] : [`sync_binlog = ${String(sync)}`],
    ]
  }

  async close(): Promise<void> {
    await Promise.all([this.#readers.end(), this.#writers.end()])
  }

  /** A connection on which something failed is never used again: nobody knows what it is in. */
  async #onConnection<T>(pool: Pool, work: (session: SqlReader) => Promise<T>): Promise<T> {
    const connection = await this.#acquire(pool)
    try {
      await this.#settle(connection)
      const result = await work(this.#sessionOf(connection))
      connection.release()
      return result
    } catch (error) {
      connection.destroy()
      throw error
    }
  }

  /** The pool itself would let wait for ever. */
  async #acquire(pool: Pool): Promise<PoolConnection> {
    const getting = pool.getConnection()
    const connection = await within(systemClock, this.#connectTimeoutMs, getting)
    if (connection !== undefined) return connection
    getting.then((late) => late.release(), () => {})
    throw new OpenIMError('STORE_AWAY', 'all connections to the database are in use; try again later')
  }

  /** Once for each connection. */
  async #settle(connection: PoolConnection): Promise<void> {
    const own = connection.connection
    if (this.#settled.has(own)) return
    const session = this.#sessionOf(connection)
    const seconds = Math.max(1, Math.ceil(this.#queryTimeoutMs / 1_000))
    await session.run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
    await session.run(`SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = ${seconds}`)
    // A process of ours that froze must not hold its locks for ever. MariaDB's own.
    await session.run(`SET SESSION idle_transaction_timeout = ${2 * seconds}`).catch(() => [])
    this.#settled.add(own)
  }

  #sessionOf(connection: PoolConnection): SqlReader {
    return {
      dialect,
      run: async (text, values = []) => {
        const given = values.map((value) =>
          typeof value === 'bigint' ? value : Buffer.from(value.buffer, value.byteOffset, value.length))
        const timeout = this.#queryTimeoutMs
        try {
          const [rows] = await connection.query<RowDataPacket[]>({ sql: text, values: given, timeout })
          return Array.isArray(rows) ? rows : []
        } catch (error) {
          // The driver puts the whole statement there, and an error may end in a log.
          if (error instanceof Error) Reflect.deleteProperty(error, 'sql')
          throw error
        }
      },
    }
  }
}

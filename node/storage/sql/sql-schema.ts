/**
 * Tables of the SQL store, and how they come to be. Migrations go forward only, one process at a
 * time; a newer schema is refused (STORE_NEWER).
 *
 * ```text
 *   openim_schema      version                               one row
 *   openim_lock        stripe                                128 rows: what a group of writes locks
 *   openim_writer      writer, number, seen_at               last group of each lane of each process
 *   openim_box         box, items_max, bytes_max, expires_at, items, bytes
 *   openim_mail        position, slot, box, kind, expires_at, size, data
 *                        kind 0: an item, data is its body; 1: a tombstone, data names its proof
 *   openim_proof       proof, box, expires_at, data          shared by the tombstones of one acknowledgement
 *   openim_file        as openim_box, for file boxes
 *   openim_piece       slot, box, position, size, data       position counts within its box
 *   openim_kv          name, version, expires_at, value
 *
 *   box 32 bytes · slot: id[32] ‖ box[32] · proof: SHA-256 of what it holds · name: UTF-8
 *   times in ms since 1970, 2⁶³−1 for never · size: of the body
 * ```
 *
 * Keys are bytes throughout, so no collation or encoding of the server matters. A slot is one
 * column because both databases search a list of single keys well, and MariaDB a list of pairs
 * badly; the id comes first, so that (expires_at, slot) is the order of a digest.
 */
import { crc32 } from 'node:zlib'
import { OpenIMError } from '../../../crypto/errors.ts'
import type { BoxId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { numberOf } from './sql-driver.ts'
import type { SqlDialect, SqlDriver, SqlReader } from './sql-driver.ts'

/** Enough that two processes seldom meet, few enough to be locked one by one. */
export const stripes = 64
/** Boxes have the first ones, records the second: neither waits for the other. */
export const stripeKinds = 2

export function stripeOfBox(box: BoxId): number {
  return Number.parseInt(box.slice(0, 4), 16) % stripes
}

export function stripeOfRecord(key: string): number {
  return stripes + crc32(key) % stripes
}

/** Each runs once, as one; a database that was cut off in between goes on where it was. */
const migrations: readonly ((dialect: SqlDialect) => readonly string[])[] = [
  ({ bytesType, positionType, tableEnd, busyTableEnd }) => {
    const key = bytesType(32)
    const table = (name: string, columns: readonly string[], end = tableEnd): string =>
      `CREATE TABLE openim_${name} (${columns.join(', ')})${end}`
    const box = [
      `box ${key} PRIMARY KEY`, 'items_max bigint NOT NULL', 'bytes_max bigint NOT NULL',
      'expires_at bigint NOT NULL', 'items bigint NOT NULL', 'bytes bigint NOT NULL',
    ]
    const body = ['size integer NOT NULL', `data ${bytesType(limits.envelopeBytesMax)} NOT NULL`]
    return [
      table('lock', ['stripe integer PRIMARY KEY']),
      table('writer', [
        `writer ${bytesType(16)} PRIMARY KEY`, 'number bigint NOT NULL', 'seen_at bigint NOT NULL',
      ]),
      table('box', box, busyTableEnd),
      'CREATE INDEX openim_box_expiry ON openim_box (expires_at)',
      table('mail', [
        `position ${positionType} PRIMARY KEY`, `slot ${bytesType(64)} NOT NULL UNIQUE`,
        `box ${key} NOT NULL`, 'kind integer NOT NULL', 'expires_at bigint NOT NULL', ...body,
      ]),
      'CREATE INDEX openim_mail_order ON openim_mail (box, kind, position)',
      'CREATE INDEX openim_mail_expiry ON openim_mail (expires_at, slot)',
      table('proof', [
        `proof ${key} PRIMARY KEY`, `box ${key} NOT NULL`, 'expires_at bigint NOT NULL',
        `data ${bytesType(limits.tombstoneProofBytesMax)} NOT NULL`,
      ]),
      'CREATE INDEX openim_proof_box ON openim_proof (box)',
      'CREATE INDEX openim_proof_expiry ON openim_proof (expires_at)',
      table('file', box, busyTableEnd),
      'CREATE INDEX openim_file_expiry ON openim_file (expires_at)',
      table('piece', [
        `slot ${bytesType(64)} PRIMARY KEY`, `box ${key} NOT NULL`, 'position bigint NOT NULL', ...body,
      ]),
      'CREATE UNIQUE INDEX openim_piece_order ON openim_piece (box, position)',
      table('kv', [
        `name ${bytesType(limits.kvKeyBytesMax)} PRIMARY KEY`, 'version bigint NOT NULL',
        'expires_at bigint NOT NULL', `value ${bytesType(limits.kvValueBytesMax)} NOT NULL`,
      ]),
      'CREATE INDEX openim_kv_expiry ON openim_kv (expires_at)',
    ]
  },
]

export const schemaVersion = migrations.length

/** Every table, for those who empty a database. */
export const tables = ['schema', 'lock', 'writer', 'box', 'mail', 'proof', 'file', 'piece', 'kv']
  .map((name) => `openim_${name}`)

/** @throws STORE_NEWER */
export async function migrate(driver: SqlDriver): Promise<void> {
  await driver.migration(async (session) => {
    const { tableEnd } = driver.dialect
    await session.run(`CREATE TABLE IF NOT EXISTS openim_schema (version integer PRIMARY KEY)${tableEnd}`)
    const [row] = await session.run('SELECT max(version) AS version FROM openim_schema')
    const version = numberOf(row?.['version'] ?? 0)
    if (version > schemaVersion) {
      const message = `the database has schema ${version}, this openIM knows ${schemaVersion}`
      throw new OpenIMError('STORE_NEWER', `${message}; run the newer openIM that wrote it`,
        { details: { version, known: schemaVersion } })
    }
    for (let next = version; next < schemaVersion; next++) {
      for (const statement of migrations[next]!(driver.dialect)) await session.run(statement)
      if (next === 0) await fillLocks(session)
      await session.run('INSERT INTO openim_schema (version) VALUES (?)', [BigInt(next + 1)])
    }
  })
}

async function fillLocks({ dialect, run }: SqlReader): Promise<void> {
  const rows = Array.from({ length: stripeKinds * stripes }, (_, stripe) => [BigInt(stripe)])
  const { text, values } = dialect.rows(rows)
  await run(`INSERT INTO openim_lock (stripe) ${text} ${dialect.ignore('stripe')}`, values)
}

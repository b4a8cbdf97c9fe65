/** A private PostgreSQL from Debian's package for tests. */
import { existsSync, readdirSync } from 'node:fs'
import type { SqlAddress } from '../../node/storage/sql/sql-driver.ts'
import { DatabaseProcess } from './database-process.ts'
import type { DatabaseGround } from './database-process.ts'
import { needProgram } from './debian.ts'

const versions = '/usr/lib/postgresql'

/** Folder of the newest server that is here. Debian keeps each version apart. */
function newest(): string | undefined {
  try {
    const folders = readdirSync(versions).toSorted((a, b) => Number(a) - Number(b))
      .map((version) => `${versions}/${version}/bin`)
    return folders.findLast((one) => existsSync(`${one}/postgres`))
  } catch {
    return undefined
  }
}

async function findFolder(): Promise<string | undefined> {
  if (newest() === undefined) await needProgram('pg_ctlcluster', 'postgresql')
  return newest()
}

const folder = await findFolder()
export const hasPostgresql = folder !== undefined

/** @param settings as `name=value` */
export async function startPostgresql(
  settings: readonly string[] = [],
  ground: DatabaseGround = {},
): Promise<DatabaseProcess> {
  return await DatabaseProcess.start({
    name: 'PostgreSQL',
    program: `${folder}/postgres`,
    args: (data) => [
      '-D', `${data}/data`, '-k', data, '-c', 'listen_addresses=', '-c', 'max_connections=40',
      '-c', 'lc_messages=C', ...settings.flatMap((one) => ['-c', one]),
    ],
    ready: /database system is ready to accept connections/,
    prepare: {
      program: `${folder}/initdb`,
      args: (data) => [
        '-D', `${data}/data`, '-A', 'trust', '-U', 'openim', '-E', 'UTF8', '--no-sync',
      ],
    },
    stopSignal: 'SIGINT',
  }, ground)
}

export function postgresqlAddress(server: DatabaseProcess): SqlAddress {
  return { host: server.folder, user: 'openim', database: 'postgres' }
}

/**
 * A store by its address (store-address.ts), so that nothing else knows which databases there are.
 * Drivers are loaded when one of theirs is named, and cost nothing otherwise.
 */
import { readFile } from 'node:fs/promises'
import { OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { Log, Store } from '../ports.ts'
import type { SqlAddress, SqlDriver } from './sql/sql-driver.ts'
import type { StoreAddress } from './store-address.ts'

export interface StoreComponents {
  readonly clock: Clock
  readonly log: Log
}

export interface StorePlace {
  /** Of the embedded database; also where a node keeps what belongs to its process. */
  readonly directory: string
  /** Undefined: the embedded one. */
  readonly address: StoreAddress | undefined
  readonly password?: string
}

/**
 * Makes what is missing in an empty database.
 * @throws STORE_DRIVER, STORE_AWAY, STORE_TLS, STORE_LOCKED, STORE_CORRUPT, STORE_NEWER, STORE_FULL, STORE_IO
 */
export async function openStore(components: StoreComponents, place: StorePlace): Promise<Store> {
  const { directory, address, password } = place
  if (address === undefined) {
    const { openLevelStore } = await import('./level-store.ts')
    return await openLevelStore({ ...components, directory })
  }
  const { host, port, user, database, prefix, tls } = address
  const ca = tls?.caFile === undefined ? undefined : await readCa(tls.caFile)
  const where = {
    host,
    ...port === undefined ? {} : { port },
    ...password === undefined ? {} : { password },
    ...tls === undefined ? {} : { tls: ca === undefined ? {} : { ca } },
  }
  if (address.kind === 'redis') {
    const { openRedisStore } = await import('./redis-store.ts')
    return await openRedisStore({
      ...components,
      random: systemRandom,
      address: { ...where, ...user === undefined ? {} : { user }, database: Number(database) },
      ...prefix === undefined ? {} : { prefix: `${prefix}:` },
    })
  }
  const { openSqlStore } = await import('./sql/sql-store.ts')
  const driver = await openDriver(components, address.kind, { ...where, user: user ?? '', database })
  return await openSqlStore({ ...components, driver })
}

async function openDriver(
  components: StoreComponents,
  kind: 'postgresql' | 'mysql',
  address: SqlAddress,
): Promise<SqlDriver> {
  if (kind === 'mysql') {
    const { openMysql } = await import('./sql/mysql-driver.ts')
    return await openMysql(address, components)
  }
  const { openPostgresql } = await import('./sql/postgresql-driver.ts')
  return await openPostgresql(address, components)
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new OpenIMError('STORE_ADDRESS', `the certificate ${path} cannot be read`, { cause })
  }
}

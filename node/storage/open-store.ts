/**
 * A store by its address (store-address.ts), so that nothing else knows which databases there are.
 * Drivers are loaded when one of theirs is named, and cost nothing otherwise.
 */
import { readFile } from 'node:fs/promises'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { Log, Store } from '../ports.ts'
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
 * @throws STORE_DRIVER, STORE_AWAY, STORE_LOCKED, STORE_CORRUPT, STORE_NEWER, STORE_FULL, STORE_IO
 */
export async function openStore(components: StoreComponents, place: StorePlace): Promise<Store> {
  const { directory, address, password } = place
  if (address === undefined) {
    const { openLevelStore } = await import('./level-store.ts')
    return await openLevelStore({ ...components, directory })
  }
  const { host, port, user = '', database, tls } = address
  const ca = tls?.caFile === undefined ? undefined : await readCa(tls.caFile)
  const where = {
    host,
    ...port === undefined ? {} : { port },
    ...password === undefined ? {} : { password },
    ...tls === undefined ? {} : { tls: ca === undefined ? {} : { ca } },
  }
  if (address.kind === 'redis') throw new OpenIMError('STORE_DRIVER', 'Redis')
  const { openSqlStore } = await import('./sql/sql-store.ts')
  const { openPostgresql } = await import('./sql/postgresql-driver.ts')
  return await openSqlStore({ ...components, driver: await openPostgresql({ ...where, user, database }, components) })
}

async function readCa(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new OpenIMError('STORE_ADDRESS', `the certificate ${path} cannot be read`, { cause })
  }
}

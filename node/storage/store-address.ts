/**
 * Addresses of databases.
 *
 * ```text
 *   postgresql://USER@HOST[:PORT]/DATABASE       ?socket=/run/postgresql  ?tls=on  ?ca=FILE
 *   mysql://USER@HOST[:PORT]/DATABASE            also mariadb:  ?socket=/run/mysqld/mysqld.sock
 *   redis://[USER@]HOST[:PORT][/NUMBER]          ?socket=/run/redis/redis.sock  ?prefix=NAME
 * ```
 *
 * A password is never part of one: people pass addresses on a command line, and logs repeat them.
 */
import { OpenIMError } from '../../crypto/errors.ts'

const kinds = {
  'postgresql:': 'postgresql', 'postgres:': 'postgresql',
  'mysql:': 'mysql', 'mariadb:': 'mysql',
  'redis:': 'redis',
} as const

/** Where a database is and as whom to enter it. */
export interface StoreAddress {
  readonly kind: 'postgresql' | 'mysql' | 'redis'
  /** Name or IP address, or the path of a UNIX socket. */
  readonly host: string
  readonly port: number | undefined
  readonly user: string | undefined
  /** Of Redis: its number. */
  readonly database: string
  /** Of Redis: what its keys begin with. */
  readonly prefix: string | undefined
  readonly tls: { readonly caFile: string | undefined } | undefined
}

const options = ['socket', 'tls', 'ca', 'prefix']

/** @throws STORE_ADDRESS */
export function parseStoreAddress(text: string): StoreAddress {
  const url = URL.parse(text)
  const kind = url === null ? undefined : kinds[url.protocol as keyof typeof kinds]
  if (url === null || kind === undefined) {
    throw badAddress('must begin with postgresql:, mysql:, mariadb: or redis:')
  }
  if (url.password !== '') {
    throw badAddress('must not hold a password: name a file that does')
  }
  const query = Object.fromEntries(url.searchParams)
  const strange = Object.keys(query).find((name) => !options.includes(name))
  if (strange !== undefined) throw badAddress(`has no option ${strange}`)
  const { tls, socket } = query
  if (tls !== undefined && tls !== 'on' && tls !== 'off') throw badAddress('must say tls=on or tls=off')
  if (socket?.startsWith('/') === false) throw badAddress('must name a socket by its whole path')
  const database = decodeURIComponent(url.pathname.slice(1))
  if (kind !== 'redis' && database === '') throw badAddress('must end with the name of the database')
  if (kind !== 'redis' && url.username === '') throw badAddress('must name the user')
  if (kind === 'redis' && !/^\d{0,3}$/.test(database)) throw badAddress('must end with a number, for Redis')
  const isTls = tls === 'on' || (tls === undefined && query.ca !== undefined)
  return {
    kind,
    host: socket ?? (url.hostname === '' ? 'localhost' : url.hostname.replace(/^\[(.*)\]$/, '$1')),
    port: url.port === '' ? undefined : Number(url.port),
    user: url.username === '' ? undefined : decodeURIComponent(url.username),
    database,
    prefix: query.prefix,
    tls: isTls ? { caFile: query.ca } : undefined,
  }
}

/** What is wrong with it, in words; undefined when nothing is. */
export function storeAddressProblem(text: string): string | undefined {
  try {
    parseStoreAddress(text)
    return undefined
  } catch (error) {
    return String((error as OpenIMError).details.why)
  }
}

function badAddress(why: string): OpenIMError {
  return new OpenIMError('STORE_ADDRESS', `the address of the database ${why}`, { details: { why } })
}

/** A private Redis from Debian's package for tests, synced at every write unless told otherwise. */
import { createClient } from 'redis'
import type { RedisAddress } from '../../node/storage/redis-client.ts'
import { DatabaseProcess } from './database-process.ts'
import type { DatabaseGround } from './database-process.ts'
import { needProgram } from './debian.ts'

const server = await needProgram('redis-server')
export const hasRedis = server !== undefined

export type RedisSettings = Readonly<Record<string, string>>

const durable: RedisSettings = { appendonly: 'yes', appendfsync: 'always' }

export async function startRedis(
  settings: RedisSettings = {},
  ground: DatabaseGround = {},
): Promise<DatabaseProcess> {
  return await DatabaseProcess.start({
    name: 'Redis',
    program: server!,
    args: (folder) => Object.entries({
      port: '0', unixsocket: `${folder}/socket`, dir: `${folder}/data`, save: '', ...durable, ...settings,
    }).flatMap(([name, value]) => [`--${name}`, value]),
    ready: /ready to accept connections at/,
    prepare: { program: 'mkdir', args: (folder) => [`${folder}/data`] },
    stopSignal: 'SIGTERM',
  }, ground)
}

export function redisAddress({ folder }: DatabaseProcess): RedisAddress {
  return { host: `${folder}/socket` }
}

/** One command past the store, for those who play the operator or the damage. */
export async function redisCommand(server: DatabaseProcess, ...args: (string | Buffer)[]): Promise<unknown> {
  const client = createClient({ RESP: 2, socket: { path: redisAddress(server).host, tls: false } })
  client.on('error', () => {})
  await client.connect()
  try {
    return await client.sendCommand(args)
  } finally {
    client.destroy()
  }
}

/**
 * The driver `redis` (node-redis), an optional dependency that is loaded when a Redis is opened: one
 * client is one connection here. Its own queue, retries and reconnecting are off (redis-link.ts says
 * why), and so is what it would tell the server about itself.
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { jittered } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { limits } from '../../protocol/limits.ts'

/** Where a Redis is and as whom to enter it. */
export interface RedisAddress {
  /** Name or IP address; or the path of a UNIX socket, from its `/`. */
  readonly host: string
  readonly port?: number
  readonly user?: string
  readonly password?: string
  /** Number of the database in the server. */
  readonly database?: number
  /** With the certificate checked, against `ca` (PEM) where given. Off: only for this machine. */
  readonly tls?: { readonly ca?: string }
}

export type RedisModule = typeof import('redis')
export type RedisClient = ReturnType<RedisModule['createClient']>

const firstPauseMs = 50
const longestPauseMs = 1_000
const pauseSpread = 0.3

/** @throws STORE_DRIVER */
export async function loadRedis(): Promise<RedisModule> {
  try {
    return await import('redis')
  } catch (cause) {
    throw new OpenIMError('STORE_DRIVER', 'Redis needs the package redis: npm install redis', { cause })
  }
}

/** Not connected yet. */
export function makeClient(redis: RedisModule, address: RedisAddress): RedisClient {
  const { host, port = 6379, user, password, database, tls } = address
  const common = { connectTimeout: limits.databaseConnectMs, reconnectStrategy: false as const }
  const socket = host.startsWith('/') ? { ...common, path: host, tls: false as const }
    : tls === undefined ? { ...common, host, port }
    : { ...common, host, port, tls: true as const, ...tls }
  return redis.createClient({
    RESP: 2,
    socket,
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled',
  }) as unknown as RedisClient
}

/** Before another try to connect. */
export function pauseMs(random: Random, tries: number): number {
  return jittered(random, Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(tries, 10)), pauseSpread)
}

/** The first word of an error reply, such as WRONGPASS; undefined: Redis did not say anything. */
export function replyWord(error: unknown): string | undefined {
  if (!(error instanceof Error) || errorCode(error) !== undefined) return undefined
  return /^([A-Z]+)(?: |$)/.exec(error.message)?.[1]
}

/** Of the driver's or the system's error: ECONNREFUSED, SocketClosedUnexpectedlyError. */
export function driverReason(error: unknown): string {
  return errorCode(error) ?? (error instanceof Error ? error.constructor.name : 'unknown error')
}

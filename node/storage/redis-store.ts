/**
 * A store in Redis 7, for several node processes that share it: mail, pieces and records behind one
 * prefix of keys (redis-scripts.ts), every answer after Redis has synced its log.
 *
 * | event                          | answer                                                     |
 * |--------------------------------|------------------------------------------------------------|
 * | settings that may lose mail    | STORE_SETTINGS, unless `allowNonDurable`                   |
 * | user or password refused       | STORE_ACCESS                                               |
 * | certificate not to be trusted  | STORE_TLS                                                  |
 * | Redis down, frozen, loading    | STORE_AWAY at once; back by itself                         |
 * | memory limit reached           | STORE_FULL for what needs room; deletions go on            |
 * | written by a newer openIM      | STORE_NEWER                                                |
 * | more queued than is healthy    | STORE_BUSY                                                 |
 * | a mail body damaged            | dropped, counted, logged; replicas still have it           |
 * | a record damaged               | STORE_CORRUPT with its key, when it is read                |
 *
 * A disk that is full ends a Redis that syncs always, by its own decision: that is STORE_AWAY here.
 * Replication of Redis answers before its copies have anything, so it counts for nothing here;
 * openIM's own replicas do that work.
 */
import type { Random } from '../../crypto/random.ts'
import type { Clock } from '../../protocol/ports.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import type { Log, Store, StoreHints } from '../ports.ts'
import type { RedisAddress } from './redis-client.ts'
import { RedisCommitQueue } from './redis-commit.ts'
import { RedisHints } from './redis-hints.ts'
import { RedisKv } from './redis-kv.ts'
import { RedisLink } from './redis-link.ts'
import { RedisMailbox } from './redis-mailbox.ts'
import { RedisPieces } from './redis-pieces.ts'

export interface RedisStoreOptions {
  readonly address: RedisAddress
  /** Before every key, so that others may use the same Redis; `openim:` by default. */
  readonly prefix?: string
  /** Opens also where a power cut may take what was said to be stored; see `health`. */
  readonly allowNonDurable?: boolean
  /** Of what is stored: when it expires. */
  readonly clock: Clock
  /** Of waiting and trying again; the system's by default. */
  readonly paceClock?: Clock
  readonly random: Random
  readonly log: Log
}

export interface RedisStore extends Store {
  readonly hints: StoreHints
  health(): RedisStoreHealth
}

export interface RedisStoreHealth {
  /** True while everything is refused with STORE_AWAY. */
  readonly away: boolean
  /** False: what it says to be stored may be lost, and no receipt may be signed over it. */
  readonly durable: boolean
  /** Why not, in words. */
  readonly undurable: readonly string[]
  /** True while only deletions are taken. */
  readonly full: boolean
  /** Damaged bodies and records met since the start. */
  readonly corrupt: number
}

/** @throws STORE_DRIVER, STORE_AWAY, STORE_TLS, STORE_ACCESS, STORE_SETTINGS, STORE_NEWER */
export async function openRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const { address, prefix = 'openim:', allowNonDurable = false } = options
  const { clock, paceClock = systemClock, random, log } = options
  let corrupt = 0
  const onCorrupt = (what: string): void => {
    corrupt++
    log.error({ code: 'STORE_CORRUPT', row: what }, 'a damaged record was met and left out')
  }
  const link = await RedisLink.open({ paceClock, random, log }, { address, prefix, allowNonDurable })
  if (link.undurable.length > 0) {
    log.warn({ code: 'STORE_SETTINGS' }, `Redis may lose what it stored: ${link.undurable.join('; ')}`)
  }
  const queue = new RedisCommitQueue(link, clock)
  const components = { queue, clock, onCorrupt }
  const hints = new RedisHints({ paceClock, random, log, link }, { address, prefix })
  let closing: Promise<void> | undefined
  return {
    hints,
    mailbox: new RedisMailbox(components),
    pieces: new RedisPieces(components),
    kv: new RedisKv(components),
    health: () => ({
      away: !link.isUp,
      durable: link.undurable.length === 0,
      undurable: link.undurable,
      full: queue.isFull,
      corrupt,
    }),
    close() {
      closing ??= (async () => {
        hints.close()
        await queue.close()
        await link.close()
      })()
      return closing
    },
  }
}

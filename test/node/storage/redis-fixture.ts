/** What the tests of faults in Redis share: a store whose log can be waited for. */
import type { Log } from '../../../node/ports.ts'
import { openRedisStore } from '../../../node/storage/redis-store.ts'
import type { RedisStore, RedisStoreOptions } from '../../../node/storage/redis-store.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { redisAddress } from '../../helpers/redis-server.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const random = seededRandom('redis faults')

/** A log that tells when something was said, and what was. */
export class HeardLog implements Log {
  readonly lines: string[] = []
  #waiting: { text: string, resolve: () => void }[] = []

  /** Settles when a line with this text is logged from now on. */
  heard(text: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ text, resolve }))
  }

  debug(fields: object, message: string): void { this.#hear(fields, message) }
  info(fields: object, message: string): void { this.#hear(fields, message) }
  warn(fields: object, message: string): void { this.#hear(fields, message) }
  error(fields: object, message: string): void { this.#hear(fields, message) }

  #hear(fields: object, message: string): void {
    const line = `${JSON.stringify(fields)} ${message}`
    this.lines.push(line)
    const ready = this.#waiting.filter(({ text }) => line.includes(text))
    this.#waiting = this.#waiting.filter(({ text }) => !line.includes(text))
    for (const { resolve } of ready) resolve()
  }
}

export async function openOn(
  server: DatabaseProcess,
  options: Partial<RedisStoreOptions> = {},
): Promise<{ store: RedisStore, log: HeardLog }> {
  const log = new HeardLog()
  const address = redisAddress(server)
  return { store: await openRedisStore({ address, clock: systemClock, random, log, ...options }), log }
}

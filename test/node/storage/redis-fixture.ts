/** What the tests of faults in Redis share: a store whose log can be waited for, and child processes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { BoxId } from '../../../protocol/ids.ts'
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

/** What a child is told to do (redis-child.ts), all at once. */
export interface ChildTask {
  readonly do: 'put' | 'acknowledge' | 'expire'
  readonly box: BoxId
  /** Of items (`itemOf`). */
  readonly numbers: readonly number[]
  readonly expiresAtMs: number | null
}

/** A process with a store of its own on the same server. */
export class RedisChild {
  readonly #child
  readonly #lines

  private constructor(server: DatabaseProcess) {
    const script = new URL('./redis-child.ts', import.meta.url).pathname
    this.#child = spawn(process.execPath, [script, redisAddress(server).host], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  static async start(server: DatabaseProcess): Promise<RedisChild> {
    const child = new RedisChild(server)
    const ready = await child.#line()
    if (ready !== 'ready') throw new Error(`the child said ${ready}`)
    return child
  }

  /** What it answers to a task. */
  async ask<T>(task: ChildTask): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(task)}\n`)
    return JSON.parse(await this.#line()) as T
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await ended
    this.#child.stdin.destroy()
  }

  async #line(): Promise<string> {
    return (await this.#lines.next()).value as string
  }
}

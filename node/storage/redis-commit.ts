/**
 * Group commit over Redis: one script run under way, everything submitted meanwhile goes into the
 * next, in call order. With `appendfsync always` Redis answers after it has synced its log, so each
 * run is one sync for all that is in it.
 *
 * ```text
 *   submit ──► queue ──► EVALSHA write { operation, operation, … } ──► answers
 *                            │ OOM: nothing was done
 *                            └─► EVALSHA writeWhenFull { those that make room }
 * ```
 *
 * While Redis is away everything is refused at once (STORE_AWAY), also what was queued: nobody
 * waits for a database that may stay away, and nothing is written after its caller gave up. What
 * was under way when the connection broke may have been written: whoever asks again hears
 * `duplicate`, finds its version changed, or does the same once more.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { RedisArgument, RedisLink } from './redis-link.ts'
import { scripts } from './redis-scripts.ts'

export interface RedisOperation<T> {
  /** Of the script (redis-scripts-write.ts). */
  readonly name: string
  readonly args: readonly RedisArgument[]
  /** Needs room: refused with STORE_FULL while there is none. */
  readonly grows: boolean
  /** About what it writes. */
  readonly bytes: number
  /** What the script's answer says. */
  answer(value: unknown): T
}

interface Pending {
  readonly operation: RedisOperation<unknown>
  resolve(value: unknown): void
  reject(error: unknown): void
}

export class RedisCommitQueue {
  readonly #link: RedisLink
  readonly #clock: Clock
  #queue: Pending[] = []
  #queuedBytes = 0
  #running: Promise<void> | undefined
  #isClosed = false
  #isFull = false
  #reading = 0

  /** @param clock of what is stored: when it expires */
  constructor(link: RedisLink, clock: Clock) {
    this.#link = link
    this.#clock = clock
  }

  /** False after `close`. */
  get accepts(): boolean {
    return !this.#isClosed
  }

  /** True while only what makes room is taken. */
  get isFull(): boolean {
    return this.#isFull
  }

  /**
   * Settles when the operation is durable.
   * @throws STORE_FULL, STORE_CLOSED, STORE_AWAY, STORE_BUSY, STORE_IO
   */
  submit<T>(operation: RedisOperation<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(closedError())
    const waiting = this.#queuedBytes
    // One is always taken, however large.
    if (waiting > 0 && waiting + operation.bytes > limits.commitQueueBytesMax) {
      return Promise.reject(new OpenIMError('STORE_BUSY',
        `${waiting} bytes wait to be written already; try again later`))
    }
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ operation, resolve: resolve as (value: unknown) => void, reject })
      this.#queuedBytes += operation.bytes
      this.#running ??= this.#run()
    })
  }

  /** Runs what only looks. @throws STORE_CLOSED, STORE_AWAY, STORE_BUSY, STORE_IO */
  async read(name: string, ...args: readonly RedisArgument[]): Promise<unknown> {
    if (this.#isClosed) throw closedError()
    if (this.#reading >= limits.commitOperationsMax) {
      throw new OpenIMError('STORE_BUSY', `${this.#reading} reads are under way already; try again later`)
    }
    this.#reading++
    try {
      return await this.#link.run(scripts.read, this.#clock.now(), [name, ...args])
    } finally {
      this.#reading--
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return await this.#running
    if (this.#link.isUp) {
      const { process } = this.#link
      const leave = { name: 'leave', args: [process], grows: false, bytes: 0, answer: () => {} }
      this.submit(leave).catch(() => {})
    }
    this.#isClosed = true
    await this.#running
  }

  async #run(): Promise<void> {
    // Everything submitted in this turn joins the first group.
    await undefined
    while (this.#queue.length > 0) {
      const group = this.#takeGroup()
      try {
        await this.#commit(group)
      } catch (error) {
        for (const { reject } of [...group, ...this.#queue.splice(0)]) reject(error)
        this.#queuedBytes = 0
      }
    }
    this.#running = undefined
  }

  #takeGroup(): Pending[] {
    let bytes = 0
    let count = 0
    for (const { operation } of this.#queue) {
      const isTooMuch = bytes + operation.bytes > limits.commitBytesMax || count >= limits.commitOperationsMax
      if (count > 0 && isTooMuch) break
      bytes += operation.bytes
      count++
    }
    this.#queuedBytes -= bytes
    return this.#queue.splice(0, count)
  }

  async #commit(group: readonly Pending[]): Promise<void> {
    const args = group.flatMap(argumentsOf)
    const answers = await this.#link.run(scripts.write, this.#clock.now(), args)
    this.#isFull = answers === 'full'
    if (answers !== 'full') {
      settle(group, answers)
      return
    }
    const rest = group.filter(({ operation }) => !operation.grows)
    for (const { operation, reject } of group) if (operation.grows) reject(fullError())
    if (rest.length === 0) return
    settle(rest, await this.#link.run(scripts.writeWhenFull, this.#clock.now(), rest.flatMap(argumentsOf)))
  }
}

function argumentsOf({ operation: { name, args } }: Pending): RedisArgument[] {
  return [name, String(args.length), ...args]
}

function settle(group: readonly Pending[], answers: unknown): void {
  for (const [i, { operation, resolve, reject }] of group.entries()) {
    const [failed, value] = (answers as [number, unknown][])[i]!
    // A wrong type under one of our keys: somebody else's data, or a bug of ours.
    if (failed === 0) resolve(operation.answer(value))
    else reject(new OpenIMError('STORE_IO', `Redis failed at ${operation.name}: ${String(value)}`))
  }
}

function closedError(): OpenIMError {
  return new OpenIMError('STORE_CLOSED', 'the store is closed')
}

function fullError(): OpenIMError {
  return new OpenIMError('STORE_FULL', 'Redis is at its memory limit; raise maxmemory, '
    + 'the node goes on by itself')
}

/**
 * Small shapes of time over the `Clock` port: a sleep that can be aborted, a time limit for a
 * promise, and work that repeats with jitter and never overlaps itself.
 */
import { jittered } from '../crypto/random.ts'
import type { Random } from '../crypto/random.ts'
import type { Clock, Timer } from './ports.ts'

/** Settles after `delayMs`, or at once when `signal` aborts; never rejects. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve()
      return
    }
    const done = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(delayMs, done)
    signal?.addEventListener('abort', done)
  })
}

/** `promise`, or `undefined` when `limitMs` passes first. The promise itself goes on. */
export function within<T>(clock: Clock, limitMs: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(limitMs, () => resolve(undefined))
    promise.then(
      (value) => {
        timer.cancel()
        resolve(value)
      },
      (error: unknown) => {
        timer.cancel()
        reject(error)
      },
    )
  })
}

export interface RepeaterOptions {
  readonly everyMs: number
  /** Fraction of `everyMs` that each period may differ, so that nodes do not march in step. */
  readonly spread?: number
  /** Called with what the work threw; the repeater goes on. */
  readonly onError: (error: unknown) => void
}

/** Runs `work` every so often until stopped; `soon()` brings the next run forward. */
export class Repeater {
  readonly #clock: Clock
  readonly #random: Random
  readonly #work: () => Promise<void>
  readonly #options: RepeaterOptions
  #timer: Timer | undefined
  #dueMs = 0
  #running: Promise<void> | undefined
  #soonMs: number | undefined
  #started = false

  constructor(
    components: { clock: Clock, random: Random },
    work: () => Promise<void>,
    options: RepeaterOptions,
  ) {
    this.#clock = components.clock
    this.#random = components.random
    this.#work = work
    this.#options = options
  }

  start(firstMs = this.#options.everyMs): void {
    this.#started = true
    this.#schedule(firstMs)
  }

  /** Runs again at most `delayMs` from now (after the run under way, if any). */
  soon(delayMs = 0): void {
    if (!this.#started) return
    if (this.#running !== undefined) {
      this.#soonMs = Math.min(this.#soonMs ?? delayMs, delayMs)
    } else if (this.#timer === undefined || this.#dueMs > this.#clock.monotonicMs() + delayMs) {
      this.#schedule(delayMs)
    }
  }

  /** Settles when the run under way has ended. */
  async stop(): Promise<void> {
    this.#started = false
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#running
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel()
    this.#dueMs = this.#clock.monotonicMs() + delayMs
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined
      this.#running = this.#run()
    })
  }

  async #run(): Promise<void> {
    try {
      await this.#work()
    } catch (error) {
      this.#options.onError(error)
    }
    this.#running = undefined
    if (!this.#started) return
    const period = jittered(this.#random, this.#options.everyMs, this.#options.spread ?? 0.1)
    this.#schedule(Math.min(this.#soonMs ?? period, period))
    this.#soonMs = undefined
  }
}

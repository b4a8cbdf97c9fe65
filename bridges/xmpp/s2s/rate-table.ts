/** How much each of many may do: a bucket of tokens for each name that was seen of late. */
import type { Clock } from '../../../protocol/ports.ts'

export interface RateOptions {
  readonly perSecond: number
  /** Tokens that one may save up. */
  readonly burst: number
  readonly namesMax: number
}

interface Bucket {
  tokens: number
  atMs: number
}

export class RateTable {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #burst: number
  readonly #namesMax: number
  /** Least recently seen first. A forgotten one begins with a full bucket, as it would have by then. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Clock, { perSecond, burst, namesMax }: RateOptions) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
    this.#namesMax = namesMax
  }

  /** Takes a token; false when there is none. */
  take(name: string): boolean {
    const bucket = this.#refilled(name)
    if (bucket.tokens < 1) return false
    bucket.tokens--
    return true
  }

  /** Takes a token that may not be there yet, and says how long to wait for it. */
  owe(name: string): number {
    const bucket = this.#refilled(name)
    bucket.tokens--
    return bucket.tokens >= 0 ? 0 : Math.ceil(-bucket.tokens * 1_000 / this.#perSecond)
  }

  #refilled(name: string): Bucket {
    const nowMs = this.#clock.monotonicMs()
    const known = this.#buckets.get(name)
    const bucket = known ?? { tokens: this.#burst, atMs: nowMs }
    bucket.tokens = Math.min(this.#burst, bucket.tokens + (nowMs - bucket.atMs) * this.#perSecond / 1_000)
    bucket.atMs = nowMs
    if (known !== undefined) this.#buckets.delete(name)
    this.#buckets.set(name, bucket)
    if (this.#buckets.size > this.#namesMax) this.#buckets.delete(this.#buckets.keys().next().value!)
    return bucket
  }
}

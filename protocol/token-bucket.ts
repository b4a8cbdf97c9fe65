/**
 * Token bucket: how much of something somebody may take, as a steady rate with a burst. Links
 * between nodes bound calls and bytes with it, doors for devices bound connections.
 */
import type { Clock } from './ports.ts'

export interface BucketRate {
  readonly perSecond: number
  readonly burst: number
}

export class TokenBucket {
  readonly #clock: Clock
  readonly #rate: BucketRate
  #tokens: number
  #filledAtMs: number

  constructor(clock: Clock, rate: BucketRate) {
    this.#clock = clock
    this.#rate = rate
    this.#tokens = rate.burst
    this.#filledAtMs = clock.monotonicMs()
  }

  /** True and takes `count` tokens, or false and takes none. */
  take(count: number): boolean {
    if (this.#tokens < count) {
      const nowMs = this.#clock.monotonicMs()
      const gained = (nowMs - this.#filledAtMs) * (this.#rate.perSecond / 1_000)
      this.#tokens = Math.min(this.#rate.burst, this.#tokens + gained)
      this.#filledAtMs = nowMs
      if (this.#tokens < count) return false
    }
    this.#tokens -= count
    return true
  }
}

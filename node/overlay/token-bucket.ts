/**
 * Token bucket: how much of something one peer may take, as a steady rate with a burst. libp2p
 * limits no peer's calls or bytes, so every link checks these two.
 */
import type { Clock } from '../../protocol/ports.ts'
import { limits } from '../../protocol/limits.ts'

export interface BucketRate {
  readonly perSecond: number
  readonly burst: number
}

export interface PeerRates {
  readonly calls: BucketRate
  readonly bytes: BucketRate
}

export const defaultRates: PeerRates = {
  calls: { perSecond: limits.linkCallsPerSecond, burst: limits.linkCallsBurst },
  bytes: { perSecond: limits.linkBytesPerSecond, burst: limits.linkBytesBurst },
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

/** The two buckets of each peer; they outlive its links, the least recently used go first. */
export class PeerBuckets {
  readonly #clock: Clock
  readonly #rates: PeerRates
  readonly #buckets = new Map<string, LinkBuckets>()

  constructor(clock: Clock, rates: PeerRates) {
    this.#clock = clock
    this.#rates = rates
  }

  of(peer: string): LinkBuckets {
    const known = this.#buckets.get(peer)
    const buckets = known ?? {
      calls: new TokenBucket(this.#clock, this.#rates.calls),
      bytes: new TokenBucket(this.#clock, this.#rates.bytes),
    }
    this.#buckets.delete(peer)
    this.#buckets.set(peer, buckets)
    if (this.#buckets.size > limits.linkRatesMax) this.#buckets.delete(this.#buckets.keys().next().value!)
    return buckets
  }
}

export interface LinkBuckets {
  readonly calls: TokenBucket
  readonly bytes: TokenBucket
}

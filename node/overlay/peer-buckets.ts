/**
 * How many calls and bytes one peer may take. libp2p limits neither, so every link checks these
 * two token buckets.
 */
import type { Clock } from '../../protocol/ports.ts'
import { limits } from '../../protocol/limits.ts'
import { TokenBucket } from '../../protocol/token-bucket.ts'
import type { BucketRate } from '../../protocol/token-bucket.ts'

export interface PeerRates {
  readonly calls: BucketRate
  readonly bytes: BucketRate
}

export const defaultRates: PeerRates = {
  calls: { perSecond: limits.linkCallsPerSecond, burst: limits.linkCallsBurst },
  bytes: { perSecond: limits.linkBytesPerSecond, burst: limits.linkBytesBurst },
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

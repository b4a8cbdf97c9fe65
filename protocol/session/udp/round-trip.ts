/** Round-trip times as RFC 9002 §5 estimates them. All in milliseconds. */

/** RFC 9002 §6.1.2: finer than this no timer is. */
export const granularityMs = 1
/** RFC 9002 §6.2.2: before the first sample. */
const initialMs = 333

export class RoundTrip {
  #latestMs = 0
  #minMs = 0
  #smoothedMs = initialMs
  #variationMs = initialMs / 2
  #sampledAtMs: number | undefined

  get latestMs(): number {
    return this.#latestMs
  }

  get smoothedMs(): number {
    return this.#smoothedMs
  }

  /** Smoothed; 0 before the first sample. */
  get knownMs(): number {
    return this.#sampledAtMs === undefined ? 0 : this.#smoothedMs
  }

  /** When the first sample came; undefined before. */
  get sampledAtMs(): number | undefined {
    return this.#sampledAtMs
  }

  /** @param delayMs how long the peer says it kept the acknowledgement, already capped */
  sample(roundTripMs: number, delayMs: number, nowMs: number): void {
    this.#latestMs = roundTripMs
    if (this.#sampledAtMs === undefined) {
      this.#sampledAtMs = nowMs
      this.#minMs = roundTripMs
      this.#smoothedMs = roundTripMs
      this.#variationMs = roundTripMs / 2
      return
    }
    this.#minMs = Math.min(this.#minMs, roundTripMs)
    const adjustedMs = roundTripMs >= this.#minMs + delayMs ? roundTripMs - delayMs : roundTripMs
    this.#variationMs = 0.75 * this.#variationMs + 0.25 * Math.abs(this.#smoothedMs - adjustedMs)
    this.#smoothedMs = 0.875 * this.#smoothedMs + 0.125 * adjustedMs
  }

  /** RFC 9002 §6.2.1, for one probe without back-off. */
  probeMs(ackDelayMs: number): number {
    return this.#smoothedMs + Math.max(4 * this.#variationMs, granularityMs) + ackDelayMs
  }

  /** RFC 9002 §6.1.2: a packet this much older than an acknowledged one is lost. */
  lossDelayMs(roundTrips: number): number {
    return Math.max(roundTrips * Math.max(this.#smoothedMs, this.#latestMs), granularityMs)
  }
}

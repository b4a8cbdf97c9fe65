/**
 * Congestion control as RFC 9002 §7 (NewReno), and its pacing (§7.7): how many bytes may be under
 * way, and how fast they may leave, so that no burst fills a router's queue.
 *
 * Weighed: CUBIC. It gains on long fat paths; a chat seldom fills one, and NewReno is a page.
 */
import { limits } from '../../limits.ts'
import { granularityMs } from './round-trip.ts'

const packetBytes = limits.udpDatagramBytes
const initialWindowBytes = 10 * packetBytes
const minimumWindowBytes = 2 * packetBytes
/** Faster than the window alone would have it, so that pacing is not what limits (RFC 9002 §7.7). */
const pacingGain = 1.25
/** What may leave at once; timers are coarse, so also what falls due in a few milliseconds. */
const burstPackets = 10
const burstMs = 3

export class NewReno {
  #windowBytes = initialWindowBytes
  #thresholdBytes = Number.POSITIVE_INFINITY
  /** Losses of packets sent before this belong to one event. */
  #recoverySinceMs = Number.NEGATIVE_INFINITY
  #budgetBytes = burstPackets * packetBytes
  #budgetAtMs = 0

  get windowBytes(): number {
    return this.#windowBytes
  }

  /** @param limited whether the window was what held the sender back; an unused one does not grow */
  acknowledged(packet: { sentMs: number, bytes: number }, limited: boolean): void {
    if (!limited || packet.sentMs <= this.#recoverySinceMs) return
    this.#windowBytes += this.#windowBytes < this.#thresholdBytes
      ? packet.bytes
      : (packetBytes * packet.bytes) / this.#windowBytes
  }

  /** @param sentMs of the newest packet lost */
  lost(sentMs: number, nowMs: number): void {
    if (sentMs <= this.#recoverySinceMs) return
    this.#recoverySinceMs = nowMs
    this.#thresholdBytes = Math.max(this.#windowBytes / 2, minimumWindowBytes)
    this.#windowBytes = this.#thresholdBytes
  }

  /** RFC 9002 §7.6: everything was lost for long. */
  collapse(): void {
    this.#windowBytes = minimumWindowBytes
    this.#recoverySinceMs = Number.NEGATIVE_INFINITY
  }

  // ── Pacing ────────────────────────────────────────────────────────────────────────────────

  /** Milliseconds until one more packet may leave; 0: now. */
  waitMs(nowMs: number, roundTripMs: number): number {
    const rate = this.#bytesPerMs(roundTripMs)
    if (rate === Number.POSITIVE_INFINITY) return 0
    const burstBytes = Math.max(burstPackets * packetBytes, rate * burstMs)
    this.#budgetBytes = Math.min(this.#budgetBytes + (nowMs - this.#budgetAtMs) * rate, burstBytes)
    this.#budgetAtMs = nowMs
    if (this.#budgetBytes >= packetBytes) return 0
    // No timer is finer, and the burst allows for it.
    return Math.max(granularityMs, (packetBytes - this.#budgetBytes) / rate)
  }

  left(bytes: number): void {
    this.#budgetBytes -= bytes
  }

  /** On a path shorter than the finest timer acknowledgements set the pace. */
  #bytesPerMs(roundTripMs: number): number {
    if (roundTripMs < granularityMs) return Number.POSITIVE_INFINITY
    return (pacingGain * this.#windowBytes) / roundTripMs
  }
}

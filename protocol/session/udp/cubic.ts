/**
 * Congestion control as CUBIC (RFC 9438) in the frame of RFC 9002 §7, and its pacing (§7.7): how
 * many bytes may be under way, and how fast they may leave, so that no burst fills a router's queue.
 *
 * ```text
 *   window  ▲            ╭── W_max ──╮ ╱     after a loss the window falls to 0.7 of itself and then
 *           │ ╲        ╭─╯           ╰╯      follows C·(t − K)³ + W_max: fast, flat where it failed
 *           │  ╲____╭──╯                     last, then fast again; never below what Reno would have
 *           └──────────────────────────► t
 * ```
 *
 * Growth goes by time and not by round trips, so a long path is filled as soon as a short one.
 * Windows are in bytes here and in packets in the RFC.
 *
 * Left out: HyStart++ (RFC 9406). On a path of many kilobytes it leaves slow start before the first
 * loss; a session of a chat seldom gets that far.
 */
import { limits } from '../../limits.ts'
import { granularityMs } from './round-trip.ts'

const packetBytes = limits.udpDatagramBytes
const initialWindowBytes = 10 * packetBytes
const minimumWindowBytes = 2 * packetBytes
/** RFC 9438 §4.1: C, packets a cubic second, and beta. */
const aggressiveness = 0.4
const decrease = 0.7
/** RFC 9438 §4.3: with this step and that decrease Reno's average. */
const renoStep = (3 * (1 - decrease)) / (1 + decrease)
/** RFC 9438 §4.4: how far ahead of the window its goal may be. */
const leadMax = 1.5
/** Faster than the window alone would have it, so that pacing is not what limits (RFC 9002 §7.7). */
const pacingGain = 1.25
/** What may leave at once; timers are coarse, so also what falls due in a few milliseconds. */
const burstPackets = 10
const burstMs = 3

/** One stretch of congestion avoidance: from a loss to the next. */
interface Epoch {
  /** Moves on while the application leaves the window unused (RFC 9438 §5.8). */
  startMs: number
  /** Where the curve is flat, in bytes, and when, in milliseconds from the start. */
  readonly flatBytes: number
  readonly flatMs: number
  /** The window when the loss came. */
  readonly priorBytes: number
  /** What Reno would have by now. */
  renoBytes: number
}

export class Cubic {
  #windowBytes = initialWindowBytes
  #thresholdBytes = Number.POSITIVE_INFINITY
  #flatBytes = 0
  #epoch: Epoch | undefined
  #heardAtMs = 0
  /** Losses of packets sent before this belong to one event. */
  #recoverySinceMs = Number.NEGATIVE_INFINITY
  #budgetBytes = burstPackets * packetBytes
  #budgetAtMs = 0

  get windowBytes(): number {
    return this.#windowBytes
  }

  /**
   * @param path `limited`: whether the window was what held the sender back; an unused one does
   *   not grow. `roundTripMs`: smoothed
   */
  acknowledged(
    packet: { sentMs: number, bytes: number },
    path: { limited: boolean, nowMs: number, roundTripMs: number },
  ): void {
    const unheardMs = path.nowMs - this.#heardAtMs
    this.#heardAtMs = path.nowMs
    if (!path.limited) {
      if (this.#epoch !== undefined) this.#epoch.startMs += unheardMs
      return
    }
    if (packet.sentMs <= this.#recoverySinceMs) return
    if (this.#windowBytes < this.#thresholdBytes) this.#windowBytes += packet.bytes
    else this.#avoid(packet.bytes, path)
  }

  /** @param sentMs of the newest packet lost */
  lost(sentMs: number, nowMs: number): void {
    if (sentMs <= this.#recoverySinceMs) return
    this.#recoverySinceMs = nowMs
    const priorBytes = this.#windowBytes
    // Fast convergence (§4.7): below the last peak somebody new wants a share.
    this.#flatBytes = priorBytes < this.#flatBytes ? (priorBytes * (1 + decrease)) / 2 : priorBytes
    this.#thresholdBytes = Math.max(priorBytes * decrease, minimumWindowBytes)
    this.#windowBytes = this.#thresholdBytes
    this.#begin(nowMs, priorBytes)
  }

  /** RFC 9002 §7.6: everything was lost for long. */
  collapse(): void {
    this.#windowBytes = minimumWindowBytes
    this.#flatBytes = 0
    this.#epoch = undefined
    this.#recoverySinceMs = Number.NEGATIVE_INFINITY
  }

  #begin(nowMs: number, priorBytes: number): Epoch {
    const missing = Math.max(0, this.#flatBytes - this.#windowBytes) / packetBytes
    this.#epoch = {
      startMs: nowMs,
      flatBytes: Math.max(this.#flatBytes, this.#windowBytes),
      flatMs: Math.cbrt(missing / aggressiveness) * 1_000,
      priorBytes,
      renoBytes: this.#windowBytes,
    }
    return this.#epoch
  }

  /** RFC 9438 §4.2 to §4.5. After a collapse slow start ends where the curve begins (§4.8). */
  #avoid(ackedBytes: number, { nowMs, roundTripMs }: { nowMs: number, roundTripMs: number }): void {
    const epoch = this.#epoch ?? this.#begin(nowMs, this.#windowBytes)
    const share = ackedBytes / this.#windowBytes
    epoch.renoBytes += (epoch.renoBytes < epoch.priorBytes ? renoStep : 1) * packetBytes * share
    const sinceMs = nowMs - epoch.startMs
    if (curve(epoch, sinceMs) < epoch.renoBytes) {
      this.#windowBytes = Math.max(this.#windowBytes, epoch.renoBytes)
      return
    }
    const goal = Math.min(curve(epoch, sinceMs + roundTripMs), leadMax * this.#windowBytes)
    if (goal > this.#windowBytes) this.#windowBytes += (goal - this.#windowBytes) * share
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

/** RFC 9438 §4.2, in bytes. */
function curve({ flatBytes, flatMs }: Epoch, sinceMs: number): number {
  return flatBytes + aggressiveness * ((sinceMs - flatMs) / 1_000) ** 3 * packetBytes
}

/**
 * Which of the packets sent have arrived, which are lost, and when to ask: RFC 9002 §6 with its
 * constants, over one packet number space, with the path's round trips (§5) and congestion control
 * (§7; cubic.ts). Sans I/O: it is told the time, and answers with packets and a deadline.
 *
 * A sender leaves out a number now and then. A peer that acknowledges one of these claims what it
 * cannot have got, to be sent more than its path bears (RFC 9000 §21.4).
 */
import { randomFraction } from '../../../crypto/random.ts'
import type { Random } from '../../../crypto/random.ts'
import { limits } from '../../limits.ts'
import { Cubic } from './cubic.ts'
import { ackedRanges } from './frames.ts'
import type { AckFrame } from './frames.ts'
import type { Range } from './range-set.ts'
import { granularityMs, RoundTrip } from './round-trip.ts'

/** RFC 9002 §6.1.1 and §7.6.1. */
const packetThresholdMin = 3
/** In round trips, RFC 9002 §6.1.2. */
const timeThresholdMin = 9 / 8
/**
 * A path on which late packets were taken for lost is given more time (RFC 9002 §6.1.1), as RACK
 * does (RFC 8985 §7.2), up to these.
 */
const packetThresholdMax = 64
const timeThresholdMax = 2
const timeThresholdStep = 1 / 4
/** Packets taken for lost that may still prove to have been only late. */
const declaredKept = 256
const persistentThreshold = 3
/** A doubled delay stops to double here: a path that comes back is found within seconds. */
const probeMsMax = 4_000
/** One number in about so many is left out. */
const skipEvery = 512
const skipsKept = 16
/** So far apart may the oldest packet under way and the newest be to look at every number between. */
const densePackets = 256

type AckedRanges = readonly { readonly first: number, readonly last: number }[]

/** A packet that asks to be acknowledged, and what was in it that may have to go again. */
export interface SentPacket {
  readonly number: number
  readonly sentMs: number
  readonly bytes: number
  readonly stream: readonly Range[]
  readonly end: boolean
  readonly maxData: boolean
}

export interface AckOutcome {
  readonly acked: readonly SentPacket[]
  readonly lost: readonly SentPacket[]
}

export class LossRecovery {
  readonly #random: Random
  readonly #sent = new Map<number, SentPacket>()
  #roundTrip = new RoundTrip()
  #congestion = new Cubic()
  #inFlightBytes = 0
  #nextNumber = 0
  #nextSkip: number
  #skipped: number[] = []
  #largestAcked = -1
  #lastRanges: AckedRanges = []
  /** Lost, as far as we knew, and how many packets behind the newest they were then. */
  readonly #declared = new Map<number, number>()
  #packetThreshold = packetThresholdMin
  #timeThreshold = timeThresholdMin
  #lossAtMs: number | undefined
  #lastSentMs = 0
  #probes = 0
  #limited = false

  constructor(random: Random) {
    this.#random = random
    this.#nextSkip = this.#chooseSkip()
  }

  get roundTrip(): RoundTrip {
    return this.#roundTrip
  }

  get windowBytes(): number {
    return this.#congestion.windowBytes
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes
  }

  /** Packets sent and neither acknowledged nor lost. */
  get inFlight(): number {
    return this.#sent.size
  }

  /** Probes since the last acknowledgement. */
  get probes(): number {
    return this.#probes
  }

  takeNumber(): number {
    if (this.#nextNumber === this.#nextSkip) {
      this.#skipped.push(this.#nextNumber++)
      if (this.#skipped.length > skipsKept) this.#skipped.shift()
      this.#nextSkip = this.#chooseSkip()
    }
    return this.#nextNumber++
  }

  /**
   * Milliseconds until the window and the pace let one more packet leave; undefined: not before an
   * acknowledgement.
   */
  waitMs(nowMs: number): number | undefined {
    if (this.#inFlightBytes + limits.udpDatagramBytes > this.#congestion.windowBytes) return undefined
    return this.#congestion.waitMs(nowMs, this.#roundTrip.knownMs)
  }

  sent(packet: SentPacket): void {
    this.#sent.set(packet.number, packet)
    this.#inFlightBytes += packet.bytes
    this.#lastSentMs = packet.sentMs
    this.#congestion.left(packet.bytes)
  }

  /** Whether the window, and not the application, ended the last round of sending. */
  set limited(limited: boolean) {
    this.#limited = limited
  }

  /** `undefined`: it acknowledges what was never sent. */
  acknowledged(frame: AckFrame, nowMs: number): AckOutcome | undefined {
    const ranges = ackedRanges(frame)
    if (ranges === undefined || frame.largest >= this.#nextNumber) return undefined
    if (this.#claimsSkipped(ranges)) return undefined
    this.#learnReordering(ranges)
    const acked = this.#takeAcked(ranges)
    this.#lastRanges = ranges
    const newest = acked.find(({ number }) => number === frame.largest)
    if (newest !== undefined) {
      const delayMs = Math.min(frame.delayUs / 1_000, limits.udpAckDelayMs)
      this.#roundTrip.sample(nowMs - newest.sentMs, delayMs, nowMs)
    }
    if (frame.largest > this.#largestAcked) this.#largestAcked = frame.largest
    const path = { limited: this.#limited, nowMs, roundTripMs: this.#roundTrip.smoothedMs }
    for (const packet of acked) this.#congestion.acknowledged(packet, path)
    if (acked.length > 0) this.#probes = 0
    return { acked, lost: this.#detectLost(nowMs) }
  }

  /** When `due` wants to be called. */
  get deadlineMs(): number | undefined {
    if (this.#lossAtMs !== undefined) return this.#lossAtMs
    if (this.#sent.size === 0) return undefined
    return this.#lastSentMs + Math.min(this.#probeMs * 2 ** this.#probes, Math.max(probeMsMax, this.#probeMs))
  }

  /** What became lost by now; or, when nothing did, it is time for a probe. */
  due(nowMs: number): { lost: readonly SentPacket[], probe: boolean } {
    if (this.#lossAtMs !== undefined) return { lost: this.#detectLost(nowMs), probe: false }
    this.#probes++
    this.#lastSentMs = nowMs
    return { lost: [], probe: true }
  }

  /** The oldest packet under way, whose content a probe repeats. */
  get oldest(): SentPacket | undefined {
    return this.#sent.values().next().value
  }

  /** Another path: nothing learnt on the old one holds, and what is on it counts as lost. */
  restart(): readonly SentPacket[] {
    const lost = [...this.#sent.values()]
    this.#sent.clear()
    this.#inFlightBytes = 0
    this.#lossAtMs = undefined
    this.#probes = 0
    this.#declared.clear()
    this.#packetThreshold = packetThresholdMin
    this.#timeThreshold = timeThresholdMin
    this.#roundTrip = new RoundTrip()
    this.#congestion = new Cubic()
    return lost
  }

  get #probeMs(): number {
    return this.#roundTrip.probeMs(limits.udpAckDelayMs)
  }

  #chooseSkip(): number {
    return this.#nextNumber + 1 + Math.floor(skipEvery * (0.5 + randomFraction(this.#random)))
  }

  #claimsSkipped(ranges: AckedRanges): boolean {
    return this.#skipped.some((number) => isIn(ranges, number))
  }

  #takeAcked(ranges: AckedRanges): SentPacket[] {
    const acked: SentPacket[] = []
    const take = (number: number): void => {
      const packet = this.#sent.get(number)
      if (packet === undefined) return
      this.#sent.delete(number)
      this.#inFlightBytes -= packet.bytes
      acked.push(packet)
    }
    const oldest = this.oldest?.number ?? Number.POSITIVE_INFINITY
    if (ranges[0]!.last - oldest <= densePackets + 4 * this.#sent.size) {
      // Below the oldest under way everything is settled.
      for (const { first, last } of ranges) for (let at = Math.max(first, oldest); at <= last; at++) take(at)
    } else {
      // A peer that never acknowledges one packet must not make each look at all since cost more.
      for (const number of [...this.#sent.keys()].filter((one) => isIn(ranges, one))) take(number)
    }
    return acked
  }

  #detectLost(nowMs: number): SentPacket[] {
    this.#lossAtMs = undefined
    const lost: SentPacket[] = []
    const delayMs = this.#roundTrip.lossDelayMs(this.#timeThreshold)
    for (const packet of this.#sent.values()) {
      if (packet.number > this.#largestAcked) break
      const dueMs = packet.sentMs + delayMs
      if (dueMs <= nowMs || this.#largestAcked >= packet.number + this.#packetThreshold) {
        this.#sent.delete(packet.number)
        this.#inFlightBytes -= packet.bytes
        lost.push(packet)
        this.#declare(packet.number)
      } else {
        this.#lossAtMs = Math.min(this.#lossAtMs ?? dueMs, dueMs)
      }
    }
    if (lost.length > 0) this.#congested(lost, nowMs)
    return lost
  }

  #declare(number: number): void {
    this.#declared.set(number, this.#largestAcked - number)
    if (this.#declared.size > declaredKept) this.#declared.delete(this.#declared.keys().next().value!)
  }

  /** Late and not lost: the next one that far behind is waited for. */
  #learnReordering(ranges: AckedRanges): void {
    let wasLate = false
    for (const [number, behind] of this.#declared) {
      if (!isIn(ranges, number)) continue
      this.#declared.delete(number)
      this.#packetThreshold = Math.min(Math.max(this.#packetThreshold, behind + 1), packetThresholdMax)
      wasLate = true
    }
    if (wasLate) this.#timeThreshold = Math.min(this.#timeThreshold + timeThresholdStep, timeThresholdMax)
  }

  #congested(lost: readonly SentPacket[], nowMs: number): void {
    this.#congestion.lost(lost.at(-1)!.sentMs, nowMs)
    const { sampledAtMs } = this.#roundTrip
    if (sampledAtMs === undefined) return
    const longMs = this.#probeMs * persistentThreshold
    let start: SentPacket | undefined
    let previous: SentPacket | undefined
    for (const packet of lost) {
      if (packet.sentMs <= sampledAtMs) continue
      if (previous === undefined || this.#cameThroughBetween(previous, packet)) start = packet
      if (packet.sentMs - start!.sentMs > Math.max(longMs, granularityMs)) return this.#congestion.collapse()
      previous = packet
    }
  }

  #cameThroughBetween(earlier: SentPacket, later: SentPacket): boolean {
    return this.#lastRanges.some(({ first, last }) => last > earlier.number && first < later.number)
  }
}

function isIn(ranges: AckedRanges, number: number): boolean {
  return ranges.some(({ first, last }) => number >= first && number <= last)
}

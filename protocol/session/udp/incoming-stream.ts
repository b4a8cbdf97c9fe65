/**
 * The receiving side of a connection's stream: puts pieces in order, hands them on while somebody
 * reads, and says how far the sender may go. Memory is what really came, at most the window; the
 * window begins small and follows the path: it doubles while it is used up within two round trips
 * and stays where it is otherwise (an idle connection, or a peer nobody vouched for, gets 64 KiB).
 *
 * ```text
 *          read            in order         holes               allowed
 *   ────────┼─────────────────┼──────██──────██─────────────────────┼──────
 *           └── ring buffer ──────────────────┘
 * ```
 */
import { limits } from '../../limits.ts'
import { RangeSet } from './range-set.ts'

const ringBytesMin = 4_096
/** What is handed on from the ring in one piece. */
const chunkBytesMax = 64 * 1_024

export class IncomingStream {
  readonly #deliver: (bytes: Uint8Array) => void
  readonly #received = new RangeSet()
  #ring = new Uint8Array(0)
  #read = 0
  #endAt: number | undefined
  #flowing = true
  #windowBytes: number = limits.udpWindowInitialBytes
  #allowed: number = limits.udpWindowInitialBytes
  #raisedAtMs = Number.NEGATIVE_INFINITY

  /** @param deliver gets bytes in order; they are its own */
  constructor(deliver: (bytes: Uint8Array) => void) {
    this.#deliver = deliver
  }

  /** The sender's last byte was handed on. */
  get finished(): boolean {
    return this.#read === this.#endAt
  }

  get ended(): boolean {
    return this.#endAt !== undefined
  }

  /** Bytes of memory in use. */
  get heldBytes(): number {
    return this.#ring.length
  }

  pause(): void {
    this.#flowing = false
  }

  resume(): void {
    this.#flowing = true
    this.#drain()
  }

  /**
   * A piece of the stream, whose bytes are ours now. `broken`: the sender went beyond what it may;
   * `refused`: too many holes, it must not be acknowledged.
   */
  receive(offset: number, data: Uint8Array): 'ok' | 'broken' | 'refused' {
    const end = offset + data.length
    if (end > this.#allowed || (this.#endAt !== undefined && end > this.#endAt)) return 'broken'
    if (end <= this.#read) return 'ok'
    if (this.#flowing && offset === this.#read && this.#received.count === 0) {
      this.#read = end
      this.#deliver(data)
      return 'ok'
    }
    const start = Math.max(offset, this.#read)
    // What is next in order is always taken: nothing else would ever make room.
    if (start > this.#read && this.#received.count >= limits.udpGapsMax) return 'refused'
    this.#keep(start, data.subarray(start - offset))
    this.#drain()
    return 'ok'
  }

  receiveEnd(offset: number): 'ok' | 'broken' {
    const last = this.#received.ranges.at(-1)
    const fits = this.#endAt === undefined ? offset >= (last?.end ?? this.#read) : offset === this.#endAt
    if (fits) this.#endAt = offset
    return fits ? 'ok' : 'broken'
  }

  /**
   * How far the sender may go, when that is worth telling: half of the window was read since.
   * @param roundTripMs 0 while unknown
   */
  raise(nowMs: number, roundTripMs: number): number | undefined {
    if (this.ended || this.#allowed - this.#read > this.#windowBytes / 2) return undefined
    if (nowMs - this.#raisedAtMs < 2 * roundTripMs) {
      this.#windowBytes = Math.min(2 * this.#windowBytes, limits.udpWindowBytesMax)
    }
    this.#raisedAtMs = nowMs
    this.#allowed = this.#read + this.#windowBytes
    return this.#allowed
  }

  /** What the sender was told last. */
  get allowed(): number {
    return this.#allowed
  }

  #keep(start: number, data: Uint8Array): void {
    this.#reserve(start + data.length)
    for (const part of this.#received.missing(start, start + data.length)) {
      this.#put(part.start, data.subarray(part.start - start, part.end - start))
    }
    this.#received.add(start, start + data.length)
  }

  /** Hands on what is in order. A listener may pause in the middle. */
  #drain(): void {
    for (let front = this.#received.ranges[0]; this.#flowing && front?.start === this.#read;) {
      const end = Math.min(front.end, this.#read + chunkBytesMax)
      const bytes = this.#get(this.#read, end)
      this.#received.remove(this.#read, end)
      this.#read = end
      this.#deliver(bytes)
      front = this.#received.ranges[0]
    }
    if (this.#received.count === 0) this.#ring = new Uint8Array(0)
  }

  // Byte n of the stream lies at n modulo the ring's length, which is a power of two.

  #reserve(end: number): void {
    const needed = end - this.#read
    if (needed <= this.#ring.length) return
    const old = this.#ring
    this.#ring = new Uint8Array(2 ** Math.ceil(Math.log2(Math.max(needed, ringBytesMin))))
    for (const range of this.#received.ranges) this.#put(range.start, ringGet(old, range.start, range.end))
  }

  #put(start: number, bytes: Uint8Array): void {
    const at = start % this.#ring.length
    const first = bytes.subarray(0, this.#ring.length - at)
    this.#ring.set(first, at)
    this.#ring.set(bytes.subarray(first.length), 0)
  }

  #get(start: number, end: number): Uint8Array {
    return ringGet(this.#ring, start, end)
  }
}

/** A copy. */
function ringGet(ring: Uint8Array, start: number, end: number): Uint8Array {
  const out = new Uint8Array(end - start)
  const at = start % ring.length
  const first = ring.subarray(at, at + out.length)
  out.set(first)
  out.set(ring.subarray(0, out.length - first.length), first.length)
  return out
}

/**
 * What the receiver owes in acknowledgements (RFC 9000 §13.2): which counters came, and by when to
 * say so. An ack goes out with whatever is sent; alone it goes after `limits.udpAckPackets` packets
 * that ask for one, `limits.udpAckDelayMs`, or at once when a packet is missing, the stream ended,
 * or the sender waits.
 */
import { limits } from '../../limits.ts'
import type { AckFrame } from './frames.ts'
import { RangeSet } from './range-set.ts'

export class AckTracker {
  readonly #received = new RangeSet()
  #largest = -1
  #largestAtMs = 0
  /** Packets that ask for an acknowledgement since the last one went out. */
  #asking = 0
  #dueAtMs: number | undefined

  /** @param asks whether the packet wants an acknowledgement, and whether at once */
  received(counter: number, asks: 'no' | 'soon' | 'now', nowMs: number): void {
    const inOrder = counter === this.#largest + 1
    this.#received.add(counter, counter + 1)
    this.#received.trim(limits.udpAckRangesMax)
    if (counter > this.#largest) {
      this.#largest = counter
      this.#largestAtMs = nowMs
    }
    if (asks === 'no') return
    this.#asking++
    const atOnce = asks === 'now' || !inOrder || this.#asking >= limits.udpAckPackets
    if (atOnce) this.#dueAtMs = nowMs
    else this.#dueAtMs ??= nowMs + limits.udpAckDelayMs
  }

  /** When an acknowledgement must go out, alone if need be. */
  get dueAtMs(): number | undefined {
    return this.#dueAtMs
  }

  /** Whether an ack would tell the peer something it waits for. */
  get owed(): boolean {
    return this.#asking > 0
  }

  /** What was said went to an address where nobody is any more: say it again. */
  repeat(nowMs: number): void {
    if (this.#largest < 0) return
    this.#asking = Math.max(this.#asking, 1)
    this.#dueAtMs = nowMs
  }

  /** The frame to send now; nothing is owed after it. */
  take(nowMs: number): AckFrame {
    this.#asking = 0
    this.#dueAtMs = undefined
    const [top, ...below] = this.#received.ranges.toReversed()
    const ranges: { gap: number, length: number }[] = []
    let lowest = top!.start
    for (const { start, end } of below) {
      ranges.push({ gap: lowest - end - 1, length: end - start - 1 })
      lowest = start
    }
    return {
      type: 'ack',
      largest: this.#largest,
      delayUs: Math.max(0, Math.round((nowMs - this.#largestAtMs) * 1_000)),
      first: top!.end - 1 - top!.start,
      ranges,
    }
  }
}

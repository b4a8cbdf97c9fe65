/**
 * The sending side of a connection's stream: bytes from the application, cut into pieces as packets
 * have room, kept until acknowledged, sent again where lost, and never beyond what the receiver
 * allowed. The bytes are not copied until they go into a packet.
 */
import type { Writer } from '../../codec/writer.ts'
import { limits } from '../../limits.ts'
import { Fifo } from '../../fifo.ts'
import { RangeSet } from './range-set.ts'
import type { Range } from './range-set.ts'

interface Piece {
  readonly offset: number
  readonly bytes: Uint8Array
}

export class OutgoingStream {
  readonly #pieces = new Fifo<Piece>()
  readonly #acked = new RangeSet()
  readonly #again = new RangeSet()
  #written = 0
  #sent = 0
  /** Everything below is acknowledged and let go. */
  #released = 0
  #allowed: number = limits.udpWindowInitialBytes
  #end: 'no' | 'wanted' | 'sent' | 'acked' = 'no'

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#pieces.push({ offset: this.#written, bytes })
    this.#written += bytes.length
  }

  end(): void {
    if (this.#end === 'no') this.#end = 'wanted'
  }

  /** Written and not sent once. */
  get unsentBytes(): number {
    return this.#written - this.#sent
  }

  /** Every byte and the end are acknowledged. */
  get finished(): boolean {
    return this.#end === 'acked' && this.#released === this.#written
  }

  /** A receiver may only raise it; what it allows beyond our own bound is not used. */
  allow(offset: number): void {
    this.#allowed = Math.max(this.#allowed, offset)
  }

  /** Whether there is something that may go into a packet now. */
  get ready(): boolean {
    return this.#again.count > 0 || this.#sent < this.#limit || this.#endReady
  }

  /** Whether only the receiver's window holds back what is left. */
  get blocked(): boolean {
    return this.#sent < this.#written && this.#sent >= this.#limit
  }

  /** The next range to send, lost ones first, at most `bytesMax` of it; then `copyTo` has its bytes. */
  next(bytesMax: number): Range | undefined {
    const lost = this.#again.ranges[0]
    if (lost !== undefined) {
      const end = Math.min(lost.end, lost.start + bytesMax)
      const range = { start: lost.start, end }
      this.#again.remove(range.start, range.end)
      return range
    }
    const end = Math.min(this.#limit, this.#sent + bytesMax)
    if (end <= this.#sent) return undefined
    const range = { start: this.#sent, end }
    this.#sent = end
    return range
  }

  /** Copies the range's bytes, which must not be acknowledged yet. */
  copyTo(writer: Writer, { start, end }: Range): void {
    for (let i = this.#pieceAt(start), at = start; at < end; i++) {
      const { offset, bytes } = this.#pieces.at(i)
      const part = bytes.subarray(at - offset, end - offset)
      writer.raw(part)
      at += part.length
    }
  }

  /** The offset for an `end` frame, when it is time to say it. */
  takeEnd(): number | undefined {
    if (!this.#endReady) return undefined
    this.#end = 'sent'
    return this.#written
  }

  acknowledged(ranges: readonly Range[], end: boolean): void {
    if (end) this.#end = 'acked'
    for (const range of ranges) {
      this.#acked.add(range.start, range.end)
      this.#again.remove(range.start, range.end)
    }
    const front = this.#acked.ranges[0]
    if (front === undefined || front.start > this.#released) return
    this.#released = front.end
    for (let piece = this.#pieces.peek(); piece !== undefined; piece = this.#pieces.peek()) {
      if (piece.offset + piece.bytes.length > this.#released) break
      this.#pieces.shift()
    }
  }

  lost(ranges: readonly Range[], end: boolean): void {
    if (end && this.#end === 'sent') this.#end = 'wanted'
    for (const range of ranges) {
      for (const part of this.#acked.missing(range.start, range.end)) this.#again.add(part.start, part.end)
    }
  }

  get #limit(): number {
    return Math.min(this.#written, this.#allowed, this.#released + limits.udpWindowBytesMax)
  }

  get #endReady(): boolean {
    return this.#end === 'wanted' && this.#sent === this.#written && this.#again.count === 0
  }

  #pieceAt(offset: number): number {
    let low = 0
    let high = this.#pieces.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#pieces.at(middle).offset <= offset) low = middle
      else high = middle - 1
    }
    return low
  }
}

/**
 * Messages of a link in an ordered stream of bytes, below them an encryption that knows no
 * messages: the inner stream of the Noise channel (noise-channel.ts), and the stream of a UDP
 * connection (udp/).
 *
 * ```text
 *   stream     varint length ‖ message, again and again; 0 < length ≤ limits.frameBytesMax
 * ```
 */
import { assert } from '../../crypto/errors.ts'
import { putVarint, varintLength } from '../codec/writer.ts'
import { limits } from '../limits.ts'
import { MessageAssembler } from './message-assembler.ts'

/** Bytes of the stream that carry these messages. */
export function streamBytes(messages: readonly Uint8Array[]): number {
  let total = 0
  for (const { length } of messages) {
    if (length === 0 || length > limits.frameBytesMax) assert(false, `a link message of ${length} bytes`)
    total += varintLength(length) + length
  }
  return total
}

/** Puts a message where `streamBytes` of it have room. @returns the place behind it */
export function putMessage(out: Uint8Array, at: number, message: Uint8Array): number {
  const start = at + putVarint(out, at, message.length)
  out.set(message, start)
  return start + message.length
}

/** The piece of the stream that carries these messages, in order. */
export function joinMessages(messages: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(streamBytes(messages))
  let at = 0
  for (const message of messages) at = putMessage(out, at, message)
  return out
}

export class MessageSplitter {
  readonly #message: (message: Uint8Array) => void
  readonly #assembler = new MessageAssembler({ reuse: false })
  readonly #length = new VarintByByte()

  constructor(message: (message: Uint8Array) => void) {
    this.#message = message
  }

  /** Cuts the next bytes of the stream. `undefined`, or why there is no going on (CHANNEL_FRAMING). */
  push(bytes: Uint8Array): string | undefined {
    let offset = 0
    while (offset < bytes.length) {
      if (!this.#assembler.busy) {
        const length = this.#length.push(bytes[offset++]!)
        if (length === undefined) continue
        if (length === 0 || length > limits.frameBytesMax) {
          return `a message of ${length} bytes, the limit is ${limits.frameBytesMax}`
        }
        if (offset + length <= bytes.length) {
          this.#message(bytes.subarray(offset, offset + length))
          offset += length
        } else {
          this.#assembler.begin(length)
        }
        continue
      }
      const taken = this.#assembler.take(bytes, offset)
      offset = taken.offset
      if (taken.piece !== undefined) this.#message(taken.piece)
    }
    return undefined
  }
}

/** A varint (RFC 9000 §16) byte by byte; one that is not in its shortest form counts as 0. */
class VarintByByte {
  #value = 0
  #size = 0
  #missing = 0

  push(byte: number): number | undefined {
    if (this.#missing === 0) {
      this.#size = 1 << (byte >> 6)
      this.#missing = this.#size - 1
      this.#value = byte & 0x3f
    } else {
      this.#missing--
      this.#value = this.#value * 256 + byte
    }
    if (this.#missing > 0) return undefined
    const smallest = this.#size === 1 ? 0 : this.#size === 2 ? 2 ** 6 : this.#size === 4 ? 2 ** 14 : 2 ** 30
    return this.#value < smallest ? 0 : this.#value
  }
}

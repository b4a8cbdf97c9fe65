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
import { varintBytes } from '../codec/writer.ts'
import { limits } from '../limits.ts'
import { MessageAssembler } from './message-assembler.ts'

/** The pieces of the stream that carry these messages, in order; the messages are not copied. */
export function framePieces(messages: readonly Uint8Array[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (const message of messages) {
    const { length } = message
    if (length === 0 || length > limits.frameBytesMax) assert(false, `a link message of ${length} bytes`)
    pieces.push(varintBytes(length), message)
  }
  return pieces
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
        this.#assembler.begin(length)
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

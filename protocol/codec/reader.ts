/**
 * Reads the struct encoding of openIM: TLS presentation style (RFC 8446 §3) with counts and
 * lengths as QUIC varints (RFC 9000 §16) in their shortest form, as RFC 9420 §2.1 does.
 *
 * Everything here is hostile until checked: a length is compared with what is left before
 * anything is allocated, and byte fields are views of the input, so a decoder never holds more
 * than the input twice. Refusals are `OpenIMError`s with a `CODEC_*` code and the offset;
 * `tryDecode` in struct.ts turns them into results at the edge of the network.
 */
import { OpenIMError } from '../../crypto/errors.ts'

export class Reader {
  readonly #bytes: Uint8Array
  #offset = 0

  /** @param bytes read in place and never written; views of it are handed out */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get offset(): number {
    return this.#offset
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  /** Builds a refusal that names the place; for decoders of richer types. */
  refuse(code: string, what: string): OpenIMError {
    return new OpenIMError(code, `${what} at offset ${this.#offset}`, { details: { offset: this.#offset } })
  }

  #take(length: number): number {
    if (length > this.remaining) {
      throw this.refuse('CODEC_TRUNCATED', `needs ${length} bytes, ${this.remaining} are left`)
    }
    const at = this.#offset
    this.#offset += length
    return at
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!
  }

  u16(): number {
    const at = this.#take(2)
    return this.#bytes[at]! * 2 ** 8 + this.#bytes[at + 1]!
  }

  u32(): number {
    return this.#get32(this.#take(4))
  }

  /** 64-bit unsigned; refused above 2⁵³ − 1, which no counter or time of ours reaches. */
  u64(): number {
    const at = this.#take(8)
    const high = this.#get32(at)
    if (high > 0x1f_ffff) throw this.refuse('CODEC_RANGE', 'a 64-bit number is above 2^53 - 1')
    return high * 2 ** 32 + this.#get32(at + 4)
  }

  /** RFC 9000 §16, refused unless in the shortest form (RFC 9420 §2.1.2) and ≤ 2⁵³ − 1. */
  varint(): number {
    const first = this.u8()
    const prefix = first >> 6
    if (prefix === 0) return first
    let value = first & 0x3f
    const more = (1 << prefix) - 1
    const at = this.#take(more)
    for (let i = 0; i < more; i++) value = value * 256 + this.#bytes[at + i]!
    const smallest = prefix === 1 ? 2 ** 6 : prefix === 2 ? 2 ** 14 : 2 ** 30
    if (value < smallest) throw this.refuse('CODEC_VARINT', 'a varint is not in its shortest form')
    if (value > Number.MAX_SAFE_INTEGER) throw this.refuse('CODEC_RANGE', 'a varint is above 2^53 - 1')
    return value
  }

  /** Exactly `length` bytes, as a view of the input. */
  fixed(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** Varint length, then that many bytes, as a view of the input. */
  opaque(lengthMax: number): Uint8Array {
    const length = this.varint()
    if (length > lengthMax) {
      throw this.refuse('CODEC_TOO_LONG', `a field of ${length} bytes, the limit is ${lengthMax}`)
    }
    return this.fixed(length)
  }

  #get32(at: number): number {
    const bytes = this.#bytes
    return bytes[at]! * 2 ** 24 + (bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!)
  }

  /** Everything that is left, as a view of the input. */
  rest(): Uint8Array {
    return this.fixed(this.remaining)
  }

  /** @throws CODEC_TRAILING when bytes are left over */
  end(): void {
    if (this.remaining > 0) throw this.refuse('CODEC_TRAILING', `${this.remaining} bytes too many`)
  }
}

/**
 * Reads the fixed layouts of `crypto/`: handshake headers and stored session states. (Wire structs
 * of the protocol have their declarative codec in protocol/codec, which may not be imported here.)
 *
 * Reading past the end, or a value out of range, gives zeros and is remembered; the caller asks
 * `complete` once, at the end.
 */

export class FieldReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** True when every byte was read and none beyond. */
  get complete(): boolean {
    return this.#offset === this.#bytes.length
  }

  u8(): number {
    const at = this.#take(1)
    return at === undefined ? 0 : this.#view.getUint8(at)
  }

  u32(): number {
    const at = this.#take(4)
    return at === undefined ? 0 : this.#view.getUint32(at)
  }

  /** A copy; zeros when fewer bytes are left. `length` is a constant of the layout. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return at === undefined ? new Uint8Array(length) : this.#bytes.slice(at, at + length)
  }

  /** One byte that must be 0 or 1. */
  bool(): boolean {
    return this.#within(this.u8(), 1) === 1
  }

  /** A u32 that says how many items follow; 0 when it is above `max`. */
  count(max: number): number {
    return this.#within(this.u32(), max)
  }

  #within(value: number, max: number): number {
    if (value <= max) return value
    this.#offset = Infinity
    return 0
  }

  #take(length: number): number | undefined {
    const at = this.#offset
    this.#offset += length
    return this.#offset <= this.#bytes.length ? at : undefined
  }
}

export function u8Bytes(value: number): Uint8Array {
  return Uint8Array.of(value)
}

/** Big-endian. */
export function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}

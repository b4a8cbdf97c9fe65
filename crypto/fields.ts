/**
 * Reads the fixed layouts of `crypto/`: handshake headers and stored session states. (Wire structs
 * of the protocol have their declarative codec in protocol/codec, which may not be imported here.)
 *
 * Reading past the end, or a value out of range, gives zeros and is remembered; the caller asks
 * `complete` once, at the end.
 */

export class FieldReader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** True when every byte was read and none beyond. */
  get complete(): boolean {
    return this.#offset === this.#bytes.length
  }

  u8(): number {
    const at = this.#take(1)
    return at === undefined ? 0 : this.#bytes[at]!
  }

  u32(): number {
    const at = this.#take(4)
    return at === undefined ? 0 : readU32(this.#bytes, at)
  }

  /** At most 2^53 − 1; 0 when it is above. */
  u64(): number {
    const high = this.count(2 ** 21 - 1)
    return high * 2 ** 32 + this.u32()
  }

  /** A copy; zeros when fewer bytes are left. `length` is a constant of the layout. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return at === undefined ? new Uint8Array(length) : this.#bytes.slice(at, at + length)
  }

  /** 0 when it is above `max`. */
  u8Max(max: number): number {
    return this.#within(this.u8(), max)
  }

  /** One byte that must be 0 or 1. */
  bool(): boolean {
    return this.u8Max(1) === 1
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

/**
 * Writes the same layouts. One buffer serves all: states are stored with every message, and small
 * arrays joined one by one cost more than what is in them.
 */
export class FieldWriter {
  #bytes = new Uint8Array(4_096)
  #length = 0

  /** Forgets what an exception may have left half written. */
  begin(): void {
    this.#bytes.fill(0, 0, this.#length)
    this.#length = 0
  }

  u8(value: number): void {
    const at = this.#grow(1)
    this.#bytes[at] = value
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0)
  }

  u32(value: number): void {
    const at = this.#grow(4)
    writeU32(this.#bytes, at, value)
  }

  u64(value: number): void {
    this.u32(Math.floor(value / 2 ** 32))
    this.u32(value % 2 ** 32)
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length)
    this.#bytes.set(bytes, at)
  }

  /** What was written; nothing of it stays here. */
  take(): Uint8Array {
    const out = this.#bytes.slice(0, this.#length)
    this.begin()
    return out
  }

  /** The place of `length` more bytes. */
  #grow(length: number): number {
    const at = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      const bytes = new Uint8Array(2 * this.#length)
      bytes.set(this.#bytes)
      this.#bytes.fill(0)
      this.#bytes = bytes
    }
    return at
  }
}

export function u8Bytes(value: number): Uint8Array {
  return Uint8Array.of(value)
}

/** Big-endian. */
export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}

/** Big-endian, into `bytes` from `at` on. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** Big-endian. */
export function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}

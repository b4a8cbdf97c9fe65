/**
 * Writes the struct encoding of openIM (see reader.ts) into one growing buffer.
 *
 * A value out of range is a bug of ours, so it asserts instead of refusing.
 */
import { assert } from '../../crypto/errors.ts'

const initialBytes = 256

export class Writer {
  #bytes: Uint8Array
  #view: DataView
  #length = 0

  constructor(capacity = initialBytes) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Call it before touching `#view`: growing replaces the view. */
  #reserve(length: number): number {
    const at = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    return at
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xff, `u8 ${value}`)
    const at = this.#reserve(1)
    this.#view.setUint8(at, value)
  }

  u16(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xffff, `u16 ${value}`)
    const at = this.#reserve(2)
    this.#view.setUint16(at, value)
  }

  u32(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, `u32 ${value}`)
    const at = this.#reserve(4)
    this.#view.setUint32(at, value)
  }

  u64(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `u64 ${value}`)
    const at = this.#reserve(8)
    this.#view.setUint32(at, Math.floor(value / 2 ** 32))
    this.#view.setUint32(at + 4, value % 2 ** 32)
  }

  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `varint ${value}`)
    if (value < 2 ** 6) this.u8(value)
    else if (value < 2 ** 14) this.u16(0x4000 + value)
    else if (value < 2 ** 30) this.u32(0x8000_0000 + value)
    else {
      const at = this.#reserve(8)
      this.#view.setUint32(at, 0xc000_0000 + Math.floor(value / 2 ** 32))
      this.#view.setUint32(at + 4, value % 2 ** 32)
    }
  }

  fixed(bytes: Uint8Array, length: number): void {
    assert(bytes.length === length, `fixed field of ${length} bytes got ${bytes.length}`)
    this.raw(bytes)
  }

  opaque(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.raw(bytes)
  }

  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length)
    this.#bytes.set(bytes, at)
  }

  /** The written bytes; the writer must not be used afterwards. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }
}

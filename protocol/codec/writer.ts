/**
 * Writes the struct encoding of openIM (see reader.ts) into one growing buffer.
 *
 * A value out of range is a bug of ours, so it asserts instead of refusing. Numbers are put byte by
 * byte: a `DataView` for each writer cost more than the rest of a small frame, and so did the text
 * of assertions that hold.
 */
import { assert } from '../../crypto/errors.ts'

const initialBytes = 256
/** What an encoded varint takes, by its prefix (RFC 9000 §16). */
const varintLimits = [2 ** 6, 2 ** 14, 2 ** 30] as const

export function varintLength(value: number): 1 | 2 | 4 | 8 {
  if (value < varintLimits[0]) return 1
  if (value < varintLimits[1]) return 2
  return value < varintLimits[2] ? 4 : 8
}

/** Puts one varint where there is room for it; `value` is a safe integer from 0 on. @returns its length */
export function putVarint(bytes: Uint8Array, start: number, value: number): number {
  const length = varintLength(value)
  let rest = value
  for (let at = start + length - 1; at >= start; at--) {
    bytes[at] = rest
    rest = Math.floor(rest / 2 ** 8)
  }
  bytes[start]! |= length === 1 ? 0 : length === 2 ? 0x40 : length === 4 ? 0x80 : 0xc0
  return length
}

/** One varint alone. */
export function varintBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(varintLength(value))
  putVarint(bytes, 0, value)
  return bytes
}

export class Writer {
  #bytes: Uint8Array
  #length = 0

  constructor(capacity = initialBytes) {
    this.#bytes = new Uint8Array(capacity)
  }

  #reserve(length: number): number {
    const at = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
    }
    return at
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): void {
    if (!isWithin(value, 0xff)) assert(false, `u8 ${value}`)
    const at = this.#reserve(1)
    this.#bytes[at] = value
  }

  u16(value: number): void {
    if (!isWithin(value, 0xffff)) assert(false, `u16 ${value}`)
    const at = this.#reserve(2)
    this.#bytes[at] = value >>> 8
    this.#bytes[at + 1] = value
  }

  u32(value: number): void {
    if (!isWithin(value, 0xffff_ffff)) assert(false, `u32 ${value}`)
    this.#put32(this.#reserve(4), value)
  }

  u64(value: number): void {
    if (!isWithin(value, Number.MAX_SAFE_INTEGER)) assert(false, `u64 ${value}`)
    const at = this.#reserve(8)
    this.#put32(at, Math.floor(value / 2 ** 32))
    this.#put32(at + 4, value % 2 ** 32)
  }

  varint(value: number): void {
    if (!isWithin(value, Number.MAX_SAFE_INTEGER)) assert(false, `varint ${value}`)
    switch (varintLength(value)) {
      case 1: return this.u8(value)
      case 2: return this.u16(0x4000 + value)
      case 4: return this.u32(0x8000_0000 + value)
      case 8: {
        const at = this.#reserve(8)
        this.#put32(at, 0xc000_0000 + Math.floor(value / 2 ** 32))
        this.#put32(at + 4, value % 2 ** 32)
      }
    }
  }

  fixed(bytes: Uint8Array, length: number): void {
    if (bytes.length !== length) assert(false, `fixed field of ${length} bytes got ${bytes.length}`)
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

  /** The written bytes; the writer must not be used afterwards, but for `reset`. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Begins anew in the same memory: what `finish` gave is overwritten. */
  reset(): void {
    this.#length = 0
  }

  #put32(at: number, value: number): void {
    this.#bytes[at] = value >>> 24
    this.#bytes[at + 1] = value >>> 16
    this.#bytes[at + 2] = value >>> 8
    this.#bytes[at + 3] = value
  }
}

function isWithin(value: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= max
}

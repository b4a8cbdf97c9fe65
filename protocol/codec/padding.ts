/**
 * Structs padded with zero bytes to a length that tells nothing. The decoder demands that what
 * follows the struct is zero, so that one value has one encoding.
 *
 * Padmé (Nikitin, Barman, Lueks, Underwood, Hubaux, Ford: "Reducing Metadata Leakage from
 * Encrypted Files", PETS 2019) is for what is too long for a few classes: a length of E + 1 bits
 * is rounded up to a multiple of 2^(E − S), S = ⌊log₂ E⌋ + 1. It costs at most 12 %, and lengths
 * that differ by little become the same.
 */
import { assert } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { struct, tryDecode } from './struct.ts'
import type { Codec } from './struct.ts'
import { Writer } from './writer.ts'

/** The padded length of `length` bytes; below 2³². */
export function padme(length: number): number {
  assert(Number.isSafeInteger(length) && length >= 0 && length < 2 ** 32, `a length of ${length}`)
  if (length < 2) return length
  const exponent = 31 - Math.clz32(length)
  const step = 2 ** Math.max(0, exponent - (32 - Math.clz32(exponent)))
  return Math.ceil(length / step) * step
}

/** The encoded value, then zeros up to `length`. The value must fit: check sizes before. */
export function encodePadded<T>(codec: Codec<T>, value: T, length: number): Uint8Array {
  const writer = new Writer(length)
  codec.write(writer, value)
  assert(writer.length <= length, `${writer.length} bytes do not fit into ${length}`)
  writer.raw(new Uint8Array(length - writer.length))
  return writer.finish()
}

const zeros: Codec<number> = {
  write: (w, count) => w.raw(new Uint8Array(count)),
  read(r) {
    const rest = r.rest()
    if (rest.some((byte) => byte !== 0)) throw r.refuse('CODEC_PADDING', 'padding that is not zero')
    return rest.length
  },
}

/** @returns `CODEC_*` refusals, `CODEC_PADDING` among them */
export function tryDecodePadded<T>(codec: Codec<T>, bytes: Uint8Array): Result<T> {
  const decoded = tryDecode(struct<{ value: T, padding: number }>({ value: codec, padding: zeros }), bytes)
  return decoded.ok ? { ok: true, value: decoded.value.value } : decoded
}

/**
 * Writes DER (X.690) as far as a certificate of ours needs it; s2s/der.ts reads it.
 *
 * ```text
 *   tag (1 byte) · length (shortest form) · content
 * ```
 */
import { derTags } from '../s2s/der.ts'

/** One value of whatever tag; `content` is put one behind the other. */
export function derValue(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  const { length } = body
  if (length > 0xffff) throw new RangeError(`a value has at most 65535 bytes here, got ${length}`)
  const size = length < 0x80 ? [length]
    : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), body])
}

export function derSequence(...content: readonly Uint8Array[]): Buffer {
  return derValue(derTags.sequence, ...content)
}

/** @param text `1.2.840.…` */
export function derOidOf(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number)
  const bytes = [first! * 40 + second!, ...rest].flatMap((arc) => {
    const digits = [arc & 0x7f]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      digits.unshift((left & 0x7f) | 0x80)
    }
    return digits
  })
  return derValue(derTags.oid, Buffer.from(bytes))
}

/** Named bits, left to right from 0, without zeros at the end (X.690 §11.2.2). */
export function derBitsOf(numbers: readonly number[]): Buffer {
  const last = Math.max(...numbers)
  const bytes = Buffer.alloc((last >> 3) + 1)
  for (const bit of numbers) bytes[bit >> 3] = bytes[bit >> 3]! | 0x80 >> (bit & 7)
  return derValue(derTags.bitString, Buffer.from([7 - (last & 7)]), bytes)
}

/** Two digits of the year before 2050, four from then on (RFC 5280 §4.1.2.5). Whole seconds. */
export function derTimeOf(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`
  const isShort = digits < '2050'
  return derValue(
    isShort ? derTags.utcTime : derTags.generalizedTime, Buffer.from(isShort ? digits.slice(2) : digits),
  )
}

/**
 * Byte helpers shared by every layer: text forms, joining, constant-time compare and wiping.
 *
 * `equalBytes` takes time that depends on the lengths alone. JavaScript gives no hard guarantee
 * (JIT, GC); it closes the early-exit leak, which is the one an attacker on the network can see.
 */
import { OpenIMError } from './errors.ts'

const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const hexCodes = textEncoder.encode('0123456789abcdef')
/** Engines limit how many arguments `fromCharCode` takes. */
const hexPartBytes = 4_096

export function utf8(text: string): Uint8Array {
  return textEncoder.encode(text)
}

/** Strict UTF-8. @throws BYTES_UTF8 on anything malformed */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return textDecoder.decode(bytes)
  } catch (cause) {
    throw new OpenIMError('BYTES_UTF8', 'text is not valid UTF-8', { cause })
  }
}

export function hex(bytes: Uint8Array): string {
  let out = ''
  for (let at = 0; at < bytes.length; at += hexPartBytes) {
    out += hexPart(bytes.subarray(at, at + hexPartBytes))
  }
  return out
}

/** Flat: joining digit pairs with `+` keeps every step alive, 1 kB for an id of 64 characters. */
function hexPart(bytes: Uint8Array): string {
  const codes = new Uint8Array(2 * bytes.length)
  for (let i = 0; i < bytes.length; i++) {
    codes[2 * i] = hexCodes[bytes[i]! >> 4]!
    codes[2 * i + 1] = hexCodes[bytes[i]! & 15]!
  }
  // Spreading would walk an iterator.
  return String.fromCharCode.apply(null, codes as unknown as number[])
}

/** @throws BYTES_HEX unless `text` is an even number of lower-case hex digits */
export function hexDecode(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) {
    const got = `got ${text.length} characters`
    throw new OpenIMError('BYTES_HEX', `expected an even number of lower-case hex digits, ${got}`)
  }
  const out = new Uint8Array(text.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return out
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Constant-time for equal lengths; lengths themselves are public. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!
  return difference === 0
}

/** Lexicographic order of equal or unequal length bytes: negative, 0 or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Overwrites secrets that are no longer needed; best effort under a garbage collector. */
export function wipe(...secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0)
}

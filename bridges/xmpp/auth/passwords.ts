/**
 * App passwords as text: how ours look, and how those that a client sends in the clear are prepared
 * before they are compared (PLAIN; with SCRAM the client does it).
 */
import type { Random } from '../../../crypto/random.ts'

/** No 0, 1, l and o: 32 characters that nobody takes for another, and no shift key. */
const alphabet = '23456789abcdefghijkmnpqrstuvwxyz'
const groups = 5
const groupCharacters = 4

/** `k7mq-x3vd-9pht-2wcn-r5zb`: 20 characters of 5 bits, 100 bits. */
export function newPassword(random: Random): string {
  // 256 is a multiple of 32: every character is equally likely.
  const characters = Array.from(random.bytes(groups * groupCharacters), (byte) => alphabet[byte & 31]!)
  return Array.from({ length: groups }, (_, i) =>
    characters.slice(i * groupCharacters, (i + 1) * groupCharacters).join('')).join('-')
}

/** PRECIS FreeformClass (RFC 8264 §4.3) leaves out these, and joiners have rules of their own. */
const disallowed = /[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/u

/**
 * The OpaqueString profile (RFC 8265 §4.2): other spaces become the plain one, NFC, no control
 * characters, nothing unassigned or private. `undefined`: no password.
 */
export function preparePassword(text: string): string | undefined {
  const prepared = text.replace(/\p{Zs}/gu, ' ').normalize('NFC')
  return prepared === '' || disallowed.test(prepared) ? undefined : prepared
}

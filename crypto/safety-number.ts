/**
 * Safety numbers: what two people compare, by eye or by camera, to know that nobody stands between
 * them. Made of the two accounts' root keys, so devices may come and go without changing it.
 *
 * ```text
 *   hash 1      SHA-512("openim safety number v1" ‖ u16 version = 1 ‖ rootKey[32] ‖ stable id)
 *   hash n      SHA-512(hash n−1 ‖ rootKey[32])
 *   fingerprint first 32 bytes of hash 5,200
 *   digits      of each fingerprint: bytes 0 to 29 as 6 numbers of 5 bytes, each mod 100,000, written
 *               with 5 digits; then the lower one of the two texts before the higher
 *   scannable   u8 version = 1 ‖ own fingerprint[32] ‖ their fingerprint[32]
 * ```
 *
 * 30 digits a side are 99.6 bits, less than a key has. Each of the 5,200 hashes costs somebody who
 * searches for a key with the same digits as much as it costs us once: 2¹² on top, as Signal's
 * numbers have it. What is scanned is long enough not to need that, and gets it for nothing.
 *
 * Alternative weighed: one hash over both keys. Refused: then neither side of it could be kept, and
 * the search for a collision could use both ends.
 */
import { compareBytes, concat, equalBytes } from './bytes.ts'
import { assert } from './errors.ts'
import { u8Bytes } from './fields.ts'
import { crypto } from './index.ts'
import { labels } from './labels.ts'

/** Of the derivation above; a later one gives other digits, and a scan says so. */
export const safetyNumberVersion = 1
export const scannableBytes = 65

const iterations = 5_200
const keyBytes = 32
const fingerprintBytes = 32
const groupBytes = 5
const groupsPerSide = 6

/** One side: 32 bytes, public. Costs 5,200 hashes, so keep it. */
export function fingerprint(account: { rootKey: Uint8Array, stableId: Uint8Array }): Uint8Array {
  const { rootKey, stableId } = account
  assert(rootKey.length === keyBytes, `a root key has ${keyBytes} bytes, got ${rootKey.length}`)
  const version = Uint8Array.of(safetyNumberVersion >> 8, safetyNumberVersion & 0xff)
  let hash = crypto.sha512(concat(labels.safetyNumber, version, rootKey, stableId))
  const block = new Uint8Array(hash.length + keyBytes)
  block.set(rootKey, hash.length)
  for (let i = 1; i < iterations; i++) {
    block.set(hash)
    hash = crypto.sha512(block)
  }
  return hash.slice(0, fingerprintBytes)
}

/** 60 digits, the same on both sides. */
export function safetyDigits(own: Uint8Array, their: Uint8Array): string {
  const sides = [sideDigits(own), sideDigits(their)]
  return sides.sort().join('')
}

/** 65 bytes for a QR code; the other side compares them with its own view. */
export function scannableNumber(sides: { own: Uint8Array, their: Uint8Array }): Uint8Array {
  assert(compareBytes(sides.own, sides.their) !== 0, 'nobody verifies themselves')
  return concat(u8Bytes(safetyNumberVersion), sides.own, sides.their)
}

/**
 * What was scanned from the other side's screen against what we know. `other version`: their
 * openIM derives numbers differently, which says nothing about keys; compare after an update.
 * Our own code held up to us does not match.
 */
export function compareScannable(input: {
  own: Uint8Array
  their: Uint8Array
  scanned: Uint8Array
}): 'match' | 'mismatch' | 'other version' {
  const { own, their, scanned } = input
  if (scanned.length > 0 && scanned[0] !== safetyNumberVersion) return 'other version'
  // Their own side stands first on their screen.
  return equalBytes(scanned, scannableNumber({ own: their, their: own })) ? 'match' : 'mismatch'
}

function sideDigits(side: Uint8Array): string {
  assert(side.length === fingerprintBytes, `a fingerprint has ${fingerprintBytes} bytes, got ${side.length}`)
  let digits = ''
  for (let group = 0; group < groupsPerSide; group++) {
    let number = 0
    // 40 bits: exact in a double.
    for (let i = 0; i < groupBytes; i++) number = number * 256 + side[group * groupBytes + i]!
    digits += String(number % 100_000).padStart(5, '0')
  }
  return digits
}

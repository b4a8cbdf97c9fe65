/**
 * Which Ed25519 points openIM takes, the same for both backends.
 *
 * Libraries differ on points that nobody makes honestly: encodings of y ≥ p, the eight points of
 * small order (the identity as a key accepts a signature for every message in some libraries; a
 * small-order R is refused by OpenSSL and taken by RFC 8032), and points with a small-order
 * component, under which one signature can be valid here and invalid there. We refuse them all:
 * the first two on every use, as key and as R (`isPlausiblePoint`, no arithmetic), the last once
 * when a key is imported (`isTorsionFreeKey`, one scalar multiplication).
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { hexDecode } from './bytes.ts'

const keyBytes = 32

/**
 * The y coordinates of the points of order 1, 4, 2 and 8 (twice), little-endian, canonical. The
 * sign of x does not matter: either the other point has small order too, or x is zero and the
 * encoding is none (RFC 8032 §5.1.3 step 4).
 */
const smallOrderYs: readonly Uint8Array[] = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map(hexDecode)

/** 32 bytes with y < p = 2²⁵⁵ − 19, not of small order. Whether it is on the curve is not asked. */
export function isPlausiblePoint(publicKey: Uint8Array): boolean {
  if (publicKey.length !== keyBytes || !isReduced(publicKey)) return false
  return !smallOrderYs.some((y) => sameY(publicKey, y))
}

/** On the curve, canonical, and in the group of prime order (so not the identity either). */
export function isTorsionFreeKey(publicKey: Uint8Array): boolean {
  if (!isPlausiblePoint(publicKey)) return false
  try {
    return ed25519.Point.fromBytes(publicKey).isTorsionFree()
  } catch {
    return false
  }
}

/** y ≥ p means that all bits above the lowest byte are set and that byte is at least 0xed. */
function isReduced(publicKey: Uint8Array): boolean {
  if ((publicKey[31]! & 0x7f) !== 0x7f) return true
  for (let i = 30; i > 0; i--) if (publicKey[i] !== 0xff) return true
  return publicKey[0]! < 0xed
}

function sameY(publicKey: Uint8Array, y: Uint8Array): boolean {
  for (let i = 0; i < keyBytes - 1; i++) if (publicKey[i] !== y[i]) return false
  return (publicKey[31]! & 0x7f) === y[31]
}

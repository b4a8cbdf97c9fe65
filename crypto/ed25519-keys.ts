/**
 * Which Ed25519 points openIM takes, the same for all backends.
 *
 * Libraries differ on points that nobody makes honestly: encodings of y ≥ p, the eight points of
 * small order (the identity as a key accepts a signature for every message in some libraries; a
 * small-order R is refused by OpenSSL and taken by RFC 8032), and points with a small-order
 * component, under which one signature can be valid here and invalid there. We refuse them all:
 * the first two on every use, as key and as R (`isPlausiblePoint`, no arithmetic), the last once
 * when a key is imported (`isTorsionFreeKey`, one scalar multiplication).
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { hex, hexDecode } from './bytes.ts'
import { signatureBytes } from './input-checks.ts'

type KeyCheck = (publicKey: Uint8Array) => boolean

const keyBytes = 32
/** Contacts and their devices with room to spare; 200 KiB. */
const rememberedKeysMax = 1_024

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

/** What no backend is asked to verify. Whether S < L is the backend's to check. */
export function isPlausibleSignature(input: { publicKey: Uint8Array, signature: Uint8Array }): boolean {
  const { publicKey, signature } = input
  return signature.length === signatureBytes
    && isPlausiblePoint(publicKey) && isPlausiblePoint(signature.subarray(0, keyBytes))
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

/**
 * `check` with a memory of the keys that passed: the same few come again and again, with every
 * prekey bundle and device list. Safe, because the verdict depends on the 32 bytes alone and the
 * keys are public. Refusals are not kept; a flood of good keys costs others a fresh check, no more.
 */
export function remembering(check: KeyCheck): KeyCheck {
  const passed = new Set<string>()
  return (publicKey) => {
    if (publicKey.length !== keyBytes) return false
    const name = hex(publicKey)
    if (passed.has(name)) return true
    if (!check(publicKey)) return false
    if (passed.size >= rememberedKeysMax) passed.delete(passed.keys().next().value!)
    passed.add(name)
    return true
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

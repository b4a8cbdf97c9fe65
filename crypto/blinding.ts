/**
 * Ed25519 key blinding, as Tor does it for onion services (rend-spec-v3, appendix A): from a
 * public key and a factor anybody makes the blinded public key, and its owner alone signs under
 * it, with signatures that every Ed25519 verifier takes (RFC 8032). Who does not know the key
 * cannot link two blinded forms of it.
 *
 * ```text
 *   h  = factor, clamped like an RFC 8032 secret (§5.1.5 step 2)
 *   A' = h · A                      a' = h · a mod L
 * ```
 *
 * Different from Tor in one place: the nonce prefix of the blinded key depends on the factor too.
 * With a prefix of the secret alone, the same message signed under two factors would use the same
 * r; and S₁ − S₂ = (k₁h₁ − k₂h₂) · a gives the secret to everybody who knows the factors.
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE, numberToBytesLE } from '@noble/curves/utils.js'
import { concat, wipe } from './bytes.ts'
import { assert, OpenIMError } from './errors.ts'
import { crypto } from './index.ts'
import { labels } from './labels.ts'

const { Point } = ed25519
const groupOrder = Point.Fn.ORDER
const keyBytes = 32

export interface BlindedSigner {
  readonly publicKey: Uint8Array
  /** 64 bytes; valid under `publicKey` by RFC 8032. */
  sign(message: Uint8Array): Uint8Array
}

/**
 * @param input.factor 32 bytes of a hash or KDF over everything that the blinded key is bound to
 * @throws BLINDING_KEY for a key that is not canonical, of small order or not torsion-free: its
 *   blinded forms would differ by torsion only, or verify nothing
 */
export function blindPublicKey(input: { publicKey: Uint8Array, factor: Uint8Array }): Uint8Array {
  if (!crypto.isVerifyKey(input.publicKey)) {
    throw new OpenIMError('BLINDING_KEY', 'the key to blind is not a usable Ed25519 key: get the right one')
  }
  return Point.fromBytes(input.publicKey).multiplyUnsafe(clampedFactor(input.factor)).toBytes()
}

/** @param input.seed 32 bytes (RFC 8032); not kept */
export function blindedSigner(input: { seed: Uint8Array, factor: Uint8Array }): BlindedSigner {
  const { scalar, prefix } = ed25519.utils.getExtendedPublicKey(input.seed)
  const blindedScalar = (clampedFactor(input.factor) * scalar) % groupOrder
  const blindedPrefix = crypto.sha512(concat(labels.blindedNonce, prefix, input.factor)).slice(0, keyBytes)
  wipe(prefix)
  const publicKey = Point.BASE.multiply(blindedScalar).toBytes()
  return {
    publicKey,
    sign(message) {
      const r = hashToScalar(blindedPrefix, message)
      const commitment = Point.BASE.multiply(r).toBytes()
      const k = hashToScalar(commitment, publicKey, message)
      return concat(commitment, numberToBytesLE((r + k * blindedScalar) % groupOrder, keyBytes))
    },
  }
}

/** Reduced modulo L, which is the same for a torsion-free point. */
function clampedFactor(factor: Uint8Array): bigint {
  assert(factor.length === keyBytes, `a blinding factor has 32 bytes, got ${factor.length}`)
  const clamped = factor.slice()
  clamped[0]! &= 0xf8
  clamped[31] = (clamped[31]! & 0x7f) | 0x40
  return bytesToNumberLE(clamped) % groupOrder
}

function hashToScalar(...parts: Uint8Array[]): bigint {
  return bytesToNumberLE(crypto.sha512(concat(...parts))) % groupOrder
}

/**
 * The reference backend, pure JavaScript on `@noble/*`: the measure for the other two, what takes
 * over where a primitive of theirs is missing or wrong, and what simulations use where native code
 * would draw its own randomness.
 *
 * Stricter than the library in one place: noble's Ed25519 verification multiplies by the cofactor
 * and so accepts signatures that native code refuses. `verify` recomputes R and compares bytes,
 * which is what OpenSSL and libsodium do.
 */
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE } from '@noble/curves/utils.js'
import { argon2id } from '@noble/hashes/argon2.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { ml_kem768 as mlKem768 } from '@noble/post-quantum/ml-kem.js'
import { concat, equalBytes, hex, wipe } from './bytes.ts'
import { isPlausibleSignature, isTorsionFreeKey, remembering } from './ed25519-keys.ts'
import {
  chachaNonceBytes, checkAead, checkArgon2, checkHkdf, checkLength, kemCiphertextBytes,
  kemSeedBytes, sealedRoom, unlessZero, xchachaNonceBytes,
} from './input-checks.ts'
import { ByteKeyPair, secretOf } from './key-pair.ts'
import type { CryptoProvider, DhKeyPair, KemKeyPair, SigningKeyPair } from './provider.ts'

const { Point } = ed25519
const groupOrder = Point.Fn.ORDER

class NobleDhKeyPair extends ByteKeyPair implements DhKeyPair {}
class NobleSigningKeyPair extends ByteKeyPair implements SigningKeyPair {}
/** Holds the seed; the expanded key (2,400 bytes) is derived again when it is used. */
class NobleKemKeyPair extends ByteKeyPair implements KemKeyPair {}

function orUndefined(open: () => Uint8Array): Uint8Array | undefined {
  try {
    return open()
  } catch {
    return undefined
  }
}

export const provider: CryptoProvider = {
  name: 'noble',

  sha256: (data) => sha256(data),
  sha256Hex: (data) => hex(sha256(data)),
  sha512: (data) => sha512(data),
  hmacSha256: (key, data) => hmac(sha256, key, data),
  hkdf({ secret, salt, info, length }) {
    checkHkdf({ info, length })
    return hkdf(sha256, secret, salt, info, length)
  },

  seal(input) {
    checkAead(input, chachaNonceBytes)
    const { key, nonce, ad, plaintext, into } = input
    const sealed = chacha20poly1305(key, nonce, ad).encrypt(plaintext)
    if (into === undefined) return sealed
    sealedRoom(input).set(sealed)
    return into
  },
  open(input) {
    checkAead(input, chachaNonceBytes)
    const { key, nonce, ad, ciphertext } = input
    return orUndefined(() => chacha20poly1305(key, nonce, ad).decrypt(ciphertext))
  },
  sealX(input) {
    checkAead(input, xchachaNonceBytes)
    return xchacha20poly1305(input.key, input.nonce, input.ad).encrypt(input.plaintext)
  },
  openX(input) {
    checkAead(input, xchachaNonceBytes)
    const { key, nonce, ad, ciphertext } = input
    return orUndefined(() => xchacha20poly1305(key, nonce, ad).decrypt(ciphertext))
  },

  dhKeyPair(secret) {
    checkLength('an X25519 secret', secret, 32)
    return new NobleDhKeyPair(x25519.getPublicKey(secret), secret.slice())
  },
  dh(own, remotePublicKey) {
    checkLength('an X25519 key', remotePublicKey, 32)
    const secret = secretOf(own, NobleDhKeyPair)
    const sharedSecret = orUndefined(() => x25519.getSharedSecret(secret, remotePublicKey))
    return sharedSecret && unlessZero(sharedSecret)
  },

  signingKeyPair(seed) {
    checkLength('an Ed25519 seed', seed, 32)
    return new NobleSigningKeyPair(ed25519.getPublicKey(seed), seed.slice())
  },
  sign: (own, message) => ed25519.sign(message, secretOf(own, NobleSigningKeyPair)),
  verify({ publicKey, message, signature }) {
    if (!isPlausibleSignature({ publicKey, signature })) return false
    const r = signature.subarray(0, 32)
    const s = bytesToNumberLE(signature.subarray(32))
    if (s >= groupOrder) return false
    try {
      const a = Point.fromBytes(publicKey)
      const k = bytesToNumberLE(sha512(concat(r, publicKey, message))) % groupOrder
      const expected = Point.BASE.multiplyUnsafe(s).subtract(a.multiplyUnsafe(k))
      return equalBytes(expected.toBytes(), r)
    } catch {
      return false
    }
  },
  isVerifyKey: remembering(isTorsionFreeKey),

  kemKeyPair(seed) {
    checkLength('an ML-KEM seed', seed, kemSeedBytes)
    const { publicKey, secretKey } = mlKem768.keygen(seed)
    wipe(secretKey)
    return new NobleKemKeyPair(publicKey, seed.slice())
  },
  kemEncapsulate(remotePublicKey, random) {
    const message = random.bytes(32)
    try {
      const { cipherText: ciphertext, sharedSecret } = mlKem768.encapsulate(remotePublicKey, message)
      return { ciphertext, sharedSecret }
    } catch {
      return undefined
    } finally {
      wipe(message)
    }
  },
  kemDecapsulate(own, ciphertext) {
    checkLength('an ML-KEM-768 ciphertext', ciphertext, kemCiphertextBytes)
    const { secretKey } = mlKem768.keygen(secretOf(own, NobleKemKeyPair))
    const sharedSecret = mlKem768.decapsulate(ciphertext, secretKey)
    wipe(secretKey)
    return sharedSecret
  },

  argon2id(input) {
    checkArgon2(input)
    const { password, salt, memoryKiB, passes, lanes, length = 32 } = input
    return argon2id(password, salt, { m: memoryKiB, t: passes, p: lanes, dkLen: length })
  },
}

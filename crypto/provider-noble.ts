/**
 * The reference backend, pure JavaScript on `@noble/*`: what a browser uses, what simulations use
 * where native code would draw its own randomness, and the measure for provider-node.ts.
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
import { isPlausiblePoint, isTorsionFreeKey } from './ed25519-keys.ts'
import { assert } from './errors.ts'
import type { CryptoProvider, DhKeyPair, KemKeyPair, SigningKeyPair } from './provider.ts'

const { Point } = ed25519
const groupOrder = Point.Fn.ORDER
const signatureBytes = 64

/** Public key and a secret that `inspect`, JSON and structured clones do not see. */
class KeyPair {
  readonly publicKey: Uint8Array
  readonly #secret: Uint8Array

  constructor(publicKey: Uint8Array, secret: Uint8Array) {
    this.publicKey = publicKey
    this.#secret = secret
  }

  exportSecret(): Uint8Array {
    return this.#secret.slice()
  }

  toJSON(): { publicKey: string } {
    return { publicKey: hex(this.publicKey) }
  }

  static secretOf(pair: KeyPair): Uint8Array {
    return pair.#secret
  }
}

class NobleDhKeyPair extends KeyPair implements DhKeyPair {}
class NobleSigningKeyPair extends KeyPair implements SigningKeyPair {}
/** Holds the seed; the expanded key (2,400 bytes) is derived again when it is used. */
class NobleKemKeyPair extends KeyPair implements KemKeyPair {}

function secretOf<K extends KeyPair>(pair: unknown, kind: abstract new (...args: never[]) => K): Uint8Array {
  assert(pair instanceof kind, 'a key pair of another backend or kind')
  return KeyPair.secretOf(pair)
}

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
  sha512: (data) => sha512(data),
  hmacSha256: (key, data) => hmac(sha256, key, data),
  hkdf: ({ secret, salt, info, length }) => hkdf(sha256, secret, salt, info, length),

  seal: ({ key, nonce, plaintext, ad }) => chacha20poly1305(key, nonce, ad).encrypt(plaintext),
  open: ({ key, nonce, ciphertext, ad }) =>
    orUndefined(() => chacha20poly1305(key, nonce, ad).decrypt(ciphertext)),
  sealX: ({ key, nonce, plaintext, ad }) => xchacha20poly1305(key, nonce, ad).encrypt(plaintext),
  openX: ({ key, nonce, ciphertext, ad }) =>
    orUndefined(() => xchacha20poly1305(key, nonce, ad).decrypt(ciphertext)),

  dhKeyPair(secret) {
    assert(secret.length === 32, `an X25519 secret has 32 bytes, got ${secret.length}`)
    return new NobleDhKeyPair(x25519.getPublicKey(secret), secret.slice())
  },
  dh(own, remotePublicKey) {
    assert(remotePublicKey.length === 32, `an X25519 key has 32 bytes, got ${remotePublicKey.length}`)
    const secret = secretOf(own, NobleDhKeyPair)
    return orUndefined(() => x25519.getSharedSecret(secret, remotePublicKey))
  },

  signingKeyPair(seed) {
    assert(seed.length === 32, `an Ed25519 seed has 32 bytes, got ${seed.length}`)
    return new NobleSigningKeyPair(ed25519.getPublicKey(seed), seed.slice())
  },
  sign: (own, message) => ed25519.sign(message, secretOf(own, NobleSigningKeyPair)),
  verify({ publicKey, message, signature }) {
    if (signature.length !== signatureBytes) return false
    const r = signature.subarray(0, 32)
    if (!isPlausiblePoint(publicKey) || !isPlausiblePoint(r)) return false
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
  isVerifyKey: isTorsionFreeKey,

  kemKeyPair(seed) {
    assert(seed.length === 64, `an ML-KEM seed has 64 bytes, got ${seed.length}`)
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
    assert(ciphertext.length === 1_088, `an ML-KEM-768 ciphertext has 1,088 bytes, got ${ciphertext.length}`)
    const { secretKey } = mlKem768.keygen(secretOf(own, NobleKemKeyPair))
    const sharedSecret = mlKem768.decapsulate(ciphertext, secretKey)
    wipe(secretKey)
    return sharedSecret
  },

  argon2id: ({ password, salt, memoryKiB, passes, lanes, length = 32 }) =>
    argon2id(password, salt, { m: memoryKiB, t: passes, p: lanes, dkLen: length }),
}

/**
 * libsodium compiled to WebAssembly: what a browser uses where it may load, and on Node the faster
 * one for short inputs (provider-mixed.ts), because a call costs less than one into OpenSSL.
 *
 * Importing this module loads libsodium; it throws where WebAssembly is missing or forbidden (a
 * Content-Security-Policy without `wasm-unsafe-eval`).
 *
 * libsodium's own functions are called, not the wrappers around them: the wrappers leave keys and
 * plaintexts behind in memory that they freed, and offer no HMAC. Every call here works in one
 * place of the wasm heap and wipes it:
 *
 * ```text
 *   heap   … │ scratch, 128 KiB: inputs and results of one call, side by side │ …
 *              longer inputs: the same in memory taken for that call
 * ```
 *
 * HMAC is HKDF-Extract, which is the same function (RFC 5869 §2.2). SHA-256 by itself and Argon2
 * are not in this build of libsodium; they come from noble.
 *
 * Alternatives weighed: docs/decisions/0009-three-crypto-backends.md.
 */
import sodium from 'libsodium-wrappers'
import { wipe } from './bytes.ts'
import { isPlausiblePoint, isPlausibleSignature, remembering } from './ed25519-keys.ts'
import { assert } from './errors.ts'
import {
  aeadTagBytes, chachaNonceBytes, checkAead, checkHkdf, checkLength, kemCiphertextBytes,
  kemPublicKeyBytes, kemSeedBytes, sealedRoom, signatureBytes, unlessZero, xchachaNonceBytes,
} from './input-checks.ts'
import { ByteKeyPair, secretOf } from './key-pair.ts'
import { provider as noble } from './provider-noble.ts'
import type { AeadKey, CryptoProvider, DhKeyPair, KemKeyPair, SigningKeyPair } from './provider.ts'

type Native = (...args: number[]) => number

/** The module under the wrappers, which publish no types for it. A length of 64 bits is two numbers. */
interface SodiumModule {
  /** Replaced when the memory grows: never kept over a call. */
  readonly HEAPU8: Uint8Array<ArrayBuffer>
  readonly _malloc: Native
  readonly _free: Native
  readonly _crypto_aead_chacha20poly1305_ietf_encrypt: Native
  readonly _crypto_aead_chacha20poly1305_ietf_decrypt: Native
  readonly _crypto_aead_xchacha20poly1305_ietf_encrypt: Native
  readonly _crypto_aead_xchacha20poly1305_ietf_decrypt: Native
  readonly _crypto_hash: Native
  readonly _crypto_kdf_hkdf_sha256_extract: Native
  readonly _crypto_kdf_hkdf_sha256_expand: Native
  readonly _crypto_kem_mlkem768_seed_keypair: Native
  readonly _crypto_kem_mlkem768_enc_deterministic: Native
  readonly _crypto_kem_mlkem768_dec: Native
  readonly _crypto_scalarmult: Native
  readonly _crypto_scalarmult_base: Native
  readonly _crypto_sign_seed_keypair: Native
  readonly _crypto_sign_detached: Native
  readonly _crypto_sign_verify_detached: Native
  readonly _crypto_sign_ed25519_pk_to_curve25519: Native
}

const keyBytes = 32
const kemSecretKeyBytes = 2_400
const signingSecretBytes = 64
/** The largest envelope and its associated data fit in. */
const scratchBytes = 128 * 1024

await sodium.ready
const found = (sodium as unknown as { readonly libsodium?: SodiumModule }).libsodium
assert(found !== undefined, 'libsodium-wrappers no longer shows the module under it')
const native: SodiumModule = found
const scratch = native._malloc(scratchBytes)
assert(scratch !== 0, 'no memory for libsodium')

/** Runs `work` on `bytes` of the heap, which are wiped after it. */
function inHeap<T>(bytes: number, work: (at: number) => T): T {
  const at = bytes <= scratchBytes ? scratch : native._malloc(bytes)
  assert(at !== 0, `no memory for ${bytes} bytes in libsodium`)
  try {
    return work(at)
  } finally {
    native.HEAPU8.fill(0, at, at + bytes)
    if (at !== scratch) native._free(at)
  }
}

function put(at: number, bytes: Uint8Array): void {
  native.HEAPU8.set(bytes, at)
}

function take(at: number, length: number): Uint8Array {
  return native.HEAPU8.slice(at, at + length)
}

const nothing = new Uint8Array(0)
const nonceRoom = 32

/** Puts `key ‖ nonce (32) ‖ ad ‖ text` at `keyAt`; the text is sealed and opened in place. */
function layOut(keyAt: number, { key, nonce, ad = nothing }: AeadKey, text: Uint8Array): {
  readonly nonceAt: number, readonly adAt: number, readonly adBytes: number, readonly textAt: number
} {
  const nonceAt = keyAt + keyBytes
  const adAt = nonceAt + nonceRoom
  const textAt = adAt + ad.length
  put(keyAt, key)
  put(nonceAt, nonce)
  put(adAt, ad)
  put(textAt, text)
  return { nonceAt, adAt, adBytes: ad.length, textAt }
}

function roomFor({ ad = nothing }: AeadKey, text: Uint8Array): number {
  return keyBytes + nonceRoom + ad.length + text.length + aeadTagBytes
}

function seal(
  cipher: Native,
  input: AeadKey & { plaintext: Uint8Array, into?: Uint8Array | undefined },
): Uint8Array {
  const { plaintext, into } = input
  return inHeap(roomFor(input, plaintext), (keyAt) => {
    const { nonceAt, adAt, adBytes, textAt } = layOut(keyAt, input, plaintext)
    const code = cipher(textAt, 0, textAt, plaintext.length, 0, adAt, adBytes, 0, 0, nonceAt, keyAt)
    assert(code === 0, 'libsodium did not seal')
    if (into === undefined) return take(textAt, plaintext.length + aeadTagBytes)
    sealedRoom(input).set(native.HEAPU8.subarray(textAt, textAt + into.length))
    return into
  })
}

function open(cipher: Native, input: AeadKey & { ciphertext: Uint8Array }): Uint8Array | undefined {
  const { ciphertext } = input
  if (ciphertext.length < aeadTagBytes) return undefined
  return inHeap(roomFor(input, ciphertext), (keyAt) => {
    const { nonceAt, adAt, adBytes, textAt } = layOut(keyAt, input, ciphertext)
    const code = cipher(textAt, 0, 0, textAt, ciphertext.length, 0, adAt, adBytes, 0, nonceAt, keyAt)
    return code === 0 ? take(textAt, ciphertext.length - aeadTagBytes) : undefined
  })
}

class WasmDhKeyPair extends ByteKeyPair implements DhKeyPair {}
class WasmSigningKeyPair extends ByteKeyPair implements SigningKeyPair {}
/** Holds the seed; the expanded key is derived again when it is used. */
class WasmKemKeyPair extends ByteKeyPair implements KemKeyPair {}

/** libsodium converts a key to X25519 only if it lies in the group of prime order. */
function isInMainGroup(publicKey: Uint8Array): boolean {
  return isPlausiblePoint(publicKey) && inHeap(2 * keyBytes, (at) => {
    put(at, publicKey)
    return native._crypto_sign_ed25519_pk_to_curve25519(at + keyBytes, at) === 0
  })
}

export const provider: CryptoProvider = {
  name: 'wasm',

  sha256: noble.sha256,
  sha256Hex: noble.sha256Hex,
  sha512: (data) => inHeap(64 + data.length, (at) => {
    put(at + 64, data)
    native._crypto_hash(at, at + 64, data.length, 0)
    return take(at, 64)
  }),
  hmacSha256: (key, data) => inHeap(keyBytes + key.length + data.length, (at) => {
    const keyAt = at + keyBytes
    const dataAt = keyAt + key.length
    put(keyAt, key)
    put(dataAt, data)
    native._crypto_kdf_hkdf_sha256_extract(at, keyAt, key.length, dataAt, data.length)
    return take(at, keyBytes)
  }),
  hkdf({ secret, salt, info, length }) {
    checkHkdf({ info, length })
    return inHeap(keyBytes + secret.length + salt.length + info.length + length, (at) => {
      const secretAt = at + keyBytes
      const saltAt = secretAt + secret.length
      const infoAt = saltAt + salt.length
      const outAt = infoAt + info.length
      put(secretAt, secret)
      put(saltAt, salt)
      put(infoAt, info)
      native._crypto_kdf_hkdf_sha256_extract(at, saltAt, salt.length, secretAt, secret.length)
      native._crypto_kdf_hkdf_sha256_expand(outAt, length, infoAt, info.length, at)
      return take(outAt, length)
    })
  },

  seal(input) {
    checkAead(input, chachaNonceBytes)
    return seal(native._crypto_aead_chacha20poly1305_ietf_encrypt, input)
  },
  open(input) {
    checkAead(input, chachaNonceBytes)
    return open(native._crypto_aead_chacha20poly1305_ietf_decrypt, input)
  },
  sealX(input) {
    checkAead(input, xchachaNonceBytes)
    return seal(native._crypto_aead_xchacha20poly1305_ietf_encrypt, input)
  },
  openX(input) {
    checkAead(input, xchachaNonceBytes)
    return open(native._crypto_aead_xchacha20poly1305_ietf_decrypt, input)
  },

  dhKeyPair(secret) {
    checkLength('an X25519 secret', secret, keyBytes)
    const publicKey = inHeap(2 * keyBytes, (at) => {
      put(at, secret)
      native._crypto_scalarmult_base(at + keyBytes, at)
      return take(at + keyBytes, keyBytes)
    })
    return new WasmDhKeyPair(publicKey, secret.slice())
  },
  dh(own, remotePublicKey) {
    checkLength('an X25519 key', remotePublicKey, keyBytes)
    const secret = secretOf(own, WasmDhKeyPair)
    return inHeap(3 * keyBytes, (at) => {
      put(at, secret)
      put(at + keyBytes, remotePublicKey)
      const code = native._crypto_scalarmult(at + 2 * keyBytes, at, at + keyBytes)
      return code === 0 ? unlessZero(take(at + 2 * keyBytes, keyBytes)) : undefined
    })
  },

  signingKeyPair(seed) {
    checkLength('an Ed25519 seed', seed, keyBytes)
    const publicKey = inHeap(2 * keyBytes + signingSecretBytes, (at) => {
      put(at, seed)
      native._crypto_sign_seed_keypair(at + keyBytes, at + 2 * keyBytes, at)
      return take(at + keyBytes, keyBytes)
    })
    return new WasmSigningKeyPair(publicKey, seed.slice())
  },
  sign(own, message) {
    const seed = secretOf(own, WasmSigningKeyPair)
    return inHeap(signingSecretBytes + signatureBytes + message.length, (at) => {
      // libsodium's secret key is seed ‖ public key.
      put(at, seed)
      put(at + keyBytes, own.publicKey)
      const signatureAt = at + signingSecretBytes
      const messageAt = signatureAt + signatureBytes
      put(messageAt, message)
      native._crypto_sign_detached(signatureAt, 0, messageAt, message.length, 0, at)
      return take(signatureAt, signatureBytes)
    })
  },
  verify({ publicKey, message, signature }) {
    if (!isPlausibleSignature({ publicKey, signature })) return false
    return inHeap(keyBytes + signatureBytes + message.length, (at) => {
      const signatureAt = at + keyBytes
      const messageAt = signatureAt + signatureBytes
      put(at, publicKey)
      put(signatureAt, signature)
      put(messageAt, message)
      return native._crypto_sign_verify_detached(signatureAt, messageAt, message.length, 0, at) === 0
    })
  },
  isVerifyKey: remembering(isInMainGroup),

  kemKeyPair(seed) {
    checkLength('an ML-KEM seed', seed, kemSeedBytes)
    const publicKey = withExpanded(seed, ({ publicAt }) => take(publicAt, kemPublicKeyBytes))
    return new WasmKemKeyPair(publicKey, seed.slice())
  },
  kemEncapsulate(remotePublicKey, random) {
    const message = random.bytes(keyBytes)
    if (remotePublicKey.length !== kemPublicKeyBytes) return undefined
    return inHeap(kemPublicKeyBytes + 2 * keyBytes + kemCiphertextBytes, (at) => {
      const messageAt = at + kemPublicKeyBytes
      const secretAt = messageAt + keyBytes
      const ciphertextAt = secretAt + keyBytes
      put(at, remotePublicKey)
      put(messageAt, message)
      wipe(message)
      const code = native._crypto_kem_mlkem768_enc_deterministic(ciphertextAt, secretAt, at, messageAt)
      if (code !== 0) return undefined
      const ciphertext = take(ciphertextAt, kemCiphertextBytes)
      return { ciphertext, sharedSecret: take(secretAt, keyBytes) }
    })
  },
  kemDecapsulate(own, ciphertext) {
    checkLength('an ML-KEM-768 ciphertext', ciphertext, kemCiphertextBytes)
    return withExpanded(secretOf(own, WasmKemKeyPair), ({ secretAt, freeAt }) => {
      const sharedAt = freeAt + kemCiphertextBytes
      put(freeAt, ciphertext)
      native._crypto_kem_mlkem768_dec(sharedAt, freeAt, secretAt)
      return take(sharedAt, keyBytes)
    })
  },

  argon2id: noble.argon2id,
}

/** Expands an ML-KEM seed in the heap; `freeAt` has room for a ciphertext and a shared secret. */
function withExpanded<T>(
  seed: Uint8Array,
  work: (keys: { publicAt: number, secretAt: number, freeAt: number }) => T,
): T {
  const room = kemSeedBytes + kemPublicKeyBytes + kemSecretKeyBytes + kemCiphertextBytes + keyBytes
  return inHeap(room, (at) => {
    const publicAt = at + kemSeedBytes
    const secretAt = publicAt + kemPublicKeyBytes
    put(at, seed)
    native._crypto_kem_mlkem768_seed_keypair(publicAt, secretAt, at)
    return work({ publicAt, secretAt, freeAt: secretAt + kemSecretKeyBytes })
  })
}

/**
 * The native backend on `node:crypto` (OpenSSL), for Node ≥ 24.
 *
 * Keys are `KeyObject`s wherever they live longer than one call, and symmetric keys are wrapped
 * with `createSecretKey` even for one: passing raw bytes costs 3–6× on Node 24.20 and 24.21. An
 * imported public key costs 20 µs, a third of a DH with it, so the last few are kept. XChaCha20
 * does not exist natively: HChaCha20 comes from noble (one block), the rest is native.
 *
 * `kemEncapsulate` draws its randomness inside OpenSSL, so it goes native only for `systemRandom`;
 * with any other `Random` the noble backend does it and a simulation stays reproducible.
 */
import {
  argon2Sync, createCipheriv, createDecipheriv, createHmac, createPrivateKey, createPublicKey,
  createSecretKey, decapsulate, diffieHellman, encapsulate, hash, hkdfSync, sign, verify,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { hchacha } from '@noble/ciphers/chacha.js'
import { hex, utf8, wipe } from './bytes.ts'
import { isPlausibleSignature } from './ed25519-keys.ts'
import { assert } from './errors.ts'
import {
  aeadTagBytes, chachaNonceBytes, checkAead, checkArgon2, checkHkdf, checkLength,
  kemCiphertextBytes, kemPublicKeyBytes, kemSeedBytes, sealedRoom, unlessZero, xchachaNonceBytes,
} from './input-checks.ts'
import { provider as noble } from './provider-noble.ts'
import type { AeadKey, CryptoProvider, DhKeyPair, KemKeyPair, SigningKeyPair } from './provider.ts'
import { systemRandom } from './random.ts'

const cipher = 'chacha20-poly1305'
const chachaConstants = words(utf8('expand 32-byte k'))
/** Remote keys in use at one time: ratchets and inboxes of the contacts that talk right now. */
const publicKeysKeptMax = 256

/** What leaves this file is a plain `Uint8Array`, as from the other backend. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length)
}

function viewed(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}

/**
 * Node 24.20 and later asks of every raw key whether it is a key object by throwing and catching
 * four errors. Without their stack traces an import takes 6 µs instead of 20, a key pair 36
 * instead of 50.
 */
function withoutTraces<T>(make: () => T): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

type KeyType = 'x25519' | 'ed25519' | 'ml-kem-768'

abstract class KeyPair {
  readonly publicKey: Uint8Array
  readonly #privateKey: KeyObject
  readonly #secretFormat: 'raw-private' | 'raw-seed'

  constructor(secret: Uint8Array, type: KeyType) {
    const format = type === 'ml-kem-768' ? 'raw-seed' : 'raw-private'
    this.#secretFormat = format
    this.#privateKey = withoutTraces(() =>
      createPrivateKey({ key: viewed(secret), format, asymmetricKeyType: type }))
    this.publicKey = plain(createPublicKey(this.#privateKey).export({ format: 'raw-public' }))
  }

  exportSecret(): Uint8Array {
    return plain(this.#privateKey.export({ format: this.#secretFormat }))
  }

  toJSON(): { publicKey: string } {
    return { publicKey: hex(this.publicKey) }
  }

  static privateKeyOf(pair: KeyPair): KeyObject {
    return pair.#privateKey
  }
}

class NodeDhKeyPair extends KeyPair implements DhKeyPair {}
class NodeSigningKeyPair extends KeyPair implements SigningKeyPair {}
class NodeKemKeyPair extends KeyPair implements KemKeyPair {}

function privateKeyOf(pair: unknown, kind: abstract new (...args: never[]) => KeyPair): KeyObject {
  assert(pair instanceof kind, 'a key pair of another backend or kind')
  return KeyPair.privateKeyOf(pair)
}

const publicKeys = new Map<string, KeyObject>()

/** Public keys of remotes, imported once while they are in use. @throws when OpenSSL refuses it */
function importPublicKey(key: Uint8Array, type: 'x25519' | 'ed25519'): KeyObject {
  const name = type + viewed(key).toString('latin1')
  const known = publicKeys.get(name)
  if (known !== undefined) return known
  const imported = withoutTraces(() =>
    createPublicKey({ key: viewed(key), format: 'raw-public', asymmetricKeyType: type }))
  if (publicKeys.size >= publicKeysKeptMax) publicKeys.delete(publicKeys.keys().next().value!)
  publicKeys.set(name, imported)
  return imported
}

function seal(input: AeadKey & { plaintext: Uint8Array, into?: Uint8Array | undefined }): Uint8Array {
  checkAead(input, chachaNonceBytes)
  const { key, nonce, plaintext, ad } = input
  const aead = createCipheriv(cipher, createSecretKey(key), nonce, { authTagLength: aeadTagBytes })
  if (ad !== undefined) aead.setAAD(ad, { plaintextLength: plaintext.length })
  const body = aead.update(plaintext)
  aead.final()
  const out = sealedRoom(input)
  out.set(body)
  out.set(aead.getAuthTag(), body.length)
  return out
}

function open(input: AeadKey & { ciphertext: Uint8Array }): Uint8Array | undefined {
  checkAead(input, chachaNonceBytes)
  const { key, nonce, ciphertext, ad } = input
  const bodyBytes = ciphertext.length - aeadTagBytes
  if (bodyBytes < 0) return undefined
  const aead = createDecipheriv(cipher, createSecretKey(key), nonce, { authTagLength: aeadTagBytes })
  aead.setAuthTag(ciphertext.subarray(bodyBytes))
  if (ad !== undefined) aead.setAAD(ad, { plaintextLength: bodyBytes })
  const body = aead.update(ciphertext.subarray(0, bodyBytes))
  try {
    aead.final()
  } catch {
    return undefined
  }
  return plain(body)
}

/** draft-irtf-cfrg-xchacha-03 §2.3: a subkey from 16 bytes of the nonce, the other 8 for the cipher. */
function extendNonce(input: AeadKey): { subkey: Uint8Array, subnonce: Uint8Array } {
  checkAead(input, xchachaNonceBytes)
  const { key, nonce } = input
  const subkey = new Uint32Array(8)
  const keyWords = words(key)
  hchacha(chachaConstants, keyWords, words(nonce.subarray(0, 16)), subkey)
  keyWords.fill(0)
  const subnonce = new Uint8Array(12)
  subnonce.set(nonce.subarray(16), 4)
  return { subkey: new Uint8Array(subkey.buffer), subnonce }
}

/** A copy of the bytes as words in the machine's order, as noble takes them. */
function words(bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  return new Uint32Array(bytes.slice().buffer)
}

export const provider: CryptoProvider = {
  name: 'node',

  sha256: (data) => plain(hash('sha256', data, 'buffer')),
  sha256Hex: (data) => hash('sha256', data, 'hex'),
  sha512: (data) => plain(hash('sha512', data, 'buffer')),
  hmacSha256: (key, data) => plain(createHmac('sha256', createSecretKey(key)).update(data).digest()),
  hkdf({ secret, salt, info, length }) {
    checkHkdf({ info, length })
    return new Uint8Array(hkdfSync('sha256', createSecretKey(secret), salt, info, length))
  },

  seal,
  open,
  sealX(input) {
    const { subkey, subnonce } = extendNonce(input)
    const { plaintext, ad } = input
    const sealed = seal({ key: subkey, nonce: subnonce, plaintext, ...(ad && { ad }) })
    wipe(subkey)
    return sealed
  },
  openX(input) {
    const { subkey, subnonce } = extendNonce(input)
    const { ciphertext, ad } = input
    const plaintext = open({ key: subkey, nonce: subnonce, ciphertext, ...(ad && { ad }) })
    wipe(subkey)
    return plaintext
  },

  dhKeyPair(secret) {
    checkLength('an X25519 secret', secret, 32)
    return new NodeDhKeyPair(secret, 'x25519')
  },
  dh(own, remotePublicKey) {
    checkLength('an X25519 key', remotePublicKey, 32)
    const privateKey = privateKeyOf(own, NodeDhKeyPair)
    const publicKey = importPublicKey(remotePublicKey, 'x25519')
    try {
      return unlessZero(plain(diffieHellman({ privateKey, publicKey })))
    } catch {
      // OpenSSL refuses an all-zero shared secret by itself.
      return undefined
    }
  },

  signingKeyPair(seed) {
    checkLength('an Ed25519 seed', seed, 32)
    return new NodeSigningKeyPair(seed, 'ed25519')
  },
  sign: (own, message) => plain(sign(null, message, privateKeyOf(own, NodeSigningKeyPair))),
  verify({ publicKey, message, signature }) {
    if (!isPlausibleSignature({ publicKey, signature })) return false
    return verify(null, message, importPublicKey(publicKey, 'ed25519'), signature)
  },
  isVerifyKey: noble.isVerifyKey,

  kemKeyPair(seed) {
    checkLength('an ML-KEM seed', seed, kemSeedBytes)
    return new NodeKemKeyPair(seed, 'ml-kem-768')
  },
  kemEncapsulate(remotePublicKey, random) {
    if (random !== systemRandom) return noble.kemEncapsulate(remotePublicKey, random)
    if (remotePublicKey.length !== kemPublicKeyBytes) return undefined
    let publicKey: KeyObject
    try {
      publicKey = withoutTraces(() => createPublicKey({
        key: viewed(remotePublicKey), format: 'raw-public', asymmetricKeyType: 'ml-kem-768',
      }))
    } catch {
      return undefined
    }
    const { ciphertext, sharedKey } = encapsulate(publicKey)
    return { ciphertext: plain(ciphertext), sharedSecret: plain(sharedKey) }
  },
  kemDecapsulate(own, ciphertext) {
    checkLength('an ML-KEM-768 ciphertext', ciphertext, kemCiphertextBytes)
    return plain(decapsulate(privateKeyOf(own, NodeKemKeyPair), ciphertext))
  },

  argon2id(input) {
    checkArgon2(input)
    const { password, salt, memoryKiB, passes, lanes, length = 32 } = input
    return plain(argon2Sync('argon2id', {
      message: password,
      nonce: salt,
      parallelism: lanes,
      tagLength: length,
      memory: memoryKiB,
      passes,
    }))
  },
}

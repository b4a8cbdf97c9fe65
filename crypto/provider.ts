/**
 * The one door to cryptographic primitives: a synchronous `CryptoProvider`.
 *
 * ```text
 *   provider-noble.ts    @noble/*: the reference, and what takes over where another is missing
 *   provider-node.ts     node:crypto (OpenSSL)
 *   provider-wasm.ts     libsodium in WebAssembly; from noble what libsodium lacks
 *
 *   provider-mixed.ts    what Node runs: provider-node.ts, short inputs by provider-wasm.ts
 *   provider-browser.ts  what a browser runs: provider-wasm.ts, or noble where it may not load
 * ```
 *
 * `#crypto-provider` in package.json picks one of the last two by condition. All are held to the
 * same vectors and to each other by tests, and to known answers at load (self-test.ts). Private
 * keys are opaque handles: the Node backend keeps `KeyObject`s, because raw keys cost 3–6× on
 * every call, and nothing can print what it does not hold.
 *
 * Synchronous on purpose: with `crypto.subtle` two runs of one seed interleave differently, and a
 * simulation could not be replayed.
 */
import type { Random } from './random.ts'

/** X25519 (RFC 7748). `publicKey` is 32 bytes; the secret never appears in `inspect` or JSON. */
export interface DhKeyPair {
  readonly publicKey: Uint8Array
  /** The 32 secret bytes, for sealing at rest only. */
  exportSecret(): Uint8Array
}

/** Ed25519 (RFC 8032). `publicKey` is 32 bytes. */
export interface SigningKeyPair {
  readonly publicKey: Uint8Array
  /** The 32-byte seed, for sealing at rest only. */
  exportSecret(): Uint8Array
}

/** ML-KEM-768 (FIPS 203). `publicKey` is 1,184 bytes. */
export interface KemKeyPair {
  readonly publicKey: Uint8Array
  /** The 64-byte seed (d ‖ z), for sealing at rest only. */
  exportSecret(): Uint8Array
}

export interface AeadKey {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly ad?: Uint8Array
}

export interface Encapsulated {
  readonly ciphertext: Uint8Array
  readonly sharedSecret: Uint8Array
}

export interface CryptoProvider {
  readonly name: 'node' | 'wasm' | 'noble'

  sha256(data: Uint8Array): Uint8Array
  /** The same in lower-case hex, for ids; natively 2–3× faster than bytes. Not for secrets. */
  sha256Hex(data: Uint8Array): string
  sha512(data: Uint8Array): Uint8Array
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array
  /** HKDF-SHA-256 (RFC 5869), extract and expand; `length` 1 to 8,160, `info` ≤ 1,024 bytes. */
  hkdf(input: { secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number }): Uint8Array

  /**
   * ChaCha20-Poly1305 (RFC 8439): 32-byte key, 12-byte nonce; returns ciphertext ‖ 16-byte tag, in
   * `into` when that is given: exactly as long, and apart from the plaintext.
   */
  seal(input: AeadKey & { plaintext: Uint8Array, into?: Uint8Array | undefined }): Uint8Array
  /** `undefined` when the tag does not fit: one failure, whatever the cause. */
  open(input: AeadKey & { ciphertext: Uint8Array }): Uint8Array | undefined
  /** XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): 24-byte nonce, safe to pick at random. */
  sealX(input: AeadKey & { plaintext: Uint8Array }): Uint8Array
  openX(input: AeadKey & { ciphertext: Uint8Array }): Uint8Array | undefined

  /** From a 32-byte secret (clamped when used, RFC 7748 §5). */
  dhKeyPair(secret: Uint8Array): DhKeyPair
  /** `undefined` when the shared secret is all zero (RFC 7748 §6.1: small-order public key). */
  dh(own: DhKeyPair, remotePublicKey: Uint8Array): Uint8Array | undefined

  /** From a 32-byte seed. */
  signingKeyPair(seed: Uint8Array): SigningKeyPair
  /** 64-byte signature. */
  sign(own: SigningKeyPair, message: Uint8Array): Uint8Array
  /**
   * One rule everywhere: canonical encodings, neither key nor R of small order, S < L, cofactorless
   * equation (RFC 8032 §5.1.7). Check keys once with `isVerifyKey` when they come in.
   */
  verify(input: { publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array }): boolean
  /** True for a canonical, torsion-free, non-identity Ed25519 public key; check once at import. */
  isVerifyKey(publicKey: Uint8Array): boolean

  /** From a 64-byte seed d ‖ z. */
  kemKeyPair(seed: Uint8Array): KemKeyPair
  /** `undefined` when the public key fails FIPS 203 §7.2 (modulus check). */
  kemEncapsulate(remotePublicKey: Uint8Array, random: Random): Encapsulated | undefined
  /** Implicit rejection: a wrong ciphertext gives a wrong secret, never an error. */
  kemDecapsulate(own: KemKeyPair, ciphertext: Uint8Array): Uint8Array

  /** Argon2id (RFC 9106), 32-byte output unless `length` says otherwise. */
  argon2id(input: {
    password: Uint8Array
    salt: Uint8Array
    memoryKiB: number
    passes: number
    lanes: number
    length?: number
  }): Uint8Array
}

/** A provider whose primitives gave their known answers in this process: what callers get. */
export interface CheckedProvider extends CryptoProvider {
  /**
   * One sentence for each primitive that answered wrongly here and that another backend computes
   * instead; empty when all is well. Grows when a backend that loads later fails.
   */
  readonly fallbacks: readonly string[]
  /** Loads now what otherwise loads after some use (provider-mixed.ts). Never rejects. */
  warmUp(): Promise<void>
}

/**
 * What every backend asks of its input before a library sees it, so that a wrong length is the
 * same error on all of them: libraries throw errors of their own, or quietly answer something.
 *
 * Lengths of keys and nonces are ours to get right (BUG_ASSERTION); what a remote may get wrong
 * (a tag, a signature, the public key of an encapsulation) is an answer of the call itself.
 */
import { assert } from './errors.ts'
import type { AeadKey } from './provider.ts'

export const aeadTagBytes = 16
export const chachaNonceBytes = 12
export const xchachaNonceBytes = 24
export const kemPublicKeyBytes = 1_184
export const kemCiphertextBytes = 1_088
export const kemSeedBytes = 64
export const signatureBytes = 64
/** RFC 5869 §2.3: 255 blocks. */
const hkdfBytesMax = 255 * 32
/** What `node:crypto` takes; a label and some public keys are far below. */
const hkdfInfoBytesMax = 1_024

/** @throws BUG_ASSERTION */
export function checkLength(what: string, bytes: Uint8Array, expected: number): void {
  // The text is made only when it is needed: this stands in front of every call.
  if (bytes.length !== expected) assert(false, `${what} has ${expected} bytes, got ${bytes.length}`)
}

/** @throws BUG_ASSERTION */
export function checkAead({ key, nonce }: AeadKey, nonceBytes: number): void {
  checkLength('an AEAD key', key, 32)
  checkLength('an AEAD nonce', nonce, nonceBytes)
}

/** Where `seal` puts what it makes. @throws BUG_ASSERTION */
export function sealedRoom(
  { plaintext, into }: { plaintext: Uint8Array, into?: Uint8Array | undefined },
): Uint8Array {
  const bytes = plaintext.length + aeadTagBytes
  if (into === undefined) return new Uint8Array(bytes)
  checkLength('room for what is sealed', into, bytes)
  return into
}

/** @throws BUG_ASSERTION */
export function checkHkdf({ info, length }: { info: Uint8Array, length: number }): void {
  const fits = Number.isInteger(length) && length > 0 && length <= hkdfBytesMax
  if (!fits) assert(false, `HKDF gives 1 to ${hkdfBytesMax} bytes, not ${length}`)
  if (info.length > hkdfInfoBytesMax) {
    assert(false, `the info of HKDF has at most ${hkdfInfoBytesMax} bytes, got ${info.length}`)
  }
}

/** The bounds of RFC 9106 §3.1. @throws BUG_ASSERTION */
export function checkArgon2(
  input: { salt: Uint8Array, memoryKiB: number, passes: number, lanes: number, length?: number },
): void {
  const { salt, memoryKiB, passes, lanes, length = 32 } = input
  const fits = salt.length >= 8 && lanes >= 1 && passes >= 1 && memoryKiB >= 8 * lanes && length >= 4
  if (!fits) {
    const got = `${memoryKiB} KiB, ${passes} passes, ${lanes} lanes, salt ${salt.length}, length ${length}`
    assert(false, `Argon2id parameters out of bounds: ${got}`)
  }
}

/**
 * `undefined` for an all-zero X25519 result (RFC 7748 §6.1). Libraries refuse it themselves; this
 * holds if one of them ever stops. No early exit: what it looks at is secret.
 */
export function unlessZero(sharedSecret: Uint8Array): Uint8Array | undefined {
  let any = 0
  for (const byte of sharedSecret) any |= byte
  return any === 0 ? undefined : sharedSecret
}

/**
 * A ratchet message and its encrypted header (Double Ratchet specification, §4).
 *
 * ```text
 *   opaque headerNonce[12]      random, because a restored state would repeat a counter
 *   opaque sealedHeader[…]      ChaCha20-Poly1305 under the chain's header key; AD: binding[32];
 *                               73 bytes, 1,257 in mode 1, 1,161 in mode 2
 *     u8     mode               of the whole chain: 0 plain, 1 offer, 2 answer (kem-step.ts)
 *     opaque ratchetKey[32]     X25519, the sender's current
 *     u32    previousCount      messages of the sender's chain before this one
 *     u32    number             of the message in its chain, from 0
 *     opaque salt[16]           random, for the nonce of the body
 *     opaque kem[0, 1184, 1088] by mode: nothing, an ML-KEM-768 public key, a ciphertext
 *   opaque sealedBody           XChaCha20-Poly1305 under the message key, nonce salt ‖ 8 zero bytes;
 *                               AD: binding[32] ‖ headerNonce ‖ sealedHeader ‖ the caller's AD
 * ```
 *
 * A message key is for one message, but a state restored from a backup comes to the same key again.
 * XChaCha20 makes its key from the message key and the first 16 bytes of the nonce, so two messages
 * never share one; the worst is that one of them cannot be read.
 *
 * `binding` is the transcript hash of the handshake: both identities and all keys used. To anyone
 * without the keys a message is random bytes of some length. The receiver knows the mode of a chain
 * before it opens a header of it, so the header needs no length.
 */
import { concat } from '../bytes.ts'
import { readU32, writeU32 } from '../fields.ts'
import { crypto } from '../index.ts'
import type { Random } from '../random.ts'
import { chainModes, kemPartBytes } from './kem-step.ts'
import type { ChainMode } from './kem-step.ts'

const nonceBytes = 12
const saltBytes = 16
const tagBytes = 16
const bodyNonceBytes = 24
/** Where the fields of an opened header stand. */
const at = { ratchetKey: 1, previousCount: 33, number: 37, salt: 41, kem: 57 } as const

export interface Header {
  /** As read; the caller compares it with the chain's. */
  readonly mode: number
  readonly ratchetKey: Uint8Array
  readonly previousCount: number
  readonly number: number
  readonly salt: Uint8Array
  /** As long as the mode says. */
  readonly kem: Uint8Array
}

/** The two keys of one message, and what both of its parts are bound to. */
export interface MessageKeys {
  readonly headerKey: Uint8Array
  readonly messageKey: Uint8Array
  readonly binding: Uint8Array
}

/** A message taken apart; views of the input. */
export interface MessageParts {
  /** headerNonce ‖ sealedHeader, as both enter the associated data of the body. */
  readonly head: Uint8Array
  readonly sealedBody: Uint8Array
}

/** `undefined` when it is too short to be one of a chain of this mode. */
export function splitMessage(
  message: Uint8Array, mode: ChainMode = chainModes.plain,
): MessageParts | undefined {
  const bodyOffset = nonceBytes + at.kem + kemPartBytes(mode) + tagBytes
  if (message.length < bodyOffset + tagBytes) return undefined
  return { head: message.subarray(0, bodyOffset), sealedBody: message.subarray(bodyOffset) }
}

/** The random parts of a message, in one draw. */
export function drawNonceAndSalt(random: Random): { nonce: Uint8Array, salt: Uint8Array } {
  const drawn = random.bytes(nonceBytes + saltBytes)
  return { nonce: drawn.subarray(0, nonceBytes), salt: drawn.subarray(nonceBytes) }
}

/** A whole message. @param input.prefix stands before it, as it is */
export function sealMessage(
  { headerKey, messageKey, binding }: MessageKeys,
  input: {
    header: Header
    nonce: Uint8Array
    plaintext: Uint8Array
    ad: Uint8Array
    prefix: Uint8Array
  },
): Uint8Array {
  const { header, nonce, plaintext, ad, prefix } = input
  const sealedHeader = crypto.seal({ key: headerKey, nonce, plaintext: encodeHeader(header), ad: binding })
  const sealedBody = crypto.sealX({
    key: messageKey, nonce: bodyNonce(header.salt), plaintext, ad: concat(binding, nonce, sealedHeader, ad),
  })
  return concat(prefix, nonce, sealedHeader, sealedBody)
}

/** `undefined`: not a header under this key. */
export function openHeader(
  { head }: MessageParts,
  { headerKey: key, binding: ad }: { headerKey: Uint8Array, binding: Uint8Array },
): Header | undefined {
  const nonce = head.subarray(0, nonceBytes)
  const plaintext = crypto.open({ key, nonce, ciphertext: head.subarray(nonceBytes), ad })
  return plaintext && {
    mode: plaintext[0]!,
    ratchetKey: plaintext.slice(at.ratchetKey, at.previousCount),
    previousCount: readU32(plaintext, at.previousCount),
    number: readU32(plaintext, at.number),
    salt: plaintext.slice(at.salt, at.kem),
    kem: plaintext.slice(at.kem),
  }
}

/** `undefined`: altered, or with another `ad`. */
export function openBody(
  { head, sealedBody: ciphertext }: MessageParts,
  { messageKey: key, salt, binding, ad }: {
    messageKey: Uint8Array
    salt: Uint8Array
    binding: Uint8Array
    ad: Uint8Array
  },
): Uint8Array | undefined {
  return crypto.openX({ key, nonce: bodyNonce(salt), ciphertext, ad: concat(binding, head, ad) })
}

function encodeHeader({ mode, ratchetKey, previousCount, number, salt, kem }: Header): Uint8Array {
  const out = new Uint8Array(at.kem + kem.length)
  out[0] = mode
  out.set(ratchetKey, at.ratchetKey)
  writeU32(out, at.previousCount, previousCount)
  writeU32(out, at.number, number)
  out.set(salt, at.salt)
  out.set(kem, at.kem)
  return out
}

function bodyNonce(salt: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(bodyNonceBytes)
  nonce.set(salt)
  return nonce
}

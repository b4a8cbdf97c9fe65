/**
 * A ratchet message and its encrypted header (Double Ratchet specification, §4).
 *
 * ```text
 *   opaque headerNonce[12]      random, because a restored state would repeat a counter
 *   opaque sealedHeader[73]     ChaCha20-Poly1305 under the chain's header key; AD: binding[32]
 *     u8     mode = 0           reserved, see key-schedule.ts
 *     opaque ratchetKey[32]     X25519, the sender's current
 *     u32    previousCount      messages of the sender's chain before this one
 *     u32    number             of the message in its chain, from 0
 *     opaque salt[16]           random, goes into the message key
 *   opaque sealedBody           ChaCha20-Poly1305 under the message key, nonce 0 (one message a key);
 *                               AD: binding[32] ‖ headerNonce ‖ sealedHeader ‖ the caller's AD
 * ```
 *
 * `binding` is the transcript hash of the handshake: both identities and all keys used. To anyone
 * without the keys a message is random bytes of some length.
 */
import { concat } from '../bytes.ts'
import { FieldReader, u32Bytes, u8Bytes } from '../fields.ts'
import { crypto } from '../index.ts'
import type { Random } from '../random.ts'

/** X25519 ratchet alone; the only one there is. */
export const ratchetMode = 0

const nonceBytes = 12
const tagBytes = 16
const ratchetKeyBytes = 32
const saltBytes = 16
const headerBytes = 1 + ratchetKeyBytes + 4 + 4 + saltBytes
const sealedHeaderBytes = headerBytes + tagBytes
const bodyOffset = nonceBytes + sealedHeaderBytes
const zeroNonce = new Uint8Array(nonceBytes)

export interface Header {
  readonly mode: number
  readonly ratchetKey: Uint8Array
  readonly previousCount: number
  readonly number: number
  readonly salt: Uint8Array
}

/** A message taken apart; views of the input. */
export interface MessageParts {
  readonly headerNonce: Uint8Array
  readonly sealedHeader: Uint8Array
  /** headerNonce ‖ sealedHeader, as both enter the associated data of the body. */
  readonly head: Uint8Array
  readonly sealedBody: Uint8Array
}

/** `undefined` when it is too short to be one. */
export function splitMessage(message: Uint8Array): MessageParts | undefined {
  if (message.length < bodyOffset + tagBytes) return undefined
  return {
    headerNonce: message.subarray(0, nonceBytes),
    sealedHeader: message.subarray(nonceBytes, bodyOffset),
    head: message.subarray(0, bodyOffset),
    sealedBody: message.subarray(bodyOffset),
  }
}

export function freshSalt(random: Random): Uint8Array {
  return random.bytes(saltBytes)
}

/** headerNonce ‖ sealedHeader */
export function sealHeader(
  header: Header,
  context: { headerKey: Uint8Array, binding: Uint8Array, random: Random },
): Uint8Array {
  const { mode, ratchetKey, previousCount, number, salt } = header
  const nonce = context.random.bytes(nonceBytes)
  const plaintext = concat(u8Bytes(mode), ratchetKey, u32Bytes(previousCount), u32Bytes(number), salt)
  return concat(nonce, crypto.seal({ key: context.headerKey, nonce, plaintext, ad: context.binding }))
}

/** `undefined`: not a header of this chain. The mode is the caller's to check. */
export function openHeader(
  parts: MessageParts,
  context: { headerKey: Uint8Array, binding: Uint8Array },
): Header | undefined {
  const { headerNonce: nonce, sealedHeader: ciphertext } = parts
  const plaintext = crypto.open({ key: context.headerKey, nonce, ciphertext, ad: context.binding })
  if (plaintext === undefined) return undefined
  const reader = new FieldReader(plaintext)
  return {
    mode: reader.u8(),
    ratchetKey: reader.bytes(ratchetKeyBytes),
    previousCount: reader.u32(),
    number: reader.u32(),
    salt: reader.bytes(saltBytes),
  }
}

interface Body {
  readonly key: Uint8Array
  readonly head: Uint8Array
  readonly binding: Uint8Array
  readonly ad: Uint8Array
}

export function sealBody({ key, head, binding, ad }: Body, plaintext: Uint8Array): Uint8Array {
  return crypto.seal({ key, nonce: zeroNonce, plaintext, ad: concat(binding, head, ad) })
}

export function openBody({ key, head, binding, ad }: Body, sealedBody: Uint8Array): Uint8Array | undefined {
  return crypto.open({ key, nonce: zeroNonce, ciphertext: sealedBody, ad: concat(binding, head, ad) })
}

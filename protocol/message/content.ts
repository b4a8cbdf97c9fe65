/**
 * The content of a message: its payload, encrypted once for all devices under a fresh content
 * key, which then travels wrapped for each device by its own session (DESIGN §7).
 *
 * ```text
 *   content = ChaCha20-Poly1305(contentKey, nonce = 12 zero bytes, Payload)
 *   wrap    = the session's message with plaintext contentKey and AD = SHA-256(content)
 * ```
 *
 * The nonce may be constant because a content key is drawn at random for one message and never
 * used again. The digest in the wrap's AD ties the two together: a device of the sender cannot be
 * made to vouch for other content under the same key.
 */
import type { Result } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import { decodePayload, encodePayload } from './payload.ts'
import type { Payload } from './payload.ts'

const nonce = new Uint8Array(12)

export interface SealedContent {
  readonly content: Uint8Array
  /** 32 bytes, to be wrapped for each device, then wiped. */
  readonly contentKey: Uint8Array
  /** AD of every wrap. */
  readonly digest: Uint8Array
}

export function sealContent(payload: Payload, random: Random): SealedContent {
  const contentKey = random.bytes(32)
  const content = crypto.seal({ key: contentKey, nonce, plaintext: encodePayload(payload) })
  return { content, contentKey, digest: contentDigest(content) }
}

export function contentDigest(content: Uint8Array): Uint8Array {
  return crypto.sha256(content)
}

/** Refuses with MESSAGE_CONTENT (does not open with this key) or CODEC_*. */
export function openContent(content: Uint8Array, contentKey: Uint8Array): Result<Payload> {
  const plaintext = crypto.open({ key: contentKey, nonce, ciphertext: content })
  return plaintext === undefined ? { ok: false, code: 'MESSAGE_CONTENT' } : decodePayload(plaintext)
}

/**
 * Signed structs: content, then an Ed25519 signature over a label and the bytes as sent.
 *
 * The label keeps a signature made for one purpose from being valid for another; the bytes are
 * signed as they travel and never re-encoded.
 */
import { concat, utf8 } from '../crypto/bytes.ts'
import { crypto } from '../crypto/index.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import type { Result } from '../crypto/errors.ts'
import { encode, tryDecode } from './codec/struct.ts'
import type { Codec } from './codec/struct.ts'

export const signatureBytes = 64

/** content ‖ signature */
export function signStruct<T>(codec: Codec<T>, label: string, value: T, keys: SigningKeyPair): Uint8Array {
  const content = encode(codec, value)
  return concat(content, crypto.sign(keys, concat(utf8(label), content)))
}

/**
 * Decodes content ‖ signature and leaves the signature unchecked: to see first whether the check,
 * which costs a hundred times as much, is worth it.
 */
export function parseStruct<T>(codec: Codec<T>, bytes: Uint8Array): Result<T> {
  if (bytes.length < signatureBytes) {
    return { ok: false, code: 'CODEC_TRUNCATED', detail: `${bytes.length} bytes hold no signature` }
  }
  return tryDecode(codec, bytes.subarray(0, bytes.length - signatureBytes))
}

/** Decodes content ‖ signature and checks it with the key that `signer` picks from the content. */
export function verifyStruct<T>(
  codec: Codec<T>,
  label: string,
  bytes: Uint8Array,
  signer: (value: T) => Uint8Array,
): Result<T> {
  const decoded = parseStruct(codec, bytes)
  if (!decoded.ok) return decoded
  const content = bytes.subarray(0, bytes.length - signatureBytes)
  const valid = crypto.verify({
    publicKey: signer(decoded.value),
    message: concat(utf8(label), content),
    signature: bytes.subarray(bytes.length - signatureBytes),
  })
  if (valid) return decoded
  return { ok: false, code: 'SIGNATURE_INVALID', detail: `${label}: the signature does not fit` }
}

/**
 * The outer seal: what an envelope's ciphertext is. It hides from every node which devices talk,
 * and how long the message is within its size class.
 *
 * ```text
 *   opaque nonce[24]
 *   opaque sealed[size class − 24]    XChaCha20-Poly1305 under the inbox's seal key, AD "openim sealed v1"
 *     u8     version = 1
 *     opaque senderDevice[16]
 *     entries<V>                      at most 16 { opaque recipientDevice[16], opaque wrap<V> }
 *     optional opaque deviceList<V>   the sender's signed DeviceList, until the receiver has it
 *     opaque content<V>               content.ts
 *     zeros                           up to the size class
 * ```
 *
 * The seal key is shared by the inbox's owner and one contact (or everybody with an invite, in a
 * request box). It protects against nodes only; the sessions inside protect the content, and
 * their forward secrecy does not depend on this key.
 */
import { concat, utf8 } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import { tryDecodePadded } from '../codec/padding.ts'
import { encode, oneOf, opaque, optional, struct, vector } from '../codec/struct.ts'
import { sizeClass } from '../envelope.ts'
import { deviceIdCodec } from '../ids.ts'
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'

/** The content key, wrapped for one device. */
export interface SealedEntry {
  readonly recipientDevice: DeviceId
  readonly wrap: Uint8Array
}

export interface SealedMessage {
  readonly senderDevice: DeviceId
  readonly entries: SealedEntry[]
  /** Accepted before the sending device is looked for: a new device is understood at once. */
  readonly deviceList: Uint8Array | undefined
  readonly content: Uint8Array
}

const ad = utf8('openim sealed v1')
const nonceBytes = 24
/** Nonce and tag. */
const overheadBytes = nonceBytes + 16
const largestClass = limits.sizeClassesBytes[limits.sizeClassesBytes.length - 1]!

const sealedCodec = struct<SealedMessage & { version: 1 }>({
  version: oneOf([1], 'sealed message version'),
  senderDevice: deviceIdCodec,
  entries: vector(
    struct<SealedEntry>({ recipientDevice: deviceIdCodec, wrap: opaque(limits.wrapBytesMax) }),
    limits.devicesMax,
  ),
  deviceList: optional(opaque(limits.deviceListBytesMax)),
  content: opaque(largestClass),
})

/**
 * Exactly one size class long, ready to be an envelope's ciphertext.
 * @throws MESSAGE_TOO_LONG when content and wraps together exceed the largest class
 */
export function sealMessage(message: SealedMessage, sealKey: Uint8Array, random: Random): Uint8Array {
  const encoded = encode(sealedCodec, { version: 1, ...message })
  const size = sizeClass(encoded.length + overheadBytes)
  if (size === undefined) {
    throw new OpenIMError('MESSAGE_TOO_LONG', `a message of ${encoded.length} bytes for `
      + `${message.entries.length} devices, the limit is ${largestClass - overheadBytes}: send less`)
  }
  const plaintext = new Uint8Array(size - overheadBytes)
  plaintext.set(encoded)
  const nonce = random.bytes(nonceBytes)
  return concat(nonce, crypto.sealX({ key: sealKey, nonce, plaintext, ad }))
}

/** Refuses with MESSAGE_SEAL (does not open with this key) or CODEC_*. */
export function openMessage(ciphertext: Uint8Array, sealKey: Uint8Array): Result<SealedMessage> {
  if (ciphertext.length < overheadBytes) return { ok: false, code: 'MESSAGE_SEAL' }
  const plaintext = crypto.openX({
    key: sealKey,
    nonce: ciphertext.subarray(0, nonceBytes),
    ciphertext: ciphertext.subarray(nonceBytes),
    ad,
  })
  if (plaintext === undefined) return { ok: false, code: 'MESSAGE_SEAL' }
  const decoded = tryDecodePadded(sealedCodec, plaintext)
  if (!decoded.ok) return decoded
  const { version: _, ...message } = decoded.value
  return { ok: true, value: message }
}

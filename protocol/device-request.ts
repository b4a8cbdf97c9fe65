/**
 * What a new device tells the primary so that it can be listed: public keys, and the seal of the
 * shelf on which it will lay out its prekeys. It travels over the linking channel only.
 *
 * ```text
 *   u8     version = 1
 *   opaque signingKey[32]     Ed25519
 *   opaque dhKey[32]          X25519 identity key
 *   opaque linkKey[32]        X25519 static key of the channel to the node
 *   opaque shelfKey[32]       Ed25519
 *   opaque shelfSecret[32]    opens what lies on the shelf
 *   text   name<V>            what people call the device
 *   opaque proof[64]          as in its DeviceCertificate (account.ts)
 *   opaque signature[64]      by signingKey, over "openim device request v1" ‖ everything above
 * ```
 */
import type { Result } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import { fixed, oneOf, struct, text } from './codec/struct.ts'
import { limits } from './limits.ts'
import { signatureBytes, signStruct, verifyStruct } from './signed.ts'

export interface DeviceRequest {
  readonly version: 1
  readonly signingKey: Uint8Array
  readonly dhKey: Uint8Array
  readonly linkKey: Uint8Array
  readonly shelfKey: Uint8Array
  readonly shelfSecret: Uint8Array
  readonly name: string
  readonly proof: Uint8Array
}

const requestLabel = 'openim device request v1'
const requestCodec = struct<DeviceRequest>({
  version: oneOf([1], 'device request version'),
  signingKey: fixed(32),
  dhKey: fixed(32),
  linkKey: fixed(32),
  shelfKey: fixed(32),
  shelfSecret: fixed(32),
  name: text(limits.nameBytesMax),
  proof: fixed(signatureBytes),
})

export function signDeviceRequest(request: DeviceRequest, signingKeys: SigningKeyPair): Uint8Array {
  return signStruct(requestCodec, requestLabel, request, signingKeys)
}

/** Refuses with CODEC_*, SIGNATURE_INVALID or DEVICE_REQUEST. The proof is checked with the list. */
export function verifyDeviceRequest(bytes: Uint8Array): Result<DeviceRequest> {
  const decoded = verifyStruct(requestCodec, requestLabel, bytes, (request) => request.signingKey)
  if (!decoded.ok) return decoded
  const { signingKey, shelfKey } = decoded.value
  if (crypto.isVerifyKey(signingKey) && crypto.isVerifyKey(shelfKey)) return decoded
  return { ok: false, code: 'DEVICE_REQUEST', detail: 'a key in the request is not usable' }
}

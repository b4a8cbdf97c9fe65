/**
 * What goes before the first messages of a session, until an answer comes: enough for the other
 * device to find its prekeys and follow the handshake.
 *
 * ```text
 *   opaque signingKey[32]      the initiator's identity
 *   opaque dhKey[32]
 *   opaque proof[64]           by signingKey, over "openim identity proof v1" ‖ dhKey
 *   opaque baseKey[32]         ephemeral X25519; names the handshake between two devices
 *   u32    signedPrekeyId
 *   u32    kemPrekeyId
 *   bool   kemOneTime
 *   bool   hasOneTimePrekey
 *   u32    oneTimePrekeyId     0 when there is none
 *   opaque kemCiphertext[1088]
 * ```
 *
 * Fixed length: 1,262 bytes. The proof says nothing about whom the initiator talks to, so the
 * conversation stays deniable.
 */
import { concat } from '../bytes.ts'
import { FieldReader, u32Bytes, u8Bytes } from '../fields.ts'
import { crypto } from '../index.ts'
import { labels } from '../labels.ts'
import type { OwnIdentity, PrekeyIds, RemoteIdentity } from './types.ts'

export interface InitialHeader {
  readonly initiator: RemoteIdentity
  readonly proof: Uint8Array
  readonly baseKey: Uint8Array
  readonly prekeyIds: PrekeyIds
  readonly kemCiphertext: Uint8Array
}

const keyBytes = 32
const proofBytes = 64
const kemCiphertextBytes = 1_088

export const initialHeaderBytes = 3 * keyBytes + proofBytes + 4 + 4 + 1 + 1 + 4 + kemCiphertextBytes

export function encodeInitialHeader(header: InitialHeader): Uint8Array {
  const { initiator, proof, baseKey, prekeyIds, kemCiphertext } = header
  const { signedPrekeyId, kemPrekeyId, kemOneTime, oneTimePrekeyId } = prekeyIds
  return concat(
    initiator.signingKey, initiator.dhKey, proof, baseKey,
    u32Bytes(signedPrekeyId), u32Bytes(kemPrekeyId), u8Bytes(kemOneTime ? 1 : 0),
    u8Bytes(oneTimePrekeyId === undefined ? 0 : 1), u32Bytes(oneTimePrekeyId ?? 0),
    kemCiphertext,
  )
}

/** `undefined` for anything that `encodeInitialHeader` cannot have written. Nothing is verified. */
export function decodeInitialHeader(bytes: Uint8Array): InitialHeader | undefined {
  const reader = new FieldReader(bytes)
  const initiator = { signingKey: reader.bytes(keyBytes), dhKey: reader.bytes(keyBytes) }
  const proof = reader.bytes(proofBytes)
  const baseKey = reader.bytes(keyBytes)
  const signedPrekeyId = reader.u32()
  const kemPrekeyId = reader.u32()
  const kemOneTime = reader.bool()
  const hasOneTimePrekey = reader.bool()
  const oneTimePrekeyId = reader.u32()
  const kemCiphertext = reader.bytes(kemCiphertextBytes)
  if (!reader.complete || (!hasOneTimePrekey && oneTimePrekeyId !== 0)) return undefined
  const prekeyIds: PrekeyIds = {
    signedPrekeyId,
    kemPrekeyId,
    kemOneTime,
    ...(hasOneTimePrekey && { oneTimePrekeyId }),
  }
  return { initiator, proof, baseKey, prekeyIds, kemCiphertext }
}

/** The proof of a device is always the same (RFC 8032 signatures are), and not secret. */
const proofs = new WeakMap<OwnIdentity, Uint8Array>()

export function proveIdentity(own: OwnIdentity): Uint8Array {
  const known = proofs.get(own)
  if (known !== undefined) return known
  const proof = crypto.sign(own.signingKeys, concat(labels.identityProof, own.dhKeys.publicKey))
  proofs.set(own, proof)
  return proof
}

/** Whether the signing key is usable and vouches for the DH key. */
export function identityHolds({ initiator: { signingKey, dhKey }, proof }: InitialHeader): boolean {
  const message = concat(labels.identityProof, dhKey)
  return crypto.isVerifyKey(signingKey) && crypto.verify({ publicKey: signingKey, message, signature: proof })
}

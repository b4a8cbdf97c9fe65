/**
 * `acknowledge` (5): the owner of an inbox took envelopes over; the holder deletes them and keeps
 * a tombstone as long as the envelope would have lived, so that nothing comes back.
 *
 * ```text
 *   request:  opaque tombstones<V> each       signed by the inbox's read key
 *   reply:    u8 accepted<V>                  same order
 * ```
 *
 * A tombstone is also the sender's proof of delivery when a receipt got lost on the way.
 */
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import { bool, fixed, opaque, struct, vector } from '../codec/struct.ts'
import { envelopeIdCodec } from '../ids.ts'
import type { EnvelopeId } from '../ids.ts'
import { parseStruct, signStruct, verifyStruct } from '../signed.ts'

export const tombstoneIdsMax = 256
const tombstoneBytesMax = 32 * tombstoneIdsMax + 256

export interface Tombstone {
  readonly writeKey: Uint8Array
  readonly readKey: Uint8Array
  readonly envelopeIds: EnvelopeId[]
}
const tombstoneCodec = struct<Tombstone>({
  writeKey: fixed(32),
  readKey: fixed(32),
  envelopeIds: vector(envelopeIdCodec, tombstoneIdsMax),
})
const tombstoneLabel = 'openim tombstone v1'

export function signTombstone(tombstone: Tombstone, readKeys: SigningKeyPair): Uint8Array {
  return signStruct(tombstoneCodec, tombstoneLabel, tombstone, readKeys)
}

/** Without its signature, which is checked once the rest fits. */
export function parseTombstone(bytes: Uint8Array): Result<Tombstone> {
  return parseStruct(tombstoneCodec, bytes)
}

export function verifyTombstone(bytes: Uint8Array): Result<Tombstone> {
  return verifyStruct(tombstoneCodec, tombstoneLabel, bytes, (tombstone) => tombstone.readKey)
}

export interface AcknowledgeRequest {
  readonly tombstones: Uint8Array[]
}
export const acknowledgeRequestCodec = struct<AcknowledgeRequest>({
  tombstones: vector(opaque(tombstoneBytesMax), 64),
})

export interface AcknowledgeReply {
  readonly accepted: boolean[]
}
export const acknowledgeReplyCodec = struct<AcknowledgeReply>({ accepted: vector(bool, 64) })

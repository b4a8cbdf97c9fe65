/**
 * `deposit` (3): envelopes for inboxes at the called node, each answered on its own.
 *
 * ```text
 *   request:  opaque envelopes<V> each
 *   reply:    u8 results<V>               same order as the request
 *             optional receipt            one signature for all that are now held durably here
 *             tombstones<V>               proof, for envelopes the owner already acknowledged
 * ```
 *
 * A node answers `stored` only after the envelope is synced to disk. The receipt is signed by the
 * node's peer key, so a sender can show who promised to hold what until when.
 */
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import { oneOf, opaque, optional, struct, u32, vector } from '../codec/struct.ts'
import { envelopeIdCodec, nodeIdCodec, nodeKey } from '../ids.ts'
import type { EnvelopeId, NodeId } from '../ids.ts'
import { limits } from '../limits.ts'
import { signStruct, verifyStruct } from '../signed.ts'

export const depositResults = {
  stored: 0,
  /** Held already: as good as stored. */
  duplicate: 1,
  /** The owner acknowledged it before; a tombstone is in the reply. */
  acknowledged: 2,
  /** The inbox is full; tell the sender. */
  overQuota: 3,
  /** No lease for this inbox here (any more). */
  noBox: 4,
  /** Malformed, bad signature, expired or too far in the future. */
  invalid: 5,
  /** This node is out of room or overloaded; try later or elsewhere. */
  busy: 6,
} as const
export type DepositResult = (typeof depositResults)[keyof typeof depositResults]

export interface DepositRequest {
  readonly envelopes: Uint8Array[]
}
export const depositRequestCodec = struct<DepositRequest>({
  envelopes: vector(opaque(limits.envelopeBytesMax), limits.depositItemsMax),
})

export interface DepositReply {
  readonly results: DepositResult[]
  /** A signed `StoreReceipt` over the ids that are stored or duplicate. */
  readonly receipt: Uint8Array | undefined
  /** Signed `Tombstone`s (acknowledge.ts). */
  readonly tombstones: Uint8Array[]
}
export const storeReceiptBytesMax = 40 * limits.depositItemsMax + 256
export const depositReplyCodec = struct<DepositReply>({
  results: vector(oneOf(Object.values(depositResults), 'deposit result'), limits.depositItemsMax),
  receipt: optional(opaque(storeReceiptBytesMax)),
  tombstones: vector(opaque(16_384), limits.depositItemsMax),
})

export interface StoreReceipt {
  readonly nodeId: NodeId
  /** Hour of storing, since 1970. */
  readonly storedHour: number
  readonly envelopeIds: EnvelopeId[]
}
const storeReceiptCodec = struct<StoreReceipt>({
  nodeId: nodeIdCodec,
  storedHour: u32,
  envelopeIds: vector(envelopeIdCodec, limits.depositItemsMax),
})
const storeReceiptLabel = 'openim store receipt v1'

export function signStoreReceipt(receipt: StoreReceipt, nodeKeys: SigningKeyPair): Uint8Array {
  return signStruct(storeReceiptCodec, storeReceiptLabel, receipt, nodeKeys)
}

/** Checks the signature with the key inside the receipt's own node id. */
export function verifyStoreReceipt(bytes: Uint8Array): Result<StoreReceipt> {
  return verifyStruct(storeReceiptCodec, storeReceiptLabel, bytes, (receipt) => nodeKey(receipt.nodeId))
}

/**
 * `lease` (6): an inbox's owner asks a storage node to hold mail for it until a date, within a
 * quota. Without a lease a deposit is refused, so nobody can fill a node with orphaned mail.
 *
 * ```text
 *   request:  Lease ‖ signature[64] by the inbox's read key
 *   reply:    u8 result, u64 expiresHour   what the holder granted
 * ```
 *
 * A file box holds the pieces of one file: it takes larger envelopes, has limits of its own, and
 * its positions are 1, 2, 3 … in order of arrival, so that a reader may begin anywhere.
 *
 * A lease of higher sequence replaces the one before; one with `itemsMax` 0 gives the inbox up.
 */
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import { fixed, oneOf, struct, u32, u64 } from '../codec/struct.ts'
import { nodeIdCodec } from '../ids.ts'
import type { NodeId } from '../ids.ts'
import { parseStruct, signStruct, verifyStruct } from '../signed.ts'

export const boxKinds = { mail: 0, file: 1 } as const
export type BoxKind = (typeof boxKinds)[keyof typeof boxKinds]

export interface Lease {
  readonly writeKey: Uint8Array
  readonly readKey: Uint8Array
  /** The node that is to hold; a lease cannot be shown to another one. */
  readonly holder: NodeId
  /** The node the quota is counted for (the owner's home). */
  readonly home: NodeId
  readonly kind: BoxKind
  readonly sequence: number
  readonly itemsMax: number
  readonly bytesMax: number
  readonly expiryHour: number
}
const leaseCodec = struct<Lease>({
  writeKey: fixed(32),
  readKey: fixed(32),
  holder: nodeIdCodec,
  home: nodeIdCodec,
  kind: oneOf(Object.values(boxKinds), 'box kind'),
  sequence: u64,
  itemsMax: u32,
  bytesMax: u32,
  expiryHour: u32,
})
const leaseLabel = 'openim lease v1'
export const leaseBytesMax = 512

export function signLease(lease: Lease, readKeys: SigningKeyPair): Uint8Array {
  return signStruct(leaseCodec, leaseLabel, lease, readKeys)
}

/** Without its signature, which is checked once the rest fits. */
export function parseLease(bytes: Uint8Array): Result<Lease> {
  return parseStruct(leaseCodec, bytes)
}

export function verifyLease(bytes: Uint8Array): Result<Lease> {
  return verifyStruct(leaseCodec, leaseLabel, bytes, (lease) => lease.readKey)
}

export const leaseResults = {
  granted: 0,
  /** No room for this owner, or for anybody. */
  noRoom: 1,
  /** An older sequence than the one held. */
  stale: 2,
  invalid: 3,
  /** This node does not store for others. */
  notOffered: 4,
} as const
export type LeaseResult = (typeof leaseResults)[keyof typeof leaseResults]

export interface LeaseReply {
  readonly result: LeaseResult
  readonly expiryHour: number
}
export const leaseReplyCodec = struct<LeaseReply>({
  result: oneOf(Object.values(leaseResults), 'lease result'),
  expiryHour: u32,
})

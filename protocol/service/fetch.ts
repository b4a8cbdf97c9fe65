/**
 * `fetch` (4): the owner's home reads an inbox at a replica, a page at a time.
 *
 * ```text
 *   request:  opaque proof<V>        ReadProof signed by the inbox's read key
 *             u64    after           position of the last envelope seen here, 0 at first
 *             u32    itemsMax, bytesMax
 *   reply:    entries<V> { u64 position, opaque envelope<V> }
 *             bool   more
 * ```
 *
 * The proof names the holder and the reader and is good for two minutes, so a holder cannot pass
 * it on and a stranger cannot replay it.
 */
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import { bool, fixed, opaque, struct, u32, u64, vector } from '../codec/struct.ts'
import { nodeIdCodec } from '../ids.ts'
import type { NodeId } from '../ids.ts'
import { limits } from '../limits.ts'
import { parseStruct, signStruct, verifyStruct } from '../signed.ts'

export interface ReadProof {
  readonly writeKey: Uint8Array
  readonly readKey: Uint8Array
  readonly holder: NodeId
  readonly reader: NodeId
  readonly timeMs: number
}
const readProofCodec = struct<ReadProof>({
  writeKey: fixed(32),
  readKey: fixed(32),
  holder: nodeIdCodec,
  reader: nodeIdCodec,
  timeMs: u64,
})
const readProofLabel = 'openim read proof v1'

export function signReadProof(proof: ReadProof, readKeys: SigningKeyPair): Uint8Array {
  return signStruct(readProofCodec, readProofLabel, proof, readKeys)
}

/** Without its signature, which is checked once the rest fits. */
export function parseReadProof(bytes: Uint8Array): Result<ReadProof> {
  return parseStruct(readProofCodec, bytes)
}

/** Signature only; the holder also compares holder, reader and time. */
export function verifyReadProof(bytes: Uint8Array): Result<ReadProof> {
  return verifyStruct(readProofCodec, readProofLabel, bytes, (proof) => proof.readKey)
}

export interface FetchRequest {
  readonly proof: Uint8Array
  readonly after: number
  readonly itemsMax: number
  readonly bytesMax: number
}
export const fetchRequestCodec = struct<FetchRequest>({
  proof: opaque(512),
  after: u64,
  itemsMax: u32,
  bytesMax: u32,
})

export interface FetchEntry {
  readonly position: number
  readonly envelope: Uint8Array
}
export interface FetchReply {
  readonly entries: FetchEntry[]
  readonly more: boolean
}
export const fetchReplyCodec = struct<FetchReply>({
  entries: vector(
    struct<FetchEntry>({ position: u64, envelope: opaque(limits.envelopeBytesMax) }),
    limits.fetchItemsMax,
  ),
  more: bool,
})

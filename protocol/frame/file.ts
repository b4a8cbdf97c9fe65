/**
 * File boxes: a device fills one at its home, which brings the pieces to holders, and reads other
 * people's wherever they are held.
 *
 * ```text
 *   fileBox     (40), device → node:  varint request
 *                                     u8     action      1 open (idempotent), 2 close, 3 keep
 *                                     opaque writeKey[32], readSeed[32]
 *                                     u32    itemsMax, bytesMax, expiryHour
 *   filePut     (41), device → node:  varint request, opaque envelope<V>
 *   fileHeld    (42), node → device:  varint request, opaque boxId[32]
 *                                     homes<V>, replicas<V>     opaque[32] node keys
 *                                     u32    pieces             that lie at home
 *                                     opaque proofs<V> each<V>  store receipts
 *   fileFetch   (43), device → node:  varint request, opaque holder[32], opaque proof<V>,
 *                                     u64 after, u32 itemsMax
 *   fileFetched (44), node → device:  varint request
 *                                     entries<V> { u64 position, opaque envelope<V> }, bool more
 * ```
 *
 * `fileBox` and `filePut` are answered by `fileHeld`; more of them, with request 0, bring store
 * receipts of holders as they sign, and after each *open* all that were signed so far. The answer
 * to `filePut` has the home's own receipt. *Keep* says that the holders are told to somebody:
 * they are not replaced any more.
 *
 * `fileFetch` makes the node call the holder's `fetch` service; the proof is the device's, so the
 * node can read this box for two minutes and never empty it.
 */
import { bool, fixed, oneOf, opaque, struct, u32, u64, varint, vector } from '../codec/struct.ts'
import { boxIdCodec, nodeIdCodec } from '../ids.ts'
import type { BoxId, NodeId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { FetchEntry } from '../service/fetch.ts'
import { storeReceiptBytesMax } from '../service/deposit.ts'

export const fileBoxActions = { open: 1, close: 2, keep: 3 } as const
export type FileBoxAction = (typeof fileBoxActions)[keyof typeof fileBoxActions]

export interface FileBoxFrame {
  readonly type: 'fileBox'
  readonly request: number
  readonly action: FileBoxAction
  readonly writeKey: Uint8Array
  readonly readSeed: Uint8Array
  readonly itemsMax: number
  readonly bytesMax: number
  readonly expiryHour: number
}
export const fileBoxCodec = struct<Omit<FileBoxFrame, 'type'>>({
  request: varint,
  action: oneOf(Object.values(fileBoxActions), 'file box action'),
  writeKey: fixed(32),
  readSeed: fixed(32),
  itemsMax: u32,
  bytesMax: u32,
  expiryHour: u32,
})

export interface FilePutFrame {
  readonly type: 'filePut'
  readonly request: number
  readonly envelope: Uint8Array
}
export const filePutCodec = struct<Omit<FilePutFrame, 'type'>>({
  request: varint,
  envelope: opaque(limits.envelopeBytesMax),
})

export interface FileHeldFrame {
  readonly type: 'fileHeld'
  readonly request: number
  readonly box: BoxId
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
  readonly pieces: number
  /** Signed `StoreReceipt`s (service/deposit.ts). */
  readonly proofs: Uint8Array[]
}
export const fileHeldCodec = struct<Omit<FileHeldFrame, 'type'>>({
  request: varint,
  box: boxIdCodec,
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
  pieces: u32,
  proofs: vector(opaque(storeReceiptBytesMax), limits.fileProofsMax),
})

export interface FileFetchFrame {
  readonly type: 'fileFetch'
  readonly request: number
  readonly holder: NodeId
  /** A signed `ReadProof` (service/fetch.ts) whose reader is the device's node. */
  readonly proof: Uint8Array
  readonly after: number
  readonly itemsMax: number
}
export const fileFetchCodec = struct<Omit<FileFetchFrame, 'type'>>({
  request: varint,
  holder: nodeIdCodec,
  proof: opaque(512),
  after: u64,
  itemsMax: u32,
})

export interface FileFetchedFrame {
  readonly type: 'fileFetched'
  readonly request: number
  readonly entries: FetchEntry[]
  readonly more: boolean
}
export const fileFetchedCodec = struct<Omit<FileFetchedFrame, 'type'>>({
  request: varint,
  entries: vector(
    struct<FetchEntry>({ position: u64, envelope: opaque(limits.envelopeBytesMax) }),
    limits.fetchItemsMax,
  ),
  more: bool,
})

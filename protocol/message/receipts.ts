/**
 * `receipts` (2): which of your messages arrived here and which were read. Inside the encryption,
 * batched, so that no node sees who answers whom. Because it flows by itself wherever two people
 * talk, it carries heads of device lists along: contacts who compare them notice a list that was
 * forked, held back or rolled back (client/gossip.ts).
 *
 * ```text
 *   opaque delivered<V>[16] each, opaque read<V>[16] each      message ids, 256 at most of each
 *   optional heads
 *     ListHead sender           { u64 number, opaque hash[32] } of our own newest list
 *     ListHead receiver         of the newest list of yours that we accepted
 * ```
 *
 * With heads, one receiving device and up to 10 ids the envelope is of the smallest size class.
 */
import { fixed, optional, struct, u64, vector } from '../codec/struct.ts'
import { messageIdCodec } from '../ids.ts'
import type { MessageId } from '../ids.ts'
import { limits } from '../limits.ts'

/** Names one device list (account.ts). */
export interface ListHead {
  readonly number: number
  readonly hash: Uint8Array
}

export interface ListHeads {
  readonly sender: ListHead
  readonly receiver: ListHead
}

export interface ReceiptsBody {
  readonly type: 'receipts'
  readonly delivered: MessageId[]
  readonly read: MessageId[]
  /** Absent between devices of one account. */
  readonly heads: ListHeads | undefined
}

const headCodec = struct<ListHead>({ number: u64, hash: fixed(32) })

export const receiptsCodec = struct<Omit<ReceiptsBody, 'type'>>({
  delivered: vector(messageIdCodec, limits.receiptIdsMax),
  read: vector(messageIdCodec, limits.receiptIdsMax),
  heads: optional(struct<ListHeads>({ sender: headCodec, receiver: headCodec })),
})

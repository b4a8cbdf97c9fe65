/**
 * `receipts` (2): which of your messages arrived here and which were read. Inside the encryption,
 * batched, so that no node sees who answers whom.
 *
 * ```text
 *   opaque delivered<V>[16] each, opaque read<V>[16] each      message ids, 256 at most of each
 * ```
 */
import { struct, vector } from '../codec/struct.ts'
import { messageIdCodec } from '../ids.ts'
import type { MessageId } from '../ids.ts'
import { limits } from '../limits.ts'

export interface ReceiptsBody {
  readonly type: 'receipts'
  readonly delivered: MessageId[]
  readonly read: MessageId[]
}

export const receiptsCodec = struct<Omit<ReceiptsBody, 'type'>>({
  delivered: vector(messageIdCodec, limits.receiptIdsMax),
  read: vector(messageIdCodec, limits.receiptIdsMax),
})

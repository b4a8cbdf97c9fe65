/**
 * `historyPage` (22), from the primary to a freshly linked device: older messages, the newest
 * first, until `left` is 0.
 *
 * ```text
 *   u32    offset               newer messages that came on pages before
 *   u32    left                 messages still to come after this page
 *   entries<V>                  at most 256
 *     opaque contact[32]        root key
 *     bool   isOutgoing
 *     opaque messageId[16]
 *     text   text<V>            empty for a file
 *     optional FileBody file    file.ts
 *     u64    sentAtMs, receivedAtMs
 *     bool   afterGap
 *     u8     state              of an outgoing one: 0 queued … 4 failed; else 0
 * ```
 */
import { bool, fixed, oneOf, optional, struct, text, u32, u64, vector } from '../codec/struct.ts'
import { messageIdCodec } from '../ids.ts'
import type { MessageId } from '../ids.ts'
import { limits } from '../limits.ts'
import { fileCodec } from './file.ts'
import type { FileBody } from './file.ts'

export interface HistoryPageEntry {
  readonly contact: Uint8Array
  readonly isOutgoing: boolean
  readonly id: MessageId
  readonly text: string
  readonly file: Omit<FileBody, 'type'> | undefined
  readonly sentAtMs: number
  readonly receivedAtMs: number
  readonly afterGap: boolean
  readonly state: 0 | 1 | 2 | 3 | 4
}

export interface HistoryPageBody {
  readonly type: 'historyPage'
  readonly offset: number
  readonly left: number
  readonly entries: HistoryPageEntry[]
}

export const historyPageCodec = struct<Omit<HistoryPageBody, 'type'>>({
  offset: u32,
  left: u32,
  entries: vector(
    struct<HistoryPageEntry>({
      contact: fixed(32),
      isOutgoing: bool,
      id: messageIdCodec,
      text: text(limits.textBytesMax),
      file: optional(fileCodec),
      sentAtMs: u64,
      receivedAtMs: u64,
      afterGap: bool,
      state: oneOf([0, 1, 2, 3, 4], 'message state'),
    }),
    limits.historyPageEntriesMax,
  ),
})

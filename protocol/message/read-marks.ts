/**
 * `readMarks` (19), to our own devices only: these messages of a contact were read on this device.
 *
 * ```text
 *   opaque contact[32]        root key of the contact
 *   opaque messages<V>[16]    message ids, 256 at most
 * ```
 */
import { fixed, struct, vector } from '../codec/struct.ts'
import { messageIdCodec } from '../ids.ts'
import type { MessageId } from '../ids.ts'
import { limits } from '../limits.ts'

export interface ReadMarksBody {
  readonly type: 'readMarks'
  readonly contact: Uint8Array
  readonly messages: MessageId[]
}

export const readMarksCodec = struct<Omit<ReadMarksBody, 'type'>>({
  contact: fixed(32),
  messages: vector(messageIdCodec, limits.receiptIdsMax),
})

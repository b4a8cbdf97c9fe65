/**
 * `sentCopy` (16), to our own devices only: a message that this device wrote to a contact, so that
 * it stands in the history of every device.
 *
 * ```text
 *   opaque contact[32]        root key of the contact
 *   opaque payload<V>         the Payload as the contact gets it
 * ```
 */
import { fixed, opaque, struct } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface SentCopyBody {
  readonly type: 'sentCopy'
  readonly contact: Uint8Array
  readonly payload: Uint8Array
}

export const sentCopyCodec = struct<Omit<SentCopyBody, 'type'>>({
  contact: fixed(32),
  payload: opaque(limits.mailBytesMax),
})

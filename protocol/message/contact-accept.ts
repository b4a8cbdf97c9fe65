/**
 * `contactAccept` (4): the answer to a contact request; afterwards both have each other's inbox.
 *
 * ```text
 *   opaque seed[15]           our rendezvous seed, as in contactRequest
 *   opaque deviceList<V>      our signed DeviceList (account.ts)
 *   opaque name<V>            what we call ourselves
 *   InboxCard card            where to write to us from now on
 * ```
 */
import { fixed, opaque, struct, text } from '../codec/struct.ts'
import { inboxCardCodec } from '../inbox-card.ts'
import type { InboxCard } from '../inbox-card.ts'
import { limits } from '../limits.ts'

export interface ContactAcceptBody {
  readonly type: 'contactAccept'
  readonly seed: Uint8Array
  readonly deviceList: Uint8Array
  readonly name: string
  readonly card: InboxCard
}

export const contactAcceptCodec = struct<Omit<ContactAcceptBody, 'type'>>({
  seed: fixed(15),
  deviceList: opaque(limits.deviceListBytesMax),
  name: text(limits.nameBytesMax),
  card: inboxCardCodec,
})

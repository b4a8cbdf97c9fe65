/**
 * `contactRequest` (3): the first word to somebody whose invite we have, put into the request box
 * that the invite opened.
 *
 * ```text
 *   opaque rootKey[32]        who asks
 *   opaque seed[15]           our rendezvous seed: finds our location record, should in-band fail
 *   opaque deviceList<V>      our signed DeviceList (account.ts)
 *   opaque name<V>            what we call ourselves
 *   InboxCard card            where to answer
 *   optional opaque text<V>   a greeting of at most 1 KiB
 * ```
 */
import { fixed, opaque, optional, struct, text } from '../codec/struct.ts'
import { inboxCardCodec } from '../inbox-card.ts'
import type { InboxCard } from '../inbox-card.ts'
import { limits } from '../limits.ts'

export interface ContactRequestBody {
  readonly type: 'contactRequest'
  readonly rootKey: Uint8Array
  readonly seed: Uint8Array
  readonly deviceList: Uint8Array
  readonly name: string
  readonly card: InboxCard
  readonly text: string | undefined
}

export const contactRequestCodec = struct<Omit<ContactRequestBody, 'type'>>({
  rootKey: fixed(32),
  seed: fixed(15),
  deviceList: opaque(limits.deviceListBytesMax),
  name: text(limits.nameBytesMax),
  card: inboxCardCodec,
  text: optional(text(limits.greetingBytesMax)),
})

/**
 * `contactRequest` (3): the first word to somebody whose invite we have, put into the request box
 * that the invite opened.
 *
 * ```text
 *   opaque rootKey[32]        who asks
 *   opaque box[32]            the request box it is for
 *   opaque seed[15]           our rendezvous seed: finds our location record, should in-band fail
 *   opaque deviceList<V>      our signed DeviceList (account.ts)
 *   opaque name<V>            what we call ourselves
 *   InboxCard card            where to answer
 *   optional opaque text<V>   a greeting of at most 1 KiB
 * ```
 *
 * What comes to a request box is signed with the invite's write key, but by anybody who has that
 * invite, and whoever has two could put a request from one box into the other. `box` is the id that the
 * invite's token and the inviter's location record give; only who asks can have written it.
 */
import { fixed, opaque, optional, struct, text } from '../codec/struct.ts'
import { boxIdCodec } from '../ids.ts'
import type { BoxId } from '../ids.ts'
import { inboxCardCodec } from '../inbox-card.ts'
import type { InboxCard } from '../inbox-card.ts'
import { limits } from '../limits.ts'

export interface ContactRequestBody {
  readonly type: 'contactRequest'
  readonly rootKey: Uint8Array
  readonly box: BoxId
  readonly seed: Uint8Array
  readonly deviceList: Uint8Array
  readonly name: string
  readonly card: InboxCard
  readonly text: string | undefined
}

export const contactRequestCodec = struct<Omit<ContactRequestBody, 'type'>>({
  rootKey: fixed(32),
  box: boxIdCodec,
  seed: fixed(15),
  deviceList: opaque(limits.deviceListBytesMax),
  name: text(limits.nameBytesMax),
  card: inboxCardCodec,
  text: optional(text(limits.greetingBytesMax)),
})

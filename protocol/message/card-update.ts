/**
 * `cardUpdate` (5): our inbox moved (home, replicas or keys changed), told in band so that nobody
 * has to look it up again. The head of our device list goes along: contacts who compare heads
 * notice a list that was rolled back or forked.
 *
 * ```text
 *   InboxCard card
 *   opaque seed[15]            our rendezvous seed now: it is replaced when a device is revoked
 *   u64    deviceListNumber
 *   opaque deviceListHash[32]
 * ```
 */
import { fixed, struct, u64 } from '../codec/struct.ts'
import { inboxCardCodec } from '../inbox-card.ts'
import type { InboxCard } from '../inbox-card.ts'

export interface CardUpdateBody {
  readonly type: 'cardUpdate'
  readonly card: InboxCard
  readonly seed: Uint8Array
  readonly deviceListNumber: number
  readonly deviceListHash: Uint8Array
}

export const cardUpdateCodec = struct<Omit<CardUpdateBody, 'type'>>({
  card: inboxCardCodec,
  seed: fixed(15),
  deviceListNumber: u64,
  deviceListHash: fixed(32),
})

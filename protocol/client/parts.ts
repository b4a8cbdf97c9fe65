/**
 * The client's parts, wired: who knows whom is decided here and nowhere else (client.ts has the
 * picture). Two arrows go against it, as callbacks: news for the app, and "look at this contact".
 */
import { crypto } from '../../crypto/index.ts'
import type { MessageId } from '../ids.ts'
import { Bundles } from './bundles.ts'
import { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import { Errands } from './errands.ts'
import { History } from './history.ts'
import { Inboxes } from './inboxes.ts'
import { Introductions } from './introductions.ts'
import { Locations } from './locations.ts'
import { statusFace } from './message-status.ts'
import { Ordering } from './ordering.ts'
import { Outbox } from './outbox.ts'
import { Prekeys } from './prekeys.ts'
import { Receiving } from './receiving.ts'
import { ReceiptsDue } from './receipts-due.ts'
import type { ContactId, MessageRecord } from './records.ts'
import { Sending } from './sending.ts'
import { Turns } from './turns.ts'
import type { Turn } from './turns.ts'
import { Upkeep } from './upkeep.ts'
import { Uplink } from './uplink.ts'

export interface Parts {
  readonly uplink: Uplink
  readonly book: ContactBook
  readonly turns: Turns
  readonly history: History
  readonly ordering: Ordering
  readonly inboxes: Inboxes
  readonly outbox: Outbox
  readonly sending: Sending
  readonly receipts: ReceiptsDue
  readonly receiving: Receiving
  readonly locations: Locations
  readonly errands: Errands
  readonly upkeep: Upkeep
  readonly onStatus: (id: MessageId, record: MessageRecord) => void
}

export function composeParts(context: Context): Parts {
  const { kv } = context
  const nameOf = (id: ContactId): string => book.nameOf(id)
  const onStatus = (id: MessageId, record: MessageRecord): void =>
    context.emit({ type: 'status', status: statusFace(id, record, nameOf(record.contact)) })
  const onNeed = (turn: Turn): void => turn.batch.then(() => errands.poke(turn.id))

  const uplink = new Uplink(context)
  const book = new ContactBook()
  const turns = new Turns({ kv, book })
  const history = new History(kv)
  const inboxes: Inboxes = new Inboxes(context, { uplink, turns, book }, {
    onFront: () => upkeep.onFront(),
    onCard: (contact) => errands.pokeLater(contact),
  })
  const outbox: Outbox = new Outbox(context, uplink, {
    onStatus,
    onUnconfirmed: (contact) => errands.poke(contact),
  })
  const sending = new Sending(context, { turns, history, outbox, nameOf })
  const receipts = new ReceiptsDue(context, { turns, history, outbox })
  const ordering = new Ordering(context, { turns, history, nameOf })
  const prekeys = new Prekeys(context, uplink)
  const receiving = new Receiving({
    context, book, ordering, outbox, receipts, onNeed, turns, inboxes, prekeys, sending, uplink,
  })
  const locations = new Locations(context, uplink)
  const bundles = new Bundles(uplink, locations)
  const introductions = new Introductions(context, { book, turns, inboxes, outbox, bundles })
  const errands: Errands = new Errands(context, { book, inboxes, introductions, outbox, sending, receipts })
  const expireTexts = (): Promise<void> => sending.expire(onStatus)
  const upkeep: Upkeep = new Upkeep(context, { inboxes, locations, prekeys, errands, expireTexts })
  return {
    uplink, book, turns, history, ordering, inboxes, outbox, sending, receipts, receiving, locations,
    errands, upkeep, onStatus,
  }
}

/** Reads what each part keeps in memory; no network. */
export async function loadParts(context: Context, parts: Parts): Promise<void> {
  const { book, history, inboxes, outbox, sending, receipts, ordering, receiving } = parts
  await book.load(context.kv)
  for (const part of [history, inboxes, outbox, sending, receipts, ordering, receiving]) await part.load()
}

export function startParts({ outbox, receipts, ordering, upkeep }: Parts): void {
  for (const part of [outbox, receipts, ordering, upkeep]) part.start()
}

/** A new session with the node began: what still matters is said again. */
export function resetParts({ uplink, outbox, errands, upkeep }: Parts): void {
  for (const part of [uplink, outbox, errands, upkeep]) part.reset()
}

/** Settles when nothing is under way any more. */
export async function stopParts(parts: Parts): Promise<void> {
  for (const part of [parts.errands, parts.receiving, parts.receipts, parts.ordering]) part.stop()
  await parts.uplink.stop()
  await Promise.all([parts.outbox.stop(), parts.upkeep.stop()])
  await parts.turns.idle()
}

/** Everything of a contact but the history. In a turn of the contact. */
export async function removeContact(parts: Parts, turn: Turn): Promise<void> {
  const { contact, id, batch } = turn
  if (contact === undefined) return
  parts.outbox.abandon(batch, id)
  await parts.sending.abandon(turn, parts.onStatus)
  await parts.receipts.drop(turn)
  parts.ordering.drop(turn)
  const { box } = contact
  const writeKey = crypto.signingKeyPair(box.writeSeed).publicKey
  parts.inboxes.close(batch, { id: box.id, writeKey, readSeed: box.readSeed })
  turn.contact = undefined
  batch.then(() => parts.errands.forget(id))
}

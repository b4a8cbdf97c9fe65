/**
 * The client's parts, wired: who knows whom is decided here and nowhere else (client.ts has the
 * picture). Two arrows go against it, as callbacks: news for the app, and "look at this contact".
 */
import type { MessageId, NodeId } from '../ids.ts'
import { Answering } from './answering.ts'
import { Bundles } from './bundles.ts'
import { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import { Copies } from './copies.ts'
import { Devices } from './devices.ts'
import { Linking } from './linking.ts'
import type { NodeDoors } from './linking.ts'
import { EarlyReceipts } from './early-receipts.ts'
import { Errands } from './errands.ts'
import { Gossip } from './gossip.ts'
import type { FileOpener } from './api.ts'
import { Files } from './files.ts'
import { HistoryIntake } from './history-intake.ts'
import { History } from './history.ts'
import { Inboxes } from './inboxes.ts'
import { Introductions } from './introductions.ts'
import { tellLostStates } from './lost-states.ts'
import { Locations } from './locations.ts'
import { statusFace } from './message-status.ts'
import { Ordering } from './ordering.ts'
import { Outbox } from './outbox.ts'
import { Prekeys } from './prekeys.ts'
import { Receiving } from './receiving.ts'
import { ReceiptsDue } from './receipts-due.ts'
import type { ContactId, MessageRecord } from './records.ts'
import { Sending } from './sending.ts'
import { Siblings } from './siblings.ts'
import type { SiblingsOptions } from './siblings.ts'
import { Renewing } from './renewing.ts'
import { Standing } from './standing.ts'
import { Telling } from './telling.ts'
import { SessionResets } from './session-resets.ts'
import { Turns } from './turns.ts'
import type { Turn } from './turns.ts'
import { Unreadables } from './unreadables.ts'
import { Upkeep } from './upkeep.ts'
import { Uplink } from './uplink.ts'
import { Verification } from './verification.ts'

export interface Parts {
  readonly uplink: Uplink
  readonly book: ContactBook
  readonly turns: Turns
  readonly history: History
  readonly ordering: Ordering
  readonly inboxes: Inboxes
  readonly outbox: Outbox
  readonly sending: Sending
  readonly files: Files
  readonly receipts: ReceiptsDue
  readonly receiving: Receiving
  readonly locations: Locations
  readonly errands: Errands
  readonly upkeep: Upkeep
  readonly verification: Verification
  readonly gossip: Gossip
  readonly unreadables: Unreadables
  readonly answering: Answering
  readonly resets: SessionResets
  readonly copies: Copies
  readonly telling: Telling
  readonly devices: Devices
  readonly linking: Linking
  readonly intake: HistoryIntake
  readonly early: EarlyReceipts
  readonly standing: Standing
  readonly renewing: Renewing
  readonly onStatus: (id: MessageId, record: MessageRecord) => void
}

export function composeParts(
  context: Context,
  options: { readonly files?: FileOpener, readonly doors?: () => NodeDoors | undefined },
): Parts {
  const { kv, own } = context
  const nameOf = (id: ContactId): string => book.nameOf(id)
  const onStatus = (id: MessageId, record: MessageRecord): void =>
    context.emit({ type: 'status', status: statusFace(id, record, nameOf(record.contact)) })
  const onNeed = (turn: Turn): void => turn.batch.then(() => errands.poke(turn.id))

  const uplink = new Uplink(context)
  const book = createBook(context)
  const copies: Copies = new Copies(context, () => errands.poke(own.self))
  const early = new EarlyReceipts(context)
  const turns = new Turns(context, { book, copies }, (contact) => receiving.onList(contact))
  const history = new History(kv)
  const inboxes: Inboxes = new Inboxes(context, { uplink, turns, book, copies }, {
    onFront: () => upkeep.onFront(),
    onCard: (contact) => errands.pokeLater(contact),
  })
  const outbox: Outbox = new Outbox(context, { uplink, early }, {
    onStatus,
    onUnconfirmed: (contact) => errands.poke(contact),
  })
  const sending = new Sending(context, { turns, history, outbox, copies, nameOf })
  const home = (): NodeId | undefined => inboxes.front.homes[0]
  const files = new Files(context, { uplink, turns, sending, book, home, opener: options.files })
  const receipts = new ReceiptsDue(context, { turns, history, outbox, copies, nameOf })
  const gossip = new Gossip(context, { book, onNeed })
  const unreadables = new Unreadables(context, { book, turns, history, outbox, onNeed })
  const answering = new Answering(context, { outbox, sending, unreadables, onNeed })
  const resets = new SessionResets(context)
  const ordering = new Ordering(context, { turns, history, early, nameOf })
  const prekeys = new Prekeys(context, uplink)
  const intake = new HistoryIntake(context, { history, turns })
  const siblings = new Siblings(
    { context, book, turns, copies, inboxes, ordering, outbox, receipts, intake },
    fromSiblings(own.self, () => parts, onNeed),
  )
  const receiving: Receiving = new Receiving({
    context, book, ordering, outbox, receipts, gossip, unreadables, answering, resets, onNeed, turns, inboxes,
    prekeys, sending, uplink, copies, siblings,
  })
  const locations = new Locations(context, uplink)
  const bundles = new Bundles(context, { uplink, locations, front: () => inboxes.front })
  const introductions = new Introductions(context, { book, turns, inboxes, outbox, bundles, copies })
  const errands: Errands = new Errands(context, {
    book, inboxes, introductions, outbox, sending, receipts, turns, unreadables,
    tellSiblings: () => telling.flush(),
    onList: (contact) => receiving.onFetched(contact),
  })
  const telling: Telling = new Telling(context, { book, turns, copies, history, outbox, inboxes }, () =>
    errands.poke(own.self))
  const expireMessages = (): Promise<void> => sending.expire(onStatus).then(() => unreadables.expire())
  const standing = new Standing(context, {
    uplink, locations, bundles, inboxes, isRenewing: () => renewing.isPending,
  })
  const upkeep: Upkeep = new Upkeep(
    context, { uplink, inboxes, locations, prekeys, errands, standing, expireMessages })
  const changed = (): void => onOwn(parts, own.self)
  const devices = new Devices(context, { turns, copies, inboxes, telling, onOwn: changed })
  const renewing: Renewing = new Renewing(context, { uplink, devices, locations, bundles }, () =>
    resetParts(parts))
  const doors = options.doors ?? (() => undefined)
  const linking = new Linking(context, { uplink, devices, doors })
  const verification = new Verification(context, { book, turns, onNeed })
  const parts: Parts = {
    uplink, book, turns, history, ordering, inboxes, outbox, sending, files, receipts, receiving, locations,
    errands, upkeep, gossip, unreadables, answering, resets, verification, copies, telling, devices,
    linking, intake, early, standing, renewing, onStatus,
  }
  return parts
}

/** What follows when our other devices tell something; the parts are wired when the first one does. */
function fromSiblings(self: ContactId, parts: () => Parts, onNeed: (turn: Turn) => void): SiblingsOptions {
  return {
    handle: (turn, incoming) => parts().receiving.handle(turn, incoming),
    removeContact: (turn) => removeContact(parts(), turn),
    onNeed,
    onBoxes: () => parts().receiving.onBoxes(),
    onOwn: () => onOwn(parts(), self),
    onPrimary: (turn, device) => parts().telling.begin(turn.batch, device),
  }
}

/** The book, which tells the app whenever how sure we are of a contact has changed. */
function createBook(context: Context): ContactBook {
  const book: ContactBook = new ContactBook(context.own.self, (contact, from) => {
    const face = book.face(contact)
    const { name, trust: to, alarm: code } = face
    const atMs = context.clock.now()
    context.emit({ type: 'trust', contact: name, from, to, ...code === undefined ? {} : { code }, atMs })
    context.emit({ type: 'contact', contact: face })
  })
  return book
}

/** Our devices, shared secrets or the self box changed: the network and the others hear of it. */
export function onOwn({ upkeep, errands, receiving }: Parts, self: ContactId): void {
  upkeep.onOwn()
  errands.pokeAll()
  receiving.onList(self)
  receiving.onBoxes()
}

/** Reads what each part keeps in memory; no network. */
export async function loadParts(context: Context, parts: Parts): Promise<void> {
  const { book, history, inboxes, outbox, sending, receipts, ordering, gossip, unreadables, copies } = parts
  await book.load(context.kv)
  const others = [history, inboxes, outbox, sending, receipts, ordering, gossip, unreadables, copies]
  for (const part of others) await part.load()
  await tellLostStates(context, parts)
  // Last, for they may hold everything up.
  for (const part of [parts.standing, parts.renewing]) await part.load()
}

export function startParts({ outbox, receipts, ordering, files, upkeep }: Parts): void {
  for (const part of [outbox, receipts, ordering, files, upkeep]) part.start()
}

/** A new session with the node began: what still matters is said again. */
export function resetParts(parts: Parts): void {
  const { uplink, receiving, outbox, files, errands, upkeep, renewing, linking, standing } = parts
  standing.admitted()
  for (const part of [uplink, receiving, outbox, files, errands, upkeep, renewing, linking]) part.reset()
}

/** Settles when nothing is under way any more. */
export async function stopParts(parts: Parts): Promise<void> {
  parts.linking.close()
  const { errands, receiving, receipts, ordering, telling } = parts
  for (const part of [errands, receiving, receipts, ordering, telling]) part.stop()
  const stopped = [
    parts.files.stop(), parts.uplink.stop(), parts.outbox.stop(), parts.upkeep.stop(), parts.renewing.stop(),
  ]
  await Promise.all(stopped)
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
  parts.unreadables.drop(turn)
  await parts.early.drop(turn)
  for (const box of [contact.box, ...contact.oldBoxes]) parts.inboxes.closeBox(batch, box)
  turn.contact = undefined
  batch.then(() => parts.errands.forget(id))
}

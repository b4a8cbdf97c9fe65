/**
 * What each kind of message does when it arrives, one handler a kind, all with the same shape.
 * A handler works inside the contact's turn; a refusal is recorded and shown, never silent.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { verifyDeviceList } from '../account.ts'
import type { DeviceId } from '../ids.ts'
import type { InboxCard } from '../inbox-card.ts'
import type { ContactAcceptBody } from '../message/contact-accept.ts'
import type { ContactRequestBody } from '../message/contact-request.ts'
import { isSiblingBody } from '../message/payload.ts'
import { checkFile, noteOf } from '../message/file.ts'
import type { FileNote } from '../message/file.ts'
import type { Body, Payload, SiblingBody } from '../message/payload.ts'
import type { Answering } from './answering.ts'
import { pinDevices } from './bundles.ts'
import { copyCard } from './contact-states.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import type { Gossip } from './gossip.ts'
import { offerFile } from './file-records.ts'
import { keys } from './keys.ts'
import type { Ordering } from './ordering.ts'
import type { Outbox } from './outbox.ts'
import type { ReceiptsDue } from './receipts-due.ts'
import { contactRootKey, contactStates, states } from './records.ts'
import { cardTarget } from './sealing.ts'
import { noted } from './trust.ts'
import type { Turn } from './turns.ts'
import type { Unreadables } from './unreadables.ts'

export interface BodyParts {
  readonly context: Context
  readonly book: ContactBook
  readonly ordering: Ordering
  readonly outbox: Outbox
  readonly receipts: ReceiptsDue
  readonly gossip: Gossip
  readonly unreadables: Unreadables
  readonly answering: Answering
  /** Something about this contact wants the network: an answer, a card, waiting texts. */
  readonly onNeed: (turn: Turn) => void
}

export interface Incoming<B extends Body = Body> {
  readonly device: DeviceId
  readonly payload: Payload
  readonly body: B
}

type BodyHandler<T extends Body['type']> =
  (
    parts: BodyParts,
    turn: Turn,
    incoming: Incoming<Extract<Body, { type: T }>>,
  ) => Promise<Result<undefined>>

const done: Result<undefined> = { ok: true, value: undefined }

/** What only our own devices say to each other is siblings.ts's. */
type PeerType = Exclude<Body, SiblingBody>['type']

const handlers: { readonly [T in PeerType]: BodyHandler<T> } = {
  text: (parts, turn, incoming) => takeText(parts, turn, incoming, incoming.body.text),

  async receipts({ outbox, gossip }, turn, { body, device, payload: { sentAtMs } }) {
    if (body.heads !== undefined) await gossip.take(turn, { device, sentAtMs }, body.heads)
    await outbox.confirm(turn, { ids: body.delivered, state: states.delivered })
    await outbox.confirm(turn, { ids: body.read, state: states.read })
    return done
  },

  async contactRequest(parts, turn, incoming) {
    const { body } = incoming
    if (!equalBytes(body.rootKey, contactRootKey(turn.id))) return { ok: false, code: 'CONTACT_OTHER' }
    const met = meet(parts, turn, body)
    if (!met.ok || turn.contact === undefined) return met
    turn.contact = { ...turn.contact, isAnswerDue: true }
    return body.text === undefined ? done : takeText(parts, turn, incoming, body.text)
  },

  contactAccept: async (parts, turn, { body }) => meet(parts, turn, body),

  async cardUpdate(parts, turn, { body, device, payload: { sentAtMs } }) {
    if (turn.contact === undefined) return { ok: false, code: 'CONTACT_UNKNOWN' }
    const head = { number: body.deviceListNumber, hash: body.deviceListHash }
    await parts.gossip.theirHead(turn, { device, sentAtMs }, head)
    if (body.card.sequence > (turn.contact.card?.sequence ?? 0)) {
      turn.contact = { ...turn.contact, seed: body.seed.slice() }
    }
    takeCard(parts, turn, body.card)
    return done
  },

  async file(parts, turn, incoming) {
    const { body, payload: { messageId: id } } = incoming
    const checked = checkFile(body)
    if (!checked.ok) return checked
    offerFile(turn.batch, id, { contact: turn.id, isOutgoing: false, body, atMs: parts.context.clock.now() })
    return takeText(parts, turn, incoming, '', noteOf(body))
  },

  async askAgain({ answering }, turn, { body }) {
    await answering.answer(turn, body)
    return done
  },

  async askReply({ unreadables }, turn, { body }) {
    await unreadables.take(turn, body)
    return done
  },

  unknown: async (_parts, _turn, { body }) =>
    ({ ok: false, code: 'MESSAGE_KIND_UNKNOWN', detail: `kind ${body.tag}: a newer openIM sent it` }),
}

/** Does what the message says. Whether it came before is the caller's to know. */
export function handleBody(parts: BodyParts, turn: Turn, incoming: Incoming): Promise<Result<undefined>> {
  const { body } = incoming
  if (isSiblingBody(body)) return Promise.resolve({ ok: false, code: 'MESSAGE_NOT_FOR_DEVICE' })
  const handler = handlers[body.type] as BodyHandler<Body['type']>
  return handler(parts, turn, incoming as never)
}

async function takeText(
  parts: BodyParts,
  turn: Turn,
  incoming: Incoming,
  text: string,
  file?: FileNote,
): Promise<Result<undefined>> {
  const { device, payload: { messageId: id, sentAtMs, sequence } } = incoming
  const receivedAtMs = parts.context.clock.now()
  const record = { isOutgoing: false, id, text, sentAtMs, receivedAtMs, file }
  await parts.ordering.take(turn, { device, sequence, record })
  return done
}

/** A request or its answer: devices, inbox and name of somebody who is a contact from now on. */
function meet(
  parts: BodyParts,
  turn: Turn,
  body: ContactRequestBody | ContactAcceptBody,
): Result<undefined> {
  const list = verifyDeviceList(body.deviceList, contactRootKey(turn.id))
  if (!list.ok) return list
  const pinned = pinDevices(turn, list.value)
  if (!pinned.ok) announce(parts, turn)
  if (!pinned.ok || turn.contact === undefined) return pinned
  // Both asked at once, or they answered: our own request has done its work.
  const request = turn.contact.introduction?.request
  if (request !== undefined) parts.outbox.settle(turn, request)
  const { contact } = turn
  const keepsName = contact.isNamed || contact.state === contactStates.active
  const name = keepsName ? contact.name : parts.book.offerName(body.name, turn.id)
  const seed = body.seed.slice()
  turn.contact = { ...contact, name, seed, state: contactStates.active, introduction: undefined }
  const isNew = contact.state !== contactStates.active
  // Of an older acquaintance that ended.
  if (isNew) turn.contact = { ...turn.contact, card: undefined }
  if (isNew && parts.book.isNamesake(body.name, turn.id)) {
    turn.contact = noted(turn.contact, 'CONTACT_NAMESAKE')
  }
  takeCard(parts, turn, body.card)
  if (isNew) announce(parts, turn)
  return done
}

/** Tells the app what the contact is when the turn is over. */
function announce(parts: BodyParts, turn: Turn): void {
  turn.batch.then(() => {
    const contact = parts.book.get(turn.id)
    if (contact !== undefined) parts.context.emit({ type: 'contact', contact: parts.book.face(contact) })
  })
}

/** Takes a card that is newer than ours and sends what is under way there. */
function takeCard(parts: BodyParts, turn: Turn, offered: InboxCard): void {
  const { contact } = turn
  if (contact === undefined) return
  parts.onNeed(turn)
  const card = copyCard(offered)
  const known = contact.card
  if (known !== undefined && card.sequence <= known.sequence) return
  turn.contact = { ...contact, card }
  parts.outbox.reroute(turn.batch, turn.id, cardTarget(card))
}

/** The mark against doubles. */
export function arrivedKey(turn: Turn, payload: Payload): string {
  return keys.arrived(turn.id, payload.messageId)
}

/**
 * What each kind of message does when it arrives, one handler a kind, all with the same shape.
 * A handler works inside the contact's turn; a refusal is recorded and shown, never silent.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { verifyDeviceList } from '../account.ts'
import type { DeviceId } from '../ids.ts'
import { openCard } from '../inbox-card.ts'
import type { InboxCard } from '../inbox-card.ts'
import type { ContactAcceptBody } from '../message/contact-accept.ts'
import type { ContactRequestBody } from '../message/contact-request.ts'
import type { Body, Payload } from '../message/payload.ts'
import { pinDevices } from './bundles.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import { keys } from './keys.ts'
import type { Ordering } from './ordering.ts'
import type { Outbox } from './outbox.ts'
import type { ReceiptsDue } from './receipts-due.ts'
import { contactRootKey, contactStates, states, trusts } from './records.ts'
import { cardTarget, devicesOf } from './sealing.ts'
import type { Turn } from './turns.ts'

export interface BodyParts {
  readonly context: Context
  readonly book: ContactBook
  readonly ordering: Ordering
  readonly outbox: Outbox
  readonly receipts: ReceiptsDue
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

const handlers: { readonly [T in Body['type']]: BodyHandler<T> } = {
  text: (parts, turn, incoming) => takeText(parts, turn, incoming, incoming.body.text),

  async receipts({ outbox }, turn, { body }) {
    await outbox.confirm(turn.batch, turn.id, { ids: body.delivered, state: states.delivered })
    await outbox.confirm(turn.batch, turn.id, { ids: body.read, state: states.read })
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

  async cardUpdate(parts, turn, { body }) {
    const list = turn.contact === undefined ? undefined : devicesOf(turn.contact)
    if (turn.contact === undefined || list === undefined) return { ok: false, code: 'CONTACT_UNKNOWN' }
    if (body.deviceListNumber === list.list.number && !equalBytes(body.deviceListHash, list.hash)) {
      turn.contact = { ...turn.contact, trust: trusts.changed }
      announce(parts, turn)
      return { ok: false, code: 'DEVICE_LIST_FORK' }
    }
    // They have a newer list: fetched with fresh prekeys, as for a repair.
    if (body.deviceListNumber > list.list.number) turn.contact = { ...turn.contact, isBroken: true }
    takeCard(parts, turn, body.card)
    return done
  },

  unknown: async (_parts, _turn, { body }) =>
    ({ ok: false, code: 'MESSAGE_KIND_UNKNOWN', detail: `kind ${body.tag}: a newer openIM sent it` }),
}

/** Does what the message says. Whether it came before is the caller's to know. */
export function handleBody(parts: BodyParts, turn: Turn, incoming: Incoming): Promise<Result<undefined>> {
  const handler = handlers[incoming.body.type] as BodyHandler<Body['type']>
  return handler(parts, turn, incoming as never)
}

async function takeText(
  parts: BodyParts,
  turn: Turn,
  incoming: Incoming,
  text: string,
): Promise<Result<undefined>> {
  const { device, payload: { messageId: id, sentAtMs, sequence } } = incoming
  const receivedAtMs = parts.context.clock.now()
  await parts.ordering.take(turn, { device, sequence, record: { id, text, sentAtMs, receivedAtMs } })
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
  const { contact } = turn
  const keepsName = contact.isNamed || contact.state === contactStates.active
  const name = keepsName ? contact.name : parts.book.offerName(body.name, turn.id)
  // Both asked at once, or they answered: our own request has done its work.
  if (contact.introduction?.request !== undefined) {
    parts.outbox.settle(turn.batch, contact.introduction.request)
  }
  const seed = body.seed.slice()
  turn.contact = { ...contact, name, seed, state: contactStates.active, introduction: undefined }
  takeCard(parts, turn, body.card)
  if (contact.state !== contactStates.active) announce(parts, turn)
  return done
}

/** Tells the app what the contact is when the turn is over. */
function announce(parts: BodyParts, turn: Turn): void {
  turn.batch.then(() => {
    const contact = parts.book.get(turn.id)
    if (contact !== undefined) parts.context.emit({ type: 'contact', contact: parts.book.face(contact) })
  })
}

/** Takes a card that is newer than ours, or of another inbox, and sends what is under way there. */
function takeCard(parts: BodyParts, turn: Turn, offered: InboxCard): void {
  const { contact } = turn
  if (contact === undefined) return
  parts.onNeed(turn)
  const card = copyCard(offered)
  const known = contact.card
  const isOther = known === undefined || openCard(known).box !== openCard(card).box
  if (!isOther && card.sequence <= known.sequence) return
  turn.contact = { ...contact, card }
  parts.outbox.reroute(turn.batch, turn.id, cardTarget(card))
}

/** Out of the decoder's buffer: cards live long, messages do not. */
function copyCard(card: InboxCard): InboxCard {
  const { writeSeed, readKey, sealKey } = card
  return { ...card, writeSeed: writeSeed.slice(), readKey: readKey.slice(), sealKey: sealKey.slice() }
}

/** The mark against doubles. */
export function arrivedKey(turn: Turn, payload: Payload): string {
  return keys.arrived(turn.id, payload.messageId)
}

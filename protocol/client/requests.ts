/**
 * Contact requests: somebody answers an invite of ours. The primary device takes them for all of us,
 * because each is to become one contact with one inbox and one answer; our other devices leave them
 * to it (their acknowledgement alone does not delete anything at the node) and hear of the contact.
 */
import type { Result } from '../../crypto/errors.ts'
import { verifyDeviceList } from '../account.ts'
import { encode } from '../codec/struct.ts'
import type { CheckedEnvelope } from '../envelope.ts'
import { messageIdCodec } from '../ids.ts'
import { limits } from '../limits.ts'
import type { ContactRequestBody } from '../message/contact-request.ts'
import { openMessage } from '../message/sealed.ts'
import type { SealedMessage } from '../message/sealed.ts'
import { Batch } from './batch.ts'
import type { Incoming } from './bodies.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import type { Inboxes, IntroBox } from './inboxes.ts'
import { keys } from './keys.ts'
import type { Ordering } from './ordering.ts'
import type { Prekeys } from './prekeys.ts'
import { contactId, contactRootKey, newContact } from './records.ts'
import type { ContactId, ContactRecord } from './records.ts'
import { listsIdentity } from './sealing.ts'
import { alarmed } from './trust.ts'
import type { Turn, Turns } from './turns.ts'
import { joinFirst, unwrapFirst } from './unwrap.ts'
import type { FirstMessage } from './unwrap.ts'

export interface RequestsParts {
  readonly context: Context
  readonly book: ContactBook
  readonly inboxes: Inboxes
  readonly ordering: Ordering
  readonly prekeys: Prekeys
  readonly turns: Turns
  readonly onNeed: (turn: Turn) => void
}

export interface RequestsOptions {
  /** Does what a payload says, once per message id. */
  readonly handle: (turn: Turn, incoming: Incoming) => Promise<Result<undefined>>
  readonly unreadable: (batch: Batch, problem: { envelope: CheckedEnvelope, code: string }) => void
}

/** Ends a turn without a trace. */
class RequestRefused extends Error {
  readonly refusal: { readonly ok: false, readonly code: string }

  constructor(refusal: { readonly ok: false, readonly code: string }) {
    super(refusal.code)
    this.refusal = refusal
  }
}

export class Requests {
  readonly #parts: RequestsParts
  readonly #options: RequestsOptions

  constructor(parts: RequestsParts, options: RequestsOptions) {
    this.#parts = parts
    this.#options = options
  }

  /** Durable when it settles; then it may be acknowledged. */
  async take(envelope: CheckedEnvelope): Promise<void> {
    const { context, inboxes } = this.#parts
    // Asked for each time: the request before may have used the invite up.
    const intro = inboxes.intro(envelope.box)
    if (intro === undefined || !context.own.isPrimary) return
    const seenKey = keys.seen(envelope.envelope.expiryHour, envelope.id)
    if (await context.kv.get(seenKey) !== undefined) return
    const welcomed = await this.#welcome(intro, { envelope, seenKey })
    if (welcomed.ok) return
    const batch = new Batch()
    this.#options.unreadable(batch, { envelope, code: welcomed.code })
    batch.mark(seenKey)
    await batch.commit(context.kv)
  }

  /** One contact, one session, one answer; a refusal leaves nothing behind. */
  async #welcome(
    intro: IntroBox,
    input: { envelope: CheckedEnvelope, seenKey: string },
  ): Promise<Result<undefined>> {
    const { context, prekeys, turns } = this.#parts
    const message = openMessage(input.envelope.envelope.ciphertext, intro.sealKey)
    if (!message.ok) return message
    const first = await unwrapFirst(context, { message: message.value, prekeys })
    if (!first.ok) return first
    const body = this.#checkRequest(intro, first.value)
    if (!body.ok) return body
    const request = { message: message.value, first: first.value, body: body.value }
    const id = contactId(body.value.rootKey)
    try {
      await turns.run(id, (turn) => this.#takeUp(turn, { intro, seenKey: input.seenKey, ...request }))
      return { ok: true, value: undefined }
    } catch (error) {
      this.#parts.book.release(id)
      if (!(error instanceof RequestRefused)) throw error
      if (error.refusal.code === 'DEVICE_LIST_FORK') await this.#alarm(id, body.value.deviceList)
      return error.refusal
    }
  }

  #checkRequest(intro: IntroBox, first: FirstMessage): Result<ContactRequestBody> {
    const { context, book } = this.#parts
    const { body } = first.payload
    if (body.type !== 'contactRequest') return { ok: false, code: 'CONTACT_REQUEST' }
    if (body.box !== intro.box) return { ok: false, code: 'CONTACT_REQUEST' }
    const id = contactId(body.rootKey)
    if (id === contactId(context.account.rootKey)) return { ok: false, code: 'CONTACT_SELF' }
    const list = verifyDeviceList(body.deviceList, body.rootKey)
    if (!list.ok) return list
    if (!listsIdentity(list.value, first.session.remote)) return { ok: false, code: 'DEVICE_UNKNOWN' }
    if (intro.usedBy !== undefined && intro.usedBy !== id) return { ok: false, code: 'INVITE_USED' }
    if (book.get(id) === undefined && book.size >= limits.contactsMax) {
      return { ok: false, code: 'CONTACT_TOO_MANY' }
    }
    return { ok: true, value: body }
  }

  /** In the turn of the one who asks, known or not. @throws RequestRefused */
  async #takeUp(turn: Turn, input: {
    intro: IntroBox, seenKey: string, message: SealedMessage, first: FirstMessage, body: ContactRequestBody
  }): Promise<void> {
    const { context, prekeys, inboxes, ordering } = this.#parts
    const { intro, first, body } = input
    turn.contact ??= this.#newContact(turn.id, body)
    const joined = await joinFirst(context, turn, { message: input.message, first, prekeys })
    if (!joined.ok) throw new RequestRefused(joined)
    const incoming = { device: first.device, payload: first.payload, body }
    const handled = await this.#options.handle(turn, incoming)
    if (!handled.ok) throw new RequestRefused(handled)
    turn.batch.putBytes(input.seenKey, encode(messageIdCodec, first.payload.messageId))
    // The same request in another envelope is answered again.
    turn.contact = { ...turn.contact, isAnswerDue: true }
    inboxes.use(turn.batch, intro, turn.id)
    ordering.settle(turn)
    this.#parts.onNeed(turn)
  }

  /** Two device lists of one number: the contact's root key is in two hands. */
  #alarm(id: ContactId, deviceList: Uint8Array): Promise<void> {
    const rival = verifyDeviceList(deviceList, contactRootKey(id))
    return this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined || !rival.ok) return
      turn.contact = alarmed(turn.contact, { code: 'DEVICE_LIST_FORK', rival: rival.value })
    })
  }

  #newContact(id: ContactId, body: ContactRequestBody): ContactRecord {
    const { book, inboxes, context } = this.#parts
    return newContact({
      id,
      name: book.offerName(body.name, id),
      box: inboxes.create(),
      addedAtMs: context.clock.now(),
    })
  }
}

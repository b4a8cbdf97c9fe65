/**
 * First contact, and what keeps two contacts in touch: making the request, answering one, telling
 * a new card, repairing a session. Each step starts from what is written down and may be cut
 * anywhere; errands.ts calls them until they succeed.
 *
 * ```text
 *   adder                                                  inviter
 *   location record ─► prekeys ─► session
 *   contactRequest ─► request box of the invite ─────────► session, contact, own inbox
 *   contact, session ◄──────────────────────────────────── contactAccept
 * ```
 */
import type { Result } from '../../crypto/errors.ts'
import { boxId, expiryMs } from '../envelope.ts'
import { introKeys } from '../invite.ts'
import { limits } from '../limits.ts'
import type { LocationContent } from '../location-record.ts'
import type { CardUpdateBody } from '../message/card-update.ts'
import type { ContactAcceptBody } from '../message/contact-accept.ts'
import type { ContactRequestBody } from '../message/contact-request.ts'
import type { ReceiptsBody } from '../message/receipts.ts'
import { beginSessions } from './bundles.ts'
import type { Bundles } from './bundles.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import type { Inboxes } from './inboxes.ts'
import type { Outbox } from './outbox.ts'
import { contactRootKey, kinds } from './records.ts'
import type { ContactId, ContactRecord, Introduction } from './records.ts'
import { sealEnvelope } from './sealing.ts'
import type { Target } from './sealing.ts'
import { newMessageId, sendBody } from './sending.ts'
import type { Turn, Turns } from './turns.ts'

export interface IntroductionParts {
  readonly book: ContactBook
  readonly turns: Turns
  readonly inboxes: Inboxes
  readonly outbox: Outbox
  readonly bundles: Bundles
}

const done: Result<undefined> = { ok: true, value: undefined }

export class Introductions {
  readonly #context: Context
  readonly #parts: IntroductionParts

  constructor(context: Context, parts: IntroductionParts) {
    this.#context = context
    this.#parts = parts
  }

  /** Whether a request is to be made: none under way, none taken lately. */
  isRequestDue(introduction: Introduction): boolean {
    const { request, requestedAtMs } = introduction
    if (request === undefined) return true
    if (this.#parts.outbox.has(request)) return false
    return this.#context.clock.now() - requestedAtMs >= limits.introductionRetryMs
  }

  /** Finds them and puts our request into the box that their invite opened. */
  async request(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    if (contact?.introduction === undefined) return done
    if (expiryMs(contact.introduction.expiryHour) <= this.#context.clock.now()) return this.#giveUp(id)
    const found = await this.#parts.bundles.find(contact)
    if (!found.ok) return found
    return await this.#parts.turns.run(id, (turn) => {
      const introduction = turn.contact?.introduction
      if (introduction === undefined || !this.isRequestDue(introduction)) return done
      const begun = beginSessions(this.#context, turn, found.value)
      if (begun.ok) this.#sealRequest(turn, introduction, found.value.content)
      return begun
    })
  }

  /** The answer to their request: our devices, name and inbox. Refuses CONTACT_NOT_READY. */
  answer(id: ContactId): Promise<Result<undefined>> {
    const { account } = this.#context
    return this.#parts.turns.run(id, (turn) => {
      const { contact } = turn
      if (contact === undefined || !contact.isAnswerDue) return done
      const card = this.#parts.inboxes.card(contact.box)
      const body: ContactAcceptBody = {
        type: 'contactAccept',
        seed: account.rendezvousSeed,
        deviceList: account.deviceList.bytes,
        name: account.name,
        card,
      }
      if (!sendBody(this.#context, turn, { outbox: this.#parts.outbox, kind: kinds.control, body })) {
        return notReady()
      }
      turn.contact = { ...contact, isAnswerDue: false, toldSequence: contact.box.sequence }
      return done
    })
  }

  /** Our inbox moved: they are told where to. */
  tellCard(id: ContactId): Promise<Result<undefined>> {
    const { list, hash } = this.#context.account.deviceList
    return this.#parts.turns.run(id, (turn) => {
      const { contact } = turn
      if (contact === undefined || contact.toldSequence >= contact.box.sequence) return done
      const card = this.#parts.inboxes.card(contact.box)
      const body: CardUpdateBody = {
        type: 'cardUpdate', card, deviceListNumber: list.number, deviceListHash: hash,
      }
      if (!sendBody(this.#context, turn, { outbox: this.#parts.outbox, kind: kinds.control, body })) {
        return notReady()
      }
      turn.contact = { ...contact, toldSequence: contact.box.sequence }
      return done
    })
  }

  /** Whether a broken session may be repaired now. */
  isRepairDue({ isBroken, seed, repairedAtMs }: ContactRecord): boolean {
    const isRested = this.#context.clock.now() - repairedAtMs >= limits.sessionRepairMs
    return isBroken && seed !== undefined && isRested
  }

  /** A fresh session from fresh prekeys; an empty bundle of receipts carries it to them at once. */
  async repair(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    if (contact === undefined) return done
    const found = await this.#parts.bundles.find(contact)
    if (!found.ok) return found
    return await this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined || !turn.contact.isBroken) return done
      const begun = beginSessions(this.#context, turn, found.value)
      if (!begun.ok) return begun
      const body: ReceiptsBody = { type: 'receipts', delivered: [], read: [] }
      if (!sendBody(this.#context, turn, { outbox: this.#parts.outbox, kind: kinds.receipts, body })) {
        return notReady()
      }
      turn.contact = { ...turn.contact, isBroken: false, repairedAtMs: this.#context.clock.now() }
      return done
    })
  }

  #sealRequest(turn: Turn, introduction: Introduction, content: LocationContent): void {
    const { account, clock, random } = this.#context
    const contact = turn.contact!
    const sentAtMs = clock.now()
    const messageId = newMessageId(this.#context)
    const body: ContactRequestBody = {
      type: 'contactRequest',
      rootKey: account.rootKey,
      seed: account.rendezvousSeed,
      deviceList: account.deviceList.bytes,
      name: account.name,
      card: this.#parts.inboxes.card(contact.box),
      text: undefined,
    }
    // Without a greeting there is nothing to show, so it takes no place in the conversation.
    const payload = { messageId, sentAtMs, sequence: 0, body }
    const expiresAtMs = Math.min(sentAtMs + limits.envelopeTtlMs, expiryMs(introduction.expiryHour))
    const sessions = turn.readySessions
    for (const { device, session } of sessions) turn.keepSession(device, session)
    const sealed = sealEnvelope({
      payload,
      sessions,
      expiresAtMs,
      random,
      senderDevice: account.deviceId,
      target: introTarget(contact, introduction, content),
    })
    this.#parts.outbox.add(
      turn.batch,
      { sealed, contact: turn.id, messageId, kind: kinds.control, expiresAtMs },
    )
    turn.contact = {
      ...contact,
      introduction: { ...introduction, request: messageId, requestedAtMs: sentAtMs },
      toldSequence: contact.box.sequence,
    }
  }

  /** The invite's time is over; a new one begins anew. */
  #giveUp(id: ContactId): Promise<Result<undefined>> {
    return this.#parts.turns.run(id, (turn) => {
      if (turn.contact !== undefined) turn.contact = { ...turn.contact, introduction: undefined }
      return done
    })
  }
}

/** The request box of an invite, at the places that their location record names. */
function introTarget(contact: ContactRecord, introduction: Introduction, content: LocationContent): Target {
  const { writeKeys, sealKey } = introKeys({
    rootKey: contactRootKey(contact.id), introToken: introduction.token,
  })
  const readKey = content.introReadKey.slice()
  const { homes, replicas } = content
  return {
    box: boxId({ writeKey: writeKeys.publicKey, readKey }),
    writeKeys,
    readKey,
    sealKey,
    homes,
    replicas,
  }
}

function notReady(): Result<undefined> {
  return { ok: false, code: 'CONTACT_NOT_READY', detail: 'there is no inbox or session to write to yet' }
}

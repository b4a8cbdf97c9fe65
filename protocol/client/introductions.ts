/**
 * First contact, and what keeps two contacts in touch: making the request, answering one, telling
 * a new card, repairing a session, reaching devices that are new, leaving an inbox that a revoked
 * device of ours knew. Each step starts from what is written down and may be cut
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
import { deviceId } from '../account.ts'
import { boxId, expiryMs } from '../envelope.ts'
import type { DeviceId } from '../ids.ts'
import { introKeys } from '../invite.ts'
import type { InviteHint } from '../invite.ts'
import { limits } from '../limits.ts'
import type { LocationContent } from '../location-record.ts'
import type { CardUpdateBody } from '../message/card-update.ts'
import type { ContactAcceptBody } from '../message/contact-accept.ts'
import type { ContactRequestBody } from '../message/contact-request.ts'
import type { ReceiptsBody } from '../message/receipts.ts'
import { beginSessions } from './bundles.ts'
import type { Bundles, Found } from './bundles.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { headsFor } from './gossip.ts'
import type { Inboxes } from './inboxes.ts'
import type { Outbox } from './outbox.ts'
import { contactRootKey, kinds } from './records.ts'
import type { ContactId, ContactRecord, Introduction, OwnBox } from './records.ts'
import { devicesOf, newMessageId, sealEnvelope } from './sealing.ts'
import type { Target } from './sealing.ts'
import { sendBody } from './sending.ts'
import type { Turn, Turns } from './turns.ts'

export interface IntroductionParts {
  readonly book: ContactBook
  readonly turns: Turns
  readonly inboxes: Inboxes
  readonly outbox: Outbox
  readonly bundles: Bundles
  readonly copies: Copies
}

const done: Result<undefined> = { ok: true, value: undefined }
const triesMax = 10_000

export class Introductions {
  readonly #context: Context
  readonly #parts: IntroductionParts
  /** When a session with a device was last begun, or its prekeys were not there. */
  readonly #triedAtMs = new Map<string, number>()

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
      const begun = beginSessions(this.#context, turn, { found: found.value })
      if (begun.ok) this.#sealRequest(turn, introduction, found.value.content)
      return begun
    })
  }

  /** The answer to their request: our devices, name and inbox. Refuses CONTACT_NOT_READY. */
  answer(id: ContactId): Promise<Result<undefined>> {
    const { account, own } = this.#context
    return this.#parts.turns.run(id, (turn) => {
      const { contact } = turn
      if (contact === undefined || !contact.isAnswerDue) return done
      const card = this.#parts.inboxes.card(contact.box)
      const body: ContactAcceptBody = {
        type: 'contactAccept',
        seed: own.rendezvousSeed,
        deviceList: own.list.bytes,
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
    const { list: { list, hash }, rendezvousSeed: seed } = this.#context.own
    return this.#parts.turns.run(id, (turn) => {
      const { contact } = turn
      if (contact === undefined || contact.toldSequence >= contact.box.sequence) return done
      const card = this.#parts.inboxes.card(contact.box)
      const body: CardUpdateBody = {
        type: 'cardUpdate', card, seed, deviceListNumber: list.number, deviceListHash: hash,
      }
      if (!sendBody(this.#context, turn, { outbox: this.#parts.outbox, kind: kinds.control, body })) {
        return notReady()
      }
      turn.contact = { ...contact, toldSequence: contact.box.sequence }
      return done
    })
  }

  /** Whether a broken session may be repaired now. */
  isRepairDue({ id, isBroken, seed, repairedAtMs }: ContactRecord): boolean {
    const isRested = this.#context.clock.now() - repairedAtMs >= limits.sessionRepairMs
    const canLocate = seed !== undefined || id === this.#context.own.self
    return isBroken && canLocate && isRested
  }

  /** A fresh session from fresh prekeys; an empty bundle of receipts carries it to them at once. */
  async repair(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    if (contact === undefined) return done
    const found = await this.#parts.bundles.find(contact)
    if (!found.ok) return found
    return await this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined || !turn.contact.isBroken) return done
      const begun = beginSessions(this.#context, turn, { found: found.value })
      if (!begun.ok) return begun
      this.#renew(turn, found.value)
      const heads = headsFor(this.#context, turn)
      const body: ReceiptsBody = { type: 'receipts', delivered: [], read: [], heads }
      if (!sendBody(this.#context, turn, { outbox: this.#parts.outbox, kind: kinds.receipts, body })) {
        return notReady()
      }
      turn.contact = { ...turn.contact, isBroken: false, repairedAtMs: this.#context.clock.now() }
      return done
    })
  }

  /** Sessions with devices of their list that we have none with yet; each tried every so often. */
  async reach(id: ContactId): Promise<Result<undefined>> {
    const contact = this.#parts.book.get(id)
    // A repair reaches all of them, and has a pace of its own.
    if (contact?.isReachDue !== true || contact.isBroken) return done
    const due = await this.#parts.turns.run(id, (turn) =>
      turn.missingDevices.filter((device) => this.#isTryDue(id, device)))
    if (due.length === 0) return done
    const found = await this.#parts.bundles.find(contact, ({ deviceId }) => due.includes(deviceId))
    if (!found.ok && found.code !== 'SHELF_EMPTY') return found
    const reached = found.ok ? found.value.bundles.map(({ device }) => device) : []
    const isSelf = id === this.#context.own.self
    for (const device of isSelf ? reached : due) this.#noteTry(id, device)
    // A sibling that is just being linked has laid out nothing yet: soon it has.
    const isComplete = !isSelf || reached.length === due.length
    const outcome: Result<undefined> = isComplete ? done : { ok: false, code: 'SHELF_EMPTY' }
    if (!found.ok) return outcome
    return await this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined) return done
      const missing = turn.missingDevices
      const choose = (device: DeviceId): boolean => missing.includes(device)
      const begun = beginSessions(this.#context, turn, { found: found.value, choose })
      // Meanwhile they may have begun themselves.
      return begun.ok || begun.code === 'SHELF_EMPTY' ? outcome : begun
    })
  }

  /** Whether their newest list is to be fetched now. */
  isListFetchDue({ isListDue, listFetchedAtMs, seed }: ContactRecord): boolean {
    const isRested = this.#context.clock.now() - listFetchedAtMs >= limits.deviceListFetchMs
    return isListDue && seed !== undefined && isRested
  }

  /** Their newest list from the shelves, with sessions for devices that are new in it. */
  async fetchList(id: ContactId): Promise<Result<undefined>> {
    const { book, bundles, turns } = this.#parts
    const contact = book.get(id)
    if (contact === undefined) return done
    const known = devicesOf(contact)?.list.devices.map(({ signingKey }) => deviceId(signingKey)) ?? []
    const found = await bundles.find(contact, (shelf, index) =>
      index === 0 || !known.includes(shelf.deviceId))
    if (!found.ok && found.code.startsWith('REQUEST_')) return found
    return await turns.run(id, (turn) => {
      if (turn.contact === undefined) return done
      turn.contact = { ...turn.contact, isListDue: false, listFetchedAtMs: this.#context.clock.now() }
      if (!found.ok) return done
      const choose = (device: DeviceId): boolean => !known.includes(device)
      const begun = beginSessions(this.#context, turn, { found: found.value, choose })
      return begun.ok || begun.code !== 'DEVICE_LIST_FORK' ? done : begun
    })
  }

  /** Whether a device that was revoked knows their inbox. The primary leaves it for all of us. */
  isRotationDue({ id, box }: ContactRecord): boolean {
    const { own } = this.#context
    return own.isPrimary && id !== own.self && box.generation < own.record.generation
  }

  /** A fresh inbox; the old one is read until nothing can come any more. */
  rotate(id: ContactId): Promise<Result<undefined>> {
    return this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined || !this.isRotationDue(turn.contact)) return done
      turn.contact = this.#parts.inboxes.rotated(turn.batch, turn.contact)
      return done
    })
  }

  /** Gives up inboxes that were left long enough ago. */
  async retire(id: ContactId): Promise<Result<undefined>> {
    const nowMs = this.#context.clock.now()
    const isOver = ({ closesAtMs }: OwnBox): boolean => closesAtMs <= nowMs
    if (this.#parts.book.get(id)?.oldBoxes.some(isOver) !== true) return done
    return await this.#parts.turns.run(id, (turn) => {
      if (turn.contact === undefined) return done
      for (const box of turn.contact.oldBoxes.filter(isOver)) this.#parts.inboxes.closeBox(turn.batch, box)
      turn.contact = { ...turn.contact, oldBoxes: turn.contact.oldBoxes.filter((box) => !isOver(box)) }
      return done
    })
  }

  /** What our other devices did not confirm goes to them again in the fresh sessions. */
  #renew(turn: Turn, found: Found): void {
    if (turn.id !== this.#context.own.self) return
    for (const { device } of found.bundles) this.#parts.copies.renew(turn.batch, device)
  }

  #isTryDue(id: ContactId, device: DeviceId): boolean {
    const triedAtMs = this.#triedAtMs.get(`${id}/${device}`)
    return triedAtMs === undefined || this.#context.clock.monotonicMs() - triedAtMs >= limits.sessionBeginMs
  }

  #noteTry(id: ContactId, device: DeviceId): void {
    if (this.#triedAtMs.size >= triesMax) this.#triedAtMs.clear()
    this.#triedAtMs.set(`${id}/${device}`, this.#context.clock.monotonicMs())
  }

  #sealRequest(turn: Turn, introduction: Introduction, content: LocationContent): void {
    const { account, own, clock, random } = this.#context
    const contact = turn.contact!
    const sentAtMs = clock.now()
    const messageId = newMessageId(this.#context)
    const target = introTarget(contact, introduction, content)
    const body: ContactRequestBody = {
      type: 'contactRequest',
      rootKey: account.rootKey,
      box: target.box,
      seed: own.rendezvousSeed,
      deviceList: own.list.bytes,
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
      list: undefined,
      target,
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

/** Where the invite says their home node is, as a multiaddr, or empty. */
export function hintAddress(hint: InviteHint | undefined): string {
  return hint === undefined ? '' : `/ip4/${hint.ipv4.join('.')}/tcp/${hint.port}`
}

/**
 * What our other devices tell this one, in the self box: what they wrote, what came to them alone,
 * what people decided about contacts, what was read, invites, history, and the devices themselves.
 *
 * A page of it is decrypted in one turn of the self contact; what it says about a contact is done
 * in a turn of that contact inside, durable first. A crash between the two brings it again, and
 * each of these is idempotent: texts by their id, states by their version.
 *
 * Told of a contact that we do not know yet, we keep it, as an *orphan*, until we are told of the
 * contact: their order says nothing, not even within one page.
 */
import type { Result } from '../../crypto/errors.ts'
import { compareDeviceLists, deviceId, findDevice, verifyDeviceList } from '../account.ts'
import { decode, opaque, struct } from '../codec/struct.ts'
import type { CheckedEnvelope } from '../envelope.ts'
import { deviceIdCodec } from '../ids.ts'
import type { DeviceId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import { checkFile, noteOf } from '../message/file.ts'
import type { ContactStateBody } from '../message/contact-state.ts'
import type { InviteStateBody } from '../message/invite-state.ts'
import type { OwnDevicesBody } from '../message/own-devices.ts'
import { decodePayload, encodePayload, isSiblingBody } from '../message/payload.ts'
import type { Payload, SiblingBody } from '../message/payload.ts'
import type { ReceiptsBody } from '../message/receipts.ts'
import type { Incoming } from './bodies.ts'
import type { ContactBook } from './contact-book.ts'
import { isLater, mergeContact, mergePositions, ownBox, retire } from './contact-states.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { offerFile } from './file-records.ts'
import { isPassedOn } from './forwarding.ts'
import type { HistoryIntake } from './history-intake.ts'
import type { Inboxes } from './inboxes.ts'
import { keys } from './keys.ts'
import type { Ordering } from './ordering.ts'
import type { Outbox } from './outbox.ts'
import type { ReceiptsDue } from './receipts-due.ts'
import { contactId, messageCodec, readRecord, trusts, versionCodec } from './records.ts'
import type { ContactId } from './records.ts'
import { cardTarget } from './sealing.ts'
import type { Turn, Turns } from './turns.ts'

/** What came in the self box from one of our devices. */
export interface Told {
  readonly envelope: CheckedEnvelope
  readonly device: DeviceId
  readonly payload: Payload
}

/** What one of our devices says of a contact. */
interface Word {
  readonly device: DeviceId
  readonly payload: Payload
}

/** Words about a contact that is not known, of the turn under way, by record name. */
type Orphans = Map<string, Word>

export interface SiblingsParts {
  readonly context: Context
  readonly book: ContactBook
  readonly turns: Turns
  readonly copies: Copies
  readonly inboxes: Inboxes
  readonly ordering: Ordering
  readonly outbox: Outbox
  readonly receipts: ReceiptsDue
  readonly intake: HistoryIntake
}

export interface SiblingsOptions {
  /** A contact's message as if it had come from them. */
  readonly handle: (turn: Turn, incoming: Incoming) => Promise<Result<undefined>>
  readonly removeContact: (turn: Turn) => Promise<void>
  readonly onNeed: (turn: Turn) => void
  /** There are inboxes that were not known before. */
  readonly onBoxes: () => void
  /** Our devices, shared secrets or the self box changed. */
  readonly onOwn: () => void
  /** A new primary came in the place of the old one, from a state that may be older than ours. */
  readonly onPrimary: (turn: Turn, device: DeviceId) => void
}

const done: Result<undefined> = { ok: true, value: undefined }

/** What a sibling told of a contact before it told us of the contact. */
export const orphanCodec = struct<{ readonly device: DeviceId, readonly payload: Uint8Array }>({
  device: deviceIdCodec,
  payload: opaque(limits.mailBytesMax),
})

export class Siblings {
  readonly #parts: SiblingsParts
  readonly #options: SiblingsOptions

  constructor(parts: SiblingsParts, options: SiblingsOptions) {
    this.#parts = parts
    this.#options = options
  }

  /** In a turn of the self contact: one result for each, in order. */
  async take(turn: Turn, told: readonly Told[]): Promise<Result<undefined>[]> {
    const results: Result<undefined>[] = told.map(() => done)
    const tasks = new Map<ContactId, { index: number, word: Word }[]>()
    for (const [index, one] of told.entries()) {
      const word = this.#unpack(turn, one)
      const body = word?.payload.body
      const contact = body !== undefined && isSiblingBody(body) ? contactOf(body) : undefined
      if (word === undefined) {
        // Of a device that is not known here yet: not confirmed, so it is said again.
        results[index] = { ok: false, code: 'DEVICE_UNKNOWN' }
      } else if (contact === undefined) {
        results[index] = await this.#takeOwn(turn, { device: word.device, body: word.payload.body })
      } else {
        tasks.set(contact, [...tasks.get(contact) ?? [], { index, word }])
      }
    }
    await Promise.all([...tasks].map(([id, list]) => this.#parts.turns.run(id, async (inner) => {
      const orphans: Orphans = new Map()
      for (const { index, word } of list) results[index] = await this.#takeFor(inner, word, orphans)
      await this.#keepOrphans(inner, orphans)
      this.#parts.ordering.settle(inner)
    })))
    return results
  }

  /** That device has these of our copies. In a turn of the self contact. */
  confirm(turn: Turn, device: DeviceId, { delivered }: ReceiptsBody): Result<undefined> {
    const { copies, outbox } = this.#parts
    for (const id of copies.confirm(turn.batch, device, delivered)) outbox.settle(turn, id)
    // What waits behind them may be told now.
    this.#options.onNeed(turn)
    return done
  }

  /**
   * What one of our devices said to another, when a third one passes it on, is the first one's word, of
   * which it may be put out meanwhile. What only the primary says is never passed on.
   */
  #unpack(turn: Turn, { device, payload }: Told): Word | undefined {
    const { body } = payload
    const { own } = this.#parts.context
    if (body.type !== 'receivedCopy' || contactId(body.contact) !== own.self) return { device, payload }
    const inner = decodePayload(body.payload)
    if (!inner.ok || !isPassedOn(inner.value.body, own.self)) return undefined
    const isOurs = findDevice(own.list.list, body.device) !== undefined
      || turn.contact?.formerDevices.includes(body.device) === true
    return isOurs ? { device: body.device, payload: inner.value } : undefined
  }

  async #takeOwn(
    turn: Turn,
    { device, body }: { device: DeviceId, body: Payload['body'] },
  ): Promise<Result<undefined>> {
    switch (body.type) {
      case 'ownDevices': return this.#takeDevices(turn, device, body)
      case 'inviteState': return this.#takeInvite(turn, body)
      case 'historyPage': return await this.#parts.intake.take(turn, body)
      case 'unknown': return { ok: false, code: 'MESSAGE_KIND_UNKNOWN' }
      default: return { ok: false, code: 'MESSAGE_NOT_FOR_DEVICE' }
    }
  }

  async #takeFor(turn: Turn, word: Word, orphans: Orphans): Promise<Result<undefined>> {
    const { device, payload } = word
    const { body } = payload
    if (body.type === 'contactState') return await this.#takeState(turn, body, orphans)
    if (turn.contact === undefined) {
      orphans.set(keys.orphan(turn.id, payload.messageId), word)
      return done
    }
    switch (body.type) {
      case 'sentCopy': return await this.#takeSent(turn, device, body.payload)
      case 'receivedCopy': return await this.#takeReceived(turn, body.device, body.payload)
      case 'readMarks': await this.#parts.receipts.readElsewhere(turn, body.messages)
        return done
      default: return { ok: false, code: 'MESSAGE_NOT_FOR_DEVICE' }
    }
  }

  /** A text that another device of ours wrote. */
  async #takeSent(turn: Turn, device: DeviceId, bytes: Uint8Array): Promise<Result<undefined>> {
    const { context: { kv, clock }, ordering } = this.#parts
    const sent = decodePayload(bytes)
    if (!sent.ok) return sent
    const { messageId: id, sentAtMs, sequence, body } = sent.value
    if (body.type !== 'text' && body.type !== 'file') return { ok: false, code: 'MESSAGE_KIND_UNKNOWN' }
    if (await readRecord(kv, messageCodec, keys.message(id)) !== undefined) return done
    const receivedAtMs = clock.now()
    const shown = body.type === 'text' ? { text: body.text } : { text: '', file: noteOf(body) }
    if (body.type === 'file') {
      const checked = checkFile(body)
      if (!checked.ok) return checked
      offerFile(turn.batch, id, { contact: turn.id, isOutgoing: true, body, atMs: receivedAtMs })
    }
    const record = { isOutgoing: true, id, ...shown, sentAtMs, receivedAtMs }
    await ordering.take(turn, { device, sequence, record })
    return done
  }

  /** A message that was not wrapped for this device. */
  async #takeReceived(turn: Turn, device: DeviceId, bytes: Uint8Array): Promise<Result<undefined>> {
    const received = decodePayload(bytes)
    if (!received.ok) return received
    const { body } = received.value
    if (isSiblingBody(body)) return { ok: false, code: 'MESSAGE_NOT_FOR_DEVICE' }
    return await this.#options.handle(turn, { device, payload: received.value, body })
  }

  /** What was decided about a contact elsewhere. */
  async #takeState(turn: Turn, body: ContactStateBody, orphans: Orphans): Promise<Result<undefined>> {
    const { context, turns, book, inboxes, outbox } = this.#parts
    const { id, batch } = turn
    const version = { counter: body.counter, device: body.device }
    const before = turn.contact
    const removal = before === undefined ? await turns.removal(id) : undefined
    const known = before === undefined ? removal : before.version
    const isAlarm = body.trust === trusts.changed
    const isNews = known === undefined
      || isLater({ version, isAlarm }, { version: known, isAlarm: before?.trust === trusts.changed })
    if (body.isRemoved) {
      if (!isNews) return done
      turn.isMerge = true
      await this.#options.removeContact(turn)
      batch.put(keys.removed(id), versionCodec, version)
      turn.taken.add(keys.removed(id))
      for await (const { key } of kvEntries(context.kv, keys.orphans(id))) batch.delete(key)
      return done
    }
    if (before === undefined && !isNews) return done
    turn.isMerge = true
    const contact = mergeContact({ id, known: before, body, nowMs: context.clock.now() })
    for (const box of before?.oldBoxes ?? []) {
      const isKept = [contact.box, ...contact.oldBoxes].some((one) => one.id === box.id)
      if (!isKept) inboxes.closeBox(batch, box)
    }
    turn.contact = contact
    turn.thread = { ...turn.thread, receiving: mergePositions(turn.thread.receiving, body.positions) }
    if (removal !== undefined) batch.delete(keys.removed(id))
    const { card } = contact
    if (card !== undefined && card !== before?.card) outbox.reroute(batch, id, cardTarget(card))
    batch.then(() => {
      context.emit({ type: 'contact', contact: book.face(contact) })
      this.#options.onBoxes()
    })
    this.#options.onNeed(turn)
    await this.#adopt(turn, orphans)
    return done
  }

  /** Words about a removed contact are dropped with it; others wait for its state. */
  async #keepOrphans(turn: Turn, orphans: Orphans): Promise<void> {
    const isRemoved = turn.taken.has(keys.removed(turn.id))
    if (isRemoved || orphans.size === 0 || await this.#parts.turns.removal(turn.id) !== undefined) return
    for (const [key, { device, payload }] of orphans) {
      turn.batch.put(key, orphanCodec, { device, payload: encodePayload(payload) })
    }
  }

  /** The contact is known now, here or from a sibling: what was said of it before is done. */
  async #adopt(turn: Turn, orphans: Orphans): Promise<void> {
    const words = new Map<string, Word>()
    for await (const { key, value } of kvEntries(this.#parts.context.kv, keys.orphans(turn.id))) {
      const { device, payload } = decode(orphanCodec, value)
      const decoded = decodePayload(payload)
      if (decoded.ok) words.set(key, { device, payload: decoded.value })
      turn.batch.delete(key)
    }
    for (const [key, word] of orphans) words.set(key, word)
    orphans.clear()
    // As they were told: what a sibling says later it also wrote or got later.
    const inOrder = [...words.values()].sort((a, b) => a.payload.sentAtMs - b.payload.sentAtMs)
    for (const word of inOrder) await this.#takeFor(turn, word, orphans)
  }

  /** The account's newest devices. Only the primary's word, or that of the one that came after it. */
  #takeDevices(turn: Turn, device: DeviceId, body: OwnDevicesBody): Result<undefined> {
    const { context: { own, account, clock }, copies, inboxes } = this.#parts
    const list = verifyDeviceList(body.deviceList.slice(), account.rootKey)
    if (!list.ok) return list
    const listed = list.value.list.devices.map(({ signingKey }) => deviceId(signingKey))
    const isPrimary = device === own.record.primary || !listed.includes(own.record.primary)
    const isRightful = isPrimary && device === body.primary && listed.includes(device)
    if (own.isPrimary || !isRightful) return { ok: false, code: 'DEVICE_NOT_PRIMARY' }
    const { order } = compareDeviceLists({ known: own.list, offered: list.value })
    if (order === 'fork') return { ok: false, code: 'DEVICE_LIST_FORK' }
    if (order === 'rollback' || !listed.includes(account.deviceId) || turn.contact === undefined) return done
    const record = {
      deviceList: list.value.bytes,
      primary: body.primary,
      devices: body.devices.map(copyDevice),
      secrets: copySecrets(body.secrets),
      generation: body.generation,
    }
    if (body.generation > own.record.generation) inboxes.endInvites(turn.batch)
    const [first] = listed.filter((id) => id !== body.primary)
    if (body.primary !== own.record.primary && first === account.deviceId) {
      this.#options.onPrimary(turn, body.primary)
    }
    own.write(turn.batch, record)
    const { box, oldBoxes } = turn.contact
    const selfBox = ownBox(body.selfBox)
    turn.contact = { ...turn.contact, deviceList: list.value.bytes }
    if (selfBox.id !== box.id) {
      turn.contact = {
        ...turn.contact,
        box: selfBox,
        oldBoxes: [retire(box, clock.now()), ...oldBoxes].slice(0, limits.oldBoxesMax),
        ...selfBox.sequence === 0 ? {} : { card: inboxes.card(selfBox) },
      }
    }
    copies.prune(turn.batch, listed)
    turn.batch.then(() => this.#options.onOwn())
    return done
  }

  #takeInvite(turn: Turn, body: InviteStateBody): Result<undefined> {
    const { token, expiryHour, usedBy } = body
    this.#parts.inboxes.takeInvite(turn.batch, {
      token: token.slice(), expiryHour, usedBy: usedBy && contactId(usedBy),
    })
    turn.batch.then(() => this.#options.onBoxes())
    return done
  }
}

/** Whom it is about; `undefined` when it is about the account, or many. */
function contactOf(body: SiblingBody): ContactId | undefined {
  return 'contact' in body ? contactId(body.contact) : undefined
}

/** Out of the decoder's buffer. */
function copyDevice(device: OwnDevicesBody['devices'][number]): OwnDevicesBody['devices'][number] {
  const { linkKey, shelfKey, shelfSecret } = device
  return {
    ...device, linkKey: linkKey.slice(), shelfKey: shelfKey.slice(), shelfSecret: shelfSecret.slice(),
  }
}

function copySecrets(secrets: OwnDevicesBody['secrets']): OwnDevicesBody['secrets'] {
  const { rendezvousSeed, introReadSeed, frontToken } = secrets
  return {
    rendezvousSeed: rendezvousSeed.slice(),
    introReadSeed: introReadSeed.slice(),
    frontToken: frontToken.slice(),
  }
}


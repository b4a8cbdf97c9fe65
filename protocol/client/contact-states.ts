/**
 * What our devices share about a contact, as one tells the others (message/contact-state.ts), and
 * what comes of two devices' words put together. Pure rules: every device that heard the same
 * comes to the same, in whatever order it heard it.
 *
 * - What a person decides (name, trust, removal) and our inbox go by the version: the higher
 *   counter, then an alarm before none, then the greater device id.
 * - What the contact told us goes by the contact's own numbers: the card of the higher sequence with
 *   its seed, the device list of the higher number.
 * - An inbox that lost is still read until nothing can come any more.
 */
import { crypto } from '../../crypto/index.ts'
import { compareDeviceLists, verifyDeviceList } from '../account.ts'
import { boxId } from '../envelope.ts'
import type { DeviceId } from '../ids.ts'
import type { InboxCard } from '../inbox-card.ts'
import { limits } from '../limits.ts'
import type { ContactStateBody, OwnBoxState } from '../message/contact-state.ts'
import { contactRootKey, contactStates, newContact, trusts } from './records.ts'
import type {
  ContactId, ContactRecord, ContactVersion, OwnBox, ReceivingPosition,
} from './records.ts'

/** Whether a change of a contact is one that the other devices have to hear of. */
export function isSharedChange(before: ContactRecord | undefined, after: ContactRecord): boolean {
  return before === undefined || before.name !== after.name || before.isNamed !== after.isNamed
    || before.trust !== after.trust || before.alarm !== after.alarm || before.box.id !== after.box.id
}

export function stateBody(
  contact: ContactRecord,
  options: { isRemoved: boolean, positions: readonly ReceivingPosition[] },
): ContactStateBody {
  const { version, name, isNamed, trust, alarm, addedAtMs, seed, deviceList, card } = contact
  return {
    type: 'contactState',
    contact: contactRootKey(contact.id),
    counter: version.counter,
    device: version.device,
    isRemoved: options.isRemoved,
    name, isNamed, trust, alarm,
    isActive: contact.state === contactStates.active,
    addedAtMs, seed, deviceList, card,
    box: boxState(contact.box),
    oldBoxes: contact.oldBoxes.map(boxState),
    positions: [...options.positions],
  }
}

export function boxState(box: OwnBox): OwnBoxState {
  const { id: _, ...state } = box
  return state
}

/** Out of the decoder's buffer: boxes live long, messages do not. */
export function ownBox(state: OwnBoxState): OwnBox {
  const [writeSeed, readSeed, sealKey] = [state.writeSeed, state.readSeed, state.sealKey]
    .map((bytes) => bytes.slice()) as [Uint8Array, Uint8Array, Uint8Array]
  const id = boxId({
    writeKey: crypto.signingKeyPair(writeSeed).publicKey,
    readKey: crypto.signingKeyPair(readSeed).publicKey,
  })
  return { ...state, id, writeSeed, readSeed, sealKey }
}

interface Ranked {
  readonly version: ContactVersion
  readonly isAlarm: boolean
}

/** Whether `a` goes before `b`. Equal versions are one and the same change. */
export function isLater(a: Ranked, b: Ranked): boolean {
  if (a.version.counter !== b.version.counter) return a.version.counter > b.version.counter
  if (a.isAlarm !== b.isAlarm) return a.isAlarm
  return a.version.device > b.version.device
}

/** `known` and what a sibling says, put together. A removal is the caller's to see to. */
export function mergeContact(input: {
  id: ContactId
  known: ContactRecord | undefined
  body: ContactStateBody
  nowMs: number
}): ContactRecord {
  const { id, body, nowMs } = input
  const theirs = ownBox(body.box)
  const version = { counter: body.counter, device: body.device }
  const known = input.known ?? newContact({ id, name: body.name, box: theirs, addedAtMs: body.addedAtMs })
  const isTheirs = input.known === undefined || isLater(
    { version, isAlarm: body.trust === trusts.changed },
    { version: known.version, isAlarm: known.trust === trusts.changed },
  )
  const decided = isTheirs
    ? { name: body.name, isNamed: body.isNamed, trust: body.trust, alarm: body.alarm, version }
    : {}
  const merged: ContactRecord = {
    ...known,
    ...decided,
    state: body.isActive ? contactStates.active : known.state,
    addedAtMs: Math.min(known.addedAtMs, body.addedAtMs),
    ...newestList(known, body.deviceList, isTheirs && body.trust !== trusts.changed),
    rivalList: isTheirs && body.trust !== trusts.changed ? undefined : known.rivalList,
    ...newestCard(known, body),
  }
  return withBoxes(merged, { winner: isTheirs ? theirs : known.box, body, nowMs })
}

/**
 * A list that is rightly signed and newer than ours. One that contradicts ours only when the person
 * chose it there (trust.ts); otherwise forks are found where lists first come in.
 */
function newestList(
  known: ContactRecord,
  offered: Uint8Array | undefined,
  isChosen: boolean,
): Pick<ContactRecord, 'deviceList'> {
  const { deviceList } = known
  const rootKey = contactRootKey(known.id)
  const list = offered === undefined ? undefined : verifyDeviceList(offered.slice(), rootKey)
  if (list?.ok !== true) return { deviceList }
  const pinned = deviceList === undefined ? undefined : verifyDeviceList(deviceList, rootKey)
  const order = pinned?.ok === true
    ? compareDeviceLists({ known: pinned.value, offered: list.value }).order
    : 'newer'
  const isTaken = order === 'newer' || (order === 'fork' && isChosen)
  return { deviceList: isTaken ? list.value.bytes : deviceList }
}

function newestCard(
  known: ContactRecord,
  { card, seed }: ContactStateBody,
): Pick<ContactRecord, 'card' | 'seed'> {
  const isNewer = card !== undefined && (known.card === undefined || card.sequence > known.card.sequence)
  if (isNewer) return { card: copyCard(card), seed: seed?.slice() ?? known.seed }
  return { card: known.card, seed: known.seed ?? seed?.slice() }
}

/** Out of the decoder's buffer: cards live long, messages do not. */
export function copyCard(card: InboxCard): InboxCard {
  const { writeSeed, readKey, sealKey } = card
  return { ...card, writeSeed: writeSeed.slice(), readKey: readKey.slice(), sealKey: sealKey.slice() }
}

/** The winner in use, every other one read until it closes. */
function withBoxes(
  contact: ContactRecord,
  input: { winner: OwnBox, body: ContactStateBody, nowMs: number },
): ContactRecord {
  const { winner, body, nowMs } = input
  const loser = [contact.box, ownBox(body.box)].find(({ id }) => id !== winner.id)
  const sequence = Math.max(contact.box.sequence, body.box.sequence)
  // Two made at once: they may hold the card of the other, so they are told once more.
  const isRace = loser !== undefined && loser.generation === winner.generation
    && contact.oldBoxes.every(({ id }) => id !== loser.id)
  const isTold = winner.id !== contact.box.id && !isRace
  const box = { ...winner, sequence: isRace ? sequence + 1 : sequence, closesAtMs: 0 }
  const retired = loser === undefined ? [] : [retire(loser, nowMs)]
  return {
    ...contact,
    box,
    oldBoxes: joinBoxes([...retired, ...contact.oldBoxes, ...body.oldBoxes.map(ownBox)], box),
    toldSequence: isTold ? box.sequence : contact.toldSequence,
  }
}

export function retire(box: OwnBox, nowMs: number): OwnBox {
  return { ...box, closesAtMs: nowMs + limits.envelopeTtlMs }
}

/** Each once, not the one in use; those that close first give way. */
function joinBoxes(boxes: readonly OwnBox[], used: OwnBox): OwnBox[] {
  const byId = new Map(boxes.map((box) => [box.id, box]))
  byId.delete(used.id)
  return [...byId.values()].sort((a, b) => b.closesAtMs - a.closesAtMs).slice(0, limits.oldBoxesMax)
}

/** Positions of sending devices that we know nothing of yet; ours stand. */
export function mergePositions(
  known: readonly ReceivingPosition[],
  offered: readonly ReceivingPosition[],
): ReceivingPosition[] {
  const fresh = offered.filter(({ device }) => known.every((position) => position.device !== device))
  return [...known, ...fresh].slice(0, 4 * limits.devicesMax)
}

/** Devices that the newer list does not name any more, remembered by id. */
export function formerDevices(
  known: readonly DeviceId[],
  lists: { before: readonly DeviceId[], after: readonly DeviceId[] },
): DeviceId[] {
  const gone = [...known, ...lists.before].filter((device) => !lists.after.includes(device))
  return [...new Set(gone)].slice(-limits.formerDevicesMax)
}


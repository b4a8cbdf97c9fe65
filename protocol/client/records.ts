/**
 * What the client writes down, in the struct encoding of the wire. Read back only from its own
 * store, yet decoded as strictly as anything else. keys.ts names the records.
 */
import { hex, hexDecode } from '../../crypto/bytes.ts'
import {
  bool, decode, fixed, mapped, oneOf, opaque, optional, struct, text, u32, u64, u8, vector,
} from '../codec/struct.ts'
import type { Codec } from '../codec/struct.ts'
import { privacyLevels } from '../frame/submit.ts'
import type { PrivacyLevel } from '../frame/submit.ts'
import { routes } from '../frame/receipt.ts'
import type { Route } from '../frame/receipt.ts'
import { boxIdCodec, deviceIdCodec, envelopeIdCodec, messageIdCodec, nodeIdCodec } from '../ids.ts'
import type { BoxId, DeviceId, EnvelopeId, MessageId, NodeId } from '../ids.ts'
import { inboxCardCodec } from '../inbox-card.ts'
import type { InboxCard } from '../inbox-card.ts'
import { limits } from '../limits.ts'
import { fileNoteCodec } from '../message/file.ts'
import type { FileNote } from '../message/file.ts'
import type { KvStore } from '../ports.ts'

declare const contactIdBrand: unique symbol
/** A contact's root key in hex: stays when names change. */
export type ContactId = string & { readonly [contactIdBrand]: true }

export function contactId(rootKey: Uint8Array): ContactId {
  return hex(rootKey) as ContactId
}

export function contactRootKey(id: ContactId): Uint8Array {
  return hexDecode(id)
}

export const contactIdCodec: Codec<ContactId> = mapped(fixed(32), { to: contactRootKey, from: contactId })
const homesCodec = vector(nodeIdCodec, limits.homesMax)
const replicasCodec = vector(nodeIdCodec, limits.replicasMax)

/** Our inbox for one contact. All our devices know it. */
export interface OwnBox {
  readonly id: BoxId
  readonly writeSeed: Uint8Array
  readonly readSeed: Uint8Array
  readonly sealKey: Uint8Array
  /** Of the card, over all inboxes of this contact; 0 until the node first said where it is held. */
  readonly sequence: number
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
  /** How many revocations came before it was made (own-devices.ts). */
  readonly generation: number
  /** Of an inbox that gave way to another: read until then; 0 while it is in use. */
  readonly closesAtMs: number
}

/** Counts what people change about a contact on any of our devices; the device breaks ties. */
export interface ContactVersion {
  readonly counter: number
  readonly device: DeviceId
}

/** First contact under way, at the side that has the invite. */
export interface Introduction {
  readonly token: Uint8Array
  readonly expiryHour: number
  /** Multiaddr of their home node, or empty. */
  readonly hint: string
  /** The request that is on its way. */
  readonly request: MessageId | undefined
  readonly requestedAtMs: number
}

export const trusts = { invite: 0, verified: 1, changed: 2 } as const
export const contactStates = { requested: 0, active: 1 } as const
export type ContactState = (typeof contactStates)[keyof typeof contactStates]

export interface ContactRecord {
  readonly id: ContactId
  readonly name: string
  /** The person chose the name; theirs does not replace it. */
  readonly isNamed: boolean
  readonly trust: (typeof trusts)[keyof typeof trusts]
  /** Code of what put their key in doubt, or empty (trust.ts). */
  readonly alarm: string
  readonly state: ContactState
  readonly addedAtMs: number
  /** Rendezvous seed: finds their location record. Absent when they came through our invite. */
  readonly seed: Uint8Array | undefined
  /** Signed bytes, verified before they came here. */
  readonly deviceList: Uint8Array | undefined
  /** Contradicts `deviceList`: signed by the same root key, kept until the person decides. */
  readonly rivalList: Uint8Array | undefined
  /** Where to write to them. */
  readonly card: InboxCard | undefined
  readonly box: OwnBox
  /** Still read: what was on its way when another took their place. */
  readonly oldBoxes: OwnBox[]
  readonly version: ContactVersion
  /** Devices that an accepted list named and a newer one does not. */
  readonly formerDevices: DeviceId[]
  /** Number of our device list which they are known to have. */
  readonly toldListNumber: number
  /** A device wrote that their list does not name, or they told of a newer one: to be fetched. */
  readonly isListDue: boolean
  readonly listFetchedAtMs: number
  /** There is a device of theirs that we have no session with. Kept by turns.ts. */
  readonly isReachDue: boolean
  readonly introduction: Introduction | undefined
  /** Their request is to be answered. */
  readonly isAnswerDue: boolean
  /** Sequence of the card that they were last sent. */
  readonly toldSequence: number
  /** Something of theirs could not be decrypted: a fresh session is wanted. */
  readonly isBroken: boolean
  /** When the session was last repaired; repairs are rate-limited. */
  readonly repairedAtMs: number
}

const ownBoxCodec = struct<OwnBox>({
  id: boxIdCodec,
  writeSeed: fixed(32),
  readSeed: fixed(32),
  sealKey: fixed(32),
  sequence: u64,
  homes: homesCodec,
  replicas: replicasCodec,
  generation: u32,
  closesAtMs: u64,
})
export const versionCodec = struct<ContactVersion>({ counter: u64, device: deviceIdCodec })

export const contactCodec = struct<ContactRecord>({
  id: contactIdCodec,
  name: text(limits.nameBytesMax),
  isNamed: bool,
  trust: oneOf(Object.values(trusts), 'trust'),
  alarm: text(limits.refusalCodeBytesMax),
  state: oneOf(Object.values(contactStates), 'contact state'),
  addedAtMs: u64,
  seed: optional(fixed(15)),
  deviceList: optional(opaque(limits.deviceListBytesMax)),
  rivalList: optional(opaque(limits.deviceListBytesMax)),
  card: optional(inboxCardCodec),
  box: ownBoxCodec,
  oldBoxes: vector(ownBoxCodec, limits.oldBoxesMax),
  version: versionCodec,
  formerDevices: vector(deviceIdCodec, limits.formerDevicesMax),
  toldListNumber: u64,
  isListDue: bool,
  listFetchedAtMs: u64,
  isReachDue: bool,
  introduction: optional(struct<Introduction>({
    token: fixed(15),
    expiryHour: u32,
    hint: text(128),
    request: optional(messageIdCodec),
    requestedAtMs: u64,
  })),
  isAnswerDue: bool,
  toldSequence: u64,
  isBroken: bool,
  repairedAtMs: u64,
})

/** Before anything was shared. */
export const noVersion: ContactVersion = { counter: 0, device: '00'.repeat(16) as DeviceId }

/** Somebody of whom nothing is known yet but the root key. */
export function newContact(known: Pick<ContactRecord, 'id' | 'name' | 'box' | 'addedAtMs'>): ContactRecord {
  return {
    ...known,
    isNamed: false,
    trust: trusts.invite,
    alarm: '',
    state: contactStates.requested,
    seed: undefined,
    deviceList: undefined,
    rivalList: undefined,
    card: undefined,
    oldBoxes: [],
    version: noVersion,
    formerDevices: [],
    toldListNumber: 0,
    isListDue: false,
    listFetchedAtMs: 0,
    isReachDue: false,
    introduction: undefined,
    isAnswerDue: false,
    toldSequence: 0,
    isBroken: false,
    repairedAtMs: 0,
  }
}

/** Next sequence expected of one sending device. */
export interface ReceivingPosition {
  readonly device: DeviceId
  readonly next: number
}

export interface ThreadRecord {
  /** Sequence of our next text to them. */
  readonly nextSequence: number
  readonly lastSeenAtMs: number
  /** Everything incoming up to this history cursor was said to be read. */
  readonly readUpTo: number
  readonly receiving: ReceivingPosition[]
}

export const threadCodec = struct<ThreadRecord>({
  nextSequence: u64,
  lastSeenAtMs: u64,
  readUpTo: u64,
  receiving: vector(struct<ReceivingPosition>({ device: deviceIdCodec, next: u64 }), 4 * limits.devicesMax),
})

export const freshThread: ThreadRecord = { nextSequence: 1, lastSeenAtMs: 0, readUpTo: 0, receiving: [] }

/** An invite handed out. Whoever used it first is remembered; the same person may ask again. */
export interface IntroRecord {
  readonly token: Uint8Array
  readonly expiryHour: number
  readonly usedBy: ContactId | undefined
}

export const introCodec = struct<IntroRecord>({
  token: fixed(15),
  expiryHour: u32,
  usedBy: optional(contactIdCodec),
})

/** What the node needs to hear to give an inbox up. */
export interface ClosingRecord {
  readonly writeKey: Uint8Array
  readonly readSeed: Uint8Array
}
export const closingCodec = struct<ClosingRecord>({ writeKey: fixed(32), readSeed: fixed(32) })

export interface HistoryRecord {
  readonly contact: ContactId
  readonly isOutgoing: boolean
  readonly id: MessageId
  readonly text: string
  readonly sentAtMs: number
  readonly receivedAtMs: number
  readonly afterGap: boolean
  /** Code of why it could not be read: it is lost, and this is its place. */
  readonly unreadable?: string | undefined
  /** A file, `text` is empty; more of it under `file/ID`. */
  readonly file?: FileNote | undefined
}

export const historyCodec = struct<HistoryRecord>({
  contact: contactIdCodec,
  isOutgoing: bool,
  id: messageIdCodec,
  text: text(limits.textBytesMax),
  sentAtMs: u64,
  receivedAtMs: u64,
  afterGap: bool,
  unreadable: optional(text(limits.refusalCodeBytesMax)),
  file: optional(fileNoteCodec),
})

export const states = { queued: 0, stored: 1, delivered: 2, read: 3, failed: 4 } as const
export type State = (typeof states)[keyof typeof states]

/** State of an outgoing text. Times are 0 until they happen. */
export interface MessageRecord {
  readonly contact: ContactId
  readonly cursor: number
  readonly sequence: number
  readonly state: State
  readonly have: number
  readonly want: number
  readonly route: Route
  readonly level: PrivacyLevel
  readonly sentAtMs: number
  readonly storedAtMs: number
  readonly deliveredAtMs: number
  readonly readAtMs: number
  readonly code: string
}

export const messageCodec = struct<MessageRecord>({
  contact: contactIdCodec,
  cursor: u64,
  sequence: u64,
  state: oneOf(Object.values(states), 'message state'),
  have: u8,
  want: u8,
  route: oneOf(Object.values(routes), 'route'),
  level: oneOf(privacyLevels, 'privacy level'),
  sentAtMs: u64,
  storedAtMs: u64,
  deliveredAtMs: u64,
  readAtMs: u64,
  code: text(64),
})

/**
 * `text`: has a state that people see. `control`: contact requests, answers, cards. `copy`: for our
 * own other devices.
 */
export const kinds = { text: 1, control: 2, receipts: 3, copy: 4 } as const
export type Kind = (typeof kinds)[keyof typeof kinds]

export interface OutboxRecord {
  readonly envelopeId: EnvelopeId
  /** The inbox it is for. */
  readonly box: BoxId
  readonly contact: ContactId
  readonly messageId: MessageId
  readonly kind: Kind
  readonly expiresAtMs: number
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
  /** Nodes that signed for it, checked. */
  readonly holders: NodeId[]
  /** When the owner's tombstone came; 0 before. */
  readonly buriedAtMs: number
  /** How often it was sealed anew because no receipt followed the tombstone. */
  readonly repeats: number
  /** Number of our device list that went with it; 0 when none did. */
  readonly listNumber: number
  /** Of a text. */
  readonly message: MessageRecord | undefined
}

const holdersMax = 2 * (limits.homesMax + limits.replicasMax)

export const outboxCodec = struct<OutboxRecord>({
  envelopeId: envelopeIdCodec,
  box: boxIdCodec,
  contact: contactIdCodec,
  messageId: messageIdCodec,
  kind: oneOf(Object.values(kinds), 'outbox kind'),
  expiresAtMs: u64,
  homes: homesCodec,
  replicas: replicasCodec,
  holders: vector(nodeIdCodec, holdersMax),
  buriedAtMs: u64,
  repeats: u8,
  listNumber: u64,
  message: optional(messageCodec),
})

/** A text that came before its predecessor. */
export interface HeldRecord {
  /** Written on another device of ours. */
  readonly isOutgoing: boolean
  readonly id: MessageId
  readonly text: string | undefined
  readonly sentAtMs: number
  readonly receivedAtMs: number
  readonly file?: FileNote | undefined
}

export const heldCodec = struct<HeldRecord>({
  isOutgoing: bool,
  id: messageIdCodec,
  text: optional(text(limits.textBytesMax)),
  sentAtMs: u64,
  receivedAtMs: u64,
  file: optional(fileNoteCodec),
})

/** An envelope that is not on its way any more; should its receiver ask for it again. */
export interface FiledRecord {
  readonly contact: ContactId
  readonly kind: Kind
  readonly messageId: MessageId
}

export const filedCodec = struct<FiledRecord>({
  contact: contactIdCodec,
  kind: oneOf(Object.values(kinds), 'outbox kind'),
  messageId: messageIdCodec,
})

export const numberCodec = struct<{ readonly value: number }>({ value: u64 })

/** @throws CODEC_* when the store holds something else under this name */
export async function readRecord<T>(kv: KvStore, codec: Codec<T>, key: string): Promise<T | undefined> {
  const entry = await kv.get(key)
  return entry === undefined ? undefined : decode(codec, entry.value)
}

/**
 * What the Messenger writes down about itself, in the struct encoding: inboxes it is home to,
 * boxes it holds for others, shelves, and envelopes on their way out. Read back only from our own
 * store, yet decoded as strictly as anything else.
 */
import { bool, fixed, oneOf, opaque, struct, text, u32, u64, vector } from '../../protocol/codec/struct.ts'
import { purposes, privacyLevels } from '../../protocol/frame/submit.ts'
import type { Purpose, PrivacyLevel } from '../../protocol/frame/submit.ts'
import { nodeIdCodec } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { storeReceiptBytesMax } from '../../protocol/service/deposit.ts'
import { boxKinds } from '../../protocol/service/lease.ts'
import type { BoxKind } from '../../protocol/service/lease.ts'

/** A node that granted us a lease. */
export interface LeasedReplica {
  readonly nodeId: NodeId
  readonly expiryHour: number
  /** Since when it does not answer, ms; 0 while it does. */
  readonly silentSinceMs: number
}

/** An inbox or file box this node is home to. */
export interface HomeInbox {
  readonly kind: BoxKind
  readonly account: string
  readonly writeKey: Uint8Array
  readonly readSeed: Uint8Array
  readonly placement: Uint8Array
  readonly itemsMax: number
  readonly bytesMax: number
  /** 0: as long as its devices keep it. */
  readonly expiryHour: number
  readonly leaseSequence: number
  readonly replicas: LeasedReplica[]
}

const homeInboxFields = {
  kind: oneOf(Object.values(boxKinds), 'box kind'),
  account: text(128),
  writeKey: fixed(32),
  readSeed: fixed(32),
  placement: fixed(32),
  itemsMax: u32,
  bytesMax: u32,
  expiryHour: u32,
  leaseSequence: u64,
  replicas: vector(
    struct<LeasedReplica>({ nodeId: nodeIdCodec, expiryHour: u32, silentSinceMs: u64 }),
    limits.replicasMax,
  ),
}

export const homeInboxCodec = struct<HomeInbox>(homeInboxFields)
export const ownFileBoxCodec = struct<OwnFileBox>({ ...homeInboxFields, isKept: bool })

/** A file box of our own people, under `file/BOX`. */
export interface OwnFileBox extends HomeInbox {
  /** Its holders were told to somebody: they stay as they are. */
  readonly isKept: boolean
}

/** A step of a holder towards having all of a file box, under `held/BOX/NUMBER`. */
export interface HeldPieces {
  readonly holder: NodeId
  /** Up to this position of our own box. */
  readonly position: number
  readonly receipt: Uint8Array
}

export const heldPiecesCodec = struct<HeldPieces>({
  holder: nodeIdCodec,
  position: u64,
  receipt: opaque(storeReceiptBytesMax),
})

/** A box held here for somebody else's home. */
export interface LentBox {
  readonly home: NodeId
  readonly kind: BoxKind
  readonly sequence: number
  readonly bytesMax: number
  readonly expiryHour: number
}

export const lentBoxCodec = struct<LentBox>({
  home: nodeIdCodec,
  kind: oneOf(Object.values(boxKinds), 'box kind'),
  sequence: u64,
  bytesMax: u32,
  expiryHour: u32,
})

/** A shelf held here: opaque prekeys of somebody. */
export interface HeldShelf {
  readonly home: NodeId
  readonly sequence: number
  readonly expiryHour: number
  readonly static: Uint8Array
  readonly oneTime: Uint8Array[]
}

export const heldShelfCodec = struct<HeldShelf>({
  home: nodeIdCodec,
  sequence: u64,
  expiryHour: u32,
  static: opaque(limits.shelfStaticBytesMax),
  oneTime: vector(opaque(limits.shelfOneTimeBytesMax), limits.shelfOneTimeMax),
})

/** An envelope that a device of ours handed over and has not withdrawn. */
export interface OutgoingEnvelope {
  readonly device: string
  readonly acceptedAtMs: number
  readonly purpose: Purpose
  readonly level: PrivacyLevel
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
  readonly envelope: Uint8Array
}

export const outgoingCodec = struct<OutgoingEnvelope>({
  device: text(64),
  acceptedAtMs: u64,
  purpose: oneOf(Object.values(purposes), 'purpose'),
  level: oneOf(privacyLevels, 'privacy level'),
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
  envelope: opaque(limits.envelopeBytesMax),
})

/**
 * `contactState` (18), to our own devices only: all that our devices share about a contact.
 *
 * ```text
 *   opaque contact[32]                   root key
 *   u64    counter                       version: the higher counter wins, then a `changed` trust,
 *   opaque device[16]                    then the greater device id
 *   bool   isRemoved
 *   text   name<V>                       as a person or the contact chose it
 *   bool   isNamed                       a person chose it
 *   u8     trust                         0 invite, 1 verified, 2 changed
 *   text   alarm<V>                      error code of what put their key in doubt, or empty
 *   bool   isActive                      both have each other's inbox
 *   u64    addedAtMs
 *   optional opaque seed[15]             their rendezvous seed
 *   optional opaque deviceList<V>        their newest accepted DeviceList
 *   optional InboxCard card              where to write to them
 *   OwnBoxState box                      our inbox for them
 *   OwnBoxState oldBoxes<V>              at most 8, still read
 *   positions<V>                         at most 64 { opaque device[16], u64 next }
 *
 *   OwnBoxState
 *     opaque writeSeed[32], opaque readSeed[32], opaque sealKey[32]
 *     u64    sequence                    of the card
 *     opaque homes<V>[32], opaque replicas<V>[32]
 *     u32    generation                  how many revocations came before it
 *     u64    closesAtMs                  0 while it is in use
 * ```
 *
 * What a person decides (name, trust, removal) and our inbox go by the version; what the contact
 * told us goes by its own numbers (card sequence, list number), so that neither undoes the other.
 * `positions` are the next expected sequences of each sending device, for a device that knows none.
 */
import {
  bool, fixed, opaque, oneOf, optional, struct, text, u32, u64, vector,
} from '../codec/struct.ts'
import { deviceIdCodec, nodeIdCodec } from '../ids.ts'
import type { DeviceId, NodeId } from '../ids.ts'
import { inboxCardCodec } from '../inbox-card.ts'
import type { InboxCard } from '../inbox-card.ts'
import { limits } from '../limits.ts'

export interface OwnBoxState {
  readonly writeSeed: Uint8Array
  readonly readSeed: Uint8Array
  readonly sealKey: Uint8Array
  readonly sequence: number
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
  readonly generation: number
  readonly closesAtMs: number
}

export const ownBoxStateCodec = struct<OwnBoxState>({
  writeSeed: fixed(32),
  readSeed: fixed(32),
  sealKey: fixed(32),
  sequence: u64,
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
  generation: u32,
  closesAtMs: u64,
})

/** Next sequence expected of one sending device. */
export interface SharedPosition {
  readonly device: DeviceId
  readonly next: number
}

export interface ContactStateBody {
  readonly type: 'contactState'
  readonly contact: Uint8Array
  readonly counter: number
  readonly device: DeviceId
  readonly isRemoved: boolean
  readonly name: string
  readonly isNamed: boolean
  readonly trust: 0 | 1 | 2
  readonly alarm: string
  readonly isActive: boolean
  readonly addedAtMs: number
  readonly seed: Uint8Array | undefined
  readonly deviceList: Uint8Array | undefined
  readonly card: InboxCard | undefined
  readonly box: OwnBoxState
  readonly oldBoxes: OwnBoxState[]
  readonly positions: SharedPosition[]
}

export const contactStateCodec = struct<Omit<ContactStateBody, 'type'>>({
  contact: fixed(32),
  counter: u64,
  device: deviceIdCodec,
  isRemoved: bool,
  name: text(limits.nameBytesMax),
  isNamed: bool,
  trust: oneOf([0, 1, 2], 'trust'),
  alarm: text(limits.refusalCodeBytesMax),
  isActive: bool,
  addedAtMs: u64,
  seed: optional(fixed(15)),
  deviceList: optional(opaque(limits.deviceListBytesMax)),
  card: optional(inboxCardCodec),
  box: ownBoxStateCodec,
  oldBoxes: vector(ownBoxStateCodec, limits.oldBoxesMax),
  positions: vector(
    struct<SharedPosition>({ device: deviceIdCodec, next: u64 }),
    4 * limits.devicesMax,
  ),
})

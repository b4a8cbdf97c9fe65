/**
 * Prekeys: a device asks where to lay them out, lays them out, and takes other people's.
 *
 * ```text
 *   shelfHolders (23), device → node:   varint request, opaque shelfKey[32], opaque placement[32]
 *   shelfHeld    (24), node → device:   varint request, holders<V> { opaque nodeKey[32], u32 left }
 *   shelfPut     (25), device → node:   varint request, opaque puts<V>   signed ShelfContents
 *   shelfTake    (26), device → node:   varint request, opaque shelfKey[32], nodeKey holders<V>
 *   shelfTaken   (27), node → device:   varint request, optional ShelfTaken
 * ```
 *
 * `shelfPut` is answered by `shelfHeld`. A `shelfHeld` with request 0 says that a holder runs low
 * or was replaced: lay out again. The shelf lies with the replicas of the inboxes of that placement,
 * where strangers are pointed to. `left` is the number of one-time keys known to be there.
 */
import { fixed, opaque, optional, struct, u32, varint, vector } from '../codec/struct.ts'
import { nodeIdCodec } from '../ids.ts'
import type { NodeId } from '../ids.ts'
import { limits } from '../limits.ts'
import { shelfPutBytesMax, shelfTakenCodec } from '../service/shelf.ts'
import type { ShelfTaken } from '../service/shelf.ts'

export interface ShelfHoldersFrame {
  readonly type: 'shelfHolders'
  readonly request: number
  readonly shelfKey: Uint8Array
  readonly placement: Uint8Array
}
export const shelfHoldersCodec = struct<Omit<ShelfHoldersFrame, 'type'>>({
  request: varint,
  shelfKey: fixed(32),
  placement: fixed(32),
})

export interface ShelfHolder {
  readonly nodeId: NodeId
  readonly left: number
}
export interface ShelfHeldFrame {
  readonly type: 'shelfHeld'
  readonly request: number
  readonly shelfKey: Uint8Array
  readonly holders: ShelfHolder[]
}
export const shelfHeldCodec = struct<Omit<ShelfHeldFrame, 'type'>>({
  request: varint,
  shelfKey: fixed(32),
  holders: vector(struct<ShelfHolder>({ nodeId: nodeIdCodec, left: u32 }), limits.replicasMax),
})

export interface ShelfPutFrame {
  readonly type: 'shelfPut'
  readonly request: number
  readonly puts: Uint8Array[]
}
export const shelfPutCodec = struct<Omit<ShelfPutFrame, 'type'>>({
  request: varint,
  puts: vector(opaque(shelfPutBytesMax), limits.replicasMax),
})

export interface ShelfTakeFrame {
  readonly type: 'shelfTake'
  readonly request: number
  readonly shelfKey: Uint8Array
  readonly holders: NodeId[]
}
export const shelfTakeCodec = struct<Omit<ShelfTakeFrame, 'type'>>({
  request: varint,
  shelfKey: fixed(32),
  holders: vector(nodeIdCodec, limits.homesMax + limits.replicasMax),
})

export interface ShelfTakenFrame {
  readonly type: 'shelfTaken'
  readonly request: number
  readonly taken: ShelfTaken | undefined
}
export const shelfTakenFrameCodec = struct<Omit<ShelfTakenFrame, 'type'>>({
  request: varint,
  taken: optional(shelfTakenCodec),
})

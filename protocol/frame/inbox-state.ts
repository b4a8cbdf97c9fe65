/**
 * `inboxState` (22), node → device: where an inbox is held now.
 *
 * ```text
 *   varint request           0 when the node says it of itself
 *   opaque boxId[32]
 *   homes<V>, replicas<V>    opaque[32] node keys; replicas that granted a lease
 * ```
 */
import { struct, varint, vector } from '../codec/struct.ts'
import { boxIdCodec, nodeIdCodec } from '../ids.ts'
import type { BoxId, NodeId } from '../ids.ts'
import { limits } from '../limits.ts'

export interface InboxStateFrame {
  readonly type: 'inboxState'
  readonly request: number
  readonly box: BoxId
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
}

export const inboxStateCodec = struct<Omit<InboxStateFrame, 'type'>>({
  request: varint,
  box: boxIdCodec,
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
})

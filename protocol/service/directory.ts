/**
 * `directorySync` (9): two nodes that meet tell each other the node descriptors they know, a page
 * at a time; gossip carries the changes afterwards.
 *
 * ```text
 *   request:  u32 offset                   into the callee's list, ordered by node id
 *   reply:    opaque descriptors<V> each, bool more
 * ```
 */
import { bool, opaque, struct, u32, vector } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface DirectorySyncRequest {
  readonly offset: number
}
export const directorySyncRequestCodec = struct<DirectorySyncRequest>({ offset: u32 })

export const directoryPageMax = 256
export interface DirectorySyncReply {
  readonly descriptors: Uint8Array[]
  readonly more: boolean
}
export const directorySyncReplyCodec = struct<DirectorySyncReply>({
  descriptors: vector(opaque(limits.descriptorBytesMax), directoryPageMax),
  more: bool,
})

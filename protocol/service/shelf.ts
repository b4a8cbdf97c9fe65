/**
 * `shelfPut` (7) and `shelfTake` (8): a shelf is where a device lays out its prekeys for people
 * who want to write first. A holder sees opaque sealed blobs: one static (device list, signed and
 * last-resort prekeys) and a row of one-time ones, each of which it hands out once.
 *
 * ```text
 *   put request:   ShelfContent ‖ signature[64] by shelfKey
 *   put reply:     u8 result
 *   take request:  opaque shelfKey[32]
 *   take reply:    optional { opaque static<V>, optional opaque oneTime<V>, u32 left }
 * ```
 *
 * Every holder gets different one-time keys, so none is handed out twice even when holders do
 * not talk to each other. A put of a higher sequence replaces the whole shelf.
 */
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import { fixed, oneOf, opaque, optional, struct, u32, u64, vector } from '../codec/struct.ts'
import { nodeIdCodec } from '../ids.ts'
import type { NodeId } from '../ids.ts'
import { limits } from '../limits.ts'
import { parseStruct, signStruct, verifyStruct } from '../signed.ts'

export interface ShelfContent {
  readonly shelfKey: Uint8Array
  readonly holder: NodeId
  readonly home: NodeId
  readonly sequence: number
  readonly expiryHour: number
  readonly static: Uint8Array
  readonly oneTime: Uint8Array[]
}
const shelfContentCodec = struct<ShelfContent>({
  shelfKey: fixed(32),
  holder: nodeIdCodec,
  home: nodeIdCodec,
  sequence: u64,
  expiryHour: u32,
  static: opaque(limits.shelfStaticBytesMax),
  oneTime: vector(opaque(limits.shelfOneTimeBytesMax), limits.shelfOneTimeMax),
})
const shelfLabel = 'openim shelf v1'
export const shelfPutBytesMax =
  limits.shelfStaticBytesMax + limits.shelfOneTimeMax * (limits.shelfOneTimeBytesMax + 4) + 512

export function signShelf(content: ShelfContent, shelfKeys: SigningKeyPair): Uint8Array {
  return signStruct(shelfContentCodec, shelfLabel, content, shelfKeys)
}

/** Without its signature, which is checked once the rest fits. */
export function parseShelf(bytes: Uint8Array): Result<ShelfContent> {
  return parseStruct(shelfContentCodec, bytes)
}

export function verifyShelf(bytes: Uint8Array): Result<ShelfContent> {
  return verifyStruct(shelfContentCodec, shelfLabel, bytes, (content) => content.shelfKey)
}

export const shelfResults = { kept: 0, noRoom: 1, stale: 2, invalid: 3, notOffered: 4 } as const
export type ShelfResult = (typeof shelfResults)[keyof typeof shelfResults]

export interface ShelfPutReply {
  readonly result: ShelfResult
}
export const shelfPutReplyCodec = struct<ShelfPutReply>({
  result: oneOf(Object.values(shelfResults), 'shelf result'),
})

export interface ShelfTakeRequest {
  readonly shelfKey: Uint8Array
}
export const shelfTakeRequestCodec = struct<ShelfTakeRequest>({ shelfKey: fixed(32) })

export interface ShelfTaken {
  readonly static: Uint8Array
  readonly oneTime: Uint8Array | undefined
  /** One-time blobs still there: the owner's home refills before it is 0. */
  readonly left: number
}
export interface ShelfTakeReply {
  readonly taken: ShelfTaken | undefined
}
export const shelfTakenCodec = struct<ShelfTaken>({
  static: opaque(limits.shelfStaticBytesMax),
  oneTime: optional(opaque(limits.shelfOneTimeBytesMax)),
  left: u32,
})
export const shelfTakeReplyCodec = struct<ShelfTakeReply>({ taken: optional(shelfTakenCodec) })

/**
 * `file` (6): a file that lies in pieces in a box of its own (file-piece.ts), and all that it takes
 * to fetch, open and check it.
 *
 * ```text
 *   text   name<V>            as the sender calls it, at most 255 bytes; never used as a path
 *   text   mediaType<V>       at most 127 bytes, may be empty; a hint, never believed
 *   u64    length             of the content
 *   opaque hash[32]           SHA-256 of the content
 *   u32    pieceBytes         of content in each piece but the last
 *   opaque key[32]            of this file alone
 *   opaque writeKey[32]       of the box
 *   opaque readSeed[32]       reads the box
 *   u32    expiryHour         the box lapses then
 *   homes<V>, replicas<V>     opaque[32] node keys that hold it
 * ```
 */
import type { Result } from '../../crypto/errors.ts'
import { fixed, struct, text, u32, u64, vector } from '../codec/struct.ts'
import { fileShape } from '../file-piece.ts'
import { nodeIdCodec } from '../ids.ts'
import type { NodeId } from '../ids.ts'
import { limits } from '../limits.ts'

/** What people see of a file. */
export interface FileNote {
  readonly name: string
  readonly mediaType: string
  readonly length: number
}

export interface FileBody extends FileNote {
  readonly type: 'file'
  readonly hash: Uint8Array
  readonly pieceBytes: number
  readonly key: Uint8Array
  readonly writeKey: Uint8Array
  readonly readSeed: Uint8Array
  readonly expiryHour: number
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
}

const noteFields = {
  name: text(limits.fileNameBytesMax),
  mediaType: text(limits.mediaTypeBytesMax),
  length: u64,
}

export const fileNoteCodec = struct<FileNote>(noteFields)

export const fileCodec = struct<Omit<FileBody, 'type'>>({
  ...noteFields,
  hash: fixed(32),
  pieceBytes: u32,
  key: fixed(32),
  writeKey: fixed(32),
  readSeed: fixed(32),
  expiryHour: u32,
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
})

export function noteOf({ name, mediaType, length }: FileNote): FileNote {
  return { name, mediaType, length }
}

/** What decoding cannot see: that it can be fetched at all, within our limits. */
export function checkFile(file: Omit<FileBody, 'type'>): Result<undefined> {
  const isHeld = file.homes.length + file.replicas.length > 0
  if (!isHeld || fileShape(file) === undefined) return { ok: false, code: 'FILE_SHAPE' }
  return { ok: true, value: undefined }
}

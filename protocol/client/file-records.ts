/**
 * What the client writes down about files: one record for each that people see, and one more for
 * each transfer under way, which is gone when it ends.
 *
 * | name                  | holds                                                        |
 * |-----------------------|--------------------------------------------------------------|
 * | `file/MESSAGE`        | what the file is and what became of it                       |
 * | `upload/MESSAGE`      | keys of its box, and which pieces are at home                |
 * | `piece/MESSAGE/INDEX` | the envelope that a piece was made into                      |
 * | `download/MESSAGE`    | which pieces are here, and where they are written            |
 */
import { bool, fixed, oneOf, opaque, optional, struct, text, u32, u64, u8 } from '../codec/struct.ts'
import { expiryMs } from '../envelope.ts'
import { safeFileName } from '../file-name.ts'
import { envelopeIdCodec } from '../ids.ts'
import type { EnvelopeId, MessageId } from '../ids.ts'
import { limits } from '../limits.ts'
import { fileCodec, fileNoteCodec, noteOf } from '../message/file.ts'
import type { FileBody, FileNote } from '../message/file.ts'
import type { FileState, FileStatus } from './api.ts'
import type { Batch } from './batch.ts'
import { padded } from './keys.ts'
import { contactIdCodec } from './records.ts'
import type { ContactId } from './records.ts'

/** A path, or whatever the app finds its files by. */
export const fileRefBytesMax = 4_096
const bitmapBytesMax = limits.filePiecesMax / 8

export const fileKeysOf = {
  files: 'file/',
  file: (id: MessageId) => `file/${id}`,
  uploads: 'upload/',
  upload: (id: MessageId) => `upload/${id}`,
  allPieces: 'piece/',
  pieces: (id: MessageId) => `piece/${id}/`,
  piece: (id: MessageId, index: number) => `piece/${id}/${padded(index)}`,
  downloads: 'download/',
  download: (id: MessageId) => `download/${id}`,
} as const

const stateNames: readonly FileState[] =
  ['sending', 'sent', 'offered', 'fetching', 'saved', 'cancelled', 'failed', 'expired']

export interface FileRecord {
  readonly contact: ContactId
  readonly isOutgoing: boolean
  readonly note: FileNote
  readonly startedAtMs: number
  readonly expiryHour: number
  /** Never `expired`: that is what the clock says. */
  readonly state: FileState
  readonly code: string
  /** Content bytes at home (out) or here (in). */
  readonly done: number
  /** Replicas that hold all of it, and how many were wanted. */
  readonly have: number
  readonly want: number
  readonly savedAs: string
  readonly savedAtMs: number
  /** Once it is known: an outgoing one has a hash when it was read to its end. */
  readonly body: Omit<FileBody, 'type'> | undefined
}

const stateCodec = oneOf(stateNames.map((_, i) => i), 'file state')

export const fileRecordCodec = struct<FileRecord>({
  contact: contactIdCodec,
  isOutgoing: bool,
  note: fileNoteCodec,
  startedAtMs: u64,
  expiryHour: u32,
  state: {
    write: (w, state) => stateCodec.write(w, stateNames.indexOf(state)),
    read: (r) => stateNames[stateCodec.read(r)]!,
  },
  code: text(64),
  done: u64,
  have: u8,
  want: u8,
  savedAs: text(fileRefBytesMax),
  savedAtMs: u64,
  body: optional(fileCodec),
})

export interface UploadRecord {
  /** Empty: the source is lost with this process. */
  readonly ref: string
  readonly key: Uint8Array
  readonly writeSeed: Uint8Array
  readonly readSeed: Uint8Array
  readonly pieceBytes: number
  /** Pieces that home has signed for; what holders have is told anew in every session. */
  readonly atHome: Uint8Array
}

export const uploadCodec = struct<UploadRecord>({
  ref: text(fileRefBytesMax),
  key: fixed(32),
  writeSeed: fixed(32),
  readSeed: fixed(32),
  pieceBytes: u32,
  atHome: opaque(bitmapBytesMax),
})

/** What a piece was made into. */
export interface PieceMark {
  readonly envelopeId: EnvelopeId
  readonly nonce: Uint8Array
}
export const pieceMarkCodec = struct<PieceMark>({ envelopeId: envelopeIdCodec, nonce: fixed(24) })

export interface DownloadRecord {
  readonly ref: string
  readonly held: Uint8Array
  /** Whole and right: only its final name is missing. */
  readonly isChecked: boolean
}

export const downloadCodec = struct<DownloadRecord>({
  ref: text(fileRefBytesMax),
  held: opaque(bitmapBytesMax),
  isChecked: bool,
})

/** A file that a message tells of. */
export function offerFile(batch: Batch, id: MessageId, offer: {
  readonly contact: ContactId
  readonly isOutgoing: boolean
  readonly body: FileBody
  readonly atMs: number
}): void {
  const { contact, isOutgoing, atMs } = offer
  const { type: _, ...body } = offer.body
  batch.put(fileKeysOf.file(id), fileRecordCodec, {
    contact, isOutgoing, note: noteOf(body), startedAtMs: atMs, expiryHour: body.expiryHour,
    state: isOutgoing ? 'sent' : 'offered', code: '', done: 0, have: 0, want: 0, savedAs: '', savedAtMs: 0,
    body,
  })
}

/** A set of piece numbers. */
export class PieceSet {
  readonly bytes: Uint8Array
  #size: number

  constructor(pieces: number, bytes?: Uint8Array) {
    this.bytes = new Uint8Array(Math.ceil(pieces / 8))
    if (bytes?.length === this.bytes.length) this.bytes.set(bytes)
    this.#size = 0
    for (let index = 0; index < pieces; index++) if (this.has(index)) this.#size++
  }

  get size(): number {
    return this.#size
  }

  has(index: number): boolean {
    return (this.bytes[index >> 3]! & (1 << (index & 7))) !== 0
  }

  add(index: number): void {
    if (this.has(index)) return
    this.bytes[index >> 3]! |= 1 << (index & 7)
    this.#size++
  }
}

export function fileFace(
  id: MessageId,
  record: FileRecord,
  { contact, nowMs }: { contact: string, nowMs: number },
): FileStatus {
  const { isOutgoing, note, state, code, done, have, want, savedAs, savedAtMs, startedAtMs } = record
  const expiresAtMs = expiryMs(record.expiryHour)
  const isOver = expiresAtMs <= nowMs && (state === 'offered' || state === 'sent' || state === 'fetching')
  return {
    id,
    contact,
    direction: isOutgoing ? 'out' : 'in',
    name: safeFileName(note.name),
    mediaType: note.mediaType,
    size: note.length,
    state: isOver ? 'expired' : state,
    done,
    ...isOutgoing ? { stored: { have, want } } : {},
    startedAtMs,
    expiresAtMs,
    ...savedAtMs === 0 ? {} : { savedAs, savedAtMs },
    ...code === '' ? {} : { code },
  }
}

/** What an app says of a file to be sent or saved, checked before anything begins. */
import { utf8 } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { safeFileName } from '../file-name.ts'
import { fileShape, pieceBytesFor } from '../file-piece.ts'
import { limits } from '../limits.ts'
import type { FileNote } from '../message/file.ts'
import type { FileSource, SendFileOptions } from './api.ts'
import { fileRefBytesMax } from './file-records.ts'

/** @throws FILE_TOO_LARGE, FILE_TYPE */
export function checkedNote(source: FileSource, options: SendFileOptions): FileNote {
  const { size } = source
  const shape = fileShape({ length: size, pieceBytes: pieceBytesFor(size) })
  if (shape === undefined) {
    throw new OpenIMError('FILE_TOO_LARGE', `a file of ${size} bytes, the limit is ${limits.fileBytesMax}`)
  }
  const name = safeFileName(options.name)
  const mediaType = options.type ?? ''
  const isType = mediaType === '' || /^[\w.+-]+\/[\w.+-]+$/.test(mediaType)
  if (!isType || utf8(mediaType).length > limits.mediaTypeBytesMax) {
    throw new OpenIMError('FILE_TYPE', 'a media type looks like image/png')
  }
  return { name, mediaType, length: size }
}

/** @throws FILE_NAME */
export function checkedRef(ref = ''): string {
  if (utf8(ref).length <= fileRefBytesMax) return ref
  throw new OpenIMError('FILE_NAME', `a path of more than ${fileRefBytesMax} bytes`)
}

/** Only to be shown. */
export function cutRef(text: string): string {
  return utf8(text).length <= fileRefBytesMax ? text : ''
}

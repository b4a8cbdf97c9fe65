/**
 * `text` (1): what one person writes to another.
 *
 * ```text
 *   opaque text<V>     UTF-8, at most 32 KiB
 * ```
 */
import { struct, text } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface TextBody {
  readonly type: 'text'
  readonly text: string
}

export const textCodec = struct<Omit<TextBody, 'type'>>({ text: text(limits.textBytesMax) })

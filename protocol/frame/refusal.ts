/**
 * `refusal` (32), node → device: a request could not be done.
 *
 * ```text
 *   varint request
 *   opaque code<V>     stable error code (docs/errors.md)
 *   opaque detail<V>   one sentence
 * ```
 */
import { struct, text, varint } from '../codec/struct.ts'

export interface RefusalFrame {
  readonly type: 'refusal'
  readonly request: number
  readonly code: string
  readonly detail: string
}

export const refusalCodec = struct<Omit<RefusalFrame, 'type'>>({
  request: varint,
  code: text(64),
  detail: text(512),
})

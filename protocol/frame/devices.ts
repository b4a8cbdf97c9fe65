/**
 * Which devices of an account may log in at its node. Only the account's primary device may say so:
 * the one that the node knew first.
 *
 * ```text
 *   devices    (33), device → node:  varint request, opaque linkKeys<V>[32]   all but the primary itself
 *   devicesSet (34), node → device:  varint request
 * ```
 *
 * The whole set is said each time, so that saying it again changes nothing. The sessions of a
 * device that is not in it end at once, and mail does not wait for it any longer.
 */
import { fixed, struct, varint, vector } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface DevicesFrame {
  readonly type: 'devices'
  readonly request: number
  readonly linkKeys: Uint8Array[]
}
export const devicesCodec = struct<Omit<DevicesFrame, 'type'>>({
  request: varint,
  linkKeys: vector(fixed(32), limits.devicesMax - 1),
})

export interface DevicesSetFrame {
  readonly type: 'devicesSet'
  readonly request: number
}
export const devicesSetCodec = struct<Omit<DevicesSetFrame, 'type'>>({ request: varint })

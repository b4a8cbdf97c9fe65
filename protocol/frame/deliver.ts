/**
 * `deliver` (19), node → device: envelopes that wait in an inbox of this account, oldest first.
 * The node offers them again in every new session until the device acknowledges them.
 *
 * ```text
 *   opaque envelopes<V> each
 * ```
 */
import { opaque, struct, vector } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface DeliverFrame {
  readonly type: 'deliver'
  readonly envelopes: Uint8Array[]
}

export const deliverCodec = struct<Omit<DeliverFrame, 'type'>>({
  envelopes: vector(opaque(limits.mailBytesMax), limits.depositItemsMax),
})

/**
 * Where the node's doors are, told to a device at the beginning of each session, so that it still
 * finds the node when that has moved or got other ports.
 *
 * ```text
 *   doors (39), node → device:  text addresses<V> each (128), at most 8; the ones to prefer first
 * ```
 *
 * A device takes them as more places to try, never instead of those it knows: it may have come by a
 * way that the node knows nothing of. Whoever answers there must prove the door key in any case.
 */
import { struct, text, vector } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface DoorsFrame {
  readonly type: 'doors'
  /** `tcp://192.0.2.7:4482` */
  readonly addresses: string[]
}
export const doorsCodec = struct<Omit<DoorsFrame, 'type'>>({
  addresses: vector(text(limits.nodeAddressBytesMax), limits.nodeAddressesMax),
})

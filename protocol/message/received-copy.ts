/**
 * `receivedCopy` (17), to our own devices only: a message that came here and was not wrapped for
 * one of them (its sender did not know that device yet). It is handled there as if it had come
 * from its sender.
 *
 * ```text
 *   opaque contact[32]        root key of the contact; our own for a message of a device of ours
 *   opaque device[16]         the device that sent it
 *   opaque payload<V>         the Payload as it came
 * ```
 */
import { fixed, opaque, struct } from '../codec/struct.ts'
import { deviceIdCodec } from '../ids.ts'
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'

export interface ReceivedCopyBody {
  readonly type: 'receivedCopy'
  readonly contact: Uint8Array
  readonly device: DeviceId
  readonly payload: Uint8Array
}

export const receivedCopyCodec = struct<Omit<ReceivedCopyBody, 'type'>>({
  contact: fixed(32),
  device: deviceIdCodec,
  payload: opaque(limits.mailBytesMax),
})

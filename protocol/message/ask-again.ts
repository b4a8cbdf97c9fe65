/**
 * `askAgain` (7): these envelopes of yours came here and could not be read.
 *
 * ```text
 *   envelopes<V>                     at most 64
 *     opaque envelopeId[32]
 *     u32    expiryHour              of the envelope: how its sender files it
 *     optional opaque device[16]     that says it sent it; absent when the outer seal did not open
 * ```
 *
 * Named by envelope, because the message id inside could not be read either. Answered with
 * `askReply`, and what was written is sealed anew; by the device that is named alone, since no
 * other can know.
 */
import { optional, struct, u32, vector } from '../codec/struct.ts'
import { deviceIdCodec, envelopeIdCodec } from '../ids.ts'
import type { DeviceId, EnvelopeId } from '../ids.ts'
import { limits } from '../limits.ts'

export interface AskedEnvelope {
  readonly envelopeId: EnvelopeId
  readonly expiryHour: number
  readonly device: DeviceId | undefined
}

export interface AskAgainBody {
  readonly type: 'askAgain'
  readonly envelopes: AskedEnvelope[]
}

export const askAgainCodec = struct<Omit<AskAgainBody, 'type'>>({
  envelopes: vector(
    struct<AskedEnvelope>({
      envelopeId: envelopeIdCodec, expiryHour: u32, device: optional(deviceIdCodec),
    }),
    limits.askIdsMax,
  ),
})

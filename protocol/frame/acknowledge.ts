/**
 * `acknowledge` (20), device → node: these envelopes are durably taken over by this device. When
 * every device of the account has said so, the node deletes them here and at the replicas.
 *
 * ```text
 *   opaque boxId[32]
 *   opaque envelopeIds<V>[32] each
 * ```
 */
import { struct, vector } from '../codec/struct.ts'
import { boxIdCodec, envelopeIdCodec } from '../ids.ts'
import type { BoxId, EnvelopeId } from '../ids.ts'

export interface AcknowledgeFrame {
  readonly type: 'acknowledge'
  readonly box: BoxId
  readonly envelopeIds: EnvelopeId[]
}

export const acknowledgeCodec = struct<Omit<AcknowledgeFrame, 'type'>>({
  box: boxIdCodec,
  envelopeIds: vector(envelopeIdCodec, 1_024),
})

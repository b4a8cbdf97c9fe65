/**
 * `withdraw` (18), device → node: these submitted envelopes are settled (delivered, or given up);
 * stop offering them and forget the copies.
 *
 * ```text
 *   opaque envelopeIds<V>[32] each
 * ```
 */
import { struct, vector } from '../codec/struct.ts'
import { envelopeIdCodec } from '../ids.ts'
import type { EnvelopeId } from '../ids.ts'

export interface WithdrawFrame {
  readonly type: 'withdraw'
  readonly envelopeIds: EnvelopeId[]
}

export const withdrawCodec = struct<Omit<WithdrawFrame, 'type'>>({
  envelopeIds: vector(envelopeIdCodec, 1_024),
})

/**
 * `askReply` (8): what becomes of the envelopes that the other side asked for again.
 *
 * ```text
 *   again<V>                         at most 64
 *     opaque envelopeId[32]
 *     optional opaque messageId[16]  comes again under this id; absent when it held nothing for
 *                                    people, and what it said is said anew in its own time
 *   opaque lost<V>[32]               at most 64 envelope ids: not known here, or not any more
 * ```
 *
 * The message id is what ties the two together: without it a receiver could not tell whether what
 * it asked for has come since, perhaps by another way.
 */
import { optional, struct, vector } from '../codec/struct.ts'
import { envelopeIdCodec, messageIdCodec } from '../ids.ts'
import type { EnvelopeId, MessageId } from '../ids.ts'
import { limits } from '../limits.ts'

export interface ComesAgain {
  readonly envelopeId: EnvelopeId
  readonly messageId: MessageId | undefined
}

export interface AskReplyBody {
  readonly type: 'askReply'
  readonly again: ComesAgain[]
  readonly lost: EnvelopeId[]
}

export const askReplyCodec = struct<Omit<AskReplyBody, 'type'>>({
  again: vector(
    struct<ComesAgain>({ envelopeId: envelopeIdCodec, messageId: optional(messageIdCodec) }),
    limits.askIdsMax,
  ),
  lost: vector(envelopeIdCodec, limits.askIdsMax),
})

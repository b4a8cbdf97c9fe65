/**
 * `submit` (16), device → node: take this envelope over and bring it to its inbox.
 *
 * ```text
 *   opaque envelope<V>
 *   homes<V>, replicas<V>     opaque[32] node keys, from the contact's inbox card
 *   u8     purpose            1 message: kept and offered again until withdrawn or expired
 *                             2 signal: forgotten once stored (receipts)
 *   u8     level              privacy level asked for (DESIGN §9)
 * ```
 *
 * Idempotent by envelope id: a device that heard nothing sends it again. The node answers with
 * `receipt` frames; `accepted` means it is synced to the node's disk.
 */
import { oneOf, opaque, struct, vector } from '../codec/struct.ts'
import { nodeIdCodec } from '../ids.ts'
import type { NodeId } from '../ids.ts'
import { limits } from '../limits.ts'

export const purposes = { message: 1, signal: 2 } as const
export type Purpose = (typeof purposes)[keyof typeof purposes]

/** 0 direct, 1 sealed and relayed, 2 onion, 3 mix (DESIGN §9). */
export const privacyLevels = [0, 1, 2, 3] as const
export type PrivacyLevel = (typeof privacyLevels)[number]

export interface SubmitFrame {
  readonly type: 'submit'
  readonly envelope: Uint8Array
  readonly homes: NodeId[]
  readonly replicas: NodeId[]
  readonly purpose: Purpose
  readonly level: PrivacyLevel
}

export const submitCodec = struct<Omit<SubmitFrame, 'type'>>({
  envelope: opaque(limits.mailBytesMax),
  homes: vector(nodeIdCodec, limits.homesMax),
  replicas: vector(nodeIdCodec, limits.replicasMax),
  purpose: oneOf(Object.values(purposes), 'purpose'),
  level: oneOf(privacyLevels, 'privacy level'),
})

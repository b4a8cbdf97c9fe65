/**
 * `receipt` (17), node → device: what is known of a submitted envelope, with the proofs.
 *
 * ```text
 *   opaque envelopeId[32]
 *   u8     state      0 accepted (on this node's disk), 1 stored, 2 acknowledged, 3 refused
 *   u8     have, want how many holders signed, and how many make it "stored"
 *   u8     route      how the last step went: 0 none, 1 local, 2 direct, 3 relayed, 4 replicas
 *   u8     level      the privacy level it really had
 *   opaque proofs<V>  store receipts (stored) or a tombstone (acknowledged), for the device to check
 *   opaque code<V>    error code when refused, else empty
 * ```
 */
import { oneOf, opaque, struct, text, u8, vector } from '../codec/struct.ts'
import { envelopeIdCodec } from '../ids.ts'
import type { EnvelopeId } from '../ids.ts'
import { limits } from '../limits.ts'
import { privacyLevels } from './submit.ts'
import type { PrivacyLevel } from './submit.ts'

export const receiptStates = { accepted: 0, stored: 1, acknowledged: 2, refused: 3 } as const
export type ReceiptState = (typeof receiptStates)[keyof typeof receiptStates]

export const routes = { none: 0, local: 1, direct: 2, relayed: 3, replicas: 4 } as const
export type Route = (typeof routes)[keyof typeof routes]

export interface ReceiptFrame {
  readonly type: 'receipt'
  readonly envelopeId: EnvelopeId
  readonly state: ReceiptState
  readonly have: number
  readonly want: number
  readonly route: Route
  readonly level: PrivacyLevel
  readonly proofs: Uint8Array[]
  readonly code: string
}

export const receiptCodec = struct<Omit<ReceiptFrame, 'type'>>({
  envelopeId: envelopeIdCodec,
  state: oneOf(Object.values(receiptStates), 'receipt state'),
  have: u8,
  want: u8,
  route: oneOf(Object.values(routes), 'route'),
  level: oneOf(privacyLevels, 'privacy level'),
  proofs: vector(opaque(16_384), limits.replicasMax),
  code: text(64),
})

/**
 * `inviteState` (21), to our own devices only: an invite was made, or used up.
 *
 * ```text
 *   opaque token[15]            its intro token
 *   u32    expiryHour
 *   optional opaque usedBy[32]  root key of whoever used it
 * ```
 */
import { fixed, optional, struct, u32 } from '../codec/struct.ts'

export interface InviteStateBody {
  readonly type: 'inviteState'
  readonly token: Uint8Array
  readonly expiryHour: number
  readonly usedBy: Uint8Array | undefined
}

export const inviteStateCodec = struct<Omit<InviteStateBody, 'type'>>({
  token: fixed(15),
  expiryHour: u32,
  usedBy: optional(fixed(32)),
})

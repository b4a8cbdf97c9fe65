/**
 * `inbox` (21), device → node: be home to this inbox (or give it up), and lease it at replicas.
 *
 * ```text
 *   varint request
 *   u8     action            1 open (idempotent; renews), 2 close
 *   opaque writeKey[32]
 *   opaque readSeed[32]      lets the node collect and delete for us; it cannot decrypt
 *   opaque placement[32]     replicas are chosen by rendezvous hashing over this
 *   u32    itemsMax, bytesMax
 *   u32    expiryHour        0: as long as it is renewed
 * ```
 *
 * The node answers with `inboxState` of the same request, and sends one with request 0 whenever
 * the replica set changes later.
 */
import { fixed, oneOf, struct, u32, varint } from '../codec/struct.ts'

export const inboxActions = { open: 1, close: 2 } as const
export type InboxAction = (typeof inboxActions)[keyof typeof inboxActions]

export interface InboxFrame {
  readonly type: 'inbox'
  readonly request: number
  readonly action: InboxAction
  readonly writeKey: Uint8Array
  readonly readSeed: Uint8Array
  readonly placement: Uint8Array
  readonly itemsMax: number
  readonly bytesMax: number
  readonly expiryHour: number
}

export const inboxCodec = struct<Omit<InboxFrame, 'type'>>({
  request: varint,
  action: oneOf(Object.values(inboxActions), 'inbox action'),
  writeKey: fixed(32),
  readSeed: fixed(32),
  placement: fixed(32),
  itemsMax: u32,
  bytesMax: u32,
  expiryHour: u32,
})

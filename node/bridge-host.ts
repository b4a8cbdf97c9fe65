/**
 * What a bridge (bridges/) gets of the node it runs in: time, randomness, a corner of the store, and
 * the hosted account. A bridge reaches nothing else of the node.
 */
import type { Random } from '../crypto/random.ts'
import type { ClientApi } from '../protocol/client/api.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import type { Log } from './ports.ts'

export interface BridgeHost {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** The bridge's own records, sealed. */
  readonly kv: KvStore
  /** For files of the bridge's own; not made yet. */
  readonly directory: string
  readonly owner: { readonly name: string, readonly address: string }
  /** The owner's hosted account; `undefined` while another process of the household hosts it. */
  client(): ClientApi | undefined
}

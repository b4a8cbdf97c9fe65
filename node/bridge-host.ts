/**
 * What a bridge (bridges/) gets of the node it runs in: time, randomness, a corner of the store, and
 * the hosted account. A bridge reaches nothing else of the node.
 */
import type { Random } from '../crypto/random.ts'
import type { ClientApi } from '../protocol/client/api.ts'
import type { Clock, KvStore } from '../protocol/ports.ts'
import type { Log } from './ports.ts'

/** Whose account: somebody's who has an address at this node, or a service's of the node itself. */
export type HostedKind = 'person' | 'service'

export interface HostedOptions {
  readonly kind: HostedKind
  /** What invites and contacts show; the name when left out. */
  readonly shownAs?: string
}

export interface HostedAccount {
  /** Unique among those of the node. */
  readonly name: string
  readonly kind: HostedKind
  readonly shownAs: string
  readonly address: string
  readonly createdAtMs: number
}

/** Accounts on openIM that the node hosts besides its owner's (hosted-accounts.ts). */
export interface HostedDirectory {
  /**
   * Its client, started; the account is made when there is none.
   * @throws HOSTED_NAME, HOSTED_LIMIT, STORE_*, HOUSEHOLD_ELSEWHERE
   */
  open(name: string, options: HostedOptions): Promise<ClientApi>
  /** `undefined`: not open, or hosted by another process of the household. */
  client(name: string): ClientApi | undefined
  list(): Promise<HostedAccount[]>
  /** For good: with its keys, contacts and history. Idempotent. */
  remove(name: string): Promise<void>
}

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
  /** Accounts of others than the owner; names begin with the bridge's. */
  readonly hosted: HostedDirectory
}

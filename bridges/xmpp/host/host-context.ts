/**
 * What the parts of the host share: the domain, who has an account there, and the way of a stanza.
 * `xmpp-host.ts` makes it; parts are handed it and keep nothing of each other.
 */
import type { Random } from '../../../crypto/random.ts'
import type { Log } from '../../../node/ports.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import type { Jid } from '../jid.ts'
import type { Route } from '../ports.ts'
import type { Account } from './account.ts'
import type { IqTable } from './iq-table.ts'

export interface HostContext {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** The bridge's corner of the node's store, sealed. */
  readonly kv: KvStore
  /** `example.org`. */
  readonly domain: string
  readonly iq: IqTable
  /** To wherever its `to` lives; never throws. */
  readonly route: Route
  /** The account of a JID of our domain, loaded; `undefined`: there is none. */
  account(jid: Jid): Promise<Account | undefined>
  /** Of those that are loaded. */
  loaded(jid: Jid): Account | undefined
  /** Errors of work that nobody waits for. */
  failed(what: string): (error: unknown) => void
}

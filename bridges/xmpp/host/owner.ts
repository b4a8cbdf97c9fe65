/**
 * Requests about an account that its own clients alone may make.
 */
import type { Jid } from '../jid.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { StanzaCondition } from '../stanza-errors.ts'
import type { Account } from './account.ts'
import type { Resource } from './resource.ts'
import type { XmppHost } from './xmpp-host.ts'

export interface Owner {
  readonly account: Account
  /** Whose request it is; `undefined` when its stream ended meanwhile. */
  readonly resource: Resource | undefined
}

/** @throws StanzaError `forbidden` (or `condition`) when somebody else asks */
export async function ownerOf(
  { context }: XmppHost,
  { from, to }: { readonly from: Jid, readonly to: Jid },
  condition: StanzaCondition = 'forbidden',
): Promise<Owner> {
  const account = from.bare === to.bare ? await context.account(from) : undefined
  if (account === undefined) throw new StanzaError(condition, 'this is for the account itself alone')
  return { account, resource: account.resource(from.resource) }
}

/**
 * `jabber:iq:roster` (RFC 6121 §2): get with versions, set, remove. An account's own clients alone.
 */
import type { Jid } from '../jid.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { Account } from './account.ts'
import type { XmppHost } from './xmpp-host.ts'
import { parseRosterSet, rosterItem } from './roster.ts'
import { ownerOf } from './owner.ts'

/** Who also keeps some of the contacts, and may refuse a change. */
export interface RosterKeeper {
  /** Before the roster changes. @throws StanzaError */
  renaming(account: Account, jid: Jid, name: string | undefined): Promise<void>
  removing(account: Account, jid: Jid): Promise<void>
}

export function serveRoster(host: XmppHost, keeper: () => RosterKeeper): void {
  const { iq } = host.context
  iq.add({
    target: 'account', ns: ns.roster, name: 'query', type: 'get',
    async handle(request) {
      const { account, resource } = await ownerOf(host, request)
      if (resource !== undefined) resource.isInterested = true
      const { version } = account.roster
      // RFC 6121 §2.6.3: nothing new; an empty `ver` asks for all of it.
      if (request.payload.attrs.ver === version) return undefined
      const items = account.roster.listed().map(rosterItem)
      return el(ns.roster, 'query', { ver: version }, ...items)
    },
  })
  iq.add({
    target: 'account', ns: ns.roster, name: 'query', type: 'set',
    async handle(request) {
      const { account } = await ownerOf(host, request)
      const { jid, name, groups, isRemoval } = parseRosterSet(request.payload)
      if (jid.equals(account.jid)) throw new StanzaError('not-allowed', 'nobody is in their own roster')
      if (isRemoval) {
        await keeper().removing(account, jid)
        await host.presence.remove(account, jid)
        return undefined
      }
      await keeper().renaming(account, jid, name)
      const { before, after } = await account.roster.change(jid, (entry) => ({
        ...entry, name, groups, isListed: true,
      }))
      host.presence.pushChange(account, before, after)
      return undefined
    },
  })
}

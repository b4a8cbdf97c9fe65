/**
 * Service Administration (XEP-0133 1.3.1) as commands (XEP-0050), for the node's owner alone: who has
 * an address, who is online, ending sessions, counts, and a word to everybody. And one command for
 * each account itself: another app password.
 */
import type { Account } from '../host/account.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import type { Credentials } from '../auth/credentials.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { Command } from './xep-0050-commands.ts'

const adminNs = 'http://jabber.org/protocol/admin'

export interface AdministrationParts {
  /** Bare. */
  readonly owner: () => string
  readonly credentials: () => Credentials
}

export function administration(host: XmppHost, { owner, credentials }: AdministrationParts): Command[] {
  const ofOwner = { formType: adminNs, isFor: ({ jid }: Account) => jid.bare === owner() }
  const online = (): Account[] => [...host.accounts.inUse()].filter(({ size }) => size > 0)
  const plain = (
    name: string, title: string, values: () => Promise<readonly string[]>, field: string,
  ): Command => ({
    ...ofOwner, node: `${adminNs}#${name}`, title, fields: [],
    run: async () => ({ fields: [{ name: field, label: title, values: await values() }] }),
  })
  const registered = async (): Promise<string[]> =>
    (await host.accounts.list()).slice(0, xmppLimits.commandValuesMax)
      .map(({ local }) => new Jid(local, host.context.domain).bare)
  return [
    plain('get-registered-users-list', 'All addresses', registered, 'registereduserjids'),
    plain('get-registered-users-num', 'How many addresses there are',
      async () => [String((await host.accounts.list()).length)], 'registeredusersnum'),
    plain('get-online-users-list', 'Who is online',
      async () => online().slice(0, xmppLimits.commandValuesMax).map(({ jid }) => jid.bare),
      'onlineuserjids'),
    plain('get-online-users-num', 'How many are online',
      async () => [String(online().length)], 'onlineusersnum'),
    endSession(host, ofOwner),
    userStats(host, ofOwner),
    announce(host, ofOwner),
    appPassword(credentials),
  ]
}

type OfOwner = Pick<Command, 'formType' | 'isFor'>

function endSession(host: XmppHost, ofOwner: OfOwner): Command {
  const label = 'Addresses, with a resource for one device alone'
  return {
    ...ofOwner, node: `${adminNs}#end-user-session`, title: 'End sessions',
    fields: [{ name: 'accountjids', type: 'jid-multi', label, isRequired: true }],
    async run(_account, values) {
      const jids = values.get('accountjids')!.map(jidOf)
      const ended = jids.flatMap((jid) => (host.context.loaded(jid)?.resources ?? [])
        .filter(({ resource }) => jid.isBare || resource === jid.resource))
      for (const { session } of ended) {
        session.close('policy-violation', 'the owner of this server has ended the session')
      }
      return { note: `sessions ended: ${ended.length}` }
    },
  }
}

function userStats(host: XmppHost, ofOwner: OfOwner): Command {
  return {
    ...ofOwner, node: `${adminNs}#get-user-stats`, title: 'Figures of one account',
    fields: [{ name: 'accountjid', type: 'jid-single', label: 'Address', isRequired: true }],
    async run(_account, values) {
      const account = await host.context.account(jidOf(values.get('accountjid')![0]!))
      if (account === undefined) throw new StanzaError('item-not-found', 'there is no such account')
      const resources = account.resources.map(({ resource }) => resource)
      return {
        fields: [
          { name: 'accountjid', label: 'Address', values: [account.jid.bare] },
          { name: 'rostersize', label: 'Contacts', values: [String(account.roster.listed().length)] },
          { name: 'onlineresources', label: 'Devices online', values: resources },
        ],
      }
    },
  }
}

function announce(host: XmppHost, ofOwner: OfOwner): Command {
  return {
    ...ofOwner, node: `${adminNs}#announce`, title: 'Tell everybody who is online',
    fields: [{ name: 'announcement', type: 'text-multi', label: 'Text', isRequired: true }],
    async run(_account, values) {
      const { domain } = host.context
      const text = values.get('announcement')!.join('\n')
      const told = [...host.accounts.inUse()].flatMap((account) => account.available())
      for (const { session, jid } of told) {
        const attrs = { from: domain, to: jid.toString(), type: 'headline' }
        session.send(el(ns.client, 'message', attrs, el(ns.client, 'body', {}, text)))
      }
      return { note: `devices told: ${told.length}` }
    },
  }
}

/** It ends with the password of the login that made it: nobody stays in by what they made in passing. */
function appPassword(credentials: () => Credentials): Command {
  const formType = 'https://openim.invalid/commands#app-password'
  return {
    formType, node: formType, title: 'Make an app password for one more client',
    fields: [{ name: 'name', type: 'text-single', label: 'Client, such as phone', isRequired: true }],
    isFor: () => true,
    async run({ id, jid }, values, { session: { passwordId } }) {
      if (passwordId === undefined) throw new StanzaError('unexpected-request', 'log in by a password first')
      const login = { id, local: jid.local }
      const password = await credentials().add(login, values.get('name')![0]!, passwordId)
      return {
        note: 'it is shown this once',
        fields: [{ name: 'password', label: 'Password', values: [password] }],
      }
    },
  }
}

function jidOf(text: string): Jid {
  const jid = Jid.parse(text)
  if (jid === undefined) throw new StanzaError('jid-malformed', 'an address is malformed')
  return jid
}

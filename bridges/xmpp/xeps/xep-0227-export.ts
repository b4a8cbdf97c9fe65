/**
 * Everything that accounts keep, as a Portable Import/Export file (XEP-0227 1.1) for another server:
 * rosters, requests that wait, vCards, block lists, private XML, personal nodes, waiting messages. One
 * part of one account is in memory at a time. Passwords stay here: of each only keys under a salt of
 * this server are kept, and its client makes a new one at the new server.
 *
 * ```text
 *   <server-data><host jid><user name> roster, presence …, vCard, private, pubsub …, offline </user> …
 * ```
 */
import { utf8Decode } from '../../../crypto/bytes.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Account } from '../host/account.ts'
import { rosterItem } from '../host/roster.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { readElement, writeElement } from '../xml/text.ts'
import { writeAttributes } from '../xml/writer.ts'
import { configForm } from './pubsub-forms.ts'
import { itemElement } from './xep-0163-pep.ts'
import type { PersonalEvents } from './xep-0163-pep.ts'

const pieNs = 'urn:xmpp:pie:0'

export interface ExportParts {
  readonly host: XmppHost
  readonly pep: PersonalEvents
  /** Bare or with resource. */
  readonly blocked: (account: Account) => Iterable<string>
}

/** The file in pieces. */
export async function* exportAccounts(parts: ExportParts): AsyncGenerator<string> {
  const { accounts, context: { domain } } = parts.host
  yield `<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='${pieNs}'>\n`
  yield `<host${writeAttributes({ jid: domain })}>\n`
  for (const { local } of await accounts.list()) {
    const account = await accounts.get(new Jid(local, domain))
    if (account === undefined) continue
    yield `<user${writeAttributes({ name: local })}>\n`
    for await (const part of partsOf(parts, account)) yield `${writeElement(part)}\n`
    yield* offline(parts.host, account)
    yield '</user>\n'
  }
  yield '</host>\n</server-data>\n'
}

async function* partsOf({ host, pep, blocked }: ExportParts, account: Account): AsyncGenerator<XmlElement> {
  const { kv } = host.context
  const { roster, id } = account
  yield el(ns.roster, 'query', {}, ...roster.listed().map(rosterItem))
  for (const { request } of roster.all()) {
    const waiting = request === undefined ? undefined : readElement(request)
    if (waiting !== undefined) yield waiting
  }
  const jids = [...blocked(account)]
  const items = jids.map((jid) => el('urn:xmpp:blocking', 'item', { jid }))
  if (items.length > 0) yield el('urn:xmpp:blocking', 'blocklist', {}, ...items)
  const card = await kv.get(`vcard/${id}`)
  const vcard = card === undefined ? undefined : readElement(utf8Decode(card.value))
  if (vcard !== undefined) yield vcard
  for await (const { value } of kvEntries(kv, `private/${id}/`)) {
    const kept = readElement(utf8Decode(value))
    if (kept !== undefined) yield el('jabber:iq:private', 'query', {}, kept)
  }
  for (const { name, config, items } of (await pep.nodes(account)).list()) {
    const owner = `${ns.pubsub}#owner`
    yield el(owner, 'pubsub', {}, el(owner, 'configure', { node: name }, configForm(config, 'result')))
    const published = items.map((item) => itemElement(item, { ns: ns.pubsub, withPayload: true }))
    yield el(ns.pubsub, 'pubsub', {}, el(ns.pubsub, 'items', { node: name }, ...published))
  }
}

async function* offline({ messages }: XmppHost, account: Account): AsyncGenerator<string> {
  yield '<offline-messages>\n'
  for await (const { stanza } of messages.waiting(account)) yield `${writeElement(stanza)}\n`
  yield '</offline-messages>\n'
}

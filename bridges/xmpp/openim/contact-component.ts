/**
 * Contacts on openIM as XMPP clients see them: `ADDRESS@oim.example.org`, for the accounts of this
 * domain alone. What a client writes to one of them goes through the account's hosted Client SDK, so it
 * is end-to-end encrypted from this node to theirs, stored at replicas and receipted; what they write,
 * and what other devices of the account write, comes from its history (`history-feed.ts`).
 *
 * ```text
 *   message body ──► client.send ──► id, written down beside the stanza's id (sent-ids.ts)
 *   displayed marker ──► client.markRead
 *   status `delivered`, `read`, `failed` ──► receipt, marker, error to the device that wrote it
 * ```
 *
 * Here encryption ends at this node (hub mode): the label is in the roster group and in the answers to
 * service discovery.
 */
import type { ClientApi, Contact } from '../../../protocol/client/api.ts'
import type { Account } from '../host/account.ts'
import type { XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import type { Component } from '../ports.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { asked } from './asked.ts'
import { answerText } from './contact-commands.ts'
import { parseHistoryId } from './history-ids.ts'
import { markersNs, receiptsNs } from './names.ts'
import type { SentIds } from './sent-ids.ts'

const vcardNs = 'vcard-temp'
const pingNs = 'urn:xmpp:ping'

export interface OpenImLinks {
  /** The Client SDK of an account; `undefined`: it has none, or not here. */
  client(account: Account): ClientApi | undefined
  /** Runs one thing after the other for an account, so that what it wrote is known before it is seen. */
  inTurn<T>(account: Account, work: () => Promise<T>): Promise<T>
  readonly sentIds: SentIds
}

export class ContactComponent implements Component {
  readonly domain: string
  readonly #host: XmppHost
  readonly #links: OpenImLinks

  constructor(host: XmppHost, links: OpenImLinks, { domain }: { domain: string }) {
    this.#host = host
    this.#links = links
    this.domain = domain
  }

  jidOf({ address }: Pick<Contact, 'address'>): Jid {
    return new Jid(address, this.domain)
  }

  async receive(stanza: XmlElement): Promise<void> {
    const to = Jid.parse(stanza.attrs.to!)!
    const from = Jid.parse(stanza.attrs.from!)!
    const account = await this.#host.context.account(from)
    // Others reach openIM contacts through openIM.
    if (account === undefined) {
      throw new StanzaError('forbidden', 'these contacts are for accounts of this domain')
    }
    if (stanza.name === 'iq') await this.#iq(account, to, stanza)
    else if (to.local === '') await this.#toService(account, stanza)
    else if (stanza.name === 'message') await this.#message(account, to, stanza)
    else await this.#presence(account, to, stanza)
  }

  /** Invites, for clients that know no commands: what is written to the service itself is answered. */
  async #toService(account: Account, stanza: XmlElement): Promise<void> {
    const { type, from } = stanza.attrs
    const text = stanza.childText('body')
    if (stanza.name !== 'message') throw new StanzaError('service-unavailable')
    if (type === 'error' || type === 'groupchat' || text === undefined) return
    const client = this.#client(account)
    const answer = await asked(() => answerText(client, text))
    await this.#host.context.route(el(ns.client, 'message', { from: this.domain, to: from, type: 'chat' },
      el(ns.client, 'body', {}, answer)))
  }

  /** A contact's name in the roster is their petname. @throws StanzaError */
  async renaming(account: Account, jid: Jid, name = ''): Promise<void> {
    const client = jid.domain === this.domain && name !== '' ? this.#links.client(account) : undefined
    const contact = await client?.contact(jid.local).catch(() => undefined)
    if (contact === undefined || contact.name === name) return
    await asked(() => client!.rename(jid.local, name))
  }

  /** Out of the roster is out of the contacts. @throws StanzaError */
  async removing(account: Account, jid: Jid): Promise<void> {
    if (jid.domain !== this.domain) return
    const client = this.#links.client(account)
    const contact = await client?.contact(jid.local).catch(() => undefined)
    if (contact !== undefined) await asked(() => client!.remove(jid.local))
  }

  async #message(account: Account, to: Jid, stanza: XmlElement): Promise<void> {
    if (stanza.attrs.type === 'error' || stanza.attrs.type === 'groupchat') return
    const client = this.#client(account)
    const body = stanza.childText('body')
    if (body !== undefined && body !== '') {
      await this.#links.inTurn(account, async () => {
        const { id } = await asked(() => client.send(to.local, body))
        await this.#links.sentIds.keep(account.id, { id, stanza })
      })
      return
    }
    const displayed = stanza.child('displayed', markersNs)?.attrs.id
    const seen = displayed === undefined ? undefined : parseHistoryId(displayed)
    if (seen !== undefined) await asked(() => client.markRead(to.local, seen.cursor))
    // Chat states and receipts of the device: openIM has its own.
  }

  async #presence(account: Account, to: Jid, stanza: XmlElement): Promise<void> {
    const { type } = stanza.attrs
    const client = this.#client(account)
    const answer = (kind: string | undefined): Promise<void> => this.#host.context.route(
      el(ns.client, 'presence', { from: to.bare, to: account.jid.bare, type: kind }))
    if (type === 'subscribe') {
      const contact = await client.contact(to.local).catch(() => undefined)
      if (contact === undefined) {
        throw new StanzaError('item-not-found', 'somebody on openIM is added by their invite: openim add')
      }
      await answer('subscribed')
      await answer(undefined)
    } else if (type === 'probe') {
      const contact = await client.contact(to.local).catch(() => undefined)
      await answer(contact === undefined ? 'unsubscribed' : undefined)
    } else if (type === 'unsubscribe') {
      await answer('unsubscribed')
    }
  }

  async #iq(account: Account, to: Jid, stanza: XmlElement): Promise<void> {
    const { type, id } = stanza.attrs
    if (type !== 'get' && type !== 'set') return
    const [payload] = stanza.elements()
    if (payload === undefined) throw new StanzaError('bad-request')
    const result = type === 'get' ? await this.#answer(account, to, payload) : undefined
    if (result === undefined) throw new StanzaError('service-unavailable')
    const attrs = { type: 'result', id, from: stanza.attrs.to, to: stanza.attrs.from }
    await this.#host.context.route(el(ns.client, 'iq', attrs, result === 'empty' ? undefined : result))
  }

  async #answer(account: Account, to: Jid, payload: XmlElement): Promise<XmlElement | 'empty' | undefined> {
    if (payload.is('ping', pingNs)) return 'empty'
    if (to.local === '') return this.#serverAnswer(payload)
    const contact = await asked(() => this.#client(account).contact(to.local))
    if (payload.is('query', ns.discoInfo)) {
      return el(ns.discoInfo, 'query', {},
        el(
          ns.discoInfo,
          'identity',
          { category: 'account', type: 'registered', name: `${contact.name} (openIM)` },
        ),
        ...[ns.discoInfo, receiptsNs, markersNs].map(
          (feature) => el(ns.discoInfo, 'feature', { var: feature }),
        ))
    }
    if (payload.is('query', ns.discoItems)) return el(ns.discoItems, 'query')
    if (payload.is('vCard', vcardNs)) return el(vcardNs, 'vCard', {}, el(vcardNs, 'FN', {}, contact.name))
    if (payload.ns === ns.pubsub) throw new StanzaError('item-not-found', 'openIM encrypts by itself')
    return undefined
  }

  #serverAnswer(payload: XmlElement): XmlElement | undefined {
    if (payload.is('query', ns.discoItems)) return el(ns.discoItems, 'query')
    if (!payload.is('query', ns.discoInfo)) return undefined
    const identity = {
      category: 'gateway', type: 'openim', name: 'openIM contacts, encrypted from this node on',
    }
    return el(ns.discoInfo, 'query', {},
      el(ns.discoInfo, 'identity', identity),
      ...[ns.discoInfo, ns.discoItems, pingNs].map(
        (feature) => el(ns.discoInfo, 'feature', { var: feature }),
      ))
  }

  #client(account: Account): ClientApi {
    const client = this.#links.client(account)
    if (client === undefined) {
      throw new StanzaError('service-unavailable', 'this address has no openIM account')
    }
    return client
  }
}

/**
 * The host as the sessions of clients see it (c2s/host-port.ts).
 */
import type { LoginAccount } from '../auth/sasl.ts'
import type { BindRequest, ClientHost, HostedSession, RegistrationHook } from '../c2s/host-port.ts'
import { capsElement } from '../xeps/xep-0115-caps.ts'
import { capsNode, serverInfo } from '../xeps/xep-0030-disco.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import type { Account } from './account.ts'
import type { Resource } from './resource.ts'
import type { XmppHost } from './xmpp-host.ts'

interface Bound {
  readonly account: Account
  readonly resource: Resource
}

export interface HostForClientsOptions {
  /** What belongs in `<bound/>` (XEP-0386). */
  readonly bound: (account: Account) => Promise<readonly XmlElement[]>
  /** Data forms of the server's own service discovery, which its capabilities name. */
  readonly forms: () => readonly XmlElement[]
  readonly registration?: RegistrationHook
}

export class HostForClients implements ClientHost {
  readonly #host: XmppHost
  readonly #options: HostForClientsOptions
  readonly #bound = new WeakMap<HostedSession, Bound>()

  constructor(host: XmppHost, options: HostForClientsOptions) {
    this.#host = host
    this.#options = options
  }

  async account(local: string): Promise<LoginAccount | undefined> {
    const record = await this.#host.accounts.record(local)
    return record === undefined ? undefined : { id: record.id, local: record.local }
  }

  async bind(session: HostedSession, { wantsCarbons }: BindRequest): Promise<readonly XmlElement[]> {
    const account = await this.#host.accounts.get(session.jid)
    if (account === undefined) throw new StanzaError('item-not-found', 'the account is gone')
    const resource = this.#host.bind(account, session)
    resource.wantsCarbons = wantsCarbons
    this.#bound.set(session, { account, resource })
    return await this.#options.bound(account)
  }

  receive(session: HostedSession, stanza: XmlElement): Promise<void> {
    const bound = this.#bound.get(session)
    if (bound === undefined) return Promise.resolve()
    return this.#host.fromClient(bound.account, bound.resource, stanza)
  }

  hibernating(session: HostedSession, stanzas: readonly XmlElement[]): void {
    const bound = this.#bound.get(session)
    if (bound !== undefined) this.#host.hibernating(bound, stanzas)
  }

  async unbound(session: HostedSession): Promise<void> {
    const bound = this.#bound.get(session)
    if (bound !== undefined) await this.#host.unbind(bound.account, bound.resource)
  }

  async undelivered(session: HostedSession, stanzas: readonly XmlElement[]): Promise<void> {
    const bound = this.#bound.get(session)
    if (bound !== undefined) await this.#host.undelivered(bound.account, stanzas)
  }

  get registration(): RegistrationHook | undefined {
    return this.#options.registration
  }

  features(): readonly XmlElement[] {
    const info = serverInfo(this.#host, 'server', this.#options.forms())
    return [
      capsElement(info, capsNode),
      el('urn:xmpp:features:rosterver', 'ver'),
      el('urn:xmpp:features:pre-approval', 'sub'),
    ]
  }
}

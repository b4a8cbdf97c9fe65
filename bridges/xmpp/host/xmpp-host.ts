/**
 * The XMPP server of one domain: takes stanzas from clients' sessions and from other domains, and
 * sends each where it belongs (RFC 6120 §10, RFC 6121 §8).
 *
 * ```text
 *   c2s session ──► fromClient ─┬─ presence ─► Presence ──┐
 *                               ├─ message ──► Messages ──┤
 *                               └─ iq ───────► IqTable    ├──► route ─┬─ our domain: Messages, Presence, iq
 *   other domains ─► fromRemote ──────────────────────────┘           ├─ a component below it
 *                                                                     └─ RemoteDomains (s2s, openIM)
 * ```
 */
import type { Random } from '../../../crypto/random.ts'
import type { Log } from '../../../node/ports.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import type { Along } from '../along.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { Component, RemoteDomains, StanzaTarget } from '../ports.ts'
import { unmarked } from '../shield/label.ts'
import { blockedByUs, mayBounce, StanzaError, toError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { Account } from './account.ts'
import { Accounts } from './accounts.ts'
import { iqDelivery } from './delivery-rules.ts'
import type { HostContext } from './host-context.ts'
import { IqCalls } from './iq-calls.ts'
import { IqTable } from './iq-table.ts'
import { Messages } from './messages.ts'
import type { MessageArchive } from './message-archive.ts'
import { OfflineMessages } from './offline.ts'
import { Presence } from './presence.ts'
import type { PresenceHooks } from './presence.ts'
import { Resource } from './resource.ts'
import type { SessionPort } from './resource.ts'

export interface XmppHostComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly kv: KvStore
  readonly archive: MessageArchive
  readonly remote: RemoteDomains
}

/** What XEPs add to the way of stanzas. */
export interface HostHooks extends Omit<PresenceHooks, 'decorate'> {
  decorate?(account: Account, presence: XmlElement): XmlElement
  /** Before anything reaches an account that was not in use. */
  loading?(account: Account): Promise<void>
  messageObserved?(account: Account, message: XmlElement): void
  /** A resource was bound, before it sent anything. */
  bound?(account: Account, resource: Resource): void
  ended?(account: Account, resource: Resource): void
  /** Its stream was cut and may come back; these may not have reached it. */
  hibernating?(account: Account, resource: Resource, stanzas: readonly XmlElement[]): void
}

export class XmppHost implements StanzaTarget {
  readonly context: HostContext
  readonly accounts: Accounts
  readonly presence: Presence
  readonly messages: Messages
  /** Requests that the server itself sends. */
  readonly calls: IqCalls
  readonly #components: XmppHostComponents
  readonly #domain: string
  readonly #services = new Map<string, Component>()
  readonly #offline: OfflineMessages
  readonly #hooks: HostHooks[] = []

  constructor(components: XmppHostComponents, { domain }: { domain: string }) {
    const { clock, random, log, kv } = components
    this.#components = components
    this.#domain = domain
    const prepare = async (account: Account): Promise<void> => {
      for (const hook of this.#hooks) await hook.loading?.(account)
    }
    this.accounts = new Accounts({ kv, clock, random, prepare }, { domain })
    this.context = {
      clock, random, log, kv, domain,
      iq: new IqTable(),
      route: (stanza, along) => this.route(stanza, along),
      account: (jid) => jid.domain === domain ? this.accounts.get(jid) : Promise.resolve(undefined),
      loaded: (jid) => jid.domain === domain ? this.accounts.loaded(jid) : undefined,
      failed: (what) => (err) => log.error({ err }, what),
    }
    this.#offline = new OfflineMessages({
      kv, clock,
      archive: components.archive,
      onError: this.context.failed('offline marks were not struck off'),
    })
    const isBlocked = (account: Account, jid: Jid): boolean => this.#isBlocked(account, jid)
    this.presence = new Presence(this.context, {
      available: (account, resource, isFirst) => this.#available(account, resource, isFirst),
      seen: (account, stanza) => this.#hooks.forEach((hook) => hook.seen(account, stanza)),
      isBlocked,
      decorate: (account, stanza) =>
        this.#hooks.reduce((seen, hook) => hook.decorate?.(account, seen) ?? seen, stanza),
    })
    this.messages = new Messages(this.context, {
      archive: components.archive,
      offline: this.#offline,
      isBlocked,
      observed: (account, message) => this.#hooks.forEach((hook) => hook.messageObserved?.(account, message)),
    })
    this.calls = new IqCalls(this.context)
  }

  use(hooks: HostHooks): void {
    this.#hooks.push(hooks)
  }

  addComponent(component: Component): void {
    this.#services.set(component.domain, component)
  }

  /** Domains that are ours: the main one first. */
  domains(): string[] {
    return [this.#domain, ...this.#services.keys()]
  }

  async start(): Promise<void> {
    for (const service of this.#services.values()) await service.start?.()
  }

  async stop(): Promise<void> {
    for (const service of this.#services.values()) await service.stop?.()
    await this.#offline.flush()
  }

  // ── Sessions of clients ───────────────────────────────────────────────────────────────────

  /** Binds a session; one of the same resource before it is closed with `conflict` by its owner. */
  bind(account: Account, session: SessionPort): Resource {
    if (account.size >= xmppLimits.resourcesMax) {
      throw new StanzaError('resource-constraint', `at most ${xmppLimits.resourcesMax} devices at a time`)
    }
    const resource = new Resource(session)
    account.add(resource)
    for (const hook of this.#hooks) hook.bound?.(account, resource)
    return resource
  }

  hibernating(
    { account, resource }: { readonly account: Account, readonly resource: Resource },
    stanzas: readonly XmlElement[],
  ): void {
    for (const hook of this.#hooks) hook.hibernating?.(account, resource, stanzas)
  }

  /** It ended for good, not to be resumed. Idempotent. */
  async unbind(account: Account, resource: Resource): Promise<void> {
    if (account.resource(resource.resource) !== resource) return
    account.remove(resource)
    await this.presence.ended(account, resource)
    for (const hook of this.#hooks) hook.ended?.(account, resource)
  }

  /**
   * A stanza of a client, its `from` set to the full JID. Settles when it is handled durably: only
   * then is it acknowledged. Never throws for what the stanza is: the client is answered.
   */
  async fromClient(account: Account, resource: Resource, sent: XmlElement): Promise<void> {
    const stanza = unmarked(sent)
    try {
      if (stanza.name === 'message') await this.messages.fromClient(account, resource, stanza)
      else if (stanza.name === 'presence') await this.presence.fromClient(account, resource, stanza)
      else await this.#iqFromClient(account, stanza)
    } catch (error) {
      const answer = this.#refusal(stanza, error)
      if (answer !== undefined) resource.session.send(answer)
    }
  }

  /** Stanzas that a session could not hand to its client before it ended (XEP-0198 §8). */
  async undelivered(account: Account, stanzas: readonly XmlElement[]): Promise<void> {
    for (const stanza of stanzas) {
      const { type } = stanza.attrs
      if (stanza.name === 'iq' && (type === 'get' || type === 'set')) {
        await this.route(toError(stanza, new StanzaError('recipient-unavailable', 'the device is gone')))
      }
      // Messages are still marked as waiting; those who are there get them now.
      if (stanza.name !== 'message' || stanza.attrs.type === 'groupchat') continue
      const targets = account.available().filter(({ priority }) => (priority ?? -1) >= 0)
      for (const { session } of targets) session.send(stanza)
    }
  }

  #isBlocked(account: Account, jid: Jid): boolean {
    return this.#hooks.some((hook) => hook.isBlocked(account, jid))
  }

  #available(account: Account, resource: Resource, isFirst: boolean): void {
    for (const hook of this.#hooks) hook.available(account, resource, isFirst)
    if (isFirst) resource.hasTakenWaiting = false
    if (resource.hasTakenWaiting || (resource.priority ?? -1) < 0) return
    resource.hasTakenWaiting = true
    this.messages.handWaiting(account, resource).catch(
      this.context.failed('waiting messages were not handed over'),
    )
  }

  // ── The way of a stanza ───────────────────────────────────────────────────────────────────

  async fromRemote(stanza: XmlElement, along?: Along): Promise<void> {
    await this.route(stanza, along)
  }

  async bounced(stanza: XmlElement): Promise<void> {
    await this.route(stanza)
  }

  async route(stanza: XmlElement, along?: Along): Promise<void> {
    try {
      const to = Jid.parse(stanza.attrs.to ?? '')
      if (to === undefined) throw new StanzaError('jid-malformed', 'the address is malformed')
      if (to.domain === this.#domain) await this.#toOurs(to, stanza, along)
      else if (this.#services.has(to.domain)) await this.#services.get(to.domain)!.receive(stanza)
      else await this.#components.remote.send(stanza)
      await along?.settle()
    } catch (error) {
      // Before the answer goes: what follows in its order may wait for it.
      await along?.settle().catch(this.context.failed('what goes along with a message was not kept'))
      const answer = this.#refusal(stanza, error)
      if (answer !== undefined) await this.route(answer)
    }
  }

  async #toOurs(to: Jid, stanza: XmlElement, along?: Along): Promise<void> {
    const account = to.local === ''
      ? undefined
      : this.accounts.loaded(to) ?? await this.accounts.get(to)
    if (stanza.name === 'iq') await this.#iqToOurs(account, to, stanza)
    else if (to.local === '') this.#toServer(stanza)
    else if (stanza.name === 'message') await this.messages.toAccount(account, to, stanza, along)
    else await this.presence.toAccount(account, to, stanza)
  }

  /** Messages and presence for the server itself: nobody reads them. */
  #toServer(stanza: XmlElement): void {
    if (stanza.name === 'message' && stanza.attrs.type !== 'error') {
      throw new StanzaError('service-unavailable', 'the server itself reads no messages')
    }
  }

  // ── Requests ──────────────────────────────────────────────────────────────────────────────

  async #iqFromClient(account: Account, stanza: XmlElement): Promise<void> {
    const type = iqType(stanza)
    if (stanza.attrs.to !== undefined) {
      const to = Jid.parse(stanza.attrs.to)
      if (to !== undefined && this.#isBlocked(account, to)) throw blockedByUs()
      await this.route(stanza)
      return
    }
    // On behalf of the account (RFC 6120 §10.3.3).
    if (type !== 'get' && type !== 'set') return
    await this.#serve('account', { type, to: account.jid, stanza })
  }

  async #iqToOurs(account: Account | undefined, to: Jid, stanza: XmlElement): Promise<void> {
    const type = iqType(stanza)
    if (to.local === '' && to.resource === '') {
      if (type === 'get' || type === 'set') await this.#serve('server', { type, to, stanza })
      else this.calls.answered(stanza)
      return
    }
    const from = Jid.parse(stanza.attrs.from ?? '')
    if (account !== undefined && from !== undefined && this.#isBlocked(account, from)) {
      throw new StanzaError('service-unavailable')
    }
    const delivery = iqDelivery(type, { resource: to.resource, resources: account?.resources })
    switch (delivery.kind) {
      case 'refuse': throw new StanzaError(delivery.condition)
      case 'serve':
        await this.#serve('account', { type: type as 'get' | 'set', to, stanza })
        return
      case 'deliver':
        // Clients were known to believe a roster push of anybody (RFC 6121 §2.1.6).
        if (type === 'set' && from?.bare !== to.bare && stanza.childOf(ns.roster) !== undefined) {
          throw new StanzaError('service-unavailable')
        }
        for (const { session } of (delivery.to as readonly Resource[])) session.send(stanza)
        return
      default:
        // An answer to what the account's side of the server asked.
        this.calls.answered(stanza)
    }
  }

  async #serve(
    target: 'server' | 'account',
    { type, to, stanza }: { readonly type: 'get' | 'set', readonly to: Jid, readonly stanza: XmlElement },
  ): Promise<void> {
    const [payload] = stanza.elements()
    const from = Jid.parse(stanza.attrs.from ?? '')
    if (payload === undefined || from === undefined) throw new StanzaError('bad-request')
    const route = this.context.iq.find(target, { type, ns: payload.ns, name: payload.name })
    if (route === undefined) throw new StanzaError('service-unavailable')
    const answer = await route.handle({ type, from, to, payload, stanza })
    const { id } = stanza.attrs
    const attrs = { type: 'result', id, to: from.toString(), from: stanza.attrs.to ?? to.toString() }
    await this.route(el(ns.client, 'iq', attrs, answer))
  }

  #refusal(stanza: XmlElement, error: unknown): XmlElement | undefined {
    if (!(error instanceof StanzaError)) {
      this.context.log.error({ err: error }, 'a stanza could not be handled')
    }
    if (!mayBounce(stanza) || stanza.name === 'presence' && stanza.attrs.to === undefined) return undefined
    const known = error instanceof StanzaError ? error : new StanzaError('internal-server-error')
    const answer = toError(stanza, known)
    return answer.attrs.from === undefined ? answer.withAttrs({ from: this.#domain }) : answer
  }
}

/** RFC 6120 §8.2.3: a type, an id, and exactly one child in a request. @throws StanzaError `bad-request` */
function iqType({ attrs, children }: XmlElement): 'get' | 'set' | 'result' | 'error' {
  const { type, id } = attrs
  if (type !== 'get' && type !== 'set' && type !== 'result' && type !== 'error') {
    throw new StanzaError('bad-request', 'an iq is of type get, set, result or error')
  }
  if (id === undefined) throw new StanzaError('bad-request', 'an iq has an id')
  const count = children.filter((child) => typeof child !== 'string').length
  if ((type === 'get' || type === 'set') && count !== 1) {
    throw new StanzaError('bad-request', `a request has exactly one child, this one has ${count}`)
  }
  return type
}

/**
 * Presence (RFC 6121 §3 and §4): what our users' clients say of themselves, who may see it, and the
 * subscriptions that decide that.
 *
 * ```text
 *   a client                                             others
 *   <presence/> ────► broadcast ─────────────────────► subscribers, own resources
 *                └──► probes ────────────────────────► those whose presence it sees
 *   <presence to/> ─► directed (remembered) ─────────► that one
 *   subscribe … ────► roster, push ──────────────────► the contact
 *                     roster, push, own resources ◄─── subscribe … of a contact
 *                     answers for the account ◄─────── probe
 * ```
 */
import { hex } from '../../../crypto/bytes.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { blockedByUs, StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { readElement, writeElement } from '../xml/text.ts'
import type { Account } from './account.ts'
import { presenceDelivery } from './delivery-rules.ts'
import type { HostContext } from './host-context.ts'
import type { Resource } from './resource.ts'
import { rosterItem } from './roster.ts'
import type { RosterEntry } from './roster.ts'
import { inbound, isSubscriptionType, outbound } from './subscription-states.ts'
import type { SubscriptionType } from './subscription-states.ts'

export interface PresenceHooks {
  /** A resource became available; `isFirst`: it was not before. */
  available(account: Account, resource: Resource, isFirst: boolean): void
  /** Somebody's presence reached an account of ours, or that of one of its resources changed. */
  seen(account: Account, presence: XmlElement): void
  /** Whether the account does not want to hear of, or be seen by, this JID (XEP-0191). */
  isBlocked(account: Account, jid: Jid): boolean
  /** What others see of an available presence of our own (XEP-0398). */
  decorate(account: Account, presence: XmlElement): XmlElement
}

/** What may be sent to somebody who is blocked: it only takes away. */
const endings: ReadonlySet<string> = new Set(['unavailable', 'unsubscribe', 'unsubscribed'])
/** Waiting requests are kept in this form, so that one does not fill the roster. */
const requestTextMax = 4_096

export class Presence {
  readonly #context: HostContext
  readonly #hooks: PresenceHooks

  constructor(context: HostContext, hooks: PresenceHooks) {
    this.#context = context
    this.#hooks = hooks
  }

  // ── From our clients ──────────────────────────────────────────────────────────────────────

  /** `stanza.from` is the full JID of the resource. */
  async fromClient(account: Account, resource: Resource, stanza: XmlElement): Promise<void> {
    const { type, to } = stanza.attrs
    if (to === undefined) {
      if (type === undefined) await this.#available(account, resource, stanza)
      else if (type === 'unavailable') await this.#unavailable(account, resource, stanza)
      else throw new StanzaError('bad-request', `presence of type ${type} needs an address`)
      return
    }
    const target = Jid.parse(to)
    if (target === undefined) {
      throw new StanzaError('jid-malformed', 'the address of the presence is malformed')
    }
    if (!endings.has(type ?? '') && this.#hooks.isBlocked(account, target)) throw blockedByUs()
    if (isSubscriptionType(type)) {
      await this.#subscription(account, stanza, { target: target.toBare(), type })
      return
    }
    // Probes are the server's to send (RFC 6121 §4.3.1); ours go out with the first presence.
    if (type === 'probe') return
    if (type === undefined) this.#remember(resource, target)
    if (type === 'unavailable') resource.directed.delete(target.toString())
    await this.#context.route(stanza)
  }

  /** Its stream ended for good: as if it had said so. */
  async ended(account: Account, resource: Resource): Promise<void> {
    const stanza = el(ns.client, 'presence', { from: resource.jid.toString(), type: 'unavailable' })
    await this.#unavailable(account, resource, stanza)
  }

  async #available(account: Account, resource: Resource, stanza: XmlElement): Promise<void> {
    const isFirst = !resource.isAvailable
    resource.priority = parsePriority(stanza)
    resource.presence = this.#hooks.decorate(account, stanza)
    this.#broadcast(account, resource.presence)
    if (isFirst) {
      this.#probe(account, resource)
      for (const other of account.available()) {
        if (other !== resource) resource.session.send(addressed(other.presence!, account.jid))
      }
      for (const { request } of account.roster.all()) {
        const waiting = request === undefined ? undefined : readElement(request)
        if (waiting !== undefined) resource.session.send(waiting)
      }
    }
    this.#hooks.available(account, resource, isFirst)
  }

  async #unavailable(account: Account, resource: Resource, stanza: XmlElement): Promise<void> {
    const wasAvailable = resource.isAvailable
    resource.presence = undefined
    resource.priority = undefined
    if (wasAvailable) {
      this.#broadcast(account, stanza)
      resource.session.send(addressed(stanza, account.jid))
    }
    for (const jid of resource.directed) void this.#context.route(stanza.withAttrs({ to: jid }))
    resource.directed.clear()
  }

  /** What it is decorated with has changed: says the presence of all resources again. */
  refresh(account: Account): void {
    for (const resource of account.available()) {
      resource.presence = this.#hooks.decorate(account, resource.presence!)
      this.#broadcast(account, resource.presence)
    }
  }

  #broadcast(account: Account, stanza: XmlElement): void {
    this.#hooks.seen(account, stanza)
    for (const other of account.available()) other.session.send(addressed(stanza, account.jid))
    this.#toContacts(account, account.roster.subscribers(), stanza)
  }

  #probe(account: Account, resource: Resource): void {
    const probe = el(ns.client, 'presence', { from: resource.jid.toString(), type: 'probe' })
    this.#toContacts(account, account.roster.subscriptions(), probe)
  }

  /** To each of them that is not blocked (XEP-0191 §3.3). */
  #toContacts(account: Account, contacts: readonly string[], stanza: XmlElement): void {
    for (const to of contacts) {
      if (this.#hooks.isBlocked(account, Jid.parse(to)!)) continue
      void this.#context.route(stanza.withAttrs({ to }))
    }
  }

  #remember(resource: Resource, target: Jid): void {
    if (resource.directed.size < xmppLimits.directedPresencesMax) {
      resource.directed.add(target.toString())
      return
    }
    if (resource.directed.has(target.toString())) return
    const message = `presence was sent to ${xmppLimits.directedPresencesMax} addresses already`
    throw new StanzaError('resource-constraint', message)
  }

  async #subscription(
    account: Account,
    stanza: XmlElement,
    { target, type }: { readonly target: Jid, readonly type: SubscriptionType },
  ): Promise<void> {
    if (target.equals(account.jid)) throw new StanzaError('not-allowed', 'nobody subscribes to themselves')
    // Decided of the entry as it is in its turn: a client does not wait between two of these.
    const { before, after } = await account.roster.change(target, (entry) => {
      const { next } = outbound(entry, type)
      return {
        ...entry,
        ...next,
        isListed: entry.isListed || type === 'subscribe' || next.approved || next.from,
        request: next.pendingIn ? entry.request : undefined,
      }
    })
    const step = outbound(before, type)
    this.pushChange(account, before, after)
    const { jid } = account
    if (step.passes) await this.#context.route(stanza.withAttrs({ from: jid.bare, to: target.bare }))
    if (step.presence !== undefined) this.#show(account, target, step.presence)
  }

  // ── From others ───────────────────────────────────────────────────────────────────────────

  /** To an account of ours. `stanza.from` is proven. */
  async toAccount(account: Account | undefined, to: Jid, stanza: XmlElement): Promise<void> {
    const from = Jid.parse(stanza.attrs.from ?? '')
    const { type } = stanza.attrs
    if (from === undefined) return
    if (account === undefined) {
      // As for one that is there: whether it is, a stranger does not learn (RFC 6121 §4.3.2).
      if (type === 'probe') await this.#unsubscribed(to, from)
      return
    }
    if (this.#hooks.isBlocked(account, from)) return
    if (isSubscriptionType(type)) await this.#subscriptionFrom(account, stanza, { from: from.toBare(), type })
    else if (type === 'probe') this.#probed(account, from, to)
    else this.#deliver(account, to, stanza)
  }

  #deliver(account: Account, to: Jid, stanza: XmlElement): void {
    const { type } = stanza.attrs
    if (type !== undefined && type !== 'unavailable' && type !== 'error') return
    const { resources } = account
    if (type !== 'error') this.#hooks.seen(account, stanza)
    const delivery = presenceDelivery({ resource: to.resource, resources })
    if (delivery.kind !== 'deliver') return
    for (const { session } of delivery.to) session.send(stanza)
  }

  /** RFC 6121 §4.3.2: answered for the account, to those who may see it. */
  #probed(account: Account, from: Jid, to: Jid): void {
    const mayask = account.roster.state(from).from || from.bare === account.jid.bare
    if (!mayask) {
      if (account.roster.get(from)?.pendingIn !== true) void this.#unsubscribed(account.jid, from)
      return
    }
    const seen = account.available().filter(({ resource }) => to.isBare || resource === to.resource)
    for (const { presence } of seen) void this.#context.route(presence!.withAttrs({ to: from.toString() }))
    if (seen.length > 0) return
    const gone = { from: to.toString(), to: from.toString(), type: 'unavailable' }
    void this.#context.route(el(ns.client, 'presence', gone))
  }

  async #unsubscribed(account: Jid, stranger: Jid): Promise<void> {
    const attrs = { from: account.bare, to: stranger.bare, type: 'unsubscribed' }
    await this.#context.route(el(ns.client, 'presence', attrs))
  }

  async #subscriptionFrom(
    account: Account,
    stanza: XmlElement,
    { from, type }: { readonly from: Jid, readonly type: SubscriptionType },
  ): Promise<void> {
    const arrived = stanza.withAttrs({ from: from.bare, to: account.jid.bare })
    const { before, after } = await account.roster.change(from, (entry) => {
      const { next } = inbound(entry, type)
      const request = next.pendingIn ? entry.request ?? requestText(arrived) : undefined
      return { ...entry, ...next, request }
    })
    const step = inbound(before, type)
    if (step.passes) {
      const resources = type === 'subscribe' ? account.available() : account.interested()
      for (const { session } of resources) session.send(arrived)
    }
    this.pushChange(account, before, after)
    const { bare } = account.jid
    if (step.reply !== undefined) {
      await this.#context.route(el(ns.client, 'presence', { from: bare, to: from.bare, type: step.reply }))
    }
    if (step.presence !== undefined) this.#show(account, from, step.presence)
    // What they show us is over; their server may not say so.
    if (type === 'unsubscribed' && step.passes) this.#hide(account, from)
  }

  // ── Both ──────────────────────────────────────────────────────────────────────────────────

  /** Lets one contact see all available resources, or see them go. */
  #show(account: Account, contact: Jid, kind: 'available' | 'unavailable'): void {
    for (const { presence, jid } of account.available()) {
      const stanza = kind === 'available'
        ? presence!.withAttrs({ to: contact.bare })
        : el(ns.client, 'presence', { from: jid.toString(), to: contact.bare, type: 'unavailable' })
      void this.#context.route(stanza)
    }
  }

  #hide(account: Account, contact: Jid): void {
    const gone = el(ns.client, 'presence', { from: contact.bare, to: account.jid.bare, type: 'unavailable' })
    for (const { session } of account.available()) session.send(gone)
  }

  /** Tells clients of a changed entry, if they see a difference (RFC 6121 §2.1.6). */
  pushChange(account: Account, before: RosterEntry, after: RosterEntry | undefined): void {
    if (before === after || (!before.isListed && after?.isListed !== true)) return
    const item = after?.isListed === true
      ? rosterItem(after)
      : el(ns.roster, 'item', { jid: before.jid, subscription: 'remove' })
    if (after?.isListed === true && before.isListed && isSameItem(rosterItem(before), item)) return
    const { version } = account.roster
    for (const { session } of account.interested()) {
      const id = `push-${hex(this.#context.random.bytes(8))}`
      const attrs = { type: 'set', id, from: account.jid.bare, to: session.jid.toString() }
      session.send(el(ns.client, 'iq', attrs, el(ns.roster, 'query', { ver: version }, item)))
    }
  }

  /**
   * A removed contact loses and gives up all subscriptions (RFC 6121 §2.5.2).
   * @throws StanzaError `item-not-found`
   */
  async remove(account: Account, contact: Jid): Promise<void> {
    const known = account.roster.get(contact)
    if (known?.isListed !== true) throw new StanzaError('item-not-found', 'there is no such roster entry')
    const { before } = await account.roster.change(contact, () => undefined)
    const { bare } = account.jid
    const ends = [
      ...before.to || before.ask ? ['unsubscribe'] : [],
      ...before.from || before.pendingIn ? ['unsubscribed'] : [],
    ]
    this.pushChange(account, before, undefined)
    for (const type of ends) {
      await this.#context.route(el(ns.client, 'presence', { from: bare, to: contact.bare, type }))
    }
    if (before.from) this.#show(account, contact, 'unavailable')
    if (before.to) this.#hide(account, contact)
  }
}

function addressed(stanza: XmlElement, to: Jid): XmlElement {
  return stanza.withAttrs({ to: to.bare })
}

/** RFC 6121 §4.7.2.3: -128 to 127. */
function parsePriority(stanza: XmlElement): number {
  const given = stanza.childText('priority')?.trim()
  if (given === undefined) return 0
  const priority = /^[+-]?\d{1,3}$/.test(given) ? Number(given) : NaN
  if (!(priority >= -128 && priority <= 127)) {
    throw new StanzaError('bad-request', 'a priority is a whole number from -128 to 127')
  }
  return priority
}

/** Status and nickname stay as long as they are short. */
function requestText(stanza: XmlElement): string {
  const whole = writeElement(stanza)
  return whole.length <= requestTextMax ? whole : writeElement(stanza.withChildren([]))
}

function isSameItem(a: XmlElement, b: XmlElement): boolean {
  return writeElement(a) === writeElement(b)
}

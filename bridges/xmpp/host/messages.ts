/**
 * Messages (RFC 6121 §5, §8.5): from a client of ours on their way out, and to an account of ours.
 *
 * ```text
 *   sender's client ─► archive of the sender ─► carbons "sent" ─► route
 *   route ─► sanitise ─► archive of the receiver + offline mark, one durable batch
 *                                └─► resources by the delivery rules ─► carbons "received"
 *                                         └─► confirmed by a client: the mark is struck off
 * ```
 *
 * Whoever handed a message over learns that it is durable by the promise, and only then is it
 * acknowledged to where it came from (XEP-0198).
 */
import { Along } from '../along.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { blockedByUs, StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { KvOperation } from '../../../protocol/ports.ts'
import type { Account } from './account.ts'
import { carbonOf, isForCarbons, isPrivate, withoutPrivate } from './carbons.ts'
import { messageDelivery, messageType } from './delivery-rules.ts'
import type { HostContext } from './host-context.ts'
import type { MessageArchive } from './message-archive.ts'
import type { OfflineMessages } from './offline.ts'
import type { Resource } from './resource.ts'

export interface MessageParts {
  readonly archive: MessageArchive
  readonly offline: OfflineMessages
  /** XEP-0191. */
  readonly isBlocked: (account: Account, jid: Jid) => boolean
  /** What openIM and others want to know of a message that one of our users sent or got. */
  readonly observed?: (account: Account, message: XmlElement) => void
}

export class Messages {
  readonly #context: HostContext
  readonly #parts: MessageParts
  /** Messages of a sender that are kept before they are routed: later ones go after them. */
  readonly #keptApart = new WeakMap<Account, number>()

  constructor(context: HostContext, parts: MessageParts) {
    this.#context = context
    this.#parts = parts
  }

  /** `stanza.from` is the full JID of the resource. */
  async fromClient(account: Account, resource: Resource, given: XmlElement): Promise<void> {
    const { archive } = this.#parts
    const to = given.attrs.to === undefined ? account.jid : Jid.parse(given.attrs.to)
    if (to === undefined) throw new StanzaError('jid-malformed', 'the address of the message is malformed')
    if (this.#parts.isBlocked(account, to)) throw blockedByUs()
    // Stripped before it is kept or copied: nobody else may speak in our name.
    const own = this.#sanitised(account, given)
    const stanza = own.attrs.to === undefined ? own.withAttrs({ to: to.bare }) : own
    const isToSelf = to.bare === account.jid.bare
    // To ourselves: archived once, by the receiving side.
    const isKept = !isToSelf && archive.isArchiving && archive.isKept(stanza)
    const isHidden = isPrivate(stanza)
    const outgoing = isHidden ? withoutPrivate(stanza) : stanza
    const operations = !isKept ? undefined
      : archive.operations(account.id, { id: archive.nextId(account.id), peer: to, message: stanza })
    const { kept, routed } = this.#keepAndRoute(account, { to, outgoing, operations })
    // Another device may come while the message is being kept.
    const mayBeOthers = kept !== undefined || account.size > 1
    const isCopied = mayBeOthers && !isToSelf && !isHidden && isForCarbons(stanza)
    const copied = !isCopied ? undefined : account.inOrder(kept, () =>
      this.#carbons('sent', { account, message: stanza, except: new Set([resource]) }))
    await (copied === undefined ? routed : Promise.all([copied, routed]))
  }

  /**
   * `kept` settles when the sender's archive has it: written in one batch with what the receiver
   * keeps where the receiver is an account in use here, else before it is routed.
   */
  #keepAndRoute(account: Account, { to, outgoing, operations }: {
    readonly to: Jid, readonly outgoing: XmlElement, readonly operations: readonly KvOperation[] | undefined,
  }): { readonly kept: Promise<unknown> | undefined, readonly routed: Promise<void> } {
    const { kv, route } = this.#context
    if (operations === undefined) return { kept: undefined, routed: route(outgoing) }
    const apart = this.#keptApart.get(account) ?? 0
    if (apart === 0 && this.#context.loaded(to) !== undefined) {
      const along = new Along(kv, operations)
      return { routed: route(outgoing, along), kept: along.kept }
    }
    this.#keptApart.set(account, apart + 1)
    const kept = kv.write(operations)
    const routed = kept.then(() => route(outgoing)).finally(() => {
      this.#keptApart.set(account, this.#keptApart.get(account)! - 1)
    })
    return { kept, routed }
  }

  /**
   * To an account of ours, or to none. `stanza.from` is proven. `along` goes into the batch that keeps
   * it, where it is kept.
   * @throws StanzaError what the sender is to be told
   */
  async toAccount(
    account: Account | undefined,
    to: Jid,
    given: XmlElement,
    along?: Along,
  ): Promise<void> {
    const type = messageType(given.attrs.type)
    const resources = account?.resources
    const from = Jid.parse(given.attrs.from ?? '')
    if (account === undefined || from === undefined) {
      const delivery = messageDelivery(type, { resource: to.resource, resources: undefined })
      if (delivery.kind === 'refuse') throw new StanzaError(delivery.condition, 'there is no such account')
      return
    }
    if (this.#parts.isBlocked(account, from)) {
      if (type === 'error') return
      throw new StanzaError('service-unavailable', 'the recipient takes no messages from this address')
    }
    const delivery = messageDelivery(type, { resource: to.resource, resources: resources! })
    if (delivery.kind === 'ignore') return
    if (delivery.kind === 'refuse') throw new StanzaError(delivery.condition, 'the recipient is not there')
    const message = this.#sanitised(account, given)
    const { archive } = this.#parts
    const isTaken = delivery.kind === 'deliver'
    if (!archive.isKept(message) || (isTaken && !archive.isArchiving)) {
      // Chat states and the like are for those who are there.
      if (!isTaken) return
      await account.inOrder(undefined, () => this.#hand(account, delivery.to, message))
      return
    }
    const targets = isTaken ? delivery.to : []
    await this.#keepAndHand(account, { from, to, message, targets, along })
  }

  /** Written by the account somewhere else than in an XMPP client: into its archive and to its devices. */
  async sentElsewhere(account: Account, message: XmlElement, extra: readonly KvOperation[]): Promise<void> {
    const { archive } = this.#parts
    const peer = Jid.parse(message.attrs.to!)!
    const id = archive.nextId(account.id)
    const written = this.#context.kv.write(
      [...archive.operations(account.id, { id, peer, message }), ...extra],
    )
    await account.inOrder(written, () => this.#carbons('sent', { account, message, except: new Set() }))
  }

  async #keepAndHand(
    account: Account,
    { from, to, message, targets, along }: {
      readonly from: Jid, readonly to: Jid, readonly message: XmlElement,
      readonly targets: readonly Resource[],
      readonly along: Along | undefined,
    },
  ): Promise<void> {
    const { archive, offline } = this.#parts
    if (targets.length === 0) await this.#assertRoom(account)
    const id = archive.nextId(account.id)
    const marked = message.plus(el(ns.stanzaIds, 'stanza-id', { by: account.jid.bare, id }))
    const isToSelf = from.bare === account.jid.bare
    const batch = [
      ...archive.isArchiving
        ? archive.operations(account.id, { id, peer: isToSelf ? to : from, message: marked })
        : [],
      offline.operation(account.id, archive.isArchiving ? { id } : { id, message: marked }),
    ]
    const written = along === undefined ? this.#context.kv.write(batch) : along.write(batch)
    await account.inOrder(written, () => {
      this.#parts.observed?.(account, marked)
      this.#hand(account, targets, marked, id)
    })
  }

  /** `id`: of one that is kept until a device confirmed it. */
  #hand(account: Account, targets: readonly Resource[], message: XmlElement, id?: string): void {
    const isHidden = isPrivate(message)
    const stanza = isHidden ? withoutPrivate(message) : message
    for (const resource of targets) {
      if (id === undefined) resource.session.send(stanza)
      else this.#sendKept(account, resource, { id, stanza })
    }
    if (isHidden || !isForCarbons(message)) return
    this.#carbons('received', { account, message: stanza, except: new Set(targets) })
  }

  /** Once: it may be on its way to this device already, as new or as one that waited. */
  #sendKept(
    account: Account,
    resource: Resource,
    { id, stanza }: { readonly id: string, readonly stanza: XmlElement },
  ): void {
    if (resource.underway.has(id)) return
    resource.underway.add(id)
    resource.session.send(stanza, () => {
      this.#parts.offline.strike(account.id, id)
      resource.underway.delete(id)
    })
  }

  #carbons(
    direction: 'sent' | 'received',
    { account, message, except }: {
      readonly account: Account, readonly message: XmlElement, readonly except: ReadonlySet<Resource>
    },
  ): void {
    for (const resource of account.resources) {
      if (!resource.wantsCarbons || except.has(resource)) continue
      resource.session.send(carbonOf(direction, message, { account: account.jid, to: resource.jid }))
    }
  }

  /** The mailbox of somebody who is away is bounded; the sender is told, and nothing older goes. */
  async #assertRoom(account: Account): Promise<void> {
    const most = xmppLimits.offlineMessagesMax
    if (await this.#parts.offline.count(account.id) < most) return
    throw new StanzaError('resource-constraint', `${most} messages wait for the recipient already`)
  }

  /** Takes away what only we may say: our stanza ids and our delays (XEP-0359 §6, XEP-0203 §4). */
  #sanitised(account: Account, message: XmlElement): XmlElement {
    // However it is written: clients compare prepared addresses.
    const isOurs = (given = ''): boolean =>
      [account.jid.bare, account.jid.domain].includes(Jid.parse(given)?.toString() ?? '')
    return message.without((child) => {
      if (child.is('stanza-id', ns.stanzaIds)) return isOurs(child.attrs.by)
      return child.is('delay', ns.delay) && isOurs(child.attrs.from)
    })
  }

  /** A client has come: what waits is handed to it. */
  async handWaiting(account: Account, resource: Resource): Promise<void> {
    for await (const waiting of this.waiting(account)) {
      await resource.session.room()
      if (account.resource(resource.resource) !== resource) return
      this.#sendKept(account, resource, waiting)
    }
  }

  /** What no device has for certain, the oldest first, with the time it came. */
  async *waiting(account: Account): AsyncGenerator<{ readonly id: string, readonly stanza: XmlElement }> {
    const { offline, archive } = this.#parts
    for await (const { id, message } of offline.waiting(account.id)) {
      yield { id, stanza: message.plus(delayOf(account.jid.domain, archive.timeOf(id))) }
    }
  }
}

export function delayOf(domain: string, atMs: number): XmlElement {
  return el(ns.delay, 'delay', { from: domain, stamp: new Date(atMs).toISOString() })
}

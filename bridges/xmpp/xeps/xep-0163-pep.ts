/**
 * Personal Eventing (XEP-0163 1.2.2) with what of Publish-Subscribe (XEP-0060 1.26) it needs: each
 * account is a service whose nodes its owner alone publishes to. With `publish-options`,
 * `access_model=open`, persistent items and `max_items=max` it carries OMEMO's lists and bundles.
 *
 * ```text
 *   owner publishes ─► node ─► event to own resources and to contacts that see our presence,
 *                              each of them only when its capabilities say NODE+notify (XEP-0115)
 *   a resource or contact comes, or says other capabilities ─► the last item of each such node
 * ```
 */
import { hex } from '../../../crypto/bytes.ts'
import type { Account } from '../host/account.ts'
import { ownerOf } from '../host/owner.ts'
import type { HostHooks, XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { IqRequest } from '../ports.ts'
import { StanzaError } from '../stanza-errors.ts'
import type { StanzaCondition } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { Capabilities } from './xep-0115-caps.ts'
import { configForm, meets, readConfig } from './pubsub-forms.ts'
import { defaultConfig, PersonalNodes } from './pubsub-nodes.ts'
import type { NodeConfig, PersonalItem, PersonalNode } from './pubsub-nodes.ts'

const pubsubOwner = `${ns.pubsub}#owner`

/** XEP-0060 §10: what discovery says of an account. */
const features = [
  'access-open', 'access-presence', 'access-whitelist', 'auto-create', 'auto-subscribe', 'config-node',
  'config-node-max', 'create-and-configure', 'create-nodes', 'delete-items', 'delete-nodes',
  'filtered-notifications', 'item-ids', 'last-published', 'multi-items', 'persistent-items', 'publish',
  'publish-options', 'purge-nodes', 'retract-items', 'retrieve-items', 'retrieve-default',
] as const

export interface PepObserver {
  /** An item was published on an account's node, before others are told. */
  published?(account: Account, node: PersonalNode, item: PersonalItem): Promise<void>
}

/**
 * Whose presence our user sees counts too: they may become a subscriber without another presence, as
 * when two subscribe to each other.
 */
interface SeenContact {
  readonly jid: Jid
  readonly presence: XmlElement
  /** Was one when it was seen: it has been told of what was there. */
  readonly isSubscriber: boolean
}

export class PersonalEvents {
  readonly #host: XmppHost
  readonly #capabilities: Capabilities
  readonly #services = new WeakMap<Account, Promise<PersonalNodes>>()
  /** Available contacts whose events may go to, by their full JID. */
  readonly #contacts = new WeakMap<Account, Map<string, SeenContact>>()
  readonly #observers: PepObserver[] = []

  constructor(host: XmppHost, capabilities: Capabilities) {
    this.#host = host
    this.#capabilities = capabilities
  }

  observe(observer: PepObserver): void {
    this.#observers.push(observer)
  }

  nodes(account: Account): Promise<PersonalNodes> {
    const { kv } = this.#host.context
    const known = this.#services.get(account)
    if (known !== undefined) return known
    const opening = PersonalNodes.open(kv, account.id)
    this.#services.set(account, opening)
    opening.catch(() => this.#services.delete(account))
    return opening
  }

  /** Publishes in the owner's name and tells who wants to know. */
  async publish(
    account: Account,
    name: string,
    { id, payload, config = defaultConfig }: {
      readonly id: string, readonly payload: XmlElement | undefined, readonly config?: NodeConfig
    },
  ): Promise<void> {
    const nodes = await this.nodes(account)
    const { node } = await nodes.publish(name, { id, payload, publisher: account.jid.bare }, config)
    const item = node.items.at(-1)!
    for (const observer of this.#observers) await observer.published?.(account, node, item)
    this.notify(account, node, el(ns.pubsubEvent, 'items', { node: name }, itemElement(item, {
      ns: ns.pubsubEvent, withPayload: node.config.deliversPayloads,
    })))
  }

  /** Which of these were there; they are gone, and who wants to know is told. */
  async retract(
    account: Account,
    node: PersonalNode,
    { ids, isTold }: { readonly ids: readonly string[], readonly isTold: boolean },
  ): Promise<readonly PersonalItem[]> {
    const gone = await (await this.nodes(account)).retract(node.name, ids)
    const retracts = gone.map(({ id }) => el(ns.pubsubEvent, 'retract', { id }))
    if (isTold && gone.length > 0) {
      this.notify(account, node, el(ns.pubsubEvent, 'items', { node: node.name }, ...retracts))
    }
    return gone
  }

  /** To own resources and contacts whose capabilities ask for this node. */
  notify(account: Account, { name, config }: PersonalNode, content: XmlElement): void {
    const event = el(ns.pubsubEvent, 'event', {}, content)
    const wanted = `${name}+notify`
    const tell = async (presence: XmlElement): Promise<void> => {
      const known = await this.#capabilities.features(account, presence)
      if (known.has(wanted)) await this.#send(account, presence.attrs.from!, event)
    }
    const told = [
      ...account.available().map(({ presence }) => presence!),
      ...isPrivate(config) ? [] : this.#subscribers(account),
    ]
    for (const presence of told) tell(presence).catch(this.#host.context.failed('an event was not told'))
  }

  #subscribers(account: Account): XmlElement[] {
    return [...this.#contacts.get(account)?.values() ?? []]
      .filter(({ jid }) => account.roster.state(jid).from).map(({ presence }) => presence)
  }

  /** Somebody's presence was seen: what they want to know and missed is told. */
  async seen(account: Account, presence: XmlElement): Promise<void> {
    const from = Jid.parse(presence.attrs.from ?? '')
    if (from === undefined || from.isBare) return
    const isOwn = from.bare === account.jid.bare
    const contacts = this.#contacts.get(account) ?? new Map<string, SeenContact>()
    this.#contacts.set(account, contacts)
    const known = contacts.get(from.toString())
    if (presence.attrs.type !== undefined) {
      contacts.delete(from.toString())
      return
    }
    const { from: isSubscriber, to: isSubscription } = account.roster.state(from)
    if (!isOwn && !isSubscriber && !isSubscription) return
    if (contacts.size >= xmppLimits.pepContactsMax && known === undefined && !isOwn) return
    const before = known?.isSubscriber === true ? known.presence : undefined
    const asked = this.#capabilities.knownFeatures(before ?? presence)
    const isNew = before === undefined || capsText(before) !== capsText(presence)
    if (!isOwn) contacts.set(from.toString(), { jid: from, presence, isSubscriber })
    if (!isNew || !(isOwn || isSubscriber)) return
    const features = await this.#capabilities.features(account, presence)
    const nodes = await this.nodes(account)
    for (const node of nodes.list()) {
      const wanted = `${node.name}+notify`
      const last = node.items.at(-1)
      const isOver = node.config.sendLast !== 'on_sub_and_presence' || last === undefined
      if (isOver || !features.has(wanted) || (before !== undefined && asked.has(wanted))) continue
      if (!isOwn && isPrivate(node.config)) continue
      const items = el(ns.pubsubEvent, 'items', { node: node.name }, itemElement(last, {
        ns: ns.pubsubEvent, withPayload: node.config.deliversPayloads,
      }))
      await this.#send(account, from.toString(), el(ns.pubsubEvent, 'event', {}, items))
    }
  }

  async #send(account: Account, to: string, event: XmlElement): Promise<void> {
    const attrs = { from: account.jid.bare, to, type: 'headline' }
    await this.#host.context.route(el(ns.client, 'message', attrs, event))
  }

  /** @throws StanzaError when `from` may not read the node (XEP-0060 §6.5.9) */
  assertReadable(account: Account, { config }: PersonalNode, from: Jid): void {
    if (from.bare === account.jid.bare || config.accessModel === 'open') return
    const { from: isSubscriber } = account.roster.state(from)
    if (config.accessModel === 'presence') {
      if (isSubscriber) return
      throw pubsubError('not-authorized', 'presence-subscription-required')
    }
    if (config.accessModel === 'roster') {
      if (isSubscriber) return
      throw pubsubError('not-authorized', 'not-in-roster-group')
    }
    throw pubsubError('not-allowed', 'closed-node')
  }
}

export function servePep(
  host: XmppHost,
  capabilities: Capabilities,
): { readonly pep: PersonalEvents, readonly hooks: HostHooks } {
  const { iq, random } = host.context
  const pep = new PersonalEvents(host, capabilities)
  const newId = (): string => hex(random.bytes(8))
  iq.addFeatures('account', ns.pubsub, ...features.map((feature) => `${ns.pubsub}#${feature}`))
  iq.add({
    target: 'account', ns: ns.pubsub, name: 'pubsub', type: 'get',
    handle: (request) => readItems(host, pep, request),
  })
  iq.add({
    target: 'account', ns: ns.pubsub, name: 'pubsub', type: 'set',
    async handle(request) {
      const { account } = await ownerOf(host, request)
      const { payload } = request
      const action = payload.elements().find(({ name }) => name !== 'publish-options' && name !== 'configure')
      switch (action?.name) {
        case 'publish': return publish(pep, { account, action, payload, newId })
        case 'retract': return retract(pep, account, action)
        case 'create': return create(pep, { account, action, payload, newId })
        default: throw unsupported(action?.name ?? 'nothing')
      }
    },
  })
  iq.add({
    target: 'account', ns: pubsubOwner, name: 'pubsub',
    async handle(request) {
      const { account } = await ownerOf(host, request)
      return configureNode(pep, account, request)
    },
  })
  const hooks: HostHooks = {
    isBlocked: () => false,
    available() {},
    seen(account, presence) {
      pep.seen(account, presence).catch(host.context.failed('events were not told'))
    },
  }
  return { pep, hooks }
}

async function readItems(host: XmppHost, pep: PersonalEvents, request: IqRequest): Promise<XmlElement> {
  const account = await host.context.account(request.to)
  const [action] = request.payload.elements()
  if (account === undefined) throw new StanzaError('service-unavailable')
  if (action?.name === 'default' && request.from.bare === account.jid.bare) {
    return el(ns.pubsub, 'pubsub', {}, el(ns.pubsub, 'default', {}, configForm(defaultConfig, 'form')))
  }
  if (action?.name !== 'items') throw unsupported(action?.name ?? 'nothing')
  const { node: name, max_items: most } = action.attrs
  if (name === undefined) throw pubsubError('bad-request', 'nodeid-required')
  const nodes = await pep.nodes(account)
  const node = nodes.get(name)
  if (node === undefined) {
    // A stranger learns no more of an account that is there than of one that is not.
    const isKnown = request.from.bare === account.jid.bare || account.roster.state(request.from).from
    throw new StanzaError(isKnown ? 'item-not-found' : 'service-unavailable', 'there is no such node')
  }
  pep.assertReadable(account, node, request.from)
  const ids = action.elements('item').map(({ attrs }) => attrs.id)
  const count = most === undefined ? xmppLimits.pepItemsMax : Number(most)
  if (!Number.isInteger(count) || count < 0) throw new StanzaError('bad-request', 'max_items is no number')
  const chosen = ids.length > 0
    ? node.items.filter(({ id }) => ids.includes(id))
    : node.items.slice(Math.max(0, node.items.length - count))
  const items = chosen.map((item) => itemElement(item, { ns: ns.pubsub, withPayload: true }))
  return el(ns.pubsub, 'pubsub', {}, el(ns.pubsub, 'items', { node: name }, ...items))
}

interface Change {
  readonly account: Account
  readonly action: XmlElement
  readonly payload: XmlElement
  readonly newId: () => string
}

async function publish(
  pep: PersonalEvents, { account, action, payload, newId }: Change,
): Promise<XmlElement> {
  const name = nodeName(action)
  const items = action.elements('item')
  if (items.length > 1) throw pubsubError('bad-request', 'max-items-exceeded')
  const form = payload.child('publish-options')?.child('x', ns.dataForm)
  const nodes = await pep.nodes(account)
  const known = nodes.get(name)
  if (known !== undefined && form !== undefined && !meets(known.config, form)) {
    throw pubsubError('conflict', 'precondition-not-met')
  }
  const config = form === undefined ? defaultConfig : readConfig(form, defaultConfig)
  const [item] = items
  const contents = item?.elements() ?? []
  if (contents.length > 1) throw pubsubError('bad-request', 'invalid-payload')
  const id = item?.attrs.id ?? newId()
  await pep.publish(account, name, { id, payload: contents[0], config })
  return el(ns.pubsub, 'pubsub', {}, el(ns.pubsub, 'publish', { node: name }, el(ns.pubsub, 'item', { id })))
}

async function retract(pep: PersonalEvents, account: Account, action: XmlElement): Promise<undefined> {
  const name = nodeName(action)
  const ids = action.elements('item').map(({ attrs }) => attrs.id ?? '')
  if (ids.length === 0) throw pubsubError('bad-request', 'item-required')
  const nodes = await pep.nodes(account)
  const node = nodes.get(name)
  if (node === undefined) throw new StanzaError('item-not-found', 'there is no such node')
  const isTold = action.attrs.notify === 'true' || action.attrs.notify === '1' || node.config.notifiesRetract
  const gone = await pep.retract(account, node, { ids, isTold })
  if (gone.length === 0) throw new StanzaError('item-not-found', 'there is no such item')
  return undefined
}

async function create(pep: PersonalEvents, { account, action, payload, newId }: Change): Promise<XmlElement> {
  const name = action.attrs.node ?? newId()
  const form = payload.child('configure')?.child('x', ns.dataForm)
  const nodes = await pep.nodes(account)
  await nodes.configure(name, form === undefined ? defaultConfig : readConfig(form, defaultConfig), true)
  return el(ns.pubsub, 'pubsub', {}, el(ns.pubsub, 'create', { node: name }))
}

/** XEP-0060 §8: configure, delete, purge. */
async function configureNode(
  pep: PersonalEvents,
  account: Account,
  { type, payload }: IqRequest,
): Promise<XmlElement | undefined> {
  const [action] = payload.elements()
  const nodes = await pep.nodes(account)
  if (action?.name === 'default' && type === 'get') {
    return el(pubsubOwner, 'pubsub', {}, el(pubsubOwner, 'default', {}, configForm(defaultConfig, 'form')))
  }
  if (action === undefined) throw new StanzaError('bad-request')
  const name = nodeName(action)
  const node = nodes.get(name)
  if (node === undefined) throw new StanzaError('item-not-found', 'there is no such node')
  if (action.name === 'configure' && type === 'get') {
    const form = configForm(node.config, 'form')
    return el(pubsubOwner, 'pubsub', {}, el(pubsubOwner, 'configure', { node: name }, form))
  }
  if (type === 'get') throw unsupported(action.name)
  switch (action.name) {
    case 'configure': {
      const form = action.child('x', ns.dataForm)
      if (form === undefined) throw new StanzaError('bad-request', 'there is no form')
      if (form.attrs.type !== 'cancel') await nodes.configure(name, readConfig(form, node.config))
      return undefined
    }
    case 'delete':
      await nodes.delete(name)
      pep.notify(account, node, el(ns.pubsubEvent, 'delete', { node: name }))
      return undefined
    case 'purge':
      await nodes.retract(name, node.items.map(({ id }) => id))
      pep.notify(account, node, el(ns.pubsubEvent, 'purge', { node: name }))
      return undefined
    default: throw unsupported(action.name)
  }
}

function nodeName({ attrs: { node } }: XmlElement): string {
  if (node === undefined || node === '') throw pubsubError('bad-request', 'nodeid-required')
  if (Buffer.byteLength(node) > 1_024) {
    throw new StanzaError('not-acceptable', 'a node name has at most 1024 bytes')
  }
  return node
}

export function itemElement(
  { id, payload }: PersonalItem,
  { ns, withPayload }: { readonly ns: string, readonly withPayload: boolean },
): XmlElement {
  return el(ns, 'item', { id }, withPayload ? payload : undefined)
}

/** Contacts are never told of its events. */
function isPrivate({ accessModel }: NodeConfig): boolean {
  return accessModel === 'whitelist' || accessModel === 'authorize'
}

function capsText(presence: XmlElement): string {
  return presence.child('c', 'http://jabber.org/protocol/caps')?.attrs.ver ?? ''
}

function pubsubError(condition: StanzaCondition, extra: string): StanzaError {
  return new StanzaError(condition, { extra: el(ns.pubsubErrors, extra) })
}

function unsupported(what: string): StanzaError {
  const extra = el(ns.pubsubErrors, 'unsupported', { feature: what })
  return new StanzaError('feature-not-implemented', { text: `"${what}" is not offered here`, extra })
}

/**
 * Push Notifications (XEP-0357 0.4.1): a client that is about to sleep names the push service of its
 * maker; when something comes for it while it is away, the service is told that something did, and
 * wakes it. What it is told has no sender, no text and no count.
 *
 * ```text
 *   push/ACCOUNT/HASH     HASH of the service and its node: one client, which says so again with each
 *                         login; the resource that it has, its publish options
 *
 *   kept message ──► each registration whose client is away ──► one notification, then none until the
 *                                                               client was here, or a while has passed
 * ```
 */
import { crypto } from '../../../crypto/index.ts'
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import { decode, encode, opaque, struct, text } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Account } from '../host/account.ts'
import { ownerOf } from '../host/owner.ts'
import type { HostHooks, XmppHost } from '../host/xmpp-host.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { readElement, writeElement } from '../xml/text.ts'

const pushNs = 'urn:xmpp:push:0'
/** Other than a body: what a person wants to be woken for. */
const wakingNames = [
  'urn:xmpp:jingle-message:0', 'urn:xmpp:eme:0', 'eu.siacs.conversations.axolotl', 'urn:xmpp:omemo:2',
]

interface Registration {
  /** Of the client that sleeps. */
  readonly resource: string
  /** The push service. */
  readonly service: string
  readonly node: string
  /** As the client gave them (XEP-0060 §7.1.5), a form as text; empty: none. */
  readonly options: Uint8Array
}
const registrationCodec = struct<Registration>({
  resource: text(1_024), service: text(3_072), node: text(1_024),
  options: opaque(xmppLimits.pushOptionsBytesMax),
})

interface Known extends Registration {
  readonly key: string
  /** Of the last notification since the client registered. */
  toldAtMs: number | undefined
}

/** Tells a push service. False: it knows the registration no more. */
export type Notify = (account: Account, registration: Registration) => Promise<boolean>

export function servePush(host: XmppHost): HostHooks {
  const push = new Push(host, (account, registration) => publish(host, account, registration))
  const { iq } = host.context
  iq.addFeatures('account', pushNs)
  iq.add({
    target: 'account', ns: pushNs, name: 'enable', type: 'set',
    async handle(request) {
      const { account, resource } = await ownerOf(host, request)
      if (resource !== undefined) await push.enable(account, resource.resource, request.payload)
      return undefined
    },
  })
  iq.add({
    target: 'account', ns: pushNs, name: 'disable', type: 'set',
    async handle(request) {
      const { account } = await ownerOf(host, request)
      await push.disable(account, request.payload)
      return undefined
    },
  })
  return {
    isBlocked: () => false,
    available() {},
    seen() {},
    messageObserved: (account, message) => push.came(account, message),
    // What was on its way when the stream was cut.
    hibernating: (account, _resource, stanzas) => stanzas.forEach((stanza) => push.came(account, stanza)),
  }
}

export class Push {
  readonly #host: XmppHost
  readonly #notify: Notify
  readonly #known = new WeakMap<Account, Promise<Map<string, Known>>>()

  constructor(host: XmppHost, notify: Notify) {
    this.#host = host
    this.#notify = notify
  }

  /** @throws StanzaError */
  async enable(account: Account, resource: string, payload: XmlElement): Promise<void> {
    const { jid = '', node = '' } = payload.attrs
    const service = Jid.parse(jid)
    if (service === undefined) throw new StanzaError('bad-request', 'name the address of a push service')
    const form = payload.child('x', ns.dataForm)
    const options = form === undefined ? new Uint8Array(0) : utf8(writeElement(form))
    if (options.length > xmppLimits.pushOptionsBytesMax || utf8(node).length > 1_024) {
      throw new StanzaError('not-acceptable', 'the publish options are too large')
    }
    const registration = { resource, service: service.toString(), node, options }
    const key = keyOf(account, registration)
    const known = await this.#of(account)
    if (!known.has(key) && known.size >= xmppLimits.pushRegistrationsMax) {
      throw new StanzaError('resource-constraint', `there are ${known.size} registrations for push already`)
    }
    await this.#host.context.kv.write([{ type: 'put', key, value: encode(registrationCodec, registration) }])
    known.set(key, { ...registration, key, toldAtMs: undefined })
  }

  /** All of a service, or one node of it (§5.3). @throws StanzaError */
  async disable(account: Account, { attrs: { jid = '', node } }: XmlElement): Promise<void> {
    const service = Jid.parse(jid)?.toString()
    if (service === undefined) throw new StanzaError('bad-request', 'name the address of a push service')
    const going = [...(await this.#of(account)).values()]
      .filter((one) => one.service === service && (node === undefined || one.node === node))
    await this.#forget(account, going)
  }

  /** A message that is kept for the account. */
  came(account: Account, message: XmlElement): void {
    if (!isWaking(account, message)) return
    this.#wake(account).catch(this.#host.context.failed('a push service was not told'))
  }

  async #wake(account: Account): Promise<void> {
    const { clock } = this.#host.context
    for (const one of (await this.#of(account)).values()) {
      const nowMs = clock.monotonicMs()
      const isTold = one.toldAtMs !== undefined && nowMs - one.toldAtMs < xmppLimits.pushAgainMs
      if (isTold || !isAway(account, one.resource)) continue
      one.toldAtMs = nowMs
      if (!await this.#notify(account, one)) await this.#forget(account, [one])
    }
  }

  async #forget(account: Account, going: readonly Known[]): Promise<void> {
    if (going.length === 0) return
    await this.#host.context.kv.write(going.map(({ key }) => ({ type: 'delete', key })))
    const known = await this.#of(account)
    for (const { key } of going) known.delete(key)
  }

  /** Read once for as long as the account is in use. */
  #of(account: Account): Promise<Map<string, Known>> {
    let known = this.#known.get(account)
    if (known === undefined) {
      known = this.#read(account)
      this.#known.set(account, known)
      known.catch(() => this.#known.delete(account))
    }
    return known
  }

  async #read(account: Account): Promise<Map<string, Known>> {
    const found = new Map<string, Known>()
    for await (const { key, value } of kvEntries(this.#host.context.kv, `push/${account.id}/`)) {
      found.set(key, { ...decode(registrationCodec, value), key, toldAtMs: undefined })
    }
    return found
  }
}

/** Its stream is gone, or cut and may come back. */
function isAway(account: Account, resource: string): boolean {
  return account.resource(resource)?.session.isHibernating ?? true
}

function isWaking(account: Account, message: XmlElement): boolean {
  if (message.name !== 'message') return false
  if (Jid.parse(message.attrs.from ?? '')?.bare === account.jid.bare) return false
  return message.child('body') !== undefined || wakingNames.some((one) => message.childOf(one) !== undefined)
}

/** §7: an error that says the node is no more ends the registration; silence and trouble do not. */
async function publish(host: XmppHost, { jid }: Account, registration: Registration): Promise<boolean> {
  const { service, node, options } = registration
  const form = options.length === 0 ? undefined : readElement(utf8Decode(options))
  const answer = await host.calls.ask({ type: 'set', to: Jid.parse(service)!, from: jid },
    el(ns.pubsub, 'pubsub', {},
      el(ns.pubsub, 'publish', { node }, el(ns.pubsub, 'item', {}, el(pushNs, 'notification'))),
      form === undefined ? undefined : el(ns.pubsub, 'publish-options', {}, form)))
  const error = answer?.attrs.type === 'error' ? answer.child('error') : undefined
  const isGone = ['item-not-found', 'gone'].some((one) => error?.child(one, ns.stanzaErrors) !== undefined)
  return !isGone
}

function keyOf({ id }: Account, { service, node }: Registration): string {
  return `push/${id}/${crypto.sha256Hex(utf8(`${service}\0${node}`)).slice(0, 32)}`
}

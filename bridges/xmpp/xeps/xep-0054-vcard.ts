/**
 * vcard-temp (XEP-0054 1.3), its avatar hash in presence (XEP-0153 1.1), and the conversion between
 * that avatar and the one in personal nodes (XEP-0084, XEP-0398 1.0): a client sees one avatar,
 * whichever of the two it knows.
 *
 * ```text
 *   vcard/ACCOUNT           the element as text
 *   client sets vCard ──► PHOTO ──► nodes urn:xmpp:avatar:data, urn:xmpp:avatar:metadata
 *   client publishes metadata ──► PHOTO of the vCard ──► hash in every presence that we send on
 * ```
 */
import { createHash } from 'node:crypto'
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import type { Account } from '../host/account.ts'
import { ownerOf } from '../host/owner.ts'
import type { HostHooks, XmppHost } from '../host/xmpp-host.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { readElement, writeElement } from '../xml/text.ts'
import { defaultConfig } from './pubsub-nodes.ts'
import type { PersonalItem, PersonalNode } from './pubsub-nodes.ts'
import type { PersonalEvents } from './xep-0163-pep.ts'

const vcardNs = 'vcard-temp'
const updateNs = 'vcard-temp:x:update'
const dataNode = 'urn:xmpp:avatar:data'
const metadataNode = 'urn:xmpp:avatar:metadata'

interface Photo {
  readonly bytes: Buffer
  readonly type: string
  /** SHA-1 in hex: names the avatar in both XEPs. */
  readonly hash: string
}

export function serveVcard(host: XmppHost, pep: PersonalEvents): HostHooks {
  const cards = new Cards(host, pep)
  const { iq } = host.context
  for (const target of ['server', 'account'] as const) iq.addFeatures(target, vcardNs)
  iq.addFeatures('account', 'urn:xmpp:pep-vcard-conversion:0')
  iq.add({
    target: 'account', ns: vcardNs, name: 'vCard', type: 'get',
    async handle({ to, from }) {
      const account = await host.context.account(to)
      if (account === undefined) throw new StanzaError('service-unavailable')
      const card = await cards.read(account)
      if (card !== undefined) return card
      if (from.bare === account.jid.bare) return el(vcardNs, 'vCard')
      throw new StanzaError('item-not-found', 'there is no vCard')
    },
  })
  iq.add({
    target: 'account', ns: vcardNs, name: 'vCard', type: 'set',
    async handle(request) {
      const { account } = await ownerOf(host, request)
      await cards.set(account, request.payload)
      return undefined
    },
  })
  pep.observe({ published: (account, node, item) => cards.published(account, node, item) })
  return {
    loading: (account) => cards.load(account),
    isBlocked: () => false,
    available() {},
    seen() {},
    decorate: (account, presence) => cards.decorate(account, presence),
  }
}

class Cards {
  readonly #host: XmppHost
  readonly #pep: PersonalEvents
  /** Avatar hashes by account; empty: it has none. */
  readonly #hashes = new WeakMap<Account, string>()

  constructor(host: XmppHost, pep: PersonalEvents) {
    this.#host = host
    this.#pep = pep
  }

  async load(account: Account): Promise<void> {
    const card = await this.read(account)
    this.#hashes.set(account, card === undefined ? '' : photoOf(card)?.hash ?? '')
  }

  async read({ id }: Account): Promise<XmlElement | undefined> {
    const entry = await this.#host.context.kv.get(`vcard/${id}`)
    return entry === undefined ? undefined : readElement(utf8Decode(entry.value))
  }

  /** By a client: its photo becomes the avatar of the personal nodes. */
  async set(account: Account, card: XmlElement): Promise<void> {
    const before = this.#hashes.get(account) ?? ''
    await this.#write(account, card)
    const photo = photoOf(card)
    if (photo === undefined || photo.hash === before) return
    const { hash, bytes, type } = photo
    const config = { ...defaultConfig, accessModel: 'presence' as const }
    const data = el(dataNode, 'data', {}, bytes.toString('base64'))
    await this.#pep.publish(account, dataNode, { id: hash, payload: data, config })
    const info = el(metadataNode, 'info', { id: hash, bytes: String(bytes.length), type })
    await this.#pep.publish(
      account, metadataNode, { id: hash, payload: el(metadataNode, 'metadata', {}, info), config },
    )
  }

  /** An avatar in the personal nodes becomes the photo of the vCard. */
  async published(account: Account, node: PersonalNode, item: PersonalItem): Promise<void> {
    if (node.name !== metadataNode) return
    const info = item.payload?.child('info', metadataNode)
    const card = await this.read(account) ?? el(vcardNs, 'vCard')
    const rest = card.without((child) => child.is('PHOTO', vcardNs))
    if (info === undefined) {
      if (rest !== card) await this.#write(account, rest)
      return
    }
    const { id = '', type = 'image/png' } = info.attrs
    if (id === this.#hashes.get(account)) return
    const nodes = await this.#pep.nodes(account)
    const data = nodes.get(dataNode)?.items.find((one) => one.id === id)?.payload?.text
    if (data === undefined) return
    const photo = el(vcardNs, 'PHOTO', {}, el(vcardNs, 'TYPE', {}, type), el(vcardNs, 'BINVAL', {}, data))
    await this.#write(account, rest.plus(photo))
  }

  /** XEP-0153 §4, done for the client by XEP-0398 §4. */
  decorate(account: Account, presence: XmlElement): XmlElement {
    const hash = this.#hashes.get(account) ?? ''
    const bare = presence.without((child) => child.is('x', updateNs))
    return bare.plus(el(updateNs, 'x', {}, el(updateNs, 'photo', {}, hash)))
  }

  async #write(account: Account, card: XmlElement): Promise<void> {
    const value = utf8(writeElement(card))
    if (value.length > xmppLimits.vcardBytesMax) {
      throw new StanzaError('policy-violation', `a vCard has at most ${xmppLimits.vcardBytesMax} bytes`)
    }
    await this.#host.context.kv.write([{ type: 'put', key: `vcard/${account.id}`, value }])
    const before = this.#hashes.get(account)
    const hash = photoOf(card)?.hash ?? ''
    this.#hashes.set(account, hash)
    if (before !== hash) this.#host.presence.refresh(account)
  }
}

/** `undefined`: none, or one that is no picture's bytes. */
function photoOf(card: XmlElement): Photo | undefined {
  const photo = card.child('PHOTO', vcardNs)
  const text = photo?.childText('BINVAL')?.replace(/\s+/g, '') ?? ''
  if (text === '' || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64')
  const hash = createHash('sha1').update(bytes).digest('hex')
  return { bytes, hash, type: photo?.childText('TYPE') ?? 'image/png' }
}

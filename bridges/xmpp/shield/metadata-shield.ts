/**
 * The metadata shield: between two domains whose nodes both run openIM, stanzas go sealed from one
 * service account to the other instead of over s2s (docs/decisions/0021-metadata-shield.md).
 *
 * ```text
 *   host ─ send ─▶ MetadataShield ─┬─ ShieldLink of the domain ─▶ carrier (openIM) ─▶ their account
 *                                  └─ XMPPGateway (s2s), where the other has no shield
 *   host ◀─ fromRemote ─ ShieldIncoming ◀─ carrier
 *   web door ─ offers ─▶ proof ─▶ carrier.add
 * ```
 *
 * It stands in front of the gateway and does nothing until its account is there; then s2s alone is
 * spoken, except with domains that are pinned or required: what is for them waits.
 */
import { hex } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import type { Along } from '../along.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { RemoteDomains, StanzaTarget } from '../ports.ts'
import type { S2sFailure } from '../s2s/failure.ts'
import type { S2sPolicy } from '../s2s/policy.ts'
import { RateTable } from '../s2s/rate-table.ts'
import { mayBounce, StanzaError, toError } from '../stanza-errors.ts'
import type { WebRoute } from '../stream/web-door.ts'
import type { XmlElement } from '../xml/element.ts'
import type { Carrier } from './carrier.ts'
import type { ShieldFinder } from './finder.ts'
import { ShieldIncoming } from './incoming.ts'
import { unmarked } from './label.ts'
import { DomainProofs } from './proofs.ts'
import type { Peer } from './proofs.ts'
import { shieldDoor } from './shield-door.ts'
import { ShieldLink } from './shield-link.ts'
import type { ShieldMode } from './shield-link.ts'
import { ShieldOutbox } from './shield-outbox.ts'
import type { Batch } from './shield-outbox.ts'
import type { Offer } from './well-known.ts'

const epochBytes = 8

/** The way in the open. */
export interface PlainDomains extends RemoteDomains {
  /** Whether stanzas wait for this domain. */
  isBusy(domain: string): boolean
}

export interface ShieldComponents {
  readonly clock: Clock
  readonly random: Random
  readonly kv: KvStore
  readonly carrier: Carrier
  readonly finder: ShieldFinder
  readonly policy: S2sPolicy
  readonly plain: PlainDomains
  readonly target: StanzaTarget
  /** Domains that this node serves, the main one first. */
  domains(): readonly string[]
  readonly log?: { info(facts: object, message: string): void }
}

export interface ShieldOptions {
  readonly domain: string
  readonly mode: ShieldMode
  /** Domains that are spoken with sealed or not at all, whatever the mode. */
  readonly required?: readonly string[]
}

/** How another domain is reached, for people. */
export interface ShieldDescription {
  readonly domain: string
  readonly by: 'sealed' | 's2s' | 'wait' | 'refuse'
  readonly waiting: number
  readonly sealedSinceMs?: number
  readonly problem?: string
}

export class MetadataShield implements RemoteDomains {
  readonly #components: ShieldComponents
  readonly #options: ShieldOptions
  readonly #proofs: DomainProofs
  readonly #outbox: ShieldOutbox
  readonly #incoming: ShieldIncoming
  readonly #links = new Map<string, ShieldLink>()
  readonly #senderRates: RateTable
  readonly #epoch: string
  #isRunning = false

  constructor(components: ShieldComponents, options: ShieldOptions) {
    const { clock, random, kv, policy, finder, target } = components
    this.#components = components
    this.#options = options
    this.#epoch = hex(random.bytes(epochBytes))
    this.#proofs = new DomainProofs({ clock, kv, finder }, (old, now) => this.#moved(old, now))
    this.#outbox = new ShieldOutbox({ kv })
    this.#senderRates = new RateTable(clock, {
      perSecond: xmppLimits.s2sSenderRate, burst: xmppLimits.s2sSenderBurst,
      namesMax: xmppLimits.s2sSendersKept,
    })
    this.#incoming = new ShieldIncoming({
      clock, kv, target, proofs: this.#proofs,
      isOurs: (domain) => components.domains().includes(domain),
      isRefused: (domain) => policy.isBlocked(domain) || this.#mode(domain) === 'off',
      answer: (stanza) => this.send(stanza),
      told: (domain, facts, message) => components.log?.info({ domain, ...facts }, message),
    })
  }

  /** Takes up what an earlier process left. Before stanzas are sent. */
  async start(): Promise<void> {
    await this.#proofs.load()
    const left = Map.groupBy(await this.#outbox.load(), ({ id }: Batch) => id.domain)
    this.#isRunning = true
    await this.#components.carrier.start({
      received: (address, text) => this.#incoming.received(address, text),
      delivered: (id) => { for (const link of this.#links.values()) link.delivered(id) },
      failed: (id) => { for (const link of this.#links.values()) link.failed(id) },
      changed: (address) => this.#changed(address),
    })
    for (const [domain, batches] of left) await this.#link(domain).restore(batches)
  }

  async stop(): Promise<void> {
    this.#isRunning = false
    await Promise.all([...this.#links.values()].map((link) => link.stop()))
    await this.#components.carrier.stop()
    await this.#incoming.stop()
  }

  /** For the web door. */
  get route(): WebRoute {
    const { clock, carrier, domains } = this.#components
    const { domain } = this.#options
    const services = (): string[] => domains().filter((one) => one !== domain)
      .slice(0, xmppLimits.shieldServicesMax)
    return shieldDoor({
      clock,
      wellKnown: () => this.#isRunning
        ? { domain, address: carrier.address, services: services(), maxAgeMs: xmppLimits.shieldPinMs }
        : undefined,
      offered: (offer) => { this.offered(offer) },
    })
  }

  describe(): ShieldDescription[] {
    const domains = new Set([
      ...this.#links.keys(), ...this.#proofs.peers.map(({ domain }) => domain),
    ])
    return [...domains].map((domain) => {
      const link = this.#links.get(domain)
      const { sealedSinceMs } = this.#proofs.known(domain) ?? {}
      const problem = link?.problem ?? ''
      return {
        domain, waiting: link?.waiting ?? 0,
        by: link?.way ?? (sealedSinceMs === undefined ? 'wait' : 'sealed'),
        ...sealedSinceMs === undefined ? {} : { sealedSinceMs },
        ...problem === '' ? {} : { problem },
      }
    })
  }

  /** Settles when the stanza is written down, or went back to its sender. Never throws. */
  async send(stanza: XmlElement): Promise<void> {
    const from = Jid.parse(stanza.attrs['from'] ?? '')
    const to = Jid.parse(stanza.attrs['to'] ?? '')
    const { plain, policy } = this.#components
    const domain = to === undefined ? '' : await this.#mainOf(to.domain)
    // What is malformed or blocked is refused there, in the same words for all.
    const isPlain = from === undefined || to === undefined || policy.isBlocked(domain)
      || this.#mode(domain) === 'off'
    if (isPlain) return await plain.send(stanza)
    const link = this.#link(domain)
    if (link.isPlain) return await plain.send(stanza)
    if (mayBounce(stanza) && !this.#senderRates.take(from.bare)) {
      const why = 'you send too much to other servers; wait a minute'
      await this.#bounce(stanza, { ...failure('policy-violation', why), type: 'wait' })
    } else if (this.#outbox.isFull || link.waiting >= xmppLimits.s2sQueueStanzasMax) {
      await this.#bounce(stanza, failure('resource-constraint', `too much waits for ${domain}`))
    } else {
      await link.push(unmarked(stanza))
    }
  }

  /**
   * The domain whose account carries this one: itself, one that named it among its services, or the one
   * above it, which is asked once.
   */
  async #mainOf(domain: string): Promise<string> {
    const known = this.#proofs.mainOf(domain)
    const above = domain.slice(domain.indexOf('.') + 1)
    if (known !== domain || !above.includes('.') || this.#links.has(domain)) return known
    const proof = await this.#proofs.prove(domain)
    if (proof.ok) return domain
    const higher = await this.#proofs.prove(above)
    return higher.ok && higher.peer.services.includes(domain) ? above : domain
  }

  #mode(domain: string): ShieldMode {
    const { mode, required = [] } = this.#options
    return mode !== 'off' && required.includes(domain) ? 'require' : mode
  }

  #link(domain: string): ShieldLink {
    const known = this.#links.get(domain)
    if (known !== undefined) return known
    const { clock, carrier, plain, log } = this.#components
    const link = new ShieldLink({
      clock, carrier, proofs: this.#proofs, outbox: this.#outbox,
      ours: this.#options.domain, epoch: this.#epoch,
      mode: (one) => this.#mode(one),
      introduce: (one) => this.#introduce(one),
      sendPlain: (stanza) => plain.send(stanza),
      isPlainBusy: (one) => plain.isBusy(one),
      bounce: (stanza, why) => this.#bounce(stanza, why),
      told: (one, facts, message) => log?.info({ domain: one, ...facts }, message),
    }, domain)
    this.#links.set(domain, link)
    if (this.#links.size > xmppLimits.s2sLinksMax) this.#dropIdle()
    return link
  }

  #dropIdle(): void {
    for (const [domain, link] of this.#links) {
      if (!link.isIdle) continue
      this.#links.delete(domain)
      void link.stop()
      return
    }
  }

  /** Another domain hands over an invite of its account; it is checked first. */
  offered(offer: Offer): void {
    void this.#checkOffer(offer).catch((error: unknown) => this.#tellFailed(offer, error))
  }

  // ── Becoming known ──────────────────────────────────────────────────────────────────────────

  /** Hands an invite of ours to their web server; their account then writes to ours. */
  async #introduce(domain: string): Promise<void> {
    const { carrier, finder, log } = this.#components
    try {
      const refused = await finder.offer(
        domain, { domain: this.#options.domain, invite: await carrier.invite() },
      )
      if (refused !== undefined) log?.info({ domain, reason: refused.text }, 'another domain took no offer')
    } catch (error) {
      log?.info({ domain, err: error }, 'there is no invite for another domain')
    }
  }

  async #checkOffer({ domain, invite }: Offer): Promise<void> {
    const { carrier, policy, domains, clock, log } = this.#components
    const address = carrier.inviter(invite)
    const isRefused = domains().includes(domain) || policy.isBlocked(domain) || this.#mode(domain) === 'off'
    if (address === undefined || isRefused || !this.#isRunning) return
    let proof = await this.#proofs.prove(domain)
    const isOld = proof.ok && clock.now() - proof.peer.provenAtMs > xmppLimits.shieldProveAnewMs
    if (proof.ok && proof.peer.address !== address && isOld) proof = await this.#proofs.proveAnew(domain)
    if (proof.ok && proof.peer.address === address) {
      await carrier.add(invite)
      return
    }
    const reason = proof.ok ? 'the domain names another account' : proof.text
    log?.info({ domain, address, reason }, 'an offer of a domain was refused')
  }

  #tellFailed({ domain }: Offer, error: unknown): void {
    this.#components.log?.info({ domain, err: error }, 'an offer of a domain could not be taken')
  }

  #changed(address: string): void {
    for (const { domain } of this.#proofs.peers.filter((peer) => peer.address === address)) {
      this.#links.get(domain)?.wake()
    }
  }

  /** Another account speaks for the domain now: the old one is believed nothing more. */
  #moved(old: Peer, { domain, address }: Peer): void {
    const { carrier, log } = this.#components
    log?.info({ domain, from: old.address, to: address }, 'another account speaks for a domain')
    // First: what waits for the old account fails with it.
    this.#links.get(domain)?.sendAgain()
    const isShared = this.#proofs.peers.some((peer) => peer.address === old.address)
    if (!isShared) void carrier.remove(old.address).catch(() => {})
  }

  async #bounce(stanza: XmlElement, { condition, text, type }: S2sFailure): Promise<void> {
    const { type: kind } = stanza.attrs
    const isSilent = stanza.name === 'presence' && (kind === 'unavailable' || kind === 'probe')
    if (isSilent || !mayBounce(stanza)) return
    const error = new StanzaError(condition, type === undefined ? { text } : { text, type })
    await this.#components.target.bounced(toError(stanza, error))
  }
}

/** What the host gets from s2s: nothing there came sealed. */
export function inTheOpen(target: StanzaTarget): StanzaTarget {
  return {
    fromRemote: (stanza: XmlElement, along?: Along) => target.fromRemote(unmarked(stanza), along),
    bounced: (stanza) => target.bounced(stanza),
  }
}

function failure(condition: S2sFailure['condition'], text: string): S2sFailure {
  return { ok: false, condition, text, isLasting: true }
}

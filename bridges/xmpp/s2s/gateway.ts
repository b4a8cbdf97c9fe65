/**
 * XMPPGateway: federation with existing XMPP servers (RFC 6120 server to server).
 *
 * ```text
 *   send(stanza) ─▶ policy, rate ─▶ outbox (durable) ─▶ S2sLink of (our domain, theirs) ─▶ their server
 *   target.bounced ◀── what cannot be delivered, with the reason in words
 *   target.fromRemote ◀── rate, from and to checked ◀── InboundSession ◀── accept(stream) ◀── listener
 * ```
 *
 * One link for each pair of domains, with a stream of its own; streams that others open to us carry
 * stanzas inwards alone. What was promised (`send` settled) survives a crash of ours; what the other
 * end did not acknowledge goes again.
 */
import type { SecureContext } from 'node:tls'
import type { Random } from '../../../crypto/random.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { RemoteDomains, StanzaTarget } from '../ports.ts'
import { mayBounce, StanzaError, toError } from '../stanza-errors.ts'
import type { Visit } from '../stream/visits.ts'
import type { XmlStream } from '../stream/xml-stream.ts'
import type { XmlElement } from '../xml/element.ts'
import { DialbackKeys } from './dialback.ts'
import type { DialbackPair } from './dialback.ts'
import { askAuthority } from './dialback-question.ts'
import type { S2sFailure } from './failure.ts'
import { InboundSession } from './inbound-session.ts'
import type { OutboundFacts } from './outbound-stream.ts'
import { S2sOutbox } from './outbox.ts'
import type { Queued } from './outbox.ts'
import type { S2sPolicy } from './policy.ts'
import { RateTable } from './rate-table.ts'
import type { S2sResolver } from './resolver.ts'
import { S2sLink } from './s2s-link.ts'

const secretBytes = 32
const streamIdBytes = 16

export interface GatewayComponents {
  readonly clock: Clock
  readonly random: Random
  readonly kv: KvStore
  readonly resolver: S2sResolver
  readonly policy: S2sPolicy
  readonly target: StanzaTarget
  /** A domain or service that this node serves. */
  isOurs(domain: string): boolean
  /** The certificate of a domain of ours, asked anew for each stream; without trusted authorities in it. */
  secureContext(domain: string): SecureContext | undefined
  readonly log?: GatewayLog
}

/** What people who run a node want to know of federation. */
export interface GatewayLog {
  info(facts: Readonly<Record<string, unknown>>, message: string): void
}

/** One stream, for people. */
export interface StreamDescription {
  readonly direction: 'in' | 'out'
  readonly ours: string
  readonly theirs: string
  readonly by: 'certificate' | 'dialback'
  readonly queued: number
}

interface Proof {
  readonly session: InboundSession
  readonly by: 'certificate' | 'dialback'
}

export class XMPPGateway implements RemoteDomains {
  readonly #components: GatewayComponents
  readonly #keys: DialbackKeys
  readonly #outbox: S2sOutbox
  /** By `ours theirs`, the longest unused first. */
  readonly #links = new Map<string, S2sLink>()
  readonly #sessions = new Set<InboundSession>()
  /** Streams on which a domain is proven. */
  readonly #proofs = new Map<string, Proof[]>()
  readonly #domainRates: RateTable
  readonly #senderRates: RateTable
  #verifying = 0
  #isStopped = false

  constructor(components: GatewayComponents) {
    this.#components = components
    const { clock, random } = components
    this.#keys = new DialbackKeys(random.bytes(secretBytes))
    this.#outbox = new S2sOutbox(components)
    const { s2sDomainRate, s2sDomainBurst, s2sSenderRate, s2sSenderBurst, s2sSendersKept } = xmppLimits
    this.#domainRates = new RateTable(clock, {
      perSecond: s2sDomainRate, burst: s2sDomainBurst, namesMax: xmppLimits.s2sInboundMax,
    })
    this.#senderRates = new RateTable(clock, {
      perSecond: s2sSenderRate, burst: s2sSenderBurst, namesMax: s2sSendersKept,
    })
  }

  /** Takes up what an earlier process left. Before streams are accepted and stanzas sent. */
  async start(): Promise<void> {
    for (const queued of await this.#outbox.load()) this.#enqueue(queued)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    for (const session of this.#sessions) session.close('system-shutdown')
    await Promise.all([...this.#links.values()].map((link) => link.stop()))
    await this.#outbox.flush()
    for (const session of this.#sessions) session.destroy()
  }

  /** Drops every stream without a word: for tests of what a crash leaves. */
  cut(): void {
    this.#isStopped = true
    for (const session of this.#sessions) session.destroy()
    for (const link of this.#links.values()) link.cut()
  }

  get streams(): StreamDescription[] {
    const found: StreamDescription[] = []
    for (const [name, link] of this.#links) {
      const [ours, theirs] = name.split(' ') as [string, string]
      const { facts, queued } = link
      if (facts !== undefined) found.push({ direction: 'out', ours, theirs, by: facts.by, queued })
    }
    for (const [theirs, proofs] of this.#proofs) {
      for (const { by } of proofs) found.push({ direction: 'in', ours: '', theirs, by, queued: 0 })
    }
    return found
  }

  /** Stanzas that wait for other servers. */
  get queued(): number {
    return this.#outbox.count
  }

  /** Whether stanzas wait for this domain. */
  isBusy(domain: string): boolean {
    return [...this.#links].some(([name, link]) => name.endsWith(` ${domain}`) && link.queued > 0)
  }

  // ── Outwards ────────────────────────────────────────────────────────────────────────────────

  /** Settles when the stanza is written down, or went back to its sender. Never throws. */
  async send(stanza: XmlElement): Promise<void> {
    const refusal = this.#refusal(stanza)
    if (refusal !== undefined) {
      await this.#bounce(stanza, refusal)
      return
    }
    let queued: Queued | 'full' | 'too-large'
    try {
      queued = await this.#outbox.add(stanza)
    } catch {
      queued = 'full'
    }
    if (queued === 'full') {
      await this.#bounce(stanza, failure('resource-constraint', 'too much waits for other servers here'))
    } else if (queued === 'too-large') {
      await this.#bounce(stanza, failure('policy-violation', 'the stanza is too large for another server'))
    } else {
      this.#enqueue(queued)
    }
  }

  #refusal(stanza: XmlElement): S2sFailure | undefined {
    const to = Jid.parse(stanza.attrs['to'] ?? '')
    const from = Jid.parse(stanza.attrs['from'] ?? '')
    if (to === undefined || from === undefined) return failure('jid-malformed', 'the address is malformed')
    const { policy, isOurs } = this.#components
    if (isOurs(to.domain) || !isOurs(from.domain)) {
      const text = `${to.domain} is not reached over federation from ${from.domain}`
      return failure('internal-server-error', text)
    }
    if (policy.isBlocked(to.domain)) return failure('not-allowed', `${to.domain} is blocked on this server`)
    // Answers are as many as the questions, which others are held to.
    if (mayBounce(stanza) && !this.#senderRates.take(from.bare)) {
      return failure('policy-violation', 'you send too much to other servers; wait a minute', 'wait')
    }
    return undefined
  }

  #enqueue(queued: Queued): void {
    const { from, to } = queued.stanza.attrs
    const ours = Jid.parse(from ?? '')?.domain
    const theirs = Jid.parse(to ?? '')?.domain
    // A domain that we served when it was written down.
    if (ours === undefined || theirs === undefined || !this.#components.isOurs(ours)) {
      this.#outbox.done(queued)
      return
    }
    if (this.#link(ours, theirs).push(queued)) return
    this.#bounced(queued, failure('resource-constraint', `too much waits for ${theirs}`))
  }

  #link(ours: string, theirs: string): S2sLink {
    const name = `${ours} ${theirs}`
    const known = this.#links.get(name)
    if (known !== undefined) return known
    const components = this.#components
    const link: S2sLink = new S2sLink({
      clock: components.clock, random: components.random, policy: components.policy,
      resolver: components.resolver, keys: this.#keys,
      // Asked at each stream, so a renewed certificate is shown at once.
      get secureContext() { return components.secureContext(ours) },
    }, { ours, theirs }, {
      delivered: (queued) => this.#outbox.done(queued),
      bounced: (queued, why) => this.#bounced(queued, why),
      idle: () => this.#links.delete(name),
      told: (event) => this.#tell(theirs, event),
    })
    this.#links.set(name, link)
    this.#dropIdle()
    return link
  }

  /** Above the limit, streams without work go; a link with stanzas stays. */
  #dropIdle(): void {
    if (this.#links.size <= xmppLimits.s2sLinksMax) return
    for (const [name, link] of this.#links) {
      if (link.queued > 0) continue
      this.#links.delete(name)
      void link.stop()
      return
    }
  }

  #bounced(queued: Queued, why: S2sFailure): void {
    // Once its sender has the error, and not before.
    void this.#bounce(queued.stanza, why).then(() => this.#outbox.done(queued), () => {})
  }

  async #bounce(stanza: XmlElement, { condition, text, type }: S2sFailure): Promise<void> {
    const { type: kind } = stanza.attrs
    const isSilent = stanza.name === 'presence' && (kind === 'unavailable' || kind === 'probe')
    if (isSilent || !mayBounce(stanza)) return
    const error = new StanzaError(condition, type === undefined ? { text } : { text, type })
    await this.#components.target.bounced(toError(stanza, error))
  }

  // ── Inwards ─────────────────────────────────────────────────────────────────────────────────

  /**
   * A stream that somebody opened to our s2s door; over TLS already, or not yet. Until a domain is
   * proven the door's own deadline holds.
   */
  accept(stream: XmlStream, visit: Pick<Visit, 'proven'>): void {
    const components = this.#components
    const session = new InboundSession({
      clock: components.clock, policy: components.policy, domainRates: this.#domainRates, keys: this.#keys,
      isOurs: (domain) => components.isOurs(domain),
      newStreamId: () => Buffer.from(components.random.bytes(streamIdBytes)).toString('hex'),
      secureContext: (name) => components.secureContext(name),
    }, stream, {
      stanza: (stanza) => this.#receive(stanza),
      verify: (pair, key) => this.#verify(pair, key),
      proven: (one, domain, by) => {
        visit.proven()
        return this.#proven(one, domain, by)
      },
      ended: (one) => this.#ended(one),
    })
    if (this.#isStopped || this.#sessions.size >= xmppLimits.s2sInboundMax) {
      stream.destroy()
      return
    }
    this.#sessions.add(session)
    session.start()
  }

  #proven(session: InboundSession, domain: string, by: 'certificate' | 'dialback'): boolean {
    const proofs = this.#proofs.get(domain) ?? []
    if (proofs.some((proof) => proof.session === session)) return true
    if (proofs.length >= xmppLimits.s2sInboundPerDomainMax) return false
    this.#proofs.set(domain, [...proofs, { session, by }])
    this.#components.log?.info({ domain, by, address: session.remoteAddress }, 'another server proved itself')
    for (const [name, link] of this.#links) {
      if (name.endsWith(` ${domain}`)) link.wake()
    }
    return true
  }

  #ended(session: InboundSession): void {
    this.#sessions.delete(session)
    for (const [domain, proofs] of this.#proofs) {
      const left = proofs.filter((proof) => proof.session !== session)
      if (left.length === 0) this.#proofs.delete(domain)
      else if (left.length < proofs.length) this.#proofs.set(domain, left)
    }
  }

  async #receive(stanza: XmlElement): Promise<void> {
    const { id, type, from, to } = stanza.attrs
    if (stanza.name === 'iq' && (type === 'result' || type === 'error')) {
      if (this.#links.get(`${to!} ${from!}`)?.answered(id ?? '') === true) return
    }
    const sender = Jid.parse(from!)!.bare
    if (mayBounce(stanza) && !this.#senderRates.take(sender)) {
      const text = 'you send too much; wait a minute'
      const error = new StanzaError('policy-violation', { type: 'wait', text })
      await this.send(toError(stanza, error))
      return
    }
    await this.#components.target.fromRemote(stanza)
  }

  async #verify(pair: DialbackPair, key: string): Promise<'valid' | 'invalid' | 'no-answer'> {
    if (this.#verifying >= xmppLimits.s2sVerifyingMax) return 'no-answer'
    this.#verifying++
    try {
      const { clock, resolver, policy } = this.#components
      const secureContext = this.#components.secureContext(pair.receiving)
      return await askAuthority({ clock, resolver, policy, secureContext }, pair, key)
    } finally {
      this.#verifying--
    }
  }

  #tell(domain: string, event: OutboundFacts | S2sFailure): void {
    const { log } = this.#components
    if ('ok' in event) {
      const { condition, text } = event
      log?.info({ domain, condition, reason: text }, 'another server was not reached')
    } else {
      log?.info({ domain, ...event }, 'a stream to another server stands')
    }
  }
}

function failure(condition: S2sFailure['condition'], text: string, type?: 'wait'): S2sFailure {
  return { ok: false, condition, text, isLasting: true, ...type === undefined ? {} : { type } }
}

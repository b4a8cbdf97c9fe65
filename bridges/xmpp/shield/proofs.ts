/**
 * Which openIM account speaks for which other domain, proven by the domain's own web server, and for
 * how long that is to be believed.
 *
 * ```text
 *   xmpp/shield/peer/DOMAIN  →  JSON: address, services, provenAtMs, maxAgeMs, sealedSinceMs, pinnedUntilMs
 * ```
 *
 * A proof holds a day and is asked for anew from its half on; that nothing was found is remembered for
 * less. Once something was delivered sealed, the domain is pinned for as long as it said: who keeps us
 * from asking cannot make us speak s2s. Only the domain itself lets go, with `maxAge` of 0.
 */
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { NotFound, ShieldFinder } from './finder.ts'
import type { WellKnown } from './well-known.ts'

const prefix = 'xmpp/shield/peer/'

export interface Peer {
  readonly domain: string
  readonly address: string
  readonly services: readonly string[]
  readonly provenAtMs: number
  readonly maxAgeMs: number
  /** The first time something was delivered. */
  readonly sealedSinceMs?: number
  readonly pinnedUntilMs?: number
}

export type Proof = { readonly ok: true, readonly peer: Peer } | NotFound

interface Missing {
  readonly answer: NotFound
  readonly untilMs: number
}

export class DomainProofs {
  readonly #parts: { readonly clock: Clock, readonly kv: KvStore, readonly finder: ShieldFinder }
  readonly #peers = new Map<string, Peer>()
  /** The longest known first. */
  readonly #missing = new Map<string, Missing>()
  readonly #underWay = new Map<string, Promise<Proof>>()
  readonly #addressChanged: (old: Peer, now: Peer) => void

  constructor(
    parts: { readonly clock: Clock, readonly kv: KvStore, readonly finder: ShieldFinder },
    addressChanged: (old: Peer, now: Peer) => void,
  ) {
    this.#parts = parts
    this.#addressChanged = addressChanged
  }

  async load(): Promise<void> {
    for await (const { key, value } of kvEntries(this.#parts.kv, prefix)) {
      this.#peers.set(key.slice(prefix.length), JSON.parse(utf8Decode(value)) as Peer)
    }
  }

  get peers(): readonly Peer[] {
    return [...this.#peers.values()]
  }

  known(domain: string): Peer | undefined {
    return this.#peers.get(domain)
  }

  /** The main domain of a service that its domain named; else the domain itself. */
  mainOf(domain: string): string {
    if (this.#peers.has(domain)) return domain
    const peer = this.peers.find(({ services }) => services.includes(domain))
    return peer?.domain ?? domain
  }

  isPinned(domain: string): boolean {
    return (this.#peers.get(domain)?.pinnedUntilMs ?? 0) > this.#parts.clock.now()
  }

  isProven(domain: string): boolean {
    return this.#ageMs(domain) < xmppLimits.shieldProofMs
  }

  /** A proof that still holds, from memory or asked for now. Never throws. */
  async prove(domain: string): Promise<Proof> {
    const ageMs = this.#ageMs(domain)
    if (ageMs < xmppLimits.shieldProofMs) {
      if (ageMs >= xmppLimits.shieldProofMs / 2) void this.#askOnce(domain)
      return { ok: true, peer: this.#peers.get(domain)! }
    }
    return await this.#askOnce(domain)
  }

  /** Asks even where a proof still holds: somebody says that it is another now. */
  async proveAnew(domain: string): Promise<Proof> {
    return await this.#askOnce(domain)
  }

  /** Something came to them sealed. */
  async sealed(domain: string): Promise<void> {
    const peer = this.#peers.get(domain)
    if (peer === undefined) return
    const nowMs = this.#parts.clock.now()
    const pinnedUntilMs = peer.provenAtMs + peer.maxAgeMs
    if (peer.sealedSinceMs !== undefined && peer.pinnedUntilMs === pinnedUntilMs) return
    await this.#keep({ ...peer, sealedSinceMs: peer.sealedSinceMs ?? nowMs, pinnedUntilMs })
  }

  #ageMs(domain: string): number {
    const peer = this.#peers.get(domain)
    const ageMs = peer === undefined ? Number.POSITIVE_INFINITY : this.#parts.clock.now() - peer.provenAtMs
    // A clock that was set back makes no proof hold longer.
    return ageMs < 0 ? Number.POSITIVE_INFINITY : ageMs
  }

  #askOnce(domain: string): Promise<Proof> {
    const missing = this.#missing.get(domain)
    if (missing !== undefined && missing.untilMs > this.#parts.clock.monotonicMs()) {
      return Promise.resolve(missing.answer)
    }
    const asked = this.#underWay.get(domain)
    if (asked !== undefined) return asked
    if (this.#underWay.size >= xmppLimits.shieldFindsMax) {
      return Promise.resolve({ ok: false, why: 'unreachable', text: 'too many domains are asked for now' })
    }
    const asking = this.#ask(domain).finally(() => this.#underWay.delete(domain))
    this.#underWay.set(domain, asking)
    return asking
  }

  async #ask(domain: string): Promise<Proof> {
    const found = await this.#parts.finder.find(domain)
    if (!found.ok) {
      this.#missed(domain, found)
      return found
    }
    const old = this.#peers.get(domain)
    const peer = this.#merged(old, found.value)
    await this.#keep(peer)
    this.#missing.delete(domain)
    if (old !== undefined && old.address !== peer.address) this.#addressChanged(old, peer)
    return { ok: true, peer }
  }

  #merged(
    old: Peer | undefined, { domain, address, services, maxAgeMs }: WellKnown,
  ): Peer {
    const provenAtMs = this.#parts.clock.now()
    const peer = { domain, address, services, provenAtMs, maxAgeMs }
    // A pin is on the domain, whatever account speaks for it: each has been proven the same way.
    return old?.sealedSinceMs === undefined ? peer
      : { ...peer, sealedSinceMs: old.sealedSinceMs, pinnedUntilMs: provenAtMs + maxAgeMs }
  }

  #missed(domain: string, answer: NotFound): void {
    const {
      shieldAbsentKeptMs, shieldKnownUnreachableKeptMs, shieldUnreachableKeptMs, shieldMissingKept,
    } = xmppLimits
    const forMs = this.#peers.has(domain) ? shieldKnownUnreachableKeptMs
      : answer.why === 'absent' ? shieldAbsentKeptMs : shieldUnreachableKeptMs
    this.#missing.delete(domain)
    this.#missing.set(domain, { answer, untilMs: this.#parts.clock.monotonicMs() + forMs })
    if (this.#missing.size > shieldMissingKept) this.#missing.delete(this.#missing.keys().next().value!)
  }

  async #keep(peer: Peer): Promise<void> {
    const value = utf8(JSON.stringify(peer))
    await this.#parts.kv.write([{ type: 'put', key: prefix + peer.domain, value }])
    this.#peers.delete(peer.domain)
    this.#peers.set(peer.domain, peer)
    if (this.#peers.size <= xmppLimits.shieldPeersMax) return
    // Whoever owns many domains pushes out those that nothing was ever sent to.
    const oldest = this.peers.find(({ domain }) => domain !== peer.domain && !this.isPinned(domain))
    if (oldest === undefined) return
    this.#peers.delete(oldest.domain)
    await this.#parts.kv.write([{ type: 'delete', key: prefix + oldest.domain }])
  }
}

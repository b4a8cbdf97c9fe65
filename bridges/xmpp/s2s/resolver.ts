/**
 * Finds the servers of another domain (RFC 6120 §3.2, RFC 2782, XEP-0368):
 *
 * ```text
 *   an entry of ours          domain → host:port, for split DNS and for tests     else
 *   _xmpps-server._tcp.D      direct TLS  ┐ by priority; on equal priority direct TLS first; then
 *   _xmpp-server._tcp.D       STARTTLS    ┘ at random by weight                    if neither exists
 *   D port 5269               STARTTLS
 * ```
 *
 * Each name of a server becomes its addresses, IPv6 and IPv4 in turn, so that a broken family costs
 * one attempt. Answers are kept for minutes, failures for seconds: a server that bounces a quarter of
 * an hour because DNS once failed is what operators complain of most.
 */
import { lookup, Resolver } from 'node:dns/promises'
import { isIP, isIPv6 } from 'node:net'
import { domainToASCII } from 'node:url'
import { randomFraction } from '../../../crypto/random.ts'
import type { Random } from '../../../crypto/random.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { S2sFailure } from './failure.ts'

const defaultPort = 5269

/** `starttls`: plain until the stream asks for TLS; `direct`: TLS from the first byte. */
export type S2sTransport = 'direct' | 'starttls'

/** One address to try. */
export interface S2sTarget {
  readonly address: string
  readonly port: number
  readonly transport: S2sTransport
}

export type Resolution = { readonly ok: true, readonly targets: readonly S2sTarget[] } | S2sFailure

export interface StaticTarget {
  /** Name or address. */
  readonly host: string
  readonly port: number
  readonly transport: S2sTransport
}

export interface ResolverOptions {
  /** `ADDRESS[:PORT]` of name servers; those of the system when left out or empty. */
  readonly dnsServers?: readonly string[]
  /** By domain. They are asked for nothing else then. */
  readonly overrides?: Readonly<Record<string, StaticTarget>>
  /** Of one question to one name server. */
  readonly timeoutMs?: number
}

interface Place extends StaticTarget {
  readonly priority: number
  readonly weight: number
}

/** What a question came to: records, or the certainty that there are none, or neither. */
export type Answer<T> = { readonly records: readonly T[] } | { readonly failed: string }

interface Kept {
  readonly resolution: Resolution
  readonly untilMs: number
}

export class S2sResolver {
  readonly #clock: Clock
  readonly #random: Random
  readonly #dns: Resolver
  readonly #hasOwnServers: boolean
  readonly #overrides: ReadonlyMap<string, StaticTarget>
  /** Least recently asked first. */
  readonly #kept = new Map<string, Kept>()
  readonly #underWay = new Map<string, Promise<Resolution>>()

  constructor(components: { readonly clock: Clock, readonly random: Random }, options: ResolverOptions = {}) {
    this.#clock = components.clock
    this.#random = components.random
    const { dnsServers = [], overrides = {}, timeoutMs = xmppLimits.s2sDnsTimeoutMs } = options
    this.#dns = new Resolver({ timeout: timeoutMs, tries: 2 })
    this.#hasOwnServers = dnsServers.length > 0
    if (this.#hasOwnServers) this.#dns.setServers(dnsServers)
    this.#overrides = new Map(Object.entries(overrides))
  }

  /** Addresses in the order to try them, freshly drawn by weight at each real look-up. Never throws. */
  async resolve(domain: string): Promise<Resolution> {
    const kept = this.#kept.get(domain)
    if (kept !== undefined && kept.untilMs > this.#clock.monotonicMs()) return kept.resolution
    const asked = this.#underWay.get(domain)
    if (asked !== undefined) return await asked
    const looking = this.#look(domain).finally(() => this.#underWay.delete(domain))
    this.#underWay.set(domain, looking)
    const resolution = await looking
    this.#keep(domain, resolution)
    return resolution
  }

  /** Addresses of a server of theirs that was named in another way; not kept. Never throws. */
  async resolvePlace(domain: string, place: StaticTarget): Promise<Resolution> {
    return await this.#addressesOf(domain, [place])
  }

  /** Each TXT record as one text (RFC 7208 §3.3). */
  async texts(name: string): Promise<Answer<string>> {
    const answer = await answered(this.#dns.resolveTxt(name))
    return 'failed' in answer ? answer : { records: answer.records.map((parts) => parts.join('')) }
  }

  /** Asks anew at the next `resolve`: none of the addresses worked. */
  forget(domain: string): void {
    this.#kept.delete(domain)
  }

  #keep(domain: string, resolution: Resolution): void {
    const { s2sDnsKeepMs, s2sDnsKeepFailureMs, s2sDnsKeptMax } = xmppLimits
    this.#kept.delete(domain)
    const forMs = resolution.ok ? s2sDnsKeepMs : s2sDnsKeepFailureMs
    this.#kept.set(domain, { resolution, untilMs: this.#clock.monotonicMs() + forMs })
    if (this.#kept.size > s2sDnsKeptMax) this.#kept.delete(this.#kept.keys().next().value!)
  }

  async #look(domain: string): Promise<Resolution> {
    const override = this.#overrides.get(domain)
    if (override !== undefined) return await this.#addressesOf(domain, [override])
    const literal = domain.replace(/^\[(.*)\]$/, '$1')
    if (isIP(literal) !== 0) {
      return await this.#addressesOf(domain, [{ host: literal, port: defaultPort, transport: 'starttls' }])
    }
    const ascii = domainToASCII(domain)
    if (ascii === '') return notFound(domain, 'is no name of the domain name system')
    const [direct, starttls] = await Promise.all([
      this.#services(`_xmpps-server._tcp.${ascii}`, 'direct'),
      this.#services(`_xmpp-server._tcp.${ascii}`, 'starttls'),
    ])
    const places = [direct, starttls].flatMap((answer) => 'records' in answer ? answer.records : [])
    // A target of `.` says that there is no such service, and that nobody need try (RFC 2782).
    const offered = places.filter(({ host }) => host !== '')
    if (offered.length > 0) return await this.#addressesOf(domain, this.#order(offered))
    if (places.some(({ transport }) => transport === 'starttls')) {
      return notFound(domain, 'says that it has no XMPP server')
    }
    if ('failed' in starttls) return unsure(domain, starttls.failed)
    return await this.#addressesOf(domain, [{ host: ascii, port: defaultPort, transport: 'starttls' }])
  }

  async #services(name: string, transport: S2sTransport): Promise<Answer<Place>> {
    const answer = await answered(this.#dns.resolveSrv(name))
    if ('failed' in answer) return answer
    return {
      records: answer.records.slice(0, xmppLimits.s2sServiceRecordsMax)
        .map(({ name: host, port, priority, weight }) => ({ host, port, priority, weight, transport })),
    }
  }

  #order(places: readonly Place[]): Place[] {
    const groups = new Map<string, Place[]>()
    const rank = ({ priority, transport }: Place): number => priority * 2 + (transport === 'direct' ? 0 : 1)
    for (const place of places.toSorted((a, b) => rank(a) - rank(b))) {
      const key = String(rank(place))
      groups.set(key, [...groups.get(key) ?? [], place])
    }
    return [...groups.values()].flatMap((group) => this.#draw(group))
  }

  /** Each next one at random in proportion to its weight (RFC 2782, "Weight"). */
  #draw(group: readonly Place[]): Place[] {
    const left = group.toSorted((a, b) => a.weight - b.weight)
    const drawn: Place[] = []
    while (left.length > 0) {
      const sum = left.reduce((total, { weight }) => total + weight, 0)
      // From 0 to the sum, both included: so a weight of zero is drawn now and then.
      const at = Math.floor(randomFraction(this.#random) * (sum + 1))
      let running = 0
      const index = left.findIndex(({ weight }) => (running += weight) >= at)
      drawn.push(...left.splice(index, 1))
    }
    return drawn
  }

  async #addressesOf(domain: string, places: readonly StaticTarget[]): Promise<Resolution> {
    const answers = await Promise.all(places.map(({ host }) => this.#addresses(host)))
    const targets: S2sTarget[] = []
    for (const [i, { port, transport }] of places.entries()) {
      const answer = answers[i]!
      if ('failed' in answer) continue
      for (const address of answer.records) targets.push({ address, port, transport })
    }
    if (targets.length > 0) return { ok: true, targets: targets.slice(0, xmppLimits.s2sTargetsMax) }
    const failed = answers.find((answer) => 'failed' in answer)
    if (failed !== undefined) return unsure(domain, failed.failed)
    return notFound(domain, 'has no address')
  }

  async #addresses(host: string): Promise<Answer<string>> {
    if (isIP(host) !== 0) return { records: [host] }
    if (!this.#hasOwnServers) {
      // The system's way knows the hosts file and names of the local network, too.
      const found = await answered(lookup(host, { all: true }))
      return 'failed' in found ? found : { records: inTurn(found.records.map(({ address }) => address)) }
    }
    const [six, four] = await Promise.all([
      answered(this.#dns.resolve6(host)), answered(this.#dns.resolve4(host)),
    ])
    const found = [six, four].flatMap((answer) => 'records' in answer ? answer.records : [])
    if (found.length > 0) return { records: inTurn(found) }
    return 'failed' in four ? four : six
  }
}

/** IPv6 and IPv4 in turn, IPv6 first (RFC 8305 §4). */
function inTurn(addresses: readonly string[]): string[] {
  const six = addresses.filter(isIPv6)
  const four = addresses.filter((address) => !isIPv6(address))
  const turns = Array.from({ length: Math.max(six.length, four.length) }, (_, i) => [six[i], four[i]])
  return turns.flat().filter((address) => address !== undefined)
}

const noSuch = new Set(['ENOTFOUND', 'ENODATA'])

/** None is an answer, too. */
export async function answered<T>(question: Promise<readonly T[]>): Promise<Answer<T>> {
  try {
    return { records: await question }
  } catch (error) {
    const code = (error as { code?: string }).code ?? 'unknown'
    return noSuch.has(code) ? { records: [] } : { failed: code }
  }
}

function notFound(domain: string, what: string): S2sFailure {
  return { ok: false, condition: 'remote-server-not-found', text: `${domain} ${what}`, isLasting: true }
}

function unsure(domain: string, code: string): S2sFailure {
  const text = `the name servers gave no answer about ${domain} (${code})`
  return { ok: false, condition: 'remote-server-timeout', text, isLasting: false }
}

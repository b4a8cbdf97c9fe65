/**
 * Our domain as others come to it: the records that DNS should have, each door from this machine, and the
 * certificate that it shows.
 *
 * | door | record | without it |
 * |---|---|---|
 * | xmpp | `_xmpp-client._tcp` SRV | the domain's own address, port 5222 |
 * | xmpps | `_xmpps-client._tcp` SRV | nobody comes |
 * | xmpp-server | `_xmpp-server._tcp` SRV | the domain's own address, port 5269 |
 * | xmpps-server | `_xmpps-server._tcp` SRV | nobody comes |
 */
import { Resolver } from 'node:dns/promises'
import type { SrvRecord } from 'node:dns'
import type { DoctorCheck } from '../../../node/status.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { readCertificate } from '../s2s/certificate-fields.ts'
import { verifyCertificate, verifyLeaf } from '../s2s/certificate-path.ts'
import type { Presented, TrustedRoots } from '../s2s/certificate-path.ts'
import { S2sDialer } from '../s2s/dialer.ts'
import { answered } from '../s2s/resolver.ts'
import { ns } from '../xml/names.ts'
import { presentedOn, probeStream } from './probe.ts'

export interface OwnDomainParts {
  readonly clock: Clock
  readonly domain: string
  /** `host:port` of each door that is open. */
  readonly doors: Readonly<Record<string, string>>
  readonly dnsServers: readonly string[]
  readonly roots: TrustedRoots
  /** The node is its own authority: clients were told, other servers do not know it. */
  readonly isHome: boolean
}

const services: Readonly<Record<string, { readonly record: string, readonly port?: number }>> = {
  'xmpp': { record: '_xmpp-client._tcp', port: 5222 },
  'xmpps': { record: '_xmpps-client._tcp' },
  'xmpp-server': { record: '_xmpp-server._tcp', port: 5269 },
  'xmpps-server': { record: '_xmpps-server._tcp' },
}

export async function examineOwn(parts: OwnDomainParts): Promise<DoctorCheck[]> {
  const dns = new Resolver({ timeout: xmppLimits.s2sDnsTimeoutMs, tries: 2 })
  if (parts.dnsServers.length > 0) dns.setServers(parts.dnsServers)
  const doors = Object.entries(parts.doors)
  const records = doors.filter(([door]) => services[door] !== undefined)
    .map(([door, place]) => recordCheck(parts, dns, { door, port: Number(place.split(':').at(-1)) }))
  const visits = await Promise.all(doors.map(([door, place]) => visit(parts, { door, place })))
  const presented = visits.map((one) => one.presented).find((one) => one?.leaf !== undefined)
  return [
    ...await Promise.all(records),
    await authoritiesCheck(parts, dns),
    ...visits.map(({ check }) => check),
    ...presented === undefined ? [] : [certificateCheck(parts, presented)],
    ...presented === undefined || parts.isHome || !hasServerDoor(parts) ? []
      : [await roomsCheck(parts, dns, presented)],
  ]
}

async function recordCheck(
  { domain, isHome }: OwnDomainParts, dns: Resolver,
  { door, port }: { readonly door: string, readonly port: number },
): Promise<DoctorCheck> {
  const { record, port: defaultPort } = services[door]!
  const name = `DNS ${record}`
  const cure = `paste into the zone: ${record}.${domain}. 3600 IN SRV 5 1 ${port} node.${domain}.`
    + ` (with an A or AAAA record for node.${domain})`
    + (isHome ? '; at home, openim xmpp client says what to type instead' : '')
  const found = await answered(dns.resolveSrv(`${record}.${domain}`))
  if ('failed' in found) {
    const detail = `the name servers gave no answer (${found.failed})`
    return { name, ok: false, detail, cure: 'try again, or see xmpp.s2s.dns' }
  }
  const offered = found.records.filter((one) => one.name !== '')
  if (offered.length > 0) return await targetsCheck(dns, { name, offered, port })
  const own = await addressesOf(dns, domain)
  if (found.records.length === 0 && port === defaultPort && own.length > 0) {
    return { name, ok: true, detail: `none; ${domain} itself is at ${own.join(', ')}, port ${port}` }
  }
  const detail = found.records.length === 0 ? 'there is none' : 'it says that there is no such service'
  return { name, ok: false, detail, cure }
}

async function targetsCheck(
  dns: Resolver,
  { name, offered, port }: {
    readonly name: string, readonly offered: readonly SrvRecord[], readonly port: number,
  },
): Promise<DoctorCheck> {
  const places = await Promise.all(offered.map(async ({ name: host, port: said }) => {
    const addresses = await addressesOf(dns, host)
    const text = `${host}:${said} at ${addresses.join(', ') || 'no address'}`
    return { text, said, isFound: addresses.length > 0 }
  }))
  const detail = places.map(({ text }) => text).join('; ')
  if (!places.every(({ isFound }) => isFound)) {
    return { name, ok: false, detail, cure: 'give that name an A or AAAA record' }
  }
  const isHere = places.some(({ said }) => said === port)
  const remark = isHere ? '' : `; the door is ${port}: the router must lead there`
  return { name, ok: true, detail: detail + remark }
}

/** RFC 8659: who may issue for the domain. Nothing is wrong with none. */
async function authoritiesCheck({ domain }: OwnDomainParts, dns: Resolver): Promise<DoctorCheck> {
  const found = await answered(dns.resolveCaa(domain))
  const issuers = 'failed' in found ? []
    : found.records.map(({ issue }) => issue).filter((issuer) => issuer !== undefined)
  const detail = issuers.length === 0 ? 'none: every authority may issue for the domain' : issuers.join(', ')
  return { name: 'DNS CAA', ok: true, detail }
}

async function visit(
  { clock, domain }: OwnDomainParts, { door, place }: { readonly door: string, readonly place: string },
): Promise<{ readonly check: DoctorCheck, readonly presented?: Presented }> {
  const colon = place.lastIndexOf(':')
  const listened = place.slice(0, colon).replace(/^\[|\]$/g, '')
  const address = listened === '0.0.0.0' ? '127.0.0.1' : listened === '::' ? '::1' : listened
  const isPlain = door === 'xmpp' || door === 'xmpp-server'
  const transport = isPlain ? 'starttls' : 'direct'
  const isServer = door.endsWith('-server')
  const alpn = isServer ? 'xmpp-server' : door === 'xmpp-web' ? 'http/1.1' : 'xmpp-client'
  const target = { address, port: Number(place.slice(colon + 1)), transport } as const
  const signal = new AbortController().signal
  const dialer = new S2sDialer(clock, [target], { domain, secureContext: undefined, signal, alpn })
  const dialled = await dialer.next()
  const name = `door ${door}`
  const cure = 'see the log of the node'
  if (dialled === undefined) {
    return { check: { name, ok: false, detail: `${place}: ${dialer.problem}`, cure } }
  }
  if (door === 'xmpp-web') {
    return { check: { name, ok: true, detail: place }, presented: presentedOn(dialled) }
  }
  const { protocol, presented, problem } = await probeStream(
    clock, dialled, { to: domain, contentNs: isServer ? ns.server : ns.client, until: 'tls' },
  )
  if (presented === undefined) return { check: { name, ok: false, detail: `${place}: ${problem}`, cure } }
  return { check: { name, ok: true, detail: `${place}, ${protocol}` }, presented }
}

const soonMs = 14 * 86_400_000

function certificateCheck(
  { clock, domain, roots, isHome, doors }: OwnDomainParts, presented: Presented,
): DoctorCheck {
  const name = 'certificate'
  const nowMs = clock.now()
  const own = verifyLeaf(presented.leaf!, { domain, nowMs })
  if (!own.ok) return { name, ok: false, detail: own.text, cure: `get one of a server for ${domain}` }
  const { notAfterMs, names } = readCertificate(presented.leaf!)
  const until = `for ${[...names.dns, ...names.srvNames, ...names.xmppAddrs].join(', ')}`
    + ` until ${new Date(notAfterMs).toISOString().slice(0, 10)}`
  if (isHome) {
    const detail = `${until}, of the authority of this house`
    if (!hasServerDoor({ doors })) return { name, ok: true, detail }
    return {
      name, ok: false, detail: `${detail}: other servers do not know it`,
      cure: 'set xmpp.cert and xmpp.key, of a public authority, or close the doors for servers',
    }
  }
  if (notAfterMs - nowMs < soonMs) return { name, ok: false, detail: until, cure: 'renew it' }
  const path = verifyCertificate(presented, domain, { roots, nowMs })
  if (path.ok) return { name, ok: true, detail: until }
  return {
    name, ok: false, detail: `${until}, but it ${path.text}`,
    cure: 'xmpp.cert must hold the whole chain, of an authority that others trust',
  }
}

function hasServerDoor({ doors }: Pick<OwnDomainParts, 'doors'>): boolean {
  return Object.keys(doors).some((door) => door.endsWith('-server'))
}

/** Rooms are a domain of their own to other servers: found in DNS, and in the certificate. */
async function roomsCheck(
  { clock, domain, doors }: OwnDomainParts, dns: Resolver, presented: Presented,
): Promise<DoctorCheck> {
  const name = 'rooms'
  const rooms = `rooms.${domain}`
  const covered = verifyLeaf(presented.leaf!, { domain: rooms, nowMs: clock.now() })
  if (!covered.ok) {
    const cure = `get one for ${rooms} as well, or people of other servers do not get into rooms here`
    return { name, ok: false, detail: covered.text, cure }
  }
  const open = Object.keys(doors).filter((door) => door.endsWith('-server'))
  const records = await Promise.all(open.map((door) =>
    answered(dns.resolveSrv(`${services[door]!.record}.${rooms}`))))
  const isFound = records.some((one) => 'records' in one && one.records.some((record) => record.name !== ''))
  if (isFound || (await addressesOf(dns, rooms)).length > 0) return { name, ok: true, detail: rooms }
  const [door] = open
  const { record } = services[door!]!
  const port = doors[door!]!.split(':').at(-1)
  return {
    name, ok: false, detail: `other servers do not find ${rooms}`,
    cure: `paste into the zone: ${record}.${rooms}. 3600 IN SRV 5 1 ${port} node.${domain}.`,
  }
}

async function addressesOf(dns: Resolver, host: string): Promise<string[]> {
  const found = await Promise.all([answered(dns.resolve6(host)), answered(dns.resolve4(host))])
  return found.flatMap((one) => 'records' in one ? one.records : [])
}

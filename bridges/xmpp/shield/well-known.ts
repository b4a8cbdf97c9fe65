/**
 * What a domain says of its shield at `https://DOMAIN/.well-known/openim`, and what another domain posts
 * there to become known to it. JSON (RFC 8259), at most a few kilobytes:
 *
 * ```text
 *   GET  ─► {"version":1,"domain":"a.example","address":"oim1…","services":["rooms.a.example"],
 *            "maxAge":2592000}
 *   POST ◄─ {"version":1,"domain":"b.example","invite":"openim:…"}        202: it is being looked at
 * ```
 *
 * `address` is the openIM account that carries the stanzas of the domain and of its services; `maxAge`,
 * in seconds, is how long others may insist on it. The invite in an offer is good once and is read by
 * the web server of the domain alone, whose certificate was checked before.
 */
import { parseAddress } from '../../../protocol/address.ts'
import { xmppLimits } from '../limits.ts'

export interface WellKnown {
  readonly domain: string
  readonly address: string
  /** Domains below it that the same account carries. */
  readonly services: readonly string[]
  readonly maxAgeMs: number
}

export interface Offer {
  readonly domain: string
  readonly invite: string
}

const version = 1
const domainForm = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$/
const domainCharactersMax = 253
const inviteCharactersMax = 200

export function formatWellKnown({ domain, address, services, maxAgeMs }: WellKnown): string {
  return JSON.stringify({ version, domain, address, services, maxAge: Math.floor(maxAgeMs / 1_000) })
}

/** `undefined`: it is not what it should be, or is of another domain. */
export function parseWellKnown(text: string, domain: string): WellKnown | undefined {
  const given = objectOf(text)
  if (given === undefined || given['version'] !== version || given['domain'] !== domain) return undefined
  const { address, services = [], maxAge } = given
  if (typeof address !== 'string' || !parseAddress(address).ok) return undefined
  if (typeof maxAge !== 'number' || !Number.isFinite(maxAge) || maxAge < 0) return undefined
  if (!Array.isArray(services) || services.length > xmppLimits.shieldServicesMax) return undefined
  if (!services.every((one): one is string => isDomain(one) && one.endsWith(`.${domain}`))) return undefined
  return { domain, address, services, maxAgeMs: Math.min(maxAge * 1_000, xmppLimits.shieldPinMsMax) }
}

export function formatOffer({ domain, invite }: Offer): string {
  return JSON.stringify({ version, domain, invite })
}

export function parseOffer(text: string): Offer | undefined {
  const given = objectOf(text)
  if (given?.['version'] !== version) return undefined
  const { domain, invite } = given
  if (!isDomain(domain) || typeof invite !== 'string' || invite.length > inviteCharactersMax) return undefined
  return { domain, invite }
}

export function isDomain(value: unknown): value is string {
  return typeof value === 'string' && value.length <= domainCharactersMax && domainForm.test(value)
}

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? value as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}

/**
 * Whether a certificate is for an XMPP domain: RFC 6120 §13.7.1.2 and §13.7.2 with RFC 6125's rules.
 *
 * | name | matches a.test |
 * |---|---|
 * | XmppAddr `a.test` | the domain alone; `me@a.test` is a person |
 * | SRV-ID `_xmpp-server.a.test` | of this service alone, no wildcard |
 * | DNS-ID `a.test`, `*.test` | exactly, or with `*` as the whole left-most label for exactly one label |
 *
 * The common name is not looked at (RFC 6125 §6.4.4 allows it at most as a last resort; authorities
 * have written the subjectAltName for twenty years). A wildcard stands before at least two labels.
 */
import { domainToASCII } from 'node:url'
import { Jid } from '../jid.ts'
import type { SubjectNames } from './certificate-fields.ts'

/** @param domain prepared, as in a Jid */
export function isNamed({ dns, xmppAddrs, srvNames }: SubjectNames, domain: string): boolean {
  const wanted = domainToASCII(domain)
  if (wanted === '') return false
  return xmppAddrs.some((address) => domainOfXmppAddr(address) === wanted)
    || srvNames.some((name) => name.toLowerCase() === `_xmpp-server.${wanted}`)
    || dns.some((name) => matchesDnsId(name.toLowerCase(), wanted))
}

/** In ASCII; `undefined` for what names no server. */
export function domainOfXmppAddr(address: string): string | undefined {
  const jid = Jid.parse(address)
  if (jid === undefined || jid.local !== '' || jid.resource !== '') return undefined
  const ascii = domainToASCII(jid.domain)
  return ascii === '' ? undefined : ascii
}

function matchesDnsId(name: string, wanted: string): boolean {
  if (!name.includes('*')) return name === wanted
  const suffix = name.slice(1)
  if (!/^\*\.[^*.]+(?:\.[^*.]+)+$/.test(name) || !wanted.endsWith(suffix)) return false
  const label = wanted.slice(0, -suffix.length)
  return label !== '' && !label.includes('.')
}

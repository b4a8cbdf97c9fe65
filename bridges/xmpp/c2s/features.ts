/**
 * Stream features (RFC 6120 §4.3.2) at each stage of a client's stream.
 *
 * ```text
 *   in the clear    starttls (required)
 *   inside of TLS   mechanisms, authentication (SASL2: bind, sm, fast inline), channel binding types
 *   logged in       bind, session, and what a session may turn on: sm, csi
 *   bound           the latter alone (SASL2 with Bind 2: there is no new stream)
 * ```
 */
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

const csi = 'urn:xmpp:csi:0'
/** What a client may turn on with its resource (XEP-0386). */
const inlineFeatures = [ns.carbons, csi, ns.sm].map((name) => el(ns.bind2, 'feature', { var: name }))
const limitsNs = 'urn:xmpp:stream-limits:0'

export function plainFeatures(): XmlElement {
  return el(ns.stream, 'features', {},
    el(ns.tls, 'starttls', {}, el(ns.tls, 'required')),
    limitsOf(xmppLimits.stanzaBeforeLoginMax))
}

export interface LoginOffer {
  /** In order of preference. */
  readonly mechanisms: readonly string[]
  readonly tokenMechanisms: readonly string[]
  /** Of channel binding (XEP-0440). */
  readonly bindingTypes: readonly string[]
  readonly registration: readonly XmlElement[]
}

export function loginFeatures(
  { mechanisms, tokenMechanisms, bindingTypes, registration }: LoginOffer,
): XmlElement {
  const list = (namespace: string, names: readonly string[]): XmlElement[] =>
    names.map((name) => el(namespace, 'mechanism', {}, name))
  const inline = el(ns.sasl2, 'inline', {},
    el(ns.bind2, 'bind', {}, el(ns.bind2, 'inline', {}, ...inlineFeatures)),
    el(ns.sm, 'sm'),
    el(ns.fast, 'fast', {}, ...list(ns.fast, tokenMechanisms)))
  const bindings = bindingTypes.length === 0 ? undefined
    : el('urn:xmpp:sasl-cb:0', 'sasl-channel-binding', {},
      ...bindingTypes.map((type) => el('urn:xmpp:sasl-cb:0', 'channel-binding', { type })))
  return el(ns.stream, 'features', {},
    el(ns.sasl, 'mechanisms', {}, ...list(ns.sasl, mechanisms)),
    el(ns.sasl2, 'authentication', {}, ...list(ns.sasl2, mechanisms), inline),
    bindings,
    limitsOf(xmppLimits.stanzaBeforeLoginMax),
    ...registration)
}

export function sessionFeatures(
  { isBound, isCounting, more }: {
    readonly isBound: boolean
    /** Stream management is on already. */
    readonly isCounting: boolean
    readonly more: readonly XmlElement[]
  },
): XmlElement {
  return el(ns.stream, 'features', {},
    isBound ? undefined : el(ns.bind, 'bind', {}, el(ns.bind, 'required')),
    isBound ? undefined : el(ns.session, 'session', {}, el(ns.session, 'optional')),
    isCounting ? undefined : el(ns.sm, 'sm', {}, el(ns.sm, 'optional')),
    el(csi, 'csi'),
    limitsOf(xmppLimits.clientStanzaMax),
    ...more)
}

/** XEP-0478: characters are bytes but for those outside of ASCII, which are more. */
function limitsOf(bytes: number): XmlElement {
  return el(limitsNs, 'limits', {}, el(limitsNs, 'max-bytes', {}, String(bytes)))
}

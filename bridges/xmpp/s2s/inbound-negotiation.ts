/**
 * Our side of a stream that another server opened to us (RFC 6120 §5, §6; XEP-0178, XEP-0220):
 *
 * ```text
 *   header ─▶ features: STARTTLS, required
 *   header ─▶ features: EXTERNAL where the certificate is valid for `from`; dialback
 *   auth EXTERNAL ─▶ success ─▶ header ─▶ features: stream management, dialback
 *   db:result ─▶ certificate of that domain valid?  ─▶ valid at once
 *                dialback allowed for it?           ─▶ ask its authoritative server ─▶ valid, invalid
 *   db:verify ─▶ our own key? ─▶ valid, invalid           (a question about a stream that we opened)
 *   stanzas from domains that are proven on this very stream, to domains of ours
 * ```
 *
 * What is refused, and how: a header to nobody (`improper-addressing`), to strangers (`host-unknown`),
 * from ourselves (`invalid-from`), from a blocked domain (`policy-violation`); anything but a question
 * before TLS; stanzas before proof (`not-authorized`), from another domain (`invalid-from`) or to one
 * that is not ours (`host-unknown`: we relay for nobody). Each ends the stream.
 */
import type { StreamCondition } from '../stream/stream-errors.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { CertificateVerdict } from './certificate-path.ts'
import { dialbackAnswer, dialbackError, dialbackFeatureNs, dialbackNs, keyIn } from './dialback.ts'
import type { DialbackKeys, DialbackPair } from './dialback.ts'
import type { InboundAction, S2sHeader } from './negotiation.ts'

const limitsNs = 'urn:xmpp:stream-limits:0'
const stanzaNames = new Set(['message', 'presence', 'iq'])

export interface InboundContext {
  /** Of a domain or service that we serve. */
  isOurs(domain: string): boolean
  isBlocked(domain: string): boolean
  allowsDialback(domain: string): boolean
  /** Whether what the other end showed in TLS is proof enough for a domain. */
  judge(domain: string): CertificateVerdict
  /** Fresh, unguessable, for one stream header. */
  newStreamId(): string
  readonly keys: DialbackKeys
}

export class InboundNegotiation {
  readonly #context: InboundContext
  #isSecured: boolean
  #isOpen = false
  #isOver = false
  /** As the header names it; proof is another matter. */
  #from: string | undefined
  #to = ''
  #id = ''
  #proven = new Set<string>()
  /** `from to` of keys that are being asked about. */
  readonly #asking = new Map<string, XmlElement>()
  #failures = 0
  #hasManagement = false

  constructor(context: InboundContext, { isSecured }: { readonly isSecured: boolean }) {
    this.#context = context
    this.#isSecured = isSecured
  }

  /** Of the header; for logs. */
  get from(): string | undefined {
    return this.#from
  }

  get isProven(): boolean {
    return this.#proven.size > 0
  }

  opened(header: S2sHeader): InboundAction[] {
    const to = domainIn(header.to)
    const from = domainIn(header.from)
    const isFirst = this.#id === ''
    this.#id = this.#context.newStreamId()
    const served = to !== undefined && this.#context.isOurs(to) ? to : undefined
    const own = { from: served, to: from, id: this.#id, version: '1.0' }
    const answer: InboundAction = { do: 'header', header: own }
    const refuse = (condition: StreamCondition, text: string): InboundAction[] =>
      [answer, ...this.#close(condition, text)]
    if (to === undefined) return refuse('improper-addressing', 'the stream is addressed to nobody')
    if (!this.#context.isOurs(to)) return refuse('host-unknown', 'that domain is not served here')
    if (header.from !== undefined && from === undefined) return refuse('invalid-from', 'that is no domain')
    if (from !== undefined && this.#context.isOurs(from)) {
      return refuse('invalid-from', 'that domain is served here itself')
    }
    if (from !== undefined && this.#context.isBlocked(from)) {
      return refuse('policy-violation', 'that domain is blocked here')
    }
    if (header.version === undefined || !(Number(header.version) >= 1)) {
      return refuse('unsupported-version', 'TLS is required here, which begins with version 1.0')
    }
    // After TLS and SASL the same ends open the stream anew.
    const isOther = to !== this.#to || (from !== undefined && from !== this.#from)
    if (!isFirst && this.isProven && isOther) {
      return refuse('not-authorized', 'the addresses of the stream have changed')
    }
    this.#from = from ?? (this.isProven ? this.#from : undefined)
    this.#to = to
    this.#isOpen = true
    return [answer, { do: 'send', element: this.#features() }]
  }

  secured(): InboundAction[] {
    this.#isSecured = true
    this.#isOpen = false
    return []
  }

  element(element: XmlElement): InboundAction[] {
    if (this.#isOver) return []
    if (!this.#isOpen) return this.#close('not-authorized', 'the stream is not open')
    if (element.ns === ns.tls) return this.#startTls(element)
    if (!this.#isSecured) return this.#close('policy-violation', 'TLS is required here')
    if (element.ns === ns.sasl) return this.#external(element)
    if (element.is('result', dialbackNs)) return this.#result(element)
    if (element.is('verify', dialbackNs)) return this.#verify(element)
    if (element.ns === ns.sm) {
      const isInTurn = this.#hasManagement || (this.isProven && element.name === 'enable')
      if (!isInTurn) return this.#close('unsupported-stanza-type', 'stream management is not on')
      this.#hasManagement = true
      return [{ do: 'manage', element }]
    }
    if (element.ns === ns.client && stanzaNames.has(element.name)) return this.#stanza(element)
    return this.#close('unsupported-stanza-type', 'this is neither a stanza nor anything that was offered')
  }

  /** What came of a `verify` action. Without an answer there is no proof, and the other end may try again. */
  verified(pair: DialbackPair, outcome: 'valid' | 'invalid' | 'no-answer'): InboundAction[] {
    const { originating, receiving, id } = pair
    const key = `${originating} ${receiving}`
    const request = this.#asking.get(key)
    if (this.#isOver || request === undefined || id !== this.#id) return []
    this.#asking.delete(key)
    if (outcome === 'no-answer') {
      const text = 'your own server gave no answer'
      const error = { condition: 'remote-server-timeout', type: 'cancel', text }
      return [{ do: 'send', element: dialbackError(request, error) }]
    }
    if (outcome === 'invalid') {
      return [{ do: 'send', element: dialbackAnswer(request, 'invalid') }, ...this.#countFailure()]
    }
    return this.#prove(originating, request)
  }

  #features(): XmlElement {
    if (!this.#isSecured) {
      return el(ns.stream, 'features', {}, el(ns.tls, 'starttls', {}, el(ns.tls, 'required')))
    }
    const isExternal = !this.isProven && this.#from !== undefined && this.#context.judge(this.#from).ok
    return el(ns.stream, 'features', {},
      isExternal ? el(ns.sasl, 'mechanisms', {}, el(ns.sasl, 'mechanism', {}, 'EXTERNAL')) : undefined,
      el(dialbackFeatureNs, 'dialback', {}, el(dialbackFeatureNs, 'errors')),
      this.isProven ? el(ns.sm, 'sm') : undefined,
      el(limitsNs, 'limits', {}, el(limitsNs, 'max-bytes', {}, String(xmppLimits.serverStanzaMax))),
    )
  }

  #startTls(element: XmlElement): InboundAction[] {
    if (element.name !== 'starttls' || this.#isSecured) {
      return this.#close('policy-violation', 'TLS cannot begin here')
    }
    this.#isOpen = false
    return [{ do: 'send', element: el(ns.tls, 'proceed') }, { do: 'secure' }]
  }

  #external(element: XmlElement): InboundAction[] {
    const fail = (condition: string): InboundAction[] =>
      [{ do: 'send', element: el(ns.sasl, 'failure', {}, el(ns.sasl, condition)) }, ...this.#countFailure()]
    if (element.name !== 'auth' || this.isProven) {
      return this.#close('policy-violation', 'this is out of turn')
    }
    if (element.attrs['mechanism'] !== 'EXTERNAL') return fail('invalid-mechanism')
    // `=` is the empty answer: the domain of the header (RFC 6120 §6.4.2).
    const answer = element.text.trim()
    const domain = answer === '' || answer === '=' ? this.#from : domainIn(fromBase64(answer))
    if (domain === undefined || domain !== (this.#from ?? domain)) return fail('invalid-authzid')
    if (this.#context.isOurs(domain) || this.#context.isBlocked(domain) || !this.#context.judge(domain).ok) {
      return fail('not-authorized')
    }
    this.#from = domain
    this.#proven.add(domain)
    this.#isOpen = false
    return [
      { do: 'proven', domain, by: 'certificate' },
      { do: 'send', element: el(ns.sasl, 'success') },
      { do: 'restart' },
    ]
  }

  /** They want to prove a domain; over a stream of another one, too ("piggybacking"). */
  #result(element: XmlElement): InboundAction[] {
    const { type } = element.attrs
    // Answers come over streams that we opened.
    if (type !== undefined) return this.#close('invalid-from', 'nobody asked for this answer')
    const from = domainIn(element.attrs['from'])
    const to = domainIn(element.attrs['to'])
    const key = keyIn(element)
    const refuse = (condition: string, errorType: string, text: string): InboundAction[] => {
      const answer = dialbackError(element, { condition, type: errorType, text })
      return [{ do: 'send', element: answer }, ...this.#countFailure()]
    }
    if (from === undefined || to === undefined || key === undefined) {
      return this.#close('improper-addressing', 'dialback needs two domains and a key')
    }
    if (!this.#context.isOurs(to)) return refuse('item-not-found', 'cancel', 'that domain is not served here')
    if (this.#context.isOurs(from)) return this.#close('invalid-from', 'that domain is served here itself')
    if (this.#context.isBlocked(from)) {
      return refuse('policy-violation', 'cancel', 'that domain is blocked here')
    }
    if (this.#proven.size >= xmppLimits.s2sDomainsPerStreamMax) {
      return refuse('resource-constraint', 'wait', 'too many domains on one stream')
    }
    const verdict = this.#context.judge(from)
    if (verdict.ok) return this.#prove(from, element)
    if (!this.#context.allowsDialback(from)) {
      return refuse('not-authorized', 'auth', `the certificate of ${from} ${verdict.text}`)
    }
    const name = `${from} ${to}`
    if (this.#asking.has(name)) return []
    if (this.#asking.size >= xmppLimits.s2sVerifyingPerStreamMax) {
      return refuse('resource-constraint', 'wait', 'too many keys at once')
    }
    this.#asking.set(name, element)
    return [{ do: 'verify', pair: { receiving: to, originating: from, id: this.#id }, key }]
  }

  /** They ask whether a key is ours. No proof of theirs is needed: the answer tells nothing but that. */
  #verify(element: XmlElement): InboundAction[] {
    const { type, id } = element.attrs
    if (type !== undefined) return this.#close('invalid-from', 'nobody asked for this answer')
    const receiving = domainIn(element.attrs['from'])
    const originating = domainIn(element.attrs['to'])
    const key = keyIn(element)
    if (receiving === undefined || originating === undefined || key === undefined || id === undefined) {
      return this.#close('improper-addressing', 'dialback needs two domains, an id and a key')
    }
    if (!this.#context.isOurs(originating)) {
      const error = { condition: 'item-not-found', type: 'cancel', text: 'that domain is not served here' }
      return [{ do: 'send', element: dialbackError(element, error) }]
    }
    const isValid = this.#context.keys.isKey({ receiving, originating, id }, key)
    return [{ do: 'send', element: dialbackAnswer(element, isValid ? 'valid' : 'invalid') }]
  }

  #prove(domain: string, request: XmlElement): InboundAction[] {
    this.#proven.add(domain)
    const by = this.#context.judge(domain).ok ? 'certificate' : 'dialback'
    return [
      { do: 'proven', domain, by },
      { do: 'send', element: dialbackAnswer(request, 'valid') },
    ]
  }

  #stanza(stanza: XmlElement): InboundAction[] {
    if (!this.isProven) return this.#close('not-authorized', 'no domain is proven on this stream')
    const from = Jid.parse(stanza.attrs['from'] ?? '')
    const to = Jid.parse(stanza.attrs['to'] ?? '')
    if (from === undefined || to === undefined) {
      return this.#close('improper-addressing', 'between servers a stanza says from whom and to whom')
    }
    if (!this.#proven.has(from.domain)) {
      return this.#close('invalid-from', 'the domain it is from is not proven on this stream')
    }
    if (!this.#context.isOurs(to.domain)) return this.#close('host-unknown', 'that domain is not served here')
    if (this.#context.isBlocked(from.domain)) {
      return this.#close('policy-violation', 'that domain is blocked here')
    }
    return [{ do: 'stanza', stanza }]
  }

  #countFailure(): InboundAction[] {
    return ++this.#failures < xmppLimits.s2sProofFailuresMax ? []
      : this.#close('policy-violation', 'too many failed proofs')
  }

  #close(condition: StreamCondition, text: string): InboundAction[] {
    this.#isOver = true
    return [{ do: 'close', error: { condition, text } }]
  }
}

/** A bare domain, prepared; nothing else. */
function domainIn(text: string | undefined): string | undefined {
  const jid = text === undefined ? undefined : Jid.parse(text)
  return jid === undefined || jid.local !== '' || jid.resource !== '' ? undefined : jid.domain
}

function fromBase64(text: string): string | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes.toString('utf8') : undefined
}

/**
 * Our side of a stream that we open to another server (RFC 6120 §5, §6; XEP-0178, XEP-0220):
 *
 * ```text
 *   header ─▶ features ─▶ <starttls/> ─▶ <proceed/> ─▶ TLS ─▶ certificate as our policy wants it
 *   header ─▶ features ─▶ EXTERNAL ─▶ <success/> ─▶ header ─▶ features ─▶ ready
 *                    └──▶ db:result ─▶ valid ─▶ ready           where EXTERNAL is not offered or fails
 * ```
 *
 * The same walk up to the second header carries a `db:verify`: a question about a key, for a stream
 * that somebody else opened to us. It needs no proof of the other end beyond the policy of dialback
 * itself, that the name server led us there; it needs TLS.
 */
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import type { StreamError } from '../stream/stream-errors.ts'
import { ns } from '../xml/names.ts'
import type { CertificateVerdict } from './certificate-path.ts'
import { dialbackFeatureNs, dialbackNs, dialbackResult } from './dialback.ts'
import type { DialbackKeys, DialbackPair } from './dialback.ts'
import type { S2sFailure } from './failure.ts'
import type { OutboundAction, S2sHeader } from './negotiation.ts'

export type OutboundPurpose =
  | { readonly to: 'send', readonly keys: DialbackKeys, readonly mayDialback: boolean }
  | { readonly to: 'verify', readonly pair: DialbackPair, readonly key: string }

export interface OutboundOptions {
  readonly ours: string
  readonly theirs: string
  readonly purpose: OutboundPurpose
}

type State = 'header' | 'features' | 'proceed' | 'tls' | 'external' | 'dialback' | 'verify' | 'ready' | 'over'

export class OutboundNegotiation {
  readonly #options: OutboundOptions
  #state: State = 'tls'
  #isSecured = false
  #isProven = false
  #hasFailedExternal = false
  #streamId: string | undefined

  constructor(options: OutboundOptions) {
    this.#options = options
  }

  /** The socket is connected, and TLS not yet begun. */
  start(): OutboundAction[] {
    return this.#begin()
  }

  /** TLS stands, from the first byte or after `secure`. */
  secured(verdict: CertificateVerdict): OutboundAction[] {
    const { theirs, purpose } = this.#options
    if (this.#state !== 'tls') return this.#fail(`${theirs} began TLS out of turn`)
    if (!verdict.ok && purpose.to === 'send' && !purpose.mayDialback) {
      return this.#fail(`the certificate of ${theirs} ${verdict.text}`, {
        condition: 'remote-server-timeout', isLasting: true,
      })
    }
    this.#isSecured = true
    return this.#begin()
  }

  opened(header: S2sHeader): OutboundAction[] {
    if (this.#state !== 'header') return this.#fail(`${this.#options.theirs} opened its stream twice`)
    this.#streamId = header.id
    this.#state = 'features'
    if (header.version === undefined || Number(header.version) < 1) {
      return this.#fail(`${this.#options.theirs} speaks no TLS`, { isLasting: true })
    }
    return []
  }

  element(element: XmlElement): OutboundAction[] {
    switch (this.#state) {
      case 'features':
        return element.is('features', ns.stream) ? this.#features(element) : this.#outOfTurn(element)
      case 'proceed':
        if (!element.is('proceed', ns.tls)) return this.#fail(`${this.#options.theirs} refused TLS`)
        this.#state = 'tls'
        return [{ do: 'secure' }]
      case 'external':
        return this.#external(element)
      case 'dialback':
      case 'verify':
        return this.#dialback(element)
      case 'ready':
        return [element.ns === ns.sm ? { do: 'manage', element } : { do: 'ignore', element }]
      default:
        return this.#outOfTurn(element)
    }
  }

  #begin(): OutboundAction[] {
    this.#state = 'header'
    const { ours, theirs } = this.#options
    return [{ do: 'header', header: { from: ours, to: theirs, version: '1.0' } }]
  }

  #features(features: XmlElement): OutboundAction[] {
    const { theirs, ours, purpose } = this.#options
    if (!this.#isSecured) {
      if (features.child('starttls', ns.tls) === undefined) {
        return this.#fail(`${theirs} offers no TLS`, { isLasting: true })
      }
      this.#state = 'proceed'
      return [{ do: 'send', element: el(ns.tls, 'starttls') }]
    }
    if (this.#isProven) return this.#ready('certificate', features)
    if (purpose.to === 'verify') return this.#ask(purpose)
    const mechanisms = features.child('mechanisms', ns.sasl)?.elements('mechanism') ?? []
    if (mechanisms.some(({ text }) => text === 'EXTERNAL') && !this.#hasFailedExternal) {
      this.#state = 'external'
      const authzid = Buffer.from(ours).toString('base64')
      return [{ do: 'send', element: el(ns.sasl, 'auth', { mechanism: 'EXTERNAL' }, authzid) }]
    }
    // Servers of old offer dialback by the mere declaration of its namespace.
    const isOffered = features.child('dialback', dialbackFeatureNs) !== undefined || mechanisms.length === 0
    return isOffered ? this.#prove() : this.#fail(`${theirs} does not accept our certificate`)
  }

  #external(element: XmlElement): OutboundAction[] {
    if (element.is('success', ns.sasl)) {
      this.#isProven = true
      return [{ do: 'restart' }, ...this.#begin()]
    }
    if (!element.is('failure', ns.sasl)) return this.#outOfTurn(element)
    this.#hasFailedExternal = true
    return this.#prove()
  }

  /** Proves us by a key. */
  #prove(): OutboundAction[] {
    const { ours, theirs, purpose } = this.#options
    if (purpose.to !== 'send' || this.#streamId === undefined) {
      return this.#fail(`${theirs} gave its stream no id`)
    }
    this.#state = 'dialback'
    const key = purpose.keys.key({ receiving: theirs, originating: ours, id: this.#streamId })
    return [{ do: 'send', element: dialbackResult(ours, theirs, key) }]
  }

  #ask({ pair, key }: { readonly pair: DialbackPair, readonly key: string }): OutboundAction[] {
    this.#state = 'verify'
    const attrs = { from: pair.receiving, to: pair.originating, id: pair.id }
    return [{ do: 'send', element: el(dialbackNs, 'verify', attrs, key) }]
  }

  #dialback(element: XmlElement): OutboundAction[] {
    const { ours, theirs, purpose } = this.#options
    const { from, to, id, type } = element.attrs
    const isForUs = from === theirs && to === ours
    if (purpose.to === 'verify') {
      const isAnswer = element.is('verify', dialbackNs) && isForUs && id === purpose.pair.id
      // An answer that nobody asked for is no answer (XSF notice of 2012).
      if (!isAnswer || this.#state !== 'verify') return this.#outOfTurn(element)
      this.#state = 'over'
      return [{ do: 'verdict', isValid: type === 'valid' }, { do: 'close' }]
    }
    if (!element.is('result', dialbackNs) || !isForUs) return this.#outOfTurn(element)
    if (type === 'valid') return this.#ready('dialback', undefined)
    const why = reasonIn(element)
    return this.#fail(`${theirs} does not accept us: ${this.#hasFailedExternal
      ? 'neither our certificate nor dialback' : 'dialback failed'}${why === '' ? '' : ` (${why})`}`)
  }

  #ready(by: 'certificate' | 'dialback', features: XmlElement | undefined): OutboundAction[] {
    this.#state = 'ready'
    return [{ do: 'ready', by, hasManagement: features?.child('sm', ns.sm) !== undefined }]
  }

  /** The stream is over; an error of the other end says why. */
  ended(error: StreamError | undefined): OutboundAction[] {
    const { theirs } = this.#options
    const why = [error?.condition, error?.text].filter((part) => part !== undefined).join(', ')
    const isUnknown = error?.condition === 'host-unknown' || error?.condition === 'host-gone'
    const text = `${theirs} ended the stream`
    return this.#fail(why === '' ? text : `${text}: ${oneLine(why)}`,
      isUnknown ? { condition: 'remote-server-not-found' } : {})
  }

  #outOfTurn(element: XmlElement): OutboundAction[] {
    return this.#fail(`${this.#options.theirs} sent <${element.name.slice(0, 40)}/> out of turn`)
  }

  #fail(text: string, more: Partial<S2sFailure> = {}): OutboundAction[] {
    if (this.#state === 'over') return []
    this.#state = 'over'
    const failure: S2sFailure = {
      ok: false, condition: 'remote-server-timeout', text, isLasting: false, ...more,
    }
    return [{ do: 'fail', failure }, { do: 'close' }]
  }
}

/** Condition and text of an error within an element, for people. */
function reasonIn(element: XmlElement): string {
  const error = element.child('error', ns.client) ?? element
  const known = error.elements().filter((one) => one.ns === ns.stanzaErrors)
  const condition = known.find(({ name }) => name !== 'text')?.name ?? ''
  const text = known.find(({ name }) => name === 'text')?.text ?? ''
  return oneLine([condition, text].filter((part) => part !== '').join(', '))
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, 200)
}

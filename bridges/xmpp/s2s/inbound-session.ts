/**
 * A stream that another server opened to us: inbound-negotiation.ts on a real connection, and the
 * stanzas that come over it. They are handed on in order, without waiting for one another, and
 * acknowledged (XEP-0198) in order as they are handled; reading stops while too many are.
 */
import type { SecureContext } from 'node:tls'
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { XmlStream } from '../stream/xml-stream.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { presentedBy } from './certificate-path.ts'
import type { DialbackPair } from './dialback.ts'
import { InboundNegotiation } from './inbound-negotiation.ts'
import type { InboundContext } from './inbound-negotiation.ts'
import type { InboundAction } from './negotiation.ts'
import type { S2sPolicy } from './policy.ts'
import type { RateTable } from './rate-table.ts'

export interface InboundComponents extends Omit<InboundContext, 'judge' | 'isBlocked' | 'allowsDialback'> {
  readonly clock: Clock
  readonly policy: S2sPolicy
  readonly domainRates: RateTable
  /** Certificate for a domain that the peer asked for. */
  secureContext(serverName: string): SecureContext | undefined
}

export interface InboundOwner {
  /** Settles when it was handled durably. */
  stanza(stanza: XmlElement): Promise<void>
  verify(pair: DialbackPair, key: string): Promise<'valid' | 'invalid' | 'no-answer'>
  /** False: it has too many streams already. */
  proven(session: InboundSession, domain: string, by: 'certificate' | 'dialback'): boolean
  ended(session: InboundSession): void
}

export class InboundSession {
  readonly #components: InboundComponents
  readonly #stream: XmlStream
  readonly #owner: InboundOwner
  readonly #negotiation: InboundNegotiation
  #idleTimer: Timer | undefined
  #resumeTimer: Timer | undefined
  #isCounting = false
  /** Stanzas since `<enable/>` that were handled, with all before them (XEP-0198 §4). */
  #handled = 0
  #received = 0
  /** Received and not yet acknowledgeable, oldest first. */
  readonly #open: { isDone: boolean }[] = []
  /** `#received` of the last `<r/>` that has no answer yet. */
  #askedAt: number | undefined
  #isPaused = false
  #isOver = false

  constructor(components: InboundComponents, stream: XmlStream, owner: InboundOwner) {
    this.#components = components
    this.#stream = stream
    this.#owner = owner
    const { policy } = components
    this.#negotiation = new InboundNegotiation({
      ...components,
      isOurs: (domain) => components.isOurs(domain),
      newStreamId: () => components.newStreamId(),
      isBlocked: (domain) => policy.isBlocked(domain),
      allowsDialback: (domain) => policy.allowsDialback(domain),
      judge: (domain) => policy.judge(presentedBy(stream.tls?.peerCertificate), domain),
    }, { isSecured: stream.tls !== undefined })
  }

  get from(): string | undefined {
    return this.#negotiation.from
  }

  get remoteAddress(): string {
    return this.#stream.remoteAddress
  }

  /** After it is known to its owner. */
  start(): void {
    this.#stream.listen({
      opened: (header) => this.#perform(this.#negotiation.opened(header)),
      element: (element) => this.#perform(this.#negotiation.element(element)),
      secured: () => this.#perform(this.#negotiation.secured()),
      closed: () => {
        this.#isOver = true
        this.#idleTimer?.cancel()
        this.#resumeTimer?.cancel()
        this.#owner.ended(this)
      },
    })
  }

  close(condition: 'system-shutdown' | 'policy-violation' | 'resource-constraint', text?: string): void {
    this.#stream.close(text === undefined ? { condition } : { condition, text })
  }

  destroy(): void {
    this.#stream.destroy()
  }

  /** Twice what we ourselves wait: the other end decides how long a stream of its own is worth it. */
  #watchIdle(): void {
    const received = this.#received
    this.#idleTimer?.cancel()
    this.#idleTimer = this.#components.clock.after(2 * xmppLimits.s2sIdleCloseMs, () => {
      if (this.#received === received && this.#open.length === 0) this.#stream.close()
      else this.#watchIdle()
    })
  }

  #perform(actions: readonly InboundAction[]): void {
    for (const action of actions) this.#act(action)
  }

  #act(action: InboundAction): void {
    const stream = this.#stream
    switch (action.do) {
      case 'header': {
        const { from, to, id } = action.header
        stream.open({
          contentNs: ns.server, withDialback: true, id: id!,
          ...from === undefined ? {} : { from }, ...to === undefined ? {} : { to },
        })
        break
      }
      case 'restart':
        stream.restart()
        break
      case 'send':
        stream.send(action.element)
        break
      case 'secure':
        stream.startTls({
          side: 'server', requestCert: true,
          secureContext: (name) => this.#components.secureContext(name),
        })
        break
      case 'close':
        stream.close(action.error)
        break
      case 'verify':
        void this.#owner.verify(action.pair, action.key)
          .then((outcome) => this.#perform(this.#negotiation.verified(action.pair, outcome)))
        break
      case 'proven':
        this.#proven(action.domain, action.by)
        break
      case 'manage':
        this.#manage(action.element)
        break
      case 'stanza':
        this.#stanza(action.stanza)
        break
    }
  }

  #proven(domain: string, by: 'certificate' | 'dialback'): void {
    this.#watchIdle()
    this.#stream.setStanzaMax(xmppLimits.serverStanzaMax)
    if (this.#owner.proven(this, domain, by)) return
    this.close('resource-constraint', 'your domain has too many streams to us')
  }

  #manage(element: XmlElement): void {
    if (element.name === 'enable') {
      if (this.#isCounting) {
        this.#stream.send(el(ns.sm, 'failed', {}, el(ns.stanzaErrors, 'unexpected-request')))
        return
      }
      // No resumption between servers: what is not acknowledged comes again over the next stream.
      this.#isCounting = true
      this.#handled = 0
      this.#received = 0
      this.#open.length = 0
      this.#stream.send(el(ns.sm, 'enabled'))
    } else if (element.name === 'r') {
      this.#askedAt = this.#received
      this.#answer()
    } else if (element.name === 'resume') {
      this.#stream.send(el(ns.sm, 'failed', {}, el(ns.stanzaErrors, 'item-not-found')))
    }
  }

  #stanza(stanza: XmlElement): void {
    const entry = { isDone: false }
    this.#open.push(entry)
    this.#received++
    this.#slowDown(stanza)
    this.#owner.stanza(stanza).then(() => {
      entry.isDone = true
      this.#advance()
    }, () => {
      // It must not be acknowledged; the other end keeps it for another stream.
      this.#stream.close({ condition: 'internal-server-error', text: 'a stanza could not be kept' })
    })
  }

  #advance(): void {
    while (this.#open[0]?.isDone === true) {
      this.#open.shift()
      this.#handled++
    }
    this.#answer()
    const isRoom = this.#open.length < xmppLimits.s2sHandlingMax / 2
    if (isRoom && this.#resumeTimer === undefined) this.#resume()
  }

  /** Answers `<r/>` once everything before it is handled: a smaller number would only be asked for again. */
  #answer(): void {
    if (this.#askedAt === undefined || this.#handled < this.#askedAt || this.#isOver) return
    this.#askedAt = undefined
    this.#stream.send(el(ns.sm, 'a', { h: String(this.#handled >>> 0) }))
  }

  #slowDown(stanza: XmlElement): void {
    const { clock, domainRates } = this.#components
    const domain = stanza.attrs['from']!.replace(/^[^@/]*@/, '').replace(/\/.*$/s, '')
    const waitMs = domainRates.owe(domain)
    if (waitMs > 0 && this.#resumeTimer === undefined) {
      this.#resumeTimer = clock.after(waitMs, () => {
        this.#resumeTimer = undefined
        if (this.#open.length < xmppLimits.s2sHandlingMax) this.#resume()
      })
    }
    if (waitMs === 0 && this.#open.length < xmppLimits.s2sHandlingMax) return
    this.#isPaused = true
    this.#stream.pause()
  }

  #resume(): void {
    if (!this.#isPaused || this.#isOver) return
    this.#isPaused = false
    this.#stream.resume()
  }
}

/**
 * A bound resource. It outlives the stream that carries it where the client asked for that (XEP-0198):
 *
 * ```text
 *   carried ── stream cut ──► hibernating ── resumed ──► carried
 *      │                          │ 10 minutes
 *      └── closed in order ───────┴──────────► ended: what was not acknowledged goes back to the host
 * ```
 *
 * Stanzas of the client go to the host as they come, without waiting for each other, and are
 * acknowledged in order once the host has them durably. Stanzas for the client are kept until it
 * acknowledges them. An acknowledgement is asked for as soon as something is unacknowledged and no
 * request is under way: one request for each round trip, whatever the load.
 */
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { within } from '../../../protocol/timers.ts'
import type { LoginAccount } from '../auth/sasl.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import type { StreamInfo } from '../ports.ts'
import { StanzaError, toError } from '../stanza-errors.ts'
import type { StreamCondition, StreamError } from '../stream/stream-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { HeldStanzas } from './held-stanzas.ts'
import type { ClientHost, HostedSession } from './host-port.ts'
import { InboundCount } from './inbound-count.ts'
import { streamInfo } from './session-link.ts'
import type { SessionLink } from './session-link.ts'
import { UnackedQueue } from './unacked-queue.ts'

export interface ClientSessionComponents {
  readonly clock: Clock
  readonly host: ClientHost
  /** It is gone for good: not to be found any more. */
  readonly ended: (session: ClientSession) => void
  /** Something failed that nobody waits for. */
  readonly onError: (error: unknown) => void
}

export interface ClientSessionOptions {
  readonly account: LoginAccount
  readonly jid: Jid
  /** The app password it was made with: revoked, it ends. */
  readonly passwordId: string
  readonly clientId: string | undefined
}

export class ClientSession implements HostedSession {
  readonly account: LoginAccount
  readonly jid: Jid
  readonly passwordId: string
  readonly clientId: string | undefined
  /** Once ended: settles when the host was handed what is left. */
  left: Promise<void> = Promise.resolve()
  readonly #components: ClientSessionComponents
  readonly #full: string
  #link: SessionLink | undefined
  #ended = false
  #isPaused = false
  /** Before the client knows that it is bound: nothing may come before that word. */
  #early: (readonly [XmlElement, (() => void) | undefined])[] | undefined = []
  // ── Stream management ──
  /** `undefined`: nothing is counted. */
  #unacked: UnackedQueue | undefined
  #inbound = new InboundCount()
  /** Empty: it cannot be resumed. */
  #resumeId = ''
  #hibernateMs = 0
  #hibernation: Timer | undefined
  #request: Timer | undefined
  /** What had been sent when the last request went. */
  #requestedAt = 0
  /** Resumptions that were tried: the last one counts. */
  #claims = 0
  readonly #waitingForRoom: (() => void)[] = []
  // ── Client state ──
  readonly #held = new HeldStanzas()
  #isInactive = false

  constructor(components: ClientSessionComponents, link: SessionLink, options: ClientSessionOptions) {
    this.#components = components
    this.#link = link
    this.account = options.account
    this.jid = options.jid
    this.#full = options.jid.toString()
    this.passwordId = options.passwordId
    this.clientId = options.clientId
  }

  get isHibernating(): boolean {
    return this.#link === undefined && !this.#ended
  }

  get isEnded(): boolean {
    return this.#ended
  }

  get stream(): StreamInfo | undefined {
    return this.#link === undefined ? undefined : streamInfo(this.#link)
  }

  /** What a client resumes it by; empty: it cannot. */
  get resumeId(): string {
    return this.#resumeId
  }

  get isCounting(): boolean {
    return this.#unacked !== undefined
  }

  /** Of the client's stanzas, how many are handled. */
  get h(): number {
    return this.#inbound.h
  }

  isCarriedBy(link: SessionLink): boolean {
    return this.#link === link
  }

  /** The client was told that it is bound. */
  begin(): void {
    const early = this.#early ?? []
    this.#early = undefined
    for (const [stanza, arrived] of early) this.send(stanza, arrived)
  }

  // ── To the client ─────────────────────────────────────────────────────────────────────────

  send(stanza: XmlElement, arrived?: () => void): void {
    if (this.#ended) return
    if (this.#early !== undefined) {
      this.#early.push([stanza, arrived])
      return
    }
    if (this.#isInactive && arrived === undefined && this.#held.hold(stanza)) return
    if (this.#held.size > 0) this.#release()
    this.#put(stanza, arrived)
  }

  #release(): void {
    for (const stanza of this.#held.take()) this.#put(stanza)
  }

  #put(stanza: XmlElement, arrived?: () => void): void {
    const unacked = this.#unacked
    if (unacked === undefined) {
      this.#link?.send(stanza, arrived)
      if ((this.#link?.bufferedBytes ?? 0) > xmppLimits.sessionBytesMax) this.#tooSlow()
      return
    }
    unacked.push(stanza, arrived)
    this.#link?.send(stanza)
    const { unackedStanzasMax, sessionBytesMax } = xmppLimits
    const isTooMuch = unacked.size > unackedStanzasMax || unacked.bytes > sessionBytesMax
    if (isTooMuch) this.#tooSlow()
    else this.#requestAck()
  }

  room(): Promise<void> {
    if (this.#hasRoom()) return Promise.resolve()
    return new Promise((done) => this.#waitingForRoom.push(done))
  }

  #hasRoom(): boolean {
    const { unackedStanzasMax, sessionBytesMax } = xmppLimits
    const { size, bytes } = this.#unacked ?? { size: 0, bytes: this.#link?.bufferedBytes ?? 0 }
    return this.#ended || size < unackedStanzasMax / 8 && bytes < sessionBytesMax / 8
  }

  /** The socket took something, or the client acknowledged. */
  drained(): void {
    if (this.#waitingForRoom.length === 0 || !this.#hasRoom()) return
    for (const done of this.#waitingForRoom.splice(0)) done()
  }

  #tooSlow(): void {
    this.#end({ condition: 'resource-constraint', text: 'too much waits for this client to take it' })
  }

  // ── From the client ───────────────────────────────────────────────────────────────────────

  /** A stanza, as it came. */
  receive(stanza: XmlElement): void {
    if (this.#ended) return
    const { from } = stanza.attrs
    if (from !== undefined && !this.#isOwn(from)) {
      this.#end({ condition: 'invalid-from', text: 'a client speaks for itself alone' })
      return
    }
    // `<enable/>` begins another count, and what came before is not in it.
    const inbound = this.#inbound
    const number = inbound.begin()
    const answer = answerHere(stanza)
    if (answer !== undefined) {
      inbound.settle(number)
      this.send(answer)
      return
    }
    const own = from === this.#full ? stanza : stanza.withAttrs({ from: this.#full })
    this.#components.host.receive(this, own).then(
      () => {
        inbound.settle(number)
        if (this.#isPaused && inbound.pending <= xmppLimits.inboundPendingMax / 2) this.#pause(false)
      },
      (error: unknown) => {
        this.#components.onError(error)
        this.#end({ condition: 'internal-server-error', text: 'the server could not keep what you sent' })
      },
    )
    if (!this.#isPaused && inbound.pending >= xmppLimits.inboundPendingMax) this.#pause(true)
  }

  #pause(isPaused: boolean): void {
    this.#isPaused = isPaused
    if (isPaused) this.#link?.pause()
    else this.#link?.resume()
  }

  /** RFC 6120 §8.1.2.1: its own full or bare address, or none. */
  #isOwn(from: string): boolean {
    if (from === this.#full) return true
    const jid = Jid.parse(from)
    return jid !== undefined && (jid.equals(this.jid) || jid.equals(this.jid.toBare()))
  }

  /** `<active/>`, `<inactive/>` (XEP-0352). */
  setActive(isActive: boolean): void {
    this.#isInactive = !isActive
    if (isActive && this.#held.size > 0) this.#release()
  }

  // ── Acknowledgements ──────────────────────────────────────────────────────────────────────

  /** `<enable/>`, once: both counts begin at this moment. The answer. */
  enable({ attrs }: XmlElement, resumeId: string): XmlElement {
    if (this.#unacked !== undefined || this.#link === undefined) return smFailed('unexpected-request')
    this.#unacked = new UnackedQueue()
    this.#inbound = new InboundCount()
    if (attrs.resume !== 'true' && attrs.resume !== '1') return el(ns.sm, 'enabled')
    const wanted = wholeNumber(attrs.max)
    const mostS = xmppLimits.hibernateMs / 1_000
    const seconds = wanted === undefined || wanted === 0 ? mostS : Math.min(wanted, mostS)
    this.#resumeId = resumeId
    this.#hibernateMs = seconds * 1_000
    return el(ns.sm, 'enabled', { id: resumeId, resume: 'true', max: String(seconds) })
  }

  /** `<r/>`: answered when all that came before it is handled, or in a while with what is. */
  answerRequest(): void {
    const link = this.#link
    if (this.#unacked === undefined || link === undefined) return
    const inbound = this.#inbound
    const answer = (): void => link.send(el(ns.sm, 'a', { h: String(inbound.h) }))
    if (inbound.pending === 0) {
      answer()
      return
    }
    const timer = this.#components.clock.after(xmppLimits.ackAnswerMs, answer)
    inbound.whenHandled(() => {
      timer.cancel()
      answer()
    })
  }

  /** `<a/>`. */
  acknowledged({ attrs }: XmlElement): void {
    const h = wholeNumber(attrs.h)
    if (this.#unacked === undefined || h === undefined) return
    this.#request?.cancel()
    this.#request = undefined
    if (!this.#acknowledge(h)) return
    this.drained()
    if (this.#unacked.size > 0 && this.#requestedAt !== this.#unacked.sent) this.#requestAck()
  }

  #acknowledge(h: number): boolean {
    const unacked = this.#unacked!
    if (unacked.acknowledge(h)) return true
    const counts = { h: String(h), 'send-count': String(unacked.sent) }
    const text = `you acknowledge ${h} stanzas, ${unacked.sent} were sent`
    const extra = el(ns.sm, 'handled-count-too-high', counts)
    this.#end({ condition: 'undefined-condition', text, extra })
    return false
  }

  #requestAck(): void {
    const link = this.#link
    if (this.#request !== undefined || link === undefined) return
    this.#requestedAt = this.#unacked!.sent
    link.send(el(ns.sm, 'r'))
    this.#request = this.#components.clock.after(xmppLimits.ackRequestMs, () => {
      this.#request = undefined
      // Dead, most likely; if it is not, it comes back and resumes.
      link.close({ condition: 'connection-timeout', text: 'an acknowledgement did not come in time' })
      this.linkLost(link, { isClean: false })
    })
  }

  // ── Streams come and go ───────────────────────────────────────────────────────────────────

  /**
   * Another stream of the same client takes it over. `announce` tells the client so, with our `h`,
   * before what it did not acknowledge is sent again. False: it cannot be, or yet another was faster.
   */
  async resume(link: SessionLink, h: number, announce: (h: number) => void): Promise<boolean> {
    if (this.#ended || this.#unacked === undefined) return false
    const claim = ++this.#claims
    const old = this.#link
    this.#link = undefined
    this.#cut()
    old?.close({ condition: 'conflict', text: 'this session was resumed on another stream' })
    // What is being handled would be sent again, and doubled, if we named a count without it.
    const { clock } = this.#components
    const handled = new Promise<true>((done) => this.#inbound.whenHandled(() => done(true)))
    const isHandled = await within(clock, xmppLimits.resumeSettleMs, handled)
    if (isHandled !== true || claim !== this.#claims || this.#ended) return false
    this.#hibernation?.cancel()
    this.#link = link
    this.#isPaused = false
    if (!this.#acknowledge(h)) return true
    announce(this.#inbound.h)
    this.#isInactive = false
    for (const stanza of this.#unacked.stanzas()) link.send(stanza)
    if (this.#held.size > 0) this.#release()
    if (this.#unacked.size > 0) this.#requestAck()
    this.drained()
    return true
  }

  /** Its stream is gone; `isClean`: the client closed it, and does not come back (XEP-0198 §5). */
  linkLost(link: SessionLink, { isClean }: { readonly isClean: boolean }): void {
    if (this.#link !== link) return
    this.#link = undefined
    if (isClean || this.#resumeId === '') {
      this.#end()
    } else {
      this.#cut()
      this.#components.host.hibernating?.(this, [...this.#unacked!.stanzas()])
    }
  }

  #cut(): void {
    this.#request?.cancel()
    this.#request = undefined
    this.#hibernation?.cancel()
    this.#hibernation = this.#components.clock.after(this.#hibernateMs, () => this.#end())
  }

  close(condition: StreamCondition, text?: string): void {
    this.#end({ condition, ...text === undefined ? {} : { text } })
  }

  #end(error?: StreamError): void {
    if (this.#ended) return
    this.#ended = true
    this.#request?.cancel()
    this.#hibernation?.cancel()
    this.#link?.close(error)
    this.#link = undefined
    this.drained()
    const { host, ended, onError } = this.#components
    ended(this)
    const early = this.#early?.map(([stanza]) => stanza) ?? []
    const left = [...this.#unacked?.stanzas() ?? [], ...this.#held.take(), ...early]
    this.left = host.unbound(this)
      .then(() => left.length === 0 ? undefined : host.undelivered(this, left))
      .catch(onError)
  }
}

/** Of a bound client, what the stream's own negotiation answers: it is over (RFC 6120 §7.1, RFC 3921 §3). */
function answerHere(stanza: XmlElement): XmlElement | undefined {
  const { type, id, to } = stanza.attrs
  if (stanza.name !== 'iq' || type !== 'set' || to !== undefined) return undefined
  if (stanza.child('session', ns.session) !== undefined) return el(ns.client, 'iq', { type: 'result', id })
  if (stanza.child('bind', ns.bind) === undefined) return undefined
  return toError(stanza, new StanzaError('not-allowed', 'this stream has its resource already'))
}

/** `<failed/>` with a stanza error's condition; `h` where we know what was handled. */
export function smFailed(condition: string, h?: number): XmlElement {
  return el(ns.sm, 'failed', { h: h === undefined ? undefined : String(h) }, el(ns.stanzaErrors, condition))
}

/** Of an attribute: up to 2³² − 1, in digits alone. */
export function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined
  const value = Number(text)
  return value < 2 ** 32 ? value : undefined
}

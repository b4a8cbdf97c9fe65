/**
 * From one domain of ours to one of others: what waits, the stream if there is one, and the attempts to
 * have one. What was sent stays until the other end has it:
 *
 * ```text
 *   with stream management   <r/> after each burst and within long ones, <a h/> takes that many
 *                            away                                                 (XEP-0198 §4)
 *   without                  a ping behind each burst; its answer, which comes over the other end's own
 *                            stream, shows that everything before it was handled   (XEP-0199)
 * ```
 *
 * Handled is not kept: a server without stream management answers the ping while messages are on their
 * way through its memory (ejabberd, killed under load, lost 34 of 600). So what a ping vouches for stays
 * some seconds longer, and goes again if the stream breaks within them.
 *
 * A stream that ends gives back what was not acknowledged, to go first over the next one. That may
 * double what the other end handled without having said so; it never loses. A server that answers no
 * ping is taken at its word that the socket took it.
 *
 * A server that is down is tried again at growing intervals, and at once when it opens a stream to us.
 */
import { jittered } from '../../../crypto/random.ts'
import type { Random } from '../../../crypto/random.ts'
import type { Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import type { DialbackKeys } from './dialback.ts'
import { S2sDialer } from './dialer.ts'
import type { Dialled } from './dialer.ts'
import type { S2sFailure } from './failure.ts'
import { OutboundStream } from './outbound-stream.ts'
import type { OutboundComponents, OutboundFacts } from './outbound-stream.ts'
import type { Queued } from './outbox.ts'
import type { S2sResolver } from './resolver.ts'

const pingNs = 'urn:xmpp:ping'
const pingIdBytes = 12
/** Bytes in the socket above which stanzas wait with us. */
const highWaterBytes = 1024 * 1024

export interface LinkComponents extends OutboundComponents {
  readonly random: Random
  readonly resolver: S2sResolver
  readonly keys: DialbackKeys
}

export interface LinkEnds {
  readonly ours: string
  readonly theirs: string
}

export interface LinkListener {
  /** The other end has it. */
  delivered(queued: Queued): void
  /** It goes back to whoever sent it. */
  bounced(queued: Queued, failure: S2sFailure): void
  /** Nothing waits and no stream stands. */
  idle(): void
  /** For people: a stream stands, or an attempt failed. */
  told(event: OutboundFacts | S2sFailure): void
}

type Acknowledging = 'management' | 'ping' | 'none'

export class S2sLink {
  readonly #components: LinkComponents
  readonly #ends: LinkEnds
  readonly #listener: LinkListener
  readonly #stopped = new AbortController()
  #waiting: Queued[] = []
  #sent: Queued[] = []
  #stream: OutboundStream | undefined
  #facts: OutboundFacts | undefined
  #connecting: Promise<void> | undefined
  #retryTimer: Timer | undefined
  #retryMs = 0
  #lasting: { readonly failure: S2sFailure, readonly untilMs: number } | undefined
  #acknowledging: Acknowledging = 'none'
  /** As the other end counts. */
  #handled = 0
  /** Questions without an answer yet, one ping or several `<r/>`: how many of `#sent` each covers. */
  #asks: number[] = []
  #askTimer: Timer | undefined
  /** Sent since the last question. */
  #unasked = 0
  /** The ping, and how many of `#sent` it covers. */
  #pinged: { readonly covers: number, readonly id: string } | undefined
  /** Handled by their word, and not yet for long enough; the oldest first. */
  #vouched: { readonly queued: Queued, readonly atMs: number }[] = []
  #vouchTimer: Timer | undefined
  #isAskDue = false
  #pings = 0
  readonly #pingPrefix: string
  #idleTimer: Timer | undefined
  #lastMs = 0

  constructor(components: LinkComponents, ends: LinkEnds, listener: LinkListener) {
    this.#components = components
    this.#ends = ends
    this.#listener = listener
    // Nobody who did not get the ping can answer it.
    this.#pingPrefix = `s2s-${Buffer.from(components.random.bytes(pingIdBytes)).toString('hex')}-`
  }

  get facts(): OutboundFacts | undefined {
    return this.#facts
  }

  get queued(): number {
    return this.#waiting.length + this.#sent.length
  }

  get isIdle(): boolean {
    return this.queued === 0 && this.#stream === undefined && this.#connecting === undefined
  }

  /** False: there is no room for it. */
  push(queued: Queued): boolean {
    const { clock } = this.#components
    if (this.#lasting !== undefined && this.#lasting.untilMs > clock.monotonicMs()) {
      this.#listener.bounced(queued, this.#lasting.failure)
      return true
    }
    if (this.queued >= xmppLimits.s2sQueueStanzasMax) return false
    this.#waiting.push(queued)
    if (this.#stream !== undefined) this.#pump()
    else if (this.#retryTimer === undefined) this.#connect()
    return true
  }

  /** The other end is there: it opened a stream to us. */
  wake(): void {
    this.#lasting = undefined
    if (this.#retryTimer === undefined) return
    this.#retryMs = 0
    this.#connect()
  }

  /** A result or an error from the other domain. True: it was the answer to a ping of ours. */
  answered(id: string): boolean {
    if (!id.startsWith(this.#pingPrefix)) return false
    const pinged = this.#pinged
    if (pinged?.id !== id) return true
    this.#forgetAsked()
    this.#settle(pinged.covers)
    return true
  }

  /** Ends the stream; what waits stays in the store. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#retryTimer?.cancel()
    this.#idleTimer?.cancel()
    this.#forgetAsked()
    // An orderly end: they have it.
    this.#release(Infinity)
    this.#stream?.close()
    await this.#connecting
    this.#stream?.destroy()
  }

  cut(): void {
    this.#stopped.abort()
    this.#vouchTimer?.cancel()
    this.#retryTimer?.cancel()
    this.#idleTimer?.cancel()
    this.#forgetAsked()
    this.#stream?.destroy()
  }

  // ── A stream ────────────────────────────────────────────────────────────────────────────────

  #connect(): void {
    this.#retryTimer?.cancel()
    this.#retryTimer = undefined
    if (this.#connecting !== undefined || this.#stream !== undefined || this.#stopped.signal.aborted) return
    this.#connecting = this.#attempt().then((failure) => {
      this.#connecting = undefined
      if (this.#stopped.signal.aborted) return
      if (failure === undefined) this.#pump()
      else this.#failed(failure)
    })
  }

  /** `undefined`: there is a stream. */
  async #attempt(): Promise<S2sFailure | undefined> {
    const { clock, resolver, secureContext } = this.#components
    const { theirs } = this.#ends
    const resolution = await resolver.resolve(theirs)
    if (!resolution.ok) return resolution
    const { signal } = this.#stopped
    const dialer = new S2sDialer(clock, resolution.targets, { domain: theirs, secureContext, signal })
    let failure: S2sFailure | undefined
    for (;;) {
      const dialled = await dialer.next()
      if (dialled === undefined) break
      const { promise, resolve } = Promise.withResolvers<S2sFailure | undefined>()
      this.#open(dialled, resolve)
      const found = await promise
      if (found === undefined) return undefined
      // What one server says of itself tells more than the silence of the next.
      failure = found
    }
    resolver.forget(theirs)
    return failure ?? {
      ok: false, condition: 'remote-server-timeout', isLasting: false,
      text: `no server of ${theirs} can be reached: ${dialer.problem}`,
    }
  }

  #open(dialled: Dialled, settled: (failure?: S2sFailure) => void): void {
    const { keys, policy } = this.#components
    const { theirs } = this.#ends
    const mayDialback = policy.allowsDialback(theirs)
    const stream = new OutboundStream(this.#components, {
      ...dialled, ...this.#ends, purpose: { to: 'send', keys, mayDialback },
    }, {
      ready: (facts) => {
        this.#begin(stream, facts)
        settled()
      },
      manage: (element) => this.#manage(element),
      drained: () => this.#pump(),
      ended: (failure) => {
        if (this.#stream === stream) this.#ended(failure)
        else settled(failure)
      },
    })
    if (this.#stopped.signal.aborted) stream.destroy()
  }

  #begin(stream: OutboundStream, facts: OutboundFacts): void {
    this.#stream = stream
    this.#facts = facts
    this.#retryMs = 0
    this.#handled = 0
    this.#unasked = 0
    this.#lasting = undefined
    this.#acknowledging = facts.hasManagement ? 'management' : 'ping'
    if (facts.hasManagement) stream.send(el(ns.sm, 'enable'))
    this.#listener.told(facts)
    this.#watch()
  }

  #ended(failure: S2sFailure): void {
    this.#stream = undefined
    this.#facts = undefined
    this.#idleTimer?.cancel()
    this.#forgetAsked()
    this.#release(this.#components.clock.monotonicMs())
    this.#vouchTimer?.cancel()
    this.#vouchTimer = undefined
    this.#waiting = [...this.#vouched.map(({ queued }) => queued), ...this.#sent, ...this.#waiting]
    this.#vouched = []
    this.#sent = []
    if (this.#waiting.length > 0) this.#failed(failure)
    else this.#listener.idle()
  }

  /** Bounces what cannot wait, and tries again for the rest. */
  #failed(failure: S2sFailure): void {
    if (this.#stopped.signal.aborted) return
    const { clock, random } = this.#components
    this.#listener.told(failure)
    const nowMs = clock.now()
    if (failure.isLasting) {
      this.#lasting = { failure, untilMs: clock.monotonicMs() + xmppLimits.s2sFailureKeptMs }
    }
    const isLost = ({ stanza, atMs }: Queued): boolean =>
      failure.isLasting || nowMs - atMs >= patienceMs(stanza)
    const lost = this.#waiting.filter(isLost)
    this.#waiting = this.#waiting.filter((queued) => !isLost(queued))
    for (const queued of lost) this.#listener.bounced(queued, failure)
    if (this.#waiting.length === 0) {
      this.#listener.idle()
      return
    }
    const { s2sRetryMs, s2sRetryMsMax } = xmppLimits
    this.#retryMs = Math.min(s2sRetryMsMax, this.#retryMs === 0 ? s2sRetryMs : this.#retryMs * 2)
    this.#retryTimer = clock.after(jittered(random, this.#retryMs, 0.2), () => this.#connect())
  }

  // ── Stanzas ─────────────────────────────────────────────────────────────────────────────────

  #pump(): void {
    const stream = this.#stream
    if (stream === undefined || this.#waiting.length === 0) return
    let at = 0
    while (at < this.#waiting.length && stream.bufferedBytes < highWaterBytes) {
      const queued = this.#waiting[at++]!
      this.#sent.push(queued)
      stream.send(queued.stanza)
      this.#unasked++
      const isBurst = this.#unasked >= xmppLimits.s2sAskStanzas
      if (isBurst && this.#acknowledging === 'management') this.#ask()
    }
    this.#waiting.splice(0, at)
    this.#lastMs = this.#components.clock.monotonicMs()
    this.#askSoon()
  }

  /** One question for all that this turn of the event loop sends. */
  #askSoon(): void {
    if (this.#isAskDue || this.#asks.length > 0) return
    this.#isAskDue = true
    queueMicrotask(() => {
      this.#isAskDue = false
      if (this.#asks.length === 0) this.#ask()
    })
  }

  #ask(): void {
    const stream = this.#stream
    if (stream === undefined) return
    if (this.#acknowledging === 'none') {
      this.#settle(this.#sent.length)
      return
    }
    this.#asks.push(this.#sent.length)
    this.#unasked = 0
    if (this.#acknowledging === 'management') {
      stream.send(el(ns.sm, 'r'))
    } else {
      const id = `${this.#pingPrefix}${this.#pings++}`
      this.#pinged = { covers: this.#sent.length, id }
      stream.send(this.#ping(id))
    }
    this.#askTimer ??= this.#components.clock.after(xmppLimits.s2sAckMs, () => this.#unanswered())
  }

  #ping(id: string): XmlElement {
    const { ours, theirs } = this.#ends
    return el(ns.client, 'iq', { type: 'get', id, from: ours, to: theirs }, el(pingNs, 'ping'))
  }

  #unanswered(): void {
    this.#forgetAsked()
    if (this.#acknowledging === 'management') {
      this.#stream?.destroy()
      return
    }
    // It cannot reach us, or answers no requests. What the socket took is all we know.
    this.#acknowledging = 'none'
    this.#settle(this.#sent.length)
  }

  #manage(element: XmlElement): void {
    if (element.name === 'r') {
      // Over this stream nothing comes to us.
      this.#stream?.send(el(ns.sm, 'a', { h: '0' }))
    } else if (element.name === 'failed') {
      this.#acknowledging = 'ping'
      this.#forgetAsked()
      if (this.#sent.length > 0) this.#askSoon()
    } else if (element.name === 'a') {
      this.#acknowledged(Number(element.attrs['h']))
    }
  }

  #acknowledged(handled: number): void {
    const count = (handled - this.#handled) >>> 0
    if (!Number.isInteger(handled) || count > this.#sent.length) {
      const text = `you acknowledge ${count} stanzas of ${this.#sent.length}`
      const counts = { 'h': String(handled), 'send-count': String(this.#handled + this.#sent.length) }
      const extra = el(ns.sm, 'handled-count-too-high', counts)
      this.#stream?.close({ condition: 'undefined-condition', text, extra })
      return
    }
    this.#handled = handled >>> 0
    // An answer may be for several questions, and may come before all that a question was about is handled.
    const left = this.#asks.slice(1).map((covers) => covers - count).filter((covers) => covers > 0)
    this.#forgetAsked()
    if (left.length > 0) {
      this.#asks = left
      this.#askTimer = this.#components.clock.after(xmppLimits.s2sAckMs, () => this.#unanswered())
    }
    this.#settle(count)
  }

  #settle(count: number): void {
    const settled = this.#sent.splice(0, count)
    if (this.#acknowledging === 'management') {
      for (const queued of settled) this.#listener.delivered(queued)
    } else {
      const atMs = this.#components.clock.monotonicMs()
      for (const queued of settled) this.#vouched.push({ queued, atMs })
      this.#release(atMs)
    }
    if (this.#sent.length > 0) this.#askSoon()
  }

  /** Those that were vouched for long enough ago are theirs. */
  #release(nowMs: number): void {
    const { s2sVouchedMs, s2sQueueStanzasMax } = xmppLimits
    const recent = this.#vouched.findIndex(({ atMs }) => atMs + s2sVouchedMs > nowMs)
    const over = this.#vouched.length - s2sQueueStanzasMax
    const count = Math.max(recent === -1 ? this.#vouched.length : recent, over)
    for (const { queued } of this.#vouched.splice(0, count)) this.#listener.delivered(queued)
    const [next] = this.#vouched
    if (next === undefined || this.#vouchTimer !== undefined) return
    const { clock } = this.#components
    this.#vouchTimer = clock.after(Math.max(1, next.atMs + s2sVouchedMs - nowMs), () => {
      this.#vouchTimer = undefined
      this.#release(clock.monotonicMs())
    })
  }

  #forgetAsked(): void {
    this.#askTimer?.cancel()
    this.#askTimer = undefined
    this.#asks = []
    this.#pinged = undefined
  }

  // ── Idle ────────────────────────────────────────────────────────────────────────────────────

  #watch(): void {
    const { clock } = this.#components
    const { s2sIdlePingMs, s2sIdleCloseMs } = xmppLimits
    this.#lastMs = clock.monotonicMs()
    const look = (): void => {
      const idleMs = clock.monotonicMs() - this.#lastMs
      if (idleMs >= s2sIdleCloseMs && this.queued === 0) {
        this.#stream?.close()
        return
      }
      if (idleMs >= s2sIdlePingMs && this.#asks.length === 0) this.#ask()
      this.#idleTimer = clock.after(s2sIdlePingMs, look)
    }
    this.#idleTimer = clock.after(s2sIdlePingMs, look)
  }
}

function patienceMs(stanza: XmlElement): number {
  const { type } = stanza.attrs
  const isPassing = stanza.name === 'iq' ||
    (stanza.name === 'presence' && !(type ?? '').includes('subscribe'))
  return isPassing ? xmppLimits.s2sRequestPatienceMs : xmppLimits.s2sMessagePatienceMs
}

/**
 * The device's end of a session (DESIGN §4): dials the node, greets, resumes what was cut, and
 * tries again with jittered, doubling pauses for as long as it is started. What callers may rely
 * on is in types.ts.
 *
 * ```text
 *   start ─► dial ─► link ─► hello ─► welcome ─► online ─► link lost ─► pause ─┐
 *             ▲                        resumed, else reset()                   │
 *             └────────────────────────────────────────────────────────────────┘
 * ```
 */
import { equalBytes } from '../../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { randomFraction } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { decodeFrame, encodeFrameShared } from '../frame/frame.ts'
import type { Frame } from '../frame/frame.ts'
import { limits } from '../limits.ts'
import type { Clock, MessageLink } from '../ports.ts'
import { sleep } from '../timers.ts'
import { decodeControl, encodeControl } from './control-frames.ts'
import type { WelcomeFrame } from './control-frames.ts'
import { errorMessage, isWindow, NumberedSession } from './numbered-session.ts'
import type { DeviceSessionApi, DeviceSessionListener, Dialer } from './types.ts'

/** Doublings of `limits.reconnectMinMs` that reach `limits.reconnectMaxMs`. */
const failuresMax = Math.ceil(Math.log2(limits.reconnectMaxMs / limits.reconnectMinMs))

/**
 * How a link was left. After `lost` the session goes on, after `ended` a new one begins; after
 * `refused` the node would say the same at once, so it is left alone longer; `final` stops.
 */
type Leaving = 'lost' | 'ended' | 'refused' | 'final'

interface CurrentLink {
  readonly link: MessageLink
  /** Detaches, closes and settles what waits for the end of this link; idempotent. */
  leave(leaving: Leaving, code: string, cause?: unknown): void
  /** Settles when the transport is gone. */
  readonly gone: Promise<void>
}

export class DeviceSession implements DeviceSessionApi {
  readonly #clock: Clock
  readonly #random: Random
  readonly #dialer: Dialer
  readonly #listener: DeviceSessionListener
  #session: NumberedSession
  /** Given by the node; undefined until there is a session to resume. */
  #sessionId: Uint8Array | undefined
  #current: CurrentLink | undefined
  #failures = 0
  /** The session's progress when its link came: more of it means that the link worked. */
  #progressBefore = 0
  #stopped = false
  #running: { readonly abort: AbortController, readonly done: Promise<void> } | undefined

  constructor(components: { dialer: Dialer, clock: Clock, random: Random }, listener: DeviceSessionListener) {
    this.#clock = components.clock
    this.#random = components.random
    this.#dialer = components.dialer
    this.#listener = listener
    this.#session = this.#newSession()
  }

  get online(): boolean {
    return this.#session.online
  }

  start(): void {
    if (this.#running !== undefined) return
    this.#stopped = false
    this.#failures = 0
    const abort = new AbortController()
    this.#running = { abort, done: this.#run(abort.signal) }
  }

  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    this.#stopped = true
    const current = this.#current
    this.#session.bye('SESSION_BYE')
    running?.abort.abort()
    await running?.done
    await current?.gone
  }

  send(frame: Frame): Promise<void> {
    if (this.#stopped) {
      return Promise.reject(new OpenIMError('SESSION_ENDED', 'the session was stopped; start it again'))
    }
    return this.#session.send(encodeFrameShared(frame))
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const leaving = await this.#connect(signal)
      if (signal.aborted) return
      if (leaving === 'final') {
        this.#stopped = true
        this.#running = undefined
        return
      }
      await sleep(this.#clock, this.#pauseMs(leaving), signal)
    }
  }

  /** Doubles with each failure in a row; at least half of it, the rest by chance. */
  #pauseMs(leaving: Leaving): number {
    const failures = leaving === 'refused' ? failuresMax : Math.min(this.#failures, failuresMax)
    const ceilingMs = Math.min(limits.reconnectMaxMs, limits.reconnectMinMs * 2 ** failures)
    return Math.round(ceilingMs * (0.5 + 0.5 * randomFraction(this.#random)))
  }

  async #connect(signal: AbortSignal): Promise<Leaving> {
    let link: MessageLink
    try {
      link = await this.#dialer.dial(signal)
    } catch (error) {
      this.#failures++
      if (!signal.aborted) this.#listener.state(false, errorCode(error) ?? 'LINK_UNREACHABLE')
      return 'lost'
    }
    if (signal.aborted) {
      link.close('SESSION_BYE')
      return 'final'
    }
    const startMs = this.#clock.monotonicMs()
    this.#progressBefore = this.#session.progress
    const leaving = await this.#serve(link)
    const worked = leaving === 'lost' && (this.#session.progress > this.#progressBefore
      || this.#clock.monotonicMs() - startMs >= limits.reconnectMaxMs)
    this.#failures = worked ? 0 : this.#failures + 1
    return leaving
  }

  /** Greets over a fresh link and uses it to its end. */
  #serve(link: MessageLink): Promise<Leaving> {
    const left = Promise.withResolvers<Leaving>()
    const gone = Promise.withResolvers<void>()
    const deadline = this.#clock.after(limits.handshakeMs, () => leave('lost', 'SESSION_TIMEOUT'))
    const leave = (leaving: Leaving, code: string, cause?: unknown): void => {
      if (this.#current !== current) return
      this.#current = undefined
      deadline.cancel()
      this.#session.detach()
      link.close(code)
      this.#listener.state(false, code, cause)
      left.resolve(leaving)
    }
    const current: CurrentLink = { link, leave, gone: gone.promise }
    this.#current = current
    let greeted = false
    link.listen({
      message: (message) => {
        if (this.#current !== current) return
        if (greeted) return this.#session.receive(message)
        greeted = true
        deadline.cancel()
        this.#greet(message, current)
      },
      drain: () => {
        if (this.#current === current) this.#session.linkDrained()
      },
      closed: (code) => {
        leave('lost', code)
        gone.resolve()
      },
    })
    link.send(encodeControl({
      type: 'hello',
      version: 1,
      session: this.#sessionId,
      received: this.#session.received,
      windowBytes: limits.sessionWindowBytes,
    }))
    return left.promise
  }

  #greet(message: Uint8Array, { link, leave }: CurrentLink): void {
    const decoded = decodeControl(message)
    const frame = decoded.ok ? decoded.value : undefined
    // A node that restarts is back soon; any other refusal it would repeat.
    if (frame?.type === 'error') {
      return leave(frame.code === 'SESSION_STOPPED' ? 'lost' : 'refused', frame.code)
    }
    if (frame?.type !== 'welcome' || !this.#fits(frame)) {
      link.send(errorMessage('SESSION_UNEXPECTED', 'expected a welcome that fits the hello'))
      return leave('refused', 'SESSION_UNEXPECTED')
    }
    if (!frame.resumed && this.#sessionId !== undefined) {
      const old = this.#session
      this.#session = this.#newSession()
      this.#progressBefore = 0
      old.discard('SESSION_LOST')
    }
    this.#sessionId = frame.session.slice()
    if (!frame.resumed) this.#listener.reset()
    this.#session.attach(link, frame)
    this.#listener.state(true)
  }

  #fits(welcome: WelcomeFrame): boolean {
    if (!isWindow(welcome.windowBytes)) return false
    if (!welcome.resumed) return welcome.received === 0
    return this.#sessionId !== undefined && equalBytes(welcome.session, this.#sessionId)
      && this.#session.canResume(welcome.received)
  }

  #newSession(): NumberedSession {
    const session = new NumberedSession(this.#clock, {
      payload: (payload) => {
        const decoded = decodeFrame(payload)
        if (decoded.ok) return this.#listener.frame(decoded.value)
        session.fail('SESSION_FRAME_INVALID', decoded.detail ?? decoded.code)
      },
      drain: () => {},
      linkFailed: (code) => this.#current?.leave('lost', code),
      ended: (code, cause) => {
        if (this.#session !== session) return
        this.#session = this.#newSession()
        this.#sessionId = undefined
        const final = this.#stopped || code === 'SESSION_REPLACED'
        this.#current?.leave(final ? 'final' : 'ended', code, cause)
      },
    })
    return session
  }
}

/**
 * The node's end of all sessions (DESIGN §4): takes links from any connector, asks whose device
 * it is, greets, begins or resumes its session, and keeps the session for
 * `limits.sessionResumeMs` after its link went. One session per device: a new login of the same
 * device takes over. What callers may rely on is in types.ts.
 *
 * ```text
 *   accept ─► authorise ─► hello ─┬─ same session, numbers fit ─► welcome(resumed) ─► linked
 *                  │ refused      └─ else: old one ends, new one ─► welcome ─► opened, linked
 *                  ▼
 *               error, close                link lost ─► wait for the device ─► SESSION_EXPIRED
 * ```
 *
 * The device key comes from the Noise channel, so a session id is no secret and no capability:
 * only the device that began a session can resume it.
 */
import { equalBytes, hex } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { decodeFrame, encodeFrameShared } from '../frame/frame.ts'
import type { Frame } from '../frame/frame.ts'
import { limits } from '../limits.ts'
import type { Clock, MessageLink, Timer } from '../ports.ts'
import { decodeControl, encodeControl, sessionIdBytes } from './control-frames.ts'
import type { HelloFrame } from './control-frames.ts'
import { errorMessage, isWindow, NumberedSession } from './numbered-session.ts'
import type { HostedSession, IncomingLink, SessionHostApi, SessionHostListener } from './types.ts'

export class SessionHost<Who> implements SessionHostApi<Who> {
  readonly #clock: Clock
  readonly #random: Random
  readonly #listener: SessionHostListener<Who>
  readonly #byDevice = new Map<string, DeviceEnd<Who>>()
  /** Links whose `closed` has not come; each settles when it does. */
  readonly #links = new Set<Promise<void>>()
  #stopped = false

  constructor(components: { clock: Clock, random: Random }, listener: SessionHostListener<Who>) {
    this.#clock = components.clock
    this.#random = components.random
    this.#listener = listener
  }

  accept(incoming: IncomingLink): void {
    void this.#admit(incoming)
  }

  sessions(): Iterable<HostedSession<Who>> {
    return this.#byDevice.values()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const session of [...this.#byDevice.values()]) session.bye('SESSION_STOPPED')
    await Promise.all(this.#links)
  }

  async #admit(incoming: IncomingLink): Promise<void> {
    const who = await this.#authorise(incoming.deviceKey)
    const { link } = incoming
    const gone = Promise.withResolvers<void>()
    this.#links.add(gone.promise)
    let session: DeviceEnd<Who> | undefined
    let greeted = false
    const deadline = this.#clock.after(limits.handshakeMs, () => {
      this.#refuse(link, 'SESSION_TIMEOUT', 'no hello came')
    })
    link.listen({
      message: (message) => {
        if (greeted) return session?.receive(link, message)
        greeted = true
        deadline.cancel()
        session = who.ok ? this.#greet(incoming, who.value, message) : undefined
      },
      drain: () => session?.linkDrained(link),
      closed: () => {
        deadline.cancel()
        session?.linkGone(link)
        this.#links.delete(gone.promise)
        gone.resolve()
      },
    })
    if (!who.ok) this.#refuse(link, who.code, who.detail ?? 'this device is not let in')
    else if (this.#stopped) this.#refuse(link, 'SESSION_STOPPED', 'the node is stopping')
  }

  /** A throw is a bug or a broken store of ours; to the device it is a refusal. */
  async #authorise(deviceKey: Uint8Array): Promise<Result<Who>> {
    try {
      return await this.#listener.authorise(deviceKey)
    } catch {
      return { ok: false, code: 'SESSION_FAILED', detail: 'the node could not look up the device' }
    }
  }

  #refuse(link: MessageLink, code: string, detail: string): undefined {
    link.send(errorMessage(code, detail))
    link.close(code)
  }

  #greet(incoming: IncomingLink, who: Who, message: Uint8Array): DeviceEnd<Who> | undefined {
    const { link, deviceKey } = incoming
    const decoded = decodeControl(message)
    if (!decoded.ok) return this.#refuse(link, 'SESSION_FRAME_INVALID', decoded.detail ?? decoded.code)
    const hello = decoded.value
    if (hello.type !== 'hello' || !isWindow(hello.windowBytes)) {
      return this.#refuse(link, 'SESSION_UNEXPECTED', 'expected a hello with room for the largest frame')
    }
    const key = hex(deviceKey)
    const existing = this.#byDevice.get(key)
    if (existing?.canResume(hello) === true) {
      existing.resume(incoming, hello)
      return existing
    }
    existing?.end('SESSION_REPLACED', 'the device logged in anew')
    if (this.#byDevice.size >= limits.sessionsMax) {
      return this.#refuse(link, 'SESSION_LIMIT', `the node serves ${limits.sessionsMax} sessions already`)
    }
    const session = new DeviceEnd<Who>({
      clock: this.#clock,
      listener: this.#listener,
      forget: (ended) => {
        if (this.#byDevice.get(key) === ended) this.#byDevice.delete(key)
      },
    }, { id: this.#random.bytes(sessionIdBytes), who, incoming })
    this.#byDevice.set(key, session)
    session.begin(hello)
    return session
  }
}

interface DeviceEndSurroundings<Who> {
  readonly clock: Clock
  readonly listener: SessionHostListener<Who>
  /** Takes an ended session out of the host's books. */
  readonly forget: (session: DeviceEnd<Who>) => void
}

/** One device's session as the node keeps it, with or without a link. */
class DeviceEnd<Who> implements HostedSession<Who> {
  readonly id: string
  readonly who: Who
  readonly deviceKey: Uint8Array
  readonly #idBytes: Uint8Array
  readonly #surroundings: DeviceEndSurroundings<Who>
  readonly #numbered: NumberedSession
  #incoming: IncomingLink
  #expiry: Timer | undefined

  constructor(
    surroundings: DeviceEndSurroundings<Who>,
    login: { id: Uint8Array, who: Who, incoming: IncomingLink },
  ) {
    this.id = hex(login.id)
    this.who = login.who
    this.deviceKey = login.incoming.deviceKey
    this.#idBytes = login.id
    this.#surroundings = surroundings
    this.#incoming = login.incoming
    const { clock, listener } = surroundings
    this.#numbered = new NumberedSession(clock, {
      payload: (payload) => this.#receivePayload(payload),
      drain: () => listener.drain(this),
      linkFailed: (code) => this.#leave(code),
      ended: (code, cause) => this.#ended(code, cause),
    })
  }

  get online(): boolean {
    return this.#numbered.online
  }

  get transport(): string {
    return this.#incoming.link.transport
  }

  get remote(): string {
    return this.#incoming.remote
  }

  get writable(): boolean {
    return this.#numbered.writable
  }

  get bufferedBytes(): number {
    return this.#numbered.bufferedBytes
  }

  send(frame: Frame): Promise<void> {
    return this.#numbered.send(encodeFrameShared(frame))
  }

  end(code: string, detail = 'the node ended the session'): void {
    this.#numbered.fail(code, detail)
  }

  bye(code: string): void {
    this.#numbered.bye(code)
  }

  begin(hello: HelloFrame): void {
    this.#welcome(hello, false)
    this.#surroundings.listener.opened(this)
    if (this.online) this.#surroundings.listener.linked(this, true)
  }

  canResume(hello: HelloFrame): boolean {
    return hello.session !== undefined && equalBytes(hello.session, this.#idBytes)
      && this.#numbered.canResume(hello.received)
  }

  /** Over a new link; an old one that did not know yet that it is dead is closed. */
  resume(incoming: IncomingLink, hello: HelloFrame): void {
    if (this.online) this.#leave('LINK_REPLACED')
    this.#expiry?.cancel()
    this.#incoming = incoming
    this.#welcome(hello, true)
    this.#surroundings.listener.linked(this, true)
  }

  receive(link: MessageLink, message: Uint8Array): void {
    if (this.#uses(link)) this.#numbered.receive(message)
  }

  linkDrained(link: MessageLink): void {
    if (this.#uses(link)) this.#numbered.linkDrained()
  }

  linkGone(link: MessageLink): void {
    if (this.#uses(link)) this.#leave('LINK_CLOSED')
  }

  #uses(link: MessageLink): boolean {
    return this.online && this.#incoming.link === link
  }

  #welcome(hello: HelloFrame, resumed: boolean): void {
    const { link } = this.#incoming
    link.send(encodeControl({
      type: 'welcome',
      session: this.#idBytes,
      resumed,
      received: this.#numbered.received,
      windowBytes: limits.sessionWindowBytes,
    }))
    this.#numbered.attach(link, resumed ? hello : { received: 0, windowBytes: hello.windowBytes })
  }

  #leave(code: string): void {
    this.#numbered.detach()
    this.#incoming.link.close(code)
    this.#expiry = this.#surroundings.clock.after(limits.sessionResumeMs, () => {
      this.#numbered.discard('SESSION_EXPIRED')
    })
    this.#surroundings.listener.linked(this, false)
  }

  #ended(code: string, cause: unknown): void {
    this.#expiry?.cancel()
    this.#incoming.link.close(code)
    this.#surroundings.forget(this)
    this.#surroundings.listener.ended(this, code, cause)
  }

  #receivePayload(payload: Uint8Array): void | Promise<void> {
    const decoded = decodeFrame(payload)
    if (decoded.ok) return this.#surroundings.listener.frame(this, decoded.value)
    this.#numbered.fail('SESSION_FRAME_INVALID', decoded.detail ?? decoded.code)
  }
}

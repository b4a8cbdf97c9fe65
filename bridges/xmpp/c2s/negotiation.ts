/**
 * A client's stream from its first header until it has a session, and what its session is handed after
 * that. Knows elements and no sockets: what it does goes through the `XmlStream` it is given.
 *
 * ```text
 *   header ─► starttls ─► header ─► SASL ─► header ─► bind or resume ─► session     RFC 6120
 *   header ─► (TLS) ──────────────► SASL2 with bind or resume inside ─► session     XEP-0388
 * ```
 *
 * A step that has to wait (a password's record, the host) holds back the elements behind it, so
 * clients may send ahead.
 */
import type { SecureContext } from 'node:tls'
import type { Random } from '../../../crypto/random.ts'
import type { Authenticator, LoginConnection } from '../auth/authenticator.ts'
import { encodeBase64, refused } from '../auth/sasl.ts'
import type { LoginAccount, Proven, SaslExchange, SaslFailure } from '../auth/sasl.ts'
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError, toError } from '../stanza-errors.ts'
import type { StreamCondition } from '../stream/stream-errors.ts'
import type { StreamHeader, XmlStream } from '../stream/xml-stream.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { bindingsOf, isPrivate } from './channel-bindings.ts'
import { smFailed } from './client-session.ts'
import type { ClientSession } from './client-session.ts'
import type { ClientSessions } from './client-sessions.ts'
import { loginFeatures, plainFeatures, sessionFeatures } from './features.ts'
import type { ClientHost } from './host-port.ts'
import { SaslProfile, saslRequest } from './sasl-profile.ts'
import type { SaslRequest } from './sasl-profile.ts'

export type NegotiableStream = Pick<
  XmlStream,
  'send' | 'pause' | 'resume' | 'close' | 'bufferedBytes' | 'remoteAddress' | 'transport' | 'tls'
  | 'open' | 'restart' | 'startTls' | 'setStanzaMax'
>

export interface NegotiationComponents {
  readonly random: Random
  readonly authenticator: Authenticator
  readonly sessions: ClientSessions
  readonly host: ClientHost
  /** The certificate for a name that the client asks for. */
  readonly secureContext: (serverName: string) => SecureContext | undefined
  /** It has a session: its time for logging in no longer runs. */
  readonly bound: () => void
  readonly onError: (error: unknown) => void
}

const stanzaNames = new Set(['message', 'presence', 'iq'])
const csi = 'urn:xmpp:csi:0'

export class ClientNegotiation {
  readonly #components: NegotiationComponents
  readonly #stream: NegotiableStream
  readonly #domain: string
  readonly #waiting: XmlElement[] = []
  #isBusy = false
  #isClosed = false
  #isClean = false
  #isHeaderDue = true
  #from: Jid | undefined
  #request: SaslRequest | undefined
  #exchange: SaslExchange | undefined
  #failures = 0
  #proven: Proven | undefined
  #session: ClientSession | undefined

  constructor(components: NegotiationComponents, stream: NegotiableStream, { domain }: { domain: string }) {
    this.#components = components
    this.#stream = stream
    this.#domain = domain
  }

  get session(): ClientSession | undefined {
    return this.#session
  }

  // ── Headers ───────────────────────────────────────────────────────────────────────────────

  opened({ to, from, version, contentNs }: StreamHeader): void {
    if (!this.#isHeaderDue) {
      this.#refuse('not-well-formed', 'the stream began already')
      return
    }
    this.#isHeaderDue = false
    const sender = from === undefined ? undefined : Jid.parse(from)
    const id = Buffer.from(this.#components.random.bytes(16)).toString('base64url')
    const answered = sender === undefined ? {} : { to: sender.toString() }
    this.#stream.open({ from: this.#domain, id, contentNs: ns.client, ...answered })
    const addressed = to === undefined ? undefined : Jid.parse(to)
    if (contentNs !== ns.client) this.#refuse('invalid-namespace', 'this is a server for jabber:client')
    else if (!/^[1-9]\d*\.\d+$/.test(version ?? '')) this.#refuse('unsupported-version', 'XMPP 1.0 is needed')
    else if (to === undefined) this.#refuse('improper-addressing', 'the stream is addressed to no domain')
    else if (addressed?.toString() !== this.#domain) this.#refuse('host-unknown', 'this is another domain')
    else {
      this.#from = sender?.local === '' ? undefined : sender
      this.#sendFeatures()
    }
  }

  /** TLS is up. */
  secured(): void {
    this.#isHeaderDue = true
  }

  #sendFeatures(): void {
    const { host, authenticator } = this.#components
    if (this.#proven !== undefined) {
      const isCounting = this.#session?.isCounting ?? false
      const more = host.features?.() ?? []
      this.#stream.send(sessionFeatures({ isBound: this.#session !== undefined, isCounting, more }))
      return
    }
    const connection = this.#connection()
    if (!connection.isEncrypted) {
      // There is no STARTTLS on a WebSocket (RFC 7395 §3.9).
      if (this.#stream.transport === 'websocket') this.#refuse('policy-violation', 'wss is needed')
      else this.#stream.send(plainFeatures())
      return
    }
    this.#stream.send(loginFeatures({
      mechanisms: authenticator.mechanisms(connection),
      tokenMechanisms: authenticator.tokenMechanisms(connection),
      bindingTypes: connection.bindings.types,
      registration: host.registration?.features() ?? [],
    }))
  }

  #connection(): LoginConnection {
    const { remoteAddress: address, tls } = this.#stream
    return { address, isEncrypted: isPrivate(this.#stream), bindings: bindingsOf(tls) }
  }

  // ── Elements ──────────────────────────────────────────────────────────────────────────────

  element(element: XmlElement): void {
    if (this.#isClosed) return
    if (this.#isBusy) {
      this.#waiting.push(element)
      if (this.#waiting.length > xmppLimits.negotiationWaitingMax) {
        this.#refuse('policy-violation', 'too much was sent ahead of the login')
      }
      return
    }
    if (this.#session !== undefined) {
      this.#inSession(this.#session, element)
      return
    }
    const work = this.#negotiate(element)
    if (work !== undefined) this.#wait(work)
  }

  #wait(work: Promise<void>): void {
    this.#isBusy = true
    work.catch((error: unknown) => {
      this.#components.onError(error)
      this.#refuse('internal-server-error')
    }).finally(() => {
      this.#isBusy = false
      if (this.#isClosed) this.#session?.linkLost(this.#stream, { isClean: this.#isClean })
      // One that waits makes busy again, and comes back here.
      while (!this.#isBusy && !this.#isClosed && this.#waiting.length > 0) {
        this.element(this.#waiting.shift()!)
      }
    })
  }

  /** The transport took what waited for it. */
  drained(): void {
    this.#session?.drained()
  }

  /** The stream is over. */
  closed({ isClean }: { readonly isClean: boolean }): void {
    this.#isClosed = true
    this.#isClean = isClean
    this.#waiting.length = 0
    // A step under way may yet make a session; it is told then.
    if (!this.#isBusy) this.#session?.linkLost(this.#stream, { isClean })
  }

  #refuse(condition: StreamCondition, text?: string): void {
    this.#waiting.length = 0
    this.#stream.close({ condition, ...text === undefined ? {} : { text } })
  }

  /** Before there is a session. */
  #negotiate(element: XmlElement): Promise<void> | undefined {
    if (this.#proven !== undefined) return this.#unbound(this.#proven, element)
    if (element.is('starttls', ns.tls)) {
      this.#startTls()
      return undefined
    }
    if (element.ns === ns.sasl || element.ns === ns.sasl2) return this.#sasl(element)
    return this.#stranger(element)
  }

  #startTls(): void {
    const { transport } = this.#stream
    if (transport !== 'tcp') {
      this.#stream.send(el(ns.tls, 'failure'))
      this.#refuse('policy-violation', 'TLS is up already')
      return
    }
    this.#stream.send(el(ns.tls, 'proceed'))
    this.#stream.startTls({
      side: 'server', requestCert: false, secureContext: this.#components.secureContext,
    })
  }

  /** Somebody who is not logged in may register, where there is a hook for that, and nothing else. */
  async #stranger(element: XmlElement): Promise<void> {
    const { registration } = this.#components.host
    if (isPrivate(this.#stream) && registration !== undefined) {
      const answer = await registration.receive(element, this.#stream)
      if (answer !== undefined) {
        this.#stream.send(answer)
        return
      }
    }
    const isStanza = element.ns === ns.client && stanzaNames.has(element.name)
    this.#refuse(isStanza ? 'not-authorized' : 'unsupported-stanza-type', 'log in first')
  }

  // ── SASL ──────────────────────────────────────────────────────────────────────────────────

  async #sasl(element: XmlElement): Promise<void> {
    if (element.is('auth', ns.sasl) || element.is('authenticate', ns.sasl2)) {
      await this.#begin(element)
      return
    }
    const request = this.#request
    if (request === undefined || element.ns !== request.profile.ns) {
      this.#refuse('not-authorized', 'no login is under way')
      return
    }
    const data = request.profile.response(element)
    if (element.name === 'abort') this.#failed(request, refused('aborted'))
    else if (element.name !== 'response') this.#refuse('unsupported-stanza-type')
    else if (data === undefined) this.#failed(request, refused('incorrect-encoding'))
    else await this.#step(request, data)
  }

  async #begin(element: XmlElement): Promise<void> {
    const request = saslRequest(element)
    if (typeof request === 'string') {
      const condition = isPrivate(this.#stream) ? request : 'encryption-required'
      this.#failed({ profile: new SaslProfile(element.ns) }, refused(condition))
      return
    }
    const { mechanism, token, initial } = request
    const exchange = this.#components.authenticator.begin({
      ...this.#connection(), mechanism, ...token === undefined ? {} : { token },
    })
    if ('ok' in exchange) {
      this.#failed(request, exchange)
      return
    }
    this.#request = request
    this.#exchange = exchange
    // All mechanisms here have the client speak first: an empty challenge asks for it.
    if (initial === undefined) this.#stream.send(request.profile.challenge(new Uint8Array(0)))
    else await this.#step(request, initial)
  }

  async #step(request: SaslRequest, data: Uint8Array): Promise<void> {
    const step = await this.#exchange!.step(data)
    if (this.#isClosed) return
    if (step.type === 'challenge') {
      this.#stream.send(request.profile.challenge(step.data))
      return
    }
    if (step.type === 'failure') {
      this.#failed(request, step.failure)
      return
    }
    const { proven } = step
    const from = this.#from
    if (from !== undefined && from.bare !== this.#bareOf(proven.account)) {
      this.#failed(request, refused('invalid-authzid', 'the stream is from somebody else'))
      return
    }
    this.#request = undefined
    this.#exchange = undefined
    this.#proven = proven
    if (request.profile.ns === ns.sasl2) {
      await this.#welcome(request, proven, step.data)
      return
    }
    const last = step.data === undefined ? undefined : encodeBase64(step.data)
    this.#stream.send(el(ns.sasl, 'success', {}, last))
    this.#isHeaderDue = true
    this.#stream.restart()
  }

  #failed({ profile }: Pick<SaslRequest, 'profile'>, failure: SaslFailure): void {
    this.#request = undefined
    this.#exchange = undefined
    this.#stream.send(profile.failure(failure))
    this.#failures++
    if (this.#failures >= xmppLimits.streamLoginsMax) {
      this.#refuse('policy-violation', 'too many failed logins')
    }
  }

  // ── Sessions ──────────────────────────────────────────────────────────────────────────────

  /** XEP-0388 §2.6.1: `<success/>` with what was asked for along with it, then features. */
  async #welcome(request: SaslRequest, proven: Proven, data: Uint8Array | undefined): Promise<void> {
    const { account } = proven
    const token = await this.#tokenOf(request, proven)
    const succeed = (jid: string, ...children: readonly (XmlElement | undefined)[]): void => {
      this.#stream.send(el(ns.sasl2, 'success', {},
        data === undefined ? undefined : el(ns.sasl2, 'additional-data', {}, encodeBase64(data)),
        el(ns.sasl2, 'authorization-identifier', {}, jid),
        ...children, token))
      this.#sendFeatures()
    }
    let failed: XmlElement | undefined
    if (request.resume !== undefined) {
      failed = await this.#resume(request.resume, account, (session, resumed) => {
        succeed(session.jid.toString(), resumed)
      })
      if (failed === undefined || this.#isClosed) return
    }
    if (request.bind === undefined) {
      succeed(this.#bareOf(account), failed)
      return
    }
    await this.#bindInline(request, proven, (session, bound) => {
      succeed(session.jid.toString(), failed, bound)
    })
  }

  async #tokenOf(request: SaslRequest, proven: Proven): Promise<XmlElement | undefined> {
    const { clientId, tokenFor } = request
    const mechanism = tokenFor ?? (proven.isTokenDue === true ? proven.mechanism : undefined)
    if (clientId === undefined || mechanism === undefined) return undefined
    const issued = await this.#components.authenticator.issueToken(proven, {
      clientId, mechanism, connection: this.#connection(),
    })
    if (issued === undefined) return undefined
    const expiry = new Date(issued.expiresAtMs).toISOString()
    return el(ns.fast, 'token', { token: issued.token, expiry })
  }

  async #bindInline(
    { bind, clientId }: SaslRequest,
    { account, passwordId }: Proven,
    announce: (session: ClientSession, bound: XmlElement) => void,
  ): Promise<void> {
    const tag = bind!.childText('tag')
    const { session, extras } = await this.#components.sessions.bind(this.#stream, {
      account, passwordId,
      wantsCarbons: bind!.child('enable', ns.carbons) !== undefined,
      ...clientId === undefined ? {} : { clientId },
      ...tag === undefined ? {} : { tag },
    }).catch((error: unknown) => {
      if (!(error instanceof StanzaError)) throw error
      this.#refuse('resource-constraint', error.message)
      return { session: undefined, extras: [] }
    })
    if (session === undefined) return
    this.#hasSession(session)
    const enable = bind!.child('enable', ns.sm)
    const enabled = enable === undefined ? undefined : this.#components.sessions.enable(session, enable)
    if (bind!.child('inactive', csi) !== undefined) session.setActive(false)
    announce(session, el(ns.bind2, 'bound', {}, ...extras, enabled))
    session.begin()
  }

  /** What to send when it is not resumed; `undefined`: it is. */
  async #resume(
    request: XmlElement,
    account: LoginAccount,
    announce: (session: ClientSession, resumed: XmlElement) => void,
  ): Promise<XmlElement | undefined> {
    const { previd } = request.attrs
    const result = await this.#components.sessions.resume(this.#stream, {
      account, request,
      announce: (session, h) => {
        this.#hasSession(session)
        announce(session, el(ns.sm, 'resumed', { previd, h: String(h) }))
      },
    })
    return 'ns' in result ? result : undefined
  }

  #hasSession(session: ClientSession): void {
    this.#session = session
    this.#stream.setStanzaMax(xmppLimits.clientStanzaMax)
    this.#components.bound()
  }

  /** Logged in, with no resource yet: binds one or resumes a session. */
  #unbound({ account, passwordId }: Proven, element: XmlElement): Promise<void> | undefined {
    if (this.#isHeaderDue) {
      this.#refuse('not-authorized', 'a new stream begins after the login')
      return undefined
    }
    if (element.is('resume', ns.sm)) {
      return this.#resume(element, account, (_session, resumed) => this.#stream.send(resumed))
        .then((failed) => failed === undefined ? undefined : this.#stream.send(failed))
    }
    if (element.is('enable', ns.sm)) {
      this.#stream.send(smFailed('unexpected-request'))
      return undefined
    }
    const wanted = element.is('iq', ns.client) && element.attrs.type === 'set'
      ? element.child('bind', ns.bind)
      : undefined
    if (wanted !== undefined) return this.#bind(element, { account, passwordId, wanted })
    const isStanza = element.ns === ns.client && stanzaNames.has(element.name)
    this.#refuse(isStanza ? 'not-authorized' : 'unsupported-stanza-type', 'bind a resource first')
    return undefined
  }

  async #bind(
    iq: XmlElement,
    { account, passwordId, wanted }: {
      readonly account: LoginAccount, readonly passwordId: string, readonly wanted: XmlElement
    },
  ): Promise<void> {
    const resource = wanted.childText('resource')
    try {
      const { session } = await this.#components.sessions.bind(this.#stream, {
        account, passwordId, ...resource === undefined ? {} : { resource },
      })
      this.#hasSession(session)
      const { id } = iq.attrs
      const jid = el(ns.bind, 'jid', {}, session.jid.toString())
      this.#stream.send(el(ns.client, 'iq', { type: 'result', id }, el(ns.bind, 'bind', {}, jid)))
      session.begin()
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error
      this.#stream.send(toError(iq, error))
    }
  }

  /** Of a client that has its session. */
  #inSession(session: ClientSession, element: XmlElement): void {
    const { sessions } = this.#components
    if (element.ns === ns.client && stanzaNames.has(element.name)) session.receive(element)
    else if (element.is('r', ns.sm)) session.answerRequest()
    else if (element.is('a', ns.sm)) session.acknowledged(element)
    else if (element.is('enable', ns.sm)) this.#stream.send(sessions.enable(session, element))
    else if (element.is('resume', ns.sm)) this.#stream.send(smFailed('unexpected-request'))
    else if (element.ns === csi) session.setActive(element.name !== 'inactive')
    else this.#refuse('unsupported-stanza-type', `a client does not send ${element.name} here`)
  }

  #bareOf({ local }: LoginAccount): string {
    return new Jid(local, this.#domain).bare
  }
}

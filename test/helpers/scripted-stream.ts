/**
 * A client's stream without a socket: the test says what the client sends, and sees what it gets. Under
 * it are a real connector's parts with a small host and virtual time.
 */
import { Buffer } from 'node:buffer'
import { Authenticator } from '../../bridges/xmpp/auth/authenticator.ts'
import { Credentials } from '../../bridges/xmpp/auth/credentials.ts'
import { HashedTokens } from '../../bridges/xmpp/auth/hashed-tokens.ts'
import { LoginThrottle } from '../../bridges/xmpp/auth/login-throttle.ts'
import type { ClientSession } from '../../bridges/xmpp/c2s/client-session.ts'
import { ClientSessions } from '../../bridges/xmpp/c2s/client-sessions.ts'
import type { ClientHost } from '../../bridges/xmpp/c2s/host-port.ts'
import { ClientNegotiation } from '../../bridges/xmpp/c2s/negotiation.ts'
import type { NegotiableStream } from '../../bridges/xmpp/c2s/negotiation.ts'
import type { StreamError } from '../../bridges/xmpp/stream/stream-errors.ts'
import type { StreamHeader, TlsFacts } from '../../bridges/xmpp/stream/xml-stream.ts'
import { el } from '../../bridges/xmpp/xml/element.ts'
import type { XmlElement } from '../../bridges/xmpp/xml/element.ts'
import { ns } from '../../bridges/xmpp/xml/names.ts'
import { memoryKv } from '../../protocol/memory-kv.ts'
import { ScramClient } from './scram-client.ts'
import { seededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'
import { SmallHost } from './xmpp-small-host.ts'

export const exporter = Buffer.alloc(32, 7)

const tlsFacts: TlsFacts = {
  protocol: 'TLSv1.3', exporter, endPoint: Buffer.alloc(32, 8), peerFinished: undefined,
  peerCertificate: undefined, authorizationError: undefined, serverName: 'a.test',
}

/** What clients' streams share. */
export class ScriptedServer {
  readonly clock = new VirtualClock()
  readonly host: SmallHost
  readonly credentials: Credentials
  readonly sessions: ClientSessions
  readonly authenticator: Authenticator
  readonly random = seededRandom('scripted')
  readonly errors: unknown[] = []

  constructor(hooks: Partial<ClientHost> = {}) {
    const { clock, random } = this
    const onError = (error: unknown): void => { this.errors.push(error) }
    this.host = Object.assign(new SmallHost(['alice', 'bob']), hooks)
    const kv = memoryKv(clock)
    this.credentials = new Credentials({ kv, clock, random, onError })
    this.sessions = new ClientSessions({ clock, random, host: this.host, onError }, { domain: 'a.test' })
    this.authenticator = new Authenticator({
      clock, random,
      credentials: this.credentials,
      tokens: new HashedTokens({ kv, clock, random }),
      throttle: new LoginThrottle(clock),
      account: (local) => this.host.account(local),
    }, { domain: 'a.test' })
  }

  password(local: string, name = 'phone'): Promise<string> {
    return this.credentials.add(this.host.known(local), name)
  }

  connect(
    options: { readonly isSecure?: boolean, readonly transport?: 'tcp' | 'websocket' } = {},
  ): ScriptedStream {
    return new ScriptedStream(this, options)
  }
}

export class ScriptedStream implements NegotiableStream {
  readonly remoteAddress = '192.0.2.1'
  readonly transport: 'tcp' | 'tls' | 'websocket'
  readonly tls: TlsFacts | undefined
  readonly bufferedBytes = 0
  /** Not yet looked at. */
  readonly got: XmlElement[] = []
  ended: StreamError | 'orderly' | undefined
  restarts = 0
  isPaused = false
  isTlsStarted = false
  hasSession = false
  readonly negotiation: ClientNegotiation
  readonly #server: ScriptedServer

  constructor(server: ScriptedServer, {
    isSecure = true, transport,
  }: { isSecure?: boolean, transport?: 'tcp' | 'websocket' }) {
    this.#server = server
    this.transport = transport ?? (isSecure ? 'tls' : 'tcp')
    this.tls = isSecure ? tlsFacts : undefined
    const { random, authenticator, sessions, host } = server
    this.negotiation = new ClientNegotiation({
      random, authenticator, sessions, host,
      secureContext: () => undefined,
      bound: () => { this.hasSession = true },
      onError: (error) => server.errors.push(error),
    }, this, { domain: 'a.test' })
  }

  // ── The stream ──

  send(element: XmlElement, written?: () => void): void {
    if (this.ended !== undefined) return
    this.got.push(element)
    written?.()
  }

  open(): void {}
  restart(): void { this.restarts++ }
  startTls(): void { this.isTlsStarted = true }
  setStanzaMax(): void {}
  pause(): void { this.isPaused = true }
  resume(): void { this.isPaused = false }
  close(error?: StreamError): void {
    this.ended ??= error ?? 'orderly'
  }

  // ── The client ──

  get session(): ClientSession | undefined {
    return this.negotiation.session
  }

  get condition(): string | undefined {
    return typeof this.ended === 'object' ? this.ended.condition : this.ended
  }

  header(changes: Partial<StreamHeader> = {}): void {
    this.negotiation.opened({
      to: 'a.test', from: undefined, id: undefined, version: '1.0', lang: 'en', contentNs: ns.client,
      ...changes,
    })
  }

  /** Sends; and lets all that follows from it happen. */
  async says(...elements: readonly XmlElement[]): Promise<XmlElement[]> {
    for (const element of elements) if (this.ended === undefined) this.negotiation.element(element)
    await this.#server.clock.settle()
    return this.got.splice(0)
  }

  async cut({ isClean = false } = {}): Promise<void> {
    this.ended ??= 'orderly'
    this.negotiation.closed({ isClean })
    await this.#server.clock.settle()
  }

  /** Logs in as RFC 6120 says; ends before the resource. */
  async login(username: string, password: string, { mechanism = 'SCRAM-SHA-256' } = {}): Promise<XmlElement> {
    this.header()
    const client = scramClient({ username, password, mechanism })
    const [challenge] = (await this.says(el(ns.sasl, 'auth', { mechanism }, base64(client.first())))).slice(1)
    const answer = el(ns.sasl, 'response', {}, base64(client.final(fromBase64(challenge!.text))))
    const [outcome] = await this.says(answer)
    if (outcome!.name === 'success') this.header()
    return outcome!
  }

  async bind(resource?: string): Promise<XmlElement> {
    const wanted = resource === undefined ? undefined : el(ns.bind, 'resource', {}, resource)
    const answers = await this.says(
      el(ns.client, 'iq', { type: 'set', id: 'b' }, el(ns.bind, 'bind', {}, wanted)),
    )
    return answers.at(-1)!
  }

  /** XEP-0388, with what goes inside. The last element is the outcome, or the features after it. */
  async authenticate(
    {
      username, password, mechanism = 'SCRAM-SHA-256',
    }: { username: string, password: string, mechanism?: string },
    ...inside: readonly XmlElement[]
  ): Promise<XmlElement[]> {
    this.header()
    const client = scramClient({ username, password, mechanism })
    const first = el(ns.sasl2, 'initial-response', {}, base64(client.first()))
    const [challenge] = (await this.says(
      el(ns.sasl2, 'authenticate', { mechanism }, first, ...inside)
    )).slice(1)
    if (challenge!.name !== 'challenge') return [challenge!]
    return this.says(el(ns.sasl2, 'response', {}, base64(client.final(fromBase64(challenge!.text)))))
  }
}

function scramClient(
  { username, password, mechanism }: { username: string, password: string, mechanism: string },
): ScramClient {
  const hash = mechanism.includes('256') ? 'sha256' : 'sha1'
  const bound = mechanism.endsWith('-PLUS') ? { flag: 'p=tls-exporter', binding: exporter } : {}
  return new ScramClient({ hash, username, password, ...bound })
}

export function base64(text: string | Uint8Array): string {
  return Buffer.from(text).toString('base64')
}

export function fromBase64(text: string): string {
  return Buffer.from(text, 'base64').toString()
}

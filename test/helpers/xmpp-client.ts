/**
 * A client stack that nobody here wrote, `@xmpp/client`, logged in to a private server of a test. It
 * has no types of its own; what tests use of it is said here.
 *
 * It reads its trusted authorities from Node's defaults: `trustAuthority` puts that of the test in
 * their place (two of one name would be mistaken for each other).
 */
import { setDefaultCACertificates } from 'node:tls'

/** An element of its own kind (ltx). */
export interface LtxElement {
  readonly name: string
  readonly attrs: Readonly<Record<string, string>>
  getChild(name: string, xmlns?: string): LtxElement | undefined
  getChildText(name: string, xmlns?: string): string | null
  getChildren(name: string, xmlns?: string): LtxElement[]
  toString(): string
}

export interface XmppClient {
  start(): Promise<{ toString(): string }>
  stop(): Promise<void>
  send(element: LtxElement): Promise<void>
  on(event: 'stanza', listener: (stanza: LtxElement) => void): void
  on(event: 'error', listener: (error: Error) => void): void
  on(event: 'online' | 'offline' | 'disconnect', listener: () => void): void
  readonly reconnect: { stop(): void }
  /** Full, once it is online. */
  readonly jid: { toString(): string }
  /** Its inside. */
  readonly parser: object | null
  /** TLS, around TCP. */
  readonly socket: { readonly socket?: { destroy(): void } }
  _onData(bytes: Buffer): void
  readonly streamManagement: {
    on(event: 'ack', listener: (stanza: LtxElement) => void): void
    readonly outbound_q: readonly unknown[]
  }
  readonly iqCaller: { request(iq: LtxElement, timeoutMs?: number): Promise<LtxElement> }
}

interface XmppModule {
  client(options: Readonly<Record<string, unknown>>): XmppClient
  xml(name: string, attrs?: object, ...children: readonly (LtxElement | string)[]): LtxElement
}

export const { client, xml } = await import('@xmpp/client' as string) as XmppModule

export function trustAuthority(pem: string): void {
  setDefaultCACertificates([pem])
}

export interface LoginOptions {
  /** `local@domain`. */
  readonly jid: string
  readonly password: string
  /** Of the STARTTLS door. */
  readonly port: number
  readonly resource?: string
  /** Says that it is available at once; true when left out. */
  readonly isAvailable?: boolean
}

/** One who is online, and every stanza that came. */
export class LoggedIn {
  readonly client: XmppClient
  readonly stanzas: LtxElement[] = []
  readonly #waiting = new Set<() => void>()

  private constructor(client: XmppClient) {
    this.client = client
    client.on('error', () => {})
    client.on('stanza', (stanza) => {
      this.stanzas.push(stanza)
      for (const look of this.#waiting) look()
    })
  }

  static async open(
    { jid, password, port, resource = 'test', isAvailable = true }: LoginOptions,
  ): Promise<LoggedIn> {
    const [username, domain] = jid.split('@')
    const entity = client({ service: `xmpp://127.0.0.1:${port}`, domain, username, password, resource })
    entity.reconnect.stop()
    // It throws where nobody can catch it when bytes come after the end of its stream.
    const take = entity._onData.bind(entity)
    entity._onData = (bytes) => {
      if (entity.parser !== null) take(bytes)
    }
    const session = new LoggedIn(entity)
    await entity.start()
    if (isAvailable) await entity.send(xml('presence'))
    return session
  }

  async say(to: string, text: string, id = text): Promise<void> {
    await this.client.send(xml('message', { to, id, type: 'chat' }, xml('body', {}, text)))
  }

  /** Bodies of messages so far that are no errors. */
  get texts(): string[] {
    return this.stanzas.filter(({ name, attrs }) => name === 'message' && attrs['type'] !== 'error')
      .map((stanza) => stanza.getChildText('body')).filter((text) => text !== null)
  }

  /** The first stanza of these, past or to come; the test's own limit ends a wait in vain. */
  async find(matches: (stanza: LtxElement) => boolean): Promise<LtxElement> {
    await this.until(() => this.stanzas.some(matches))
    return this.stanzas.find(matches)!
  }

  async until(isSo: () => boolean): Promise<void> {
    if (isSo()) return
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!isSo()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
    })
  }

  async close(): Promise<void> {
    await this.client.stop()
  }
}

/**
 * The `@xmpp/client` package as a peer: it has no types of its own, so this says what of it tests use.
 */
export interface XmppJsElement {
  readonly name: string
  readonly attrs: Readonly<Record<string, string>>
  is(name: string, ns?: string): boolean
  getChild(name: string, ns?: string): XmppJsElement | undefined
  getChildText(name: string): string | null
  toString(): string
}

export interface XmppJsSocket {
  destroy(): void
}

export interface XmppJsClient {
  readonly jid: { toString(): string, readonly resource: string }
  readonly status: string
  readonly streamManagement: {
    readonly id: string, readonly enabled: boolean, on(event: string, handler: () => void): void,
  }
  readonly fast: { fetchToken(): Promise<unknown>, saveToken(token: unknown): Promise<void> }
  readonly reconnect: { delay: number, stop(): void }
  readonly iqCaller: { request(element: unknown, timeoutMs?: number): Promise<XmppJsElement> }
  /** The TCP socket, or what wraps the TLS one. */
  readonly socket: { readonly socket?: XmppJsSocket, destroy?(): void }
  start(): Promise<unknown>
  stop(): Promise<unknown>
  send(element: unknown): Promise<void>
  on(event: 'stanza' | 'nonza' | 'send', handler: (element: XmppJsElement) => void): void
  on(event: 'error', handler: (value: unknown) => void): void
  on(event: 'online' | 'offline' | 'disconnect', handler: () => void): void
  once(event: 'online' | 'offline' | 'disconnect', handler: () => void): void
}

export interface XmppJsOptions {
  readonly service: string
  readonly domain: string
  readonly username?: string
  readonly password?: string
  readonly resource?: string
  readonly credentials?: unknown
  readonly userAgent?: unknown
}

interface XmppJs {
  client(options: XmppJsOptions): XmppJsClient
  xml(name: string, attrs?: Readonly<Record<string, string>>, ...children: readonly unknown[]): unknown
}

const name = '@xmpp/client'
export const { client: xmppJsClient, xml } = await import(name) as XmppJs

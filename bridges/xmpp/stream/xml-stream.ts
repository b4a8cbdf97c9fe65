/**
 * One XMPP stream as its two ends use it, whatever carries it: a socket (`socket-stream.ts`) or a
 * WebSocket (`web-socket-stream.ts`). Who negotiates (c2s/, s2s/) sees elements and never bytes.
 *
 * ```text
 *   new ──► open(header) ◄──► header of the peer ──► elements … ──► restart() after SASL
 *                                                │
 *                                                ├─► startTls() after <starttls/>, <proceed/>
 *                                                └─► close(error?) ──► closed
 * ```
 */
import type { SecureContext } from 'node:tls'
import type { X509Certificate } from 'node:crypto'
import type { XmlElement } from '../xml/element.ts'
import type { StreamError } from './stream-errors.ts'

/** Of a stream header, or of `<open/>`. */
export interface StreamHeader {
  readonly to: string | undefined
  readonly from: string | undefined
  readonly id: string | undefined
  readonly version: string | undefined
  readonly lang: string | undefined
  /** Namespace of the stanzas: `jabber:client` or `jabber:server`. */
  readonly contentNs: string
}

export interface XmlStreamListener {
  /** The peer's header: the first, and one after each `restart`. */
  opened(header: StreamHeader): void
  element(element: XmlElement): void
  /** `bufferedBytes` fell below the low-water mark. */
  drained?(): void
  /** TLS is up after `startTls`; what follows is a new header. */
  secured?(): void
  /**
   * Last call. `error`: what ended it, ours or the peer's; absent after an orderly end. `isClean`: the
   * peer closed the stream itself, so what it acknowledged is all it ever will (XEP-0198 §5).
   */
  closed(end: { readonly error?: StreamError, readonly isClean: boolean, readonly isOurs: boolean }): void
}

/** What TLS tells of a stream. */
export interface TlsFacts {
  /** `TLSv1.3`. */
  readonly protocol: string
  /** 32 bytes that both ends share and nobody between them knows (RFC 9266); TLS 1.3 alone. */
  readonly exporter: Buffer | undefined
  /** Hash of our certificate, at the server's end (RFC 5929 §4.1). */
  readonly endPoint: Buffer | undefined
  /** The client's Finished message, at the server's end: `tls-unique` up to TLS 1.2 (RFC 5929 §3). */
  readonly peerFinished: Buffer | undefined
  /** What the peer showed, with its `issuerCertificate` chain; checked by nobody yet at a server. */
  readonly peerCertificate: X509Certificate | undefined
  /** At a client: what Node's complete check says; `undefined`: it is good. */
  readonly authorizationError: string | undefined
  /** Asked for by SNI, at a server. */
  readonly serverName: string | undefined
}

export type StartTlsOptions =
  | {
    readonly side: 'server',
    readonly secureContext: (serverName: string) => SecureContext | undefined,
    readonly requestCert: boolean,
  }
  | {
    readonly side: 'client',
    readonly serverName: string,
    readonly ca?: readonly string[],
    readonly secureContext?: SecureContext,
  }

export interface XmlStream {
  /** Set once, before any other call; what came before waits. */
  listen(listener: XmlStreamListener): void
  /** IP address of the other end. */
  readonly remoteAddress: string
  /** `tcp`, `tls`, `websocket`. */
  readonly transport: 'tcp' | 'tls' | 'websocket'
  /** `undefined`: in the clear (a WebSocket behind a reverse proxy on this machine counts as such, too). */
  readonly tls: TlsFacts | undefined
  /** Characters of one stanza from the peer. */
  setStanzaMax(characters: number): void
  /**
   * Sends our header. `withDialback` declares its namespace.
   */
  open(header: {
    readonly from?: string, readonly to?: string, readonly id?: string, readonly contentNs: string,
    readonly withDialback?: boolean,
  }): void
  /**
   * Queues an element; all of one turn of the event loop leave in one write. Ignored once closed.
   * `written`: the transport took it.
   */
  send(element: XmlElement, written?: () => void): void
  /** Bytes queued and not yet taken by the transport. */
  readonly bufferedBytes: number
  /** Stops reading, for back-pressure. */
  pause(): void
  resume(): void
  /** The peer begins a new stream with its next byte (RFC 6120 §6.4.6); our `open` follows. */
  restart(): void
  /**
   * In place, after `<proceed/>` was sent or received. What the peer sent in the clear after that is an
   * attack and ends the stream. Sockets only.
   */
  startTls(options: StartTlsOptions): void
  /** Orderly, with an error element if there is one; hard after some seconds. Idempotent. */
  close(error?: StreamError): void
  /** At once. */
  destroy(): void
}

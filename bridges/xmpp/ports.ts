/**
 * What the rooms of the XMPP bridge need of each other. `xmpp-bridge.ts` joins them.
 *
 * ```text
 *   c2s/ (clients) ──┐                               ┌── xeps/ (services of accounts and of the domain)
 *                    ├── host/ (sessions, router) ───┤
 *   s2s/ (servers) ──┘                               └── host/openim (contacts on openIM)
 * ```
 */
import type { Along } from './along.ts'
import type { Jid } from './jid.ts'
import type { XmlElement } from './xml/element.ts'

/** Stanzas to domains that are not ours: over s2s, or sealed over openIM where both ends can. */
export interface RemoteDomains {
  /**
   * Takes a stanza whose `to` is of another domain and whose `from` is ours, and settles when it is
   * written down: only then may its sender be told that we have it (XEP-0198). Never throws and never
   * loses: what cannot be delivered goes back through `StanzaTarget.bounced`.
   */
  send(stanza: XmlElement): Promise<void>
}

/** Where stanzas go that others made. */
export interface StanzaTarget {
  /**
   * From another domain that proved itself; `from` and `to` were checked (`from` is of that domain,
   * `to` of ours). Settles when it is handled durably: only then may it be acknowledged (XEP-0198).
   * Calls do not wait for one another: what has to stay in order is put in order before the first
   * await. Rejects where nothing was kept; the other server sends it again. `along` becomes durable
   * with it, where its receiver's mailbox is ours.
   */
  fromRemote(stanza: XmlElement, along?: Along): Promise<void>
  /** An error that says why one of ours did not reach its remote end. */
  bounced(stanza: XmlElement): Promise<void>
}

/** The stream of one client after it bound a resource, as its session sees it. */
export interface ClientLink {
  /** Queues it; ignored once closed. */
  send(stanza: XmlElement): void
  /** Bytes queued and not yet taken by the socket. */
  readonly bufferedBytes: number
  /** Ends the stream, with a stream error of this condition if there is one. */
  close(condition?: string, text?: string): void
}

/** Address of the peer and how its stream is protected, for logs, ad-hoc commands and policy. */
export interface StreamInfo {
  readonly remoteAddress: string
  readonly isEncrypted: boolean
  /** `starttls`, `tls`, `websocket`. */
  readonly transport: string
}

/** Somebody with an address at our domain. */
export interface AccountRef {
  readonly jid: Jid
}

/**
 * Hands a stanza on to wherever its `to` lives; settles when that took it durably. Never throws.
 * `along` becomes durable with it where its receiver's mailbox is ours, else by itself afterwards.
 */
export type Route = (stanza: XmlElement, along?: Along) => Promise<void>

/** A service with a domain of its own below ours: rooms, uploads, openIM contacts. */
export interface Component {
  /** `rooms.example.org`. */
  readonly domain: string
  /**
   * A stanza to this domain or to somebody at it. Its `from` is proven. Whoever calls answers a
   * thrown `StanzaError` with its stanza error; anything else thrown is a bug of ours and becomes
   * `internal-server-error`.
   */
  receive(stanza: XmlElement): Promise<void>
  start?(): Promise<void>
  stop?(): Promise<void>
}

/** A request that a service answers. `from` is proven. */
export interface IqRequest {
  readonly type: 'get' | 'set'
  readonly from: Jid
  /** As addressed; our bare JID or domain where the client left it out. */
  readonly to: Jid
  /** The one child of the stanza. */
  readonly payload: XmlElement
  readonly stanza: XmlElement
}

/**
 * Answers a request with the payload of the result (`undefined`: an empty one), or refuses with a
 * thrown `StanzaError`.
 */
export type IqHandler = (request: IqRequest) => Promise<XmlElement | undefined>

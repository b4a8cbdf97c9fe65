/**
 * What the clients' side of the server and the host behind it need of each other. A session outlives
 * the streams that carry it (XEP-0198); the host sees the session alone.
 */
import type { LoginAccount } from '../auth/sasl.ts'
import type { Jid } from '../jid.ts'
import type { StreamInfo } from '../ports.ts'
import type { StreamCondition } from '../stream/stream-errors.ts'
import type { XmlElement } from '../xml/element.ts'

/** A bound resource, as the host sees it. */
export interface HostedSession {
  readonly account: LoginAccount
  /** Full. */
  readonly jid: Jid
  /** Of the app password that it logged in by, or that its token stands for. */
  readonly passwordId: string
  /** How the client names itself (XEP-0388), the same at each login; `undefined`: it does not. */
  readonly clientId: string | undefined
  /** Of the stream that carries it now; `undefined` while it is cut. */
  readonly stream: StreamInfo | undefined
  /** The stream is cut and may be resumed. */
  readonly isHibernating: boolean
  /**
   * Queues a stanza; while the stream is cut it waits for the next one. `arrived` is called once
   * when the client has it for certain (XEP-0198), or, where it counts nothing, when the socket took it.
   */
  send(stanza: XmlElement, arrived?: () => void): void
  /**
   * Settles when a sender of many (a mailbox, an archive) may go on: at once, unless a lot waits for
   * the client already; at the end of the session in any case.
   */
  room(): Promise<void>
  /** Ends it for good, with a stream error. */
  close(condition: StreamCondition, text?: string): void
}

export interface BindRequest {
  /** XEP-0280, asked for together with the resource (XEP-0386). */
  readonly wantsCarbons: boolean
}

export interface ClientHost {
  /** By prepared local part. */
  account(local: string): Promise<LoginAccount | undefined>
  /**
   * A client bound a resource that no other session has (any more). Extends what is answered in
   * `<bound/>` (XEP-0386) by what it returns.
   * @throws StanzaError when it may not; the session is gone then
   */
  bind(session: HostedSession, request: BindRequest): Promise<readonly XmlElement[]>
  /**
   * A stanza of the client, its `from` the full JID. Called in the order of arrival, without waiting
   * for the one before. Settles when it is handled durably, and only then is it acknowledged; it
   * rejects when that failed, and the session ends without an acknowledgement.
   */
  receive(session: HostedSession, stanza: XmlElement): Promise<void>
  /** Its stream was cut and may come back; `stanzas` may not have reached the client. */
  hibernating?(session: HostedSession, stanzas: readonly XmlElement[]): void
  /** The session ended for good. */
  unbound(session: HostedSession): Promise<void>
  /** After `unbound`: what its client did not acknowledge, in order. */
  undelivered(session: HostedSession, stanzas: readonly XmlElement[]): Promise<void>
  /** More stream features once somebody is logged in: capabilities (XEP-0115), roster versions. */
  features?(): readonly XmlElement[]
  /** Registration by invite, where a client may register at all (XEP-0077). */
  readonly registration?: RegistrationHook | undefined
}

/** Before anybody is logged in, and inside of TLS alone. */
export interface RegistrationHook {
  /** `<register/>` and what belongs to it. */
  features(): readonly XmlElement[]
  /**
   * An iq, or what XEP-0445 sends before it; the answer, or `undefined` when it is not for this.
   * `stream` is the same object for all of one stream.
   */
  receive(element: XmlElement, stream: object): Promise<XmlElement | undefined>
}

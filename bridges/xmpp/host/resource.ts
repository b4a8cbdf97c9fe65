/**
 * One bound resource of an account, as the host sees it: the session behind it and what it told us.
 */
import type { Jid } from '../jid.ts'
import type { XmlElement } from '../xml/element.ts'
import type { Reachable } from './delivery-rules.ts'

/** What the host needs of a client's session (c2s/client-session.ts). */
export interface SessionPort {
  /** Full. */
  readonly jid: Jid
  /** Of the app password that it logged in by. */
  readonly passwordId?: string
  /**
   * Queues a stanza; while the stream is cut it waits for the next one. `arrived` is called once
   * when the client has it for certain (XEP-0198), or, where it counts nothing, when the socket took it.
   */
  send(stanza: XmlElement, arrived?: () => void): void
  /** Settles when there is room for more: before each of many. */
  room(): Promise<void>
  /** The stream is cut and may be resumed. */
  readonly isHibernating: boolean
  /** Ends it with a stream error. */
  close(condition: string, text?: string): void
}

export class Resource implements Reachable {
  readonly session: SessionPort
  /** Its last available presence as others see it; `undefined` before, and after `unavailable`. */
  presence: XmlElement | undefined
  priority: number | undefined
  /** Asked for the roster: is told of its changes (RFC 6121 §2.2). */
  isInterested = false
  /** It took what waited for the account: once, when its priority is not negative (XEP-0160 §3). */
  hasTakenWaiting = false
  /** Archive ids of messages that it was handed and has not confirmed. */
  readonly underway = new Set<string>()
  /** XEP-0280. */
  wantsCarbons = false
  /** XEP-0191: asked for the block list, is told of its changes. */
  wantsBlockList = false
  /** Bare and full JIDs that were sent presence though no subscription says so (RFC 6121 §4.6). */
  readonly directed = new Set<string>()

  constructor(session: SessionPort) {
    this.session = session
  }

  get jid(): Jid {
    return this.session.jid
  }

  get resource(): string {
    return this.session.jid.resource
  }

  get isAvailable(): boolean {
    return this.presence !== undefined
  }
}

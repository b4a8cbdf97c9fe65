/**
 * XMPPConnector: ordinary XMPP clients (RFC 6120, RFC 6121). Joins the doors that streams come in by,
 * the logins, the sessions and the host behind them; does nothing until `start`.
 *
 * ```ts
 * const connector = new XMPPConnector({ clock, random, kv, log, host, doors, secureContext }, { domain })
 * const password = await connector.credentials.add(account, 'phone')     // shown once
 * await connector.start()
 * ```
 */
import type { SecureContext } from 'node:tls'
import type { Random } from '../../../crypto/random.ts'
import type { Log } from '../../../node/ports.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { Authenticator } from '../auth/authenticator.ts'
import { Credentials } from '../auth/credentials.ts'
import { HashedTokens } from '../auth/hashed-tokens.ts'
import { LoginThrottle } from '../auth/login-throttle.ts'
import type { StreamConnected } from '../stream/stream-listener.ts'
import type { Visit } from '../stream/visits.ts'
import type { XmlStream } from '../stream/xml-stream.ts'
import { ClientSessions } from './client-sessions.ts'
import type { ClientHost } from './host-port.ts'
import { ClientNegotiation } from './negotiation.ts'

/** A `StreamListener` or a `WebDoor`. */
export interface Door {
  start(connected: StreamConnected): Promise<void>
  stop(): Promise<void>
}

export interface XMPPConnectorComponents {
  readonly clock: Clock
  readonly random: Random
  /** The bridge's corner of the node's store, sealed. */
  readonly kv: KvStore
  readonly log: Log
  readonly host: ClientHost
  readonly doors: readonly Door[]
  /** The certificate for a name that a client asks for after STARTTLS. */
  readonly secureContext: (serverName: string) => SecureContext | undefined
}

export interface XMPPConnectorOptions {
  readonly domain: string
  /** PLAIN, for clients without SCRAM: the server sees the password. Off by default. */
  readonly isPlainAllowed?: boolean
}

export class XMPPConnector {
  readonly credentials: Credentials
  readonly #components: XMPPConnectorComponents
  readonly #options: XMPPConnectorOptions
  readonly #authenticator: Authenticator
  readonly #sessions: ClientSessions

  constructor(components: XMPPConnectorComponents, options: XMPPConnectorOptions) {
    const { clock, random, kv, host } = components
    this.#components = components
    this.#options = options
    const onError = this.#failed
    this.credentials = new Credentials({ kv, clock, random, onError })
    const tokens = new HashedTokens({ kv, clock, random })
    this.#sessions = new ClientSessions({ clock, random, host, onError }, options)
    this.#authenticator = new Authenticator({
      clock, random, tokens,
      credentials: this.credentials,
      throttle: new LoginThrottle(clock),
      account: (local) => host.account(local),
    }, options)
    this.credentials.onRevoked((accountId, passwordId) => {
      this.#sessions.revoke(accountId, passwordId)
      tokens.revoke(accountId, passwordId).catch(onError)
    })
  }

  /** Clients that have a resource, with a stream or for the moment without. */
  get sessionCount(): number {
    return this.#sessions.size
  }

  /** @throws CONNECTOR_ADDRESS_IN_USE, CONNECTOR_LISTEN; then none is open */
  async start(): Promise<void> {
    try {
      for (const door of this.#components.doors) {
        await door.start((stream, visit) => this.accept(stream, visit))
      }
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Ends all sessions; what their clients did not acknowledge is handed to the host first. */
  async stop(): Promise<void> {
    await this.#sessions.stop()
    await Promise.all(this.#components.doors.map((door) => door.stop()))
  }

  /** A stream of a client, from a door of ours or of somebody else. */
  accept(stream: XmlStream, visit: Pick<Visit, 'proven'>): void {
    const { random, host, secureContext } = this.#components
    const negotiation = new ClientNegotiation({
      random, host, secureContext,
      authenticator: this.#authenticator,
      sessions: this.#sessions,
      bound: () => visit.proven(),
      onError: this.#failed,
    }, stream, this.#options)
    stream.listen({
      opened: (header) => negotiation.opened(header),
      element: (element) => negotiation.element(element),
      secured: () => negotiation.secured(),
      drained: () => negotiation.drained(),
      closed: (end) => negotiation.closed(end),
    })
  }

  readonly #failed = (err: unknown): void => {
    this.#components.log.error({ err }, 'an XMPP client could not be served')
  }
}

/**
 * A listening port of XMPP streams: plain until STARTTLS (RFC 6120 §5), or TLS from the first byte
 * (XEP-0368), for clients and for servers.
 */
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import type { Log } from '../../../node/ports.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { SocketStream } from './socket-stream.ts'
import type { Visit, Visits } from './visits.ts'
import type { XmlStream } from './xml-stream.ts'

/** The certificate to show for a name asked for by SNI (empty: none was); asked at each handshake. */
export type SecureContexts = (serverName: string) => SecureContext | undefined

export interface StreamListenerOptions {
  /** For people and logs: `xmpp`, `xmpps`, `xmpp-server`. */
  readonly name: string
  readonly host: string
  /** 0: the system picks one. */
  readonly port: number
  /** TLS from the first byte. */
  readonly tls?: {
    readonly secureContext: SecureContexts
    /** `xmpp-client` or `xmpp-server`; one who names none is let in as well. */
    readonly alpn: string
    /** Other servers show theirs (XEP-0178). */
    readonly requestCert: boolean
  }
}

export type StreamConnected = (stream: XmlStream, visit: Visit) => void

const lastTurns = 10

export class StreamListener {
  readonly #components: { readonly clock: Clock, readonly log: Log, readonly visits: Visits }
  readonly #options: StreamListenerOptions
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(components: { clock: Clock, log: Log, visits: Visits }, options: StreamListenerOptions) {
    this.#components = components
    this.#options = options
  }

  /** @throws CONNECTOR_ADDRESS_IN_USE, CONNECTOR_LISTEN */
  async start(connected: StreamConnected): Promise<void> {
    const server = createServer(
      { noDelay: true, pauseOnConnect: true }, (socket) => this.#admit(socket, connected),
    )
    await listening(server, this.#options)
    server.on('error', (error) => {
      this.#components.log.warn({ code: errorCode(error), door: this.#options.name }, 'a door cannot accept')
    })
    this.#server = server
  }

  get name(): string {
    return this.#options.name
  }

  /** `127.0.0.1:5222`; `undefined` while it is closed. */
  address(): string | undefined {
    return placeOf(this.#server)
  }

  /** Lets nobody in any more, and cuts who is left. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => { server.close(() => resolve()) })
    // The last words of streams that were closed just now go through TLS, which takes turns of the loop.
    for (let turn = 0; turn < lastTurns; turn++) await new Promise((resolve) => { setImmediate(resolve) })
    for (const socket of this.#sockets) socket.destroySoon()
    await closed
  }

  #admit(raw: Socket, connected: StreamConnected): void {
    // A connection that breaks says so by 'close'.
    raw.on('error', () => {})
    let late = (): void => { raw.destroy() }
    const visit = this.#components.visits.enter(raw.remoteAddress ?? '', () => late())
    if (visit === undefined) {
      raw.destroy()
      return
    }
    this.#sockets.add(raw)
    raw.once('close', () => {
      this.#sockets.delete(raw)
      visit.leave()
    })
    const begin = (socket: Socket): void => {
      const stream = new SocketStream({ socket, clock: this.#components.clock }, { side: 'server' })
      late = () => stream.close({ condition: 'connection-timeout', text: 'nobody logged in' })
      connected(stream, visit)
    }
    const { tls } = this.#options
    if (tls === undefined) begin(raw)
    else this.#secure(raw, tls, begin)
  }

  #secure(
    raw: Socket, tls: NonNullable<StreamListenerOptions['tls']>, begin: (socket: Socket) => void,
  ): void {
    const secured = new TLSSocket(raw, {
      isServer: true,
      requestCert: tls.requestCert,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ALPNProtocols: [tls.alpn],
      SNICallback: (name, done) => {
        const context = tls.secureContext(name)
        done(context === undefined ? new Error('no certificate') : null, context)
      },
      secureContext: tls.secureContext(''),
    })
    secured.disableRenegotiation()
    // A handshake that fails is a stranger's; the connection goes with it.
    secured.on('error', () => raw.destroy())
    secured.once('close', () => raw.destroy())
    secured.once('secure', () => begin(secured))
  }
}

export async function listening(
  server: Server,
  { name, host, port }: { readonly name: string, readonly host: string, readonly port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const place = `${host}:${port}`
      reject(errorCode(cause) === 'EADDRINUSE'
        ? new OpenIMError('CONNECTOR_ADDRESS_IN_USE',
          `${name} ${place} is in use by another program; stop it or choose another port`, { cause })
        : new OpenIMError('CONNECTOR_LISTEN',
          `cannot listen on ${name} ${place} (${errorCode(cause) ?? 'no reason'}); check address and rights`,
          { cause }))
    })
    server.listen(port, host, resolve)
  })
  server.removeAllListeners('error')
}

export function placeOf(server: Server | undefined): string | undefined {
  const address = server?.address() as AddressInfo | null | undefined
  if (address === undefined || address === null) return undefined
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `${host}:${address.port}`
}

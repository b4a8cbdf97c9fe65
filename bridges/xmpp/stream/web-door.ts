/**
 * The HTTP side of the server: WebSocket streams (RFC 7395), how to find them (RFC 6415, XEP-0156),
 * and whatever else has a path of its own (uploads). HTTPS with the domain's certificate, or HTTP for
 * a reverse proxy on this machine.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { WebSocketServer } from 'ws'
import { errorCode } from '../../../crypto/errors.ts'
import type { Log } from '../../../node/ports.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { tlsFacts } from './socket-stream.ts'
import { listening, placeOf } from './stream-listener.ts'
import type { SecureContexts, StreamConnected } from './stream-listener.ts'
import type { Visits } from './visits.ts'
import { WebSocketStream } from './web-socket-stream.ts'

export const webSocketPath = '/xmpp-websocket'
const subprotocol = 'xmpp'

export interface WebDoorOptions {
  readonly host: string
  readonly port: number
  /** Absent: HTTP in the clear, for a reverse proxy. */
  readonly secureContext?: SecureContexts
  /** As clients outside see the WebSocket: `wss://example.org:5443/xmpp-websocket`. */
  readonly publicUrl: () => string
}

/** Answers requests under its prefix. */
export interface WebRoute {
  readonly prefix: string
  handle(request: IncomingMessage, response: ServerResponse): void
}

export class WebDoor {
  readonly #components: { readonly clock: Clock, readonly log: Log, readonly visits: Visits }
  readonly #options: WebDoorOptions
  readonly #routes: WebRoute[] = []
  #server: Server | undefined
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: xmppLimits.clientStanzaMax * 4,
    perMessageDeflate: false,
    handleProtocols: (offered) => offered.has(subprotocol) ? subprotocol : false,
  })

  constructor(components: { clock: Clock, log: Log, visits: Visits }, options: WebDoorOptions) {
    this.#components = components
    this.#options = options
  }

  addRoute(route: WebRoute): void {
    this.#routes.push(route)
  }

  /** @throws CONNECTOR_ADDRESS_IN_USE, CONNECTOR_LISTEN */
  async start(connected: StreamConnected): Promise<void> {
    const { host, port, secureContext } = this.#options
    const answer = (
      request: IncomingMessage, response: ServerResponse,
    ): void => this.#answer(request, response)
    const server = secureContext === undefined
      ? createServer(answer)
      : createTlsServer({
        minVersion: 'TLSv1.2',
        ALPNProtocols: ['http/1.1'],
        SNICallback: (name, done) => done(null, secureContext(name) ?? secureContext('')),
        ...firstContext(secureContext),
      }, answer)
    server.headersTimeout = xmppLimits.loginMs
    // An upload over a thin line takes its time; one that stands still is cut off.
    server.requestTimeout = xmppLimits.webRequestMs
    server.timeout = xmppLimits.webIdleMs
    server.on('upgrade', (request, socket, head) => this.#upgrade({ request, socket, head }, connected))
    server.on('clientError', (_, socket) => socket.destroy())
    await listening(server, { name: 'xmpp-http', host, port })
    server.on(
      'error',
      (error) => this.#components.log.warn({ code: errorCode(error) }, 'the web door cannot accept'),
    )
    this.#server = server
  }

  address(): string | undefined {
    return placeOf(this.#server)
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => { server.close(() => resolve()) })
    for (const client of this.#webSockets.clients) client.terminate()
    server.closeAllConnections()
    await closed
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const route = this.#routes.find(({ prefix }) => pathname.startsWith(prefix))
    if (route !== undefined) {
      route.handle(request, response)
      return
    }
    const url = this.#options.publicUrl()
    const rel = 'urn:xmpp:alt-connections:websocket'
    if (request.method !== 'GET' && request.method !== 'HEAD') end(response, 405)
    else if (pathname === '/.well-known/host-meta') {
      const text = `<?xml version='1.0' encoding='utf-8'?>\n`
        + `<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>`
        + `<Link rel='${rel}' href='${url}'/></XRD>\n`
      end(response, 200, { type: 'application/xrd+xml', text })
    } else if (pathname === '/.well-known/host-meta.json') {
      end(response, 200, { type: 'application/json', text: JSON.stringify({ links: [{ rel, href: url }] }) })
    } else {
      end(response, 404)
    }
  }

  #upgrade(
    { request, socket, head }: { request: IncomingMessage, socket: Duplex, head: Buffer },
    connected: StreamConnected,
  ): void {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const offered = request.headers['sec-websocket-protocol']?.split(',').map((one) => one.trim()) ?? []
    const { remoteAddress = '' } = request.socket
    let late = (): void => { socket.destroy() }
    const visit = this.#components.visits.enter(remoteAddress, () => late())
    if (visit === undefined || pathname !== webSocketPath || !offered.includes(subprotocol)) {
      visit?.leave()
      socket.end(`HTTP/1.1 ${visit === undefined ? '503 Service Unavailable' : '400 Bad Request'}\r\n\r\n`)
      return
    }
    socket.once('close', () => visit.leave())
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const tls = request.socket instanceof TLSSocket ? tlsFacts(request.socket, 'server') : undefined
      const { clock } = this.#components
      const stream = new WebSocketStream({ socket: webSocket, clock }, { remoteAddress, tls })
      late = () => stream.close({ condition: 'connection-timeout', text: 'nobody logged in' })
      connected(stream, visit)
    })
  }
}

/** What Node asks for before any name is known. */
function firstContext(secureContext: SecureContexts): {
  secureContext?: ReturnType<SecureContexts> & object,
} {
  const context = secureContext('')
  return context === undefined ? {} : { secureContext: context }
}

function end(
  response: ServerResponse, status: number, body?: { readonly type: string, readonly text: string },
): void {
  // XEP-0156 §3.2: pages of any origin look for it.
  response.writeHead(status, {
    'access-control-allow-origin': '*',
    'x-content-type-options': 'nosniff',
    ...body === undefined ? {} : { 'content-type': `${body.type}; charset=utf-8` },
  })
  response.end(body?.text)
}

/**
 * The WebSocket door for devices (RFC 6455): one binary message for each Noise message at
 * `/openim/1`, subprotocol `openim.1`; `GET /healthz` answers 200 for whoever watches the node.
 * It opens a port of its own, or joins an HTTP server that is there already (the page's).
 *
 * Any origin may connect: a page that does not hold a device's key gets no further than the Noise
 * handshake, and one that does is the device. Compression is off: a bomb would cost us memory, and
 * ciphertext does not compress.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { WebSocket } from 'ws'
import { limits } from '../../protocol/limits.ts'
import { deviceDoorPath, healthPath, webSocketProtocol } from '../../protocol/session/door-paths.ts'
import type { Connector } from '../ports.ts'
import { DoorGuard } from './door-guard.ts'
import type { Accept, DoorComponents, Visit } from './door-guard.ts'
import { doorMetrics } from './door-metrics.ts'
import { SocketListener } from './socket-listener.ts'
import type { ListenerOptions } from './socket-listener.ts'
import { WebSocketBytes } from './web-socket-bytes.ts'

export type WSConnectorOptions = {
  /** Reverse proxies: not bounded per address. */
  readonly trustedProxies?: readonly string[]
} & (ListenerOptions | {
  /** Upgrades are taken from here; whoever made it listens, answers everything else and closes it. */
  readonly server: Server
})

interface Visitor {
  readonly visit: Visit
  readonly raw: Socket
}

export class WSConnector implements Connector {
  readonly name = 'ws'
  readonly #components: DoorComponents
  readonly #options: WSConnectorOptions
  readonly #guard: DoorGuard
  readonly #listener: SocketListener | undefined
  readonly #server: Server
  readonly #visitors = new WeakMap<Duplex, Visitor>()
  /** Sockets, as the system knows them, that carry a link. */
  readonly #linked = new WeakSet<Socket>()
  readonly #upgrades = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: limits.noiseMessageBytesMax,
    maxFragments: limits.webSocketFragmentsMax,
    maxBufferedChunks: 4 * limits.webSocketFragmentsMax,
    handleProtocols: (offered) => offered.has(webSocketProtocol) && webSocketProtocol,
  })
  #accept: Accept | undefined

  constructor(components: DoorComponents, options: WSConnectorOptions) {
    this.#components = components
    this.#options = options
    this.#guard = new DoorGuard(components, { transport: 'ws', ...options })
    if ('server' in options) {
      this.#server = options.server
      return
    }
    const { log } = components
    this.#listener = new SocketListener({ guard: this.#guard, log }, { ...options, name: 'ws' })
    this.#server = createServer({ maxHeaderSize: limits.doorHeaderBytesMax }, answer)
  }

  async start(accept: Accept): Promise<void> {
    this.#accept = accept
    this.#server.on('upgrade', this.#upgrade)
    await this.#listener?.start((socket, visit, raw) => {
      this.#visitors.set(socket, { visit, raw })
      raw.once('close', () => socket.destroy())
      this.#server.emit('connection', socket)
    })
  }

  async stop(): Promise<void> {
    this.#server.off('upgrade', this.#upgrade)
    this.#accept = undefined
    const stopped = this.#listener?.stop()
    this.#guard.closeLinks()
    this.#listener?.destroyAll((socket) => this.#linked.has(socket))
    await stopped
  }

  address(): string | undefined {
    return this.#listener?.address()
  }

  metrics(): Readonly<Record<string, number>> {
    return doorMetrics(this.#guard, this.#listener)
  }

  #upgrade = (request: IncomingMessage, stream: Duplex, head: Buffer): void => {
    // Another's path on a server that we share.
    if (pathOf(request) !== deviceDoorPath && 'server' in this.#options) return
    const accept = this.#accept
    const visitor = this.#visitors.get(stream) ?? this.#admitUpgrade(request.socket)
    if (accept === undefined || visitor === undefined || pathOf(request) !== deviceDoorPath) {
      stream.destroy()
      return
    }
    this.#upgrades.handleUpgrade(request, stream, head, (socket) => {
      void this.#opened(socket, visitor, accept)
    })
  }

  /** On a server that we share the connection begins to count here. */
  #admitUpgrade(socket: Socket): Visitor | undefined {
    const from = { address: socket.remoteAddress, port: socket.remotePort }
    const visit = this.#guard.admit(from, () => socket.destroy())
    if (visit === undefined) return undefined
    socket.once('close', () => visit.leave())
    return { visit, raw: socket }
  }

  async #opened(socket: WebSocket, { visit, raw }: Visitor, accept: Accept): Promise<void> {
    const abuse = (what: string): void => this.#guard.abuse(visit.remote, what)
    const bytes = new WebSocketBytes(socket, { clock: this.#components.clock, abuse })
    const isProven = await this.#guard.shakeHands(visit, { bytes, framing: 'message' }, accept)
    if (isProven) this.#linked.add(raw)
    else socket.terminate()
  }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0]!
}

/** Whatever is not an upgrade; the connection ends with it. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const isHealth = request.method === 'GET' && pathOf(request) === healthPath
  response.writeHead(isHealth ? 200 : 404, { 'content-type': 'text/plain', connection: 'close' })
  response.end(isHealth ? 'ok\n' : 'not found\n')
}

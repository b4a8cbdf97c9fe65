/**
 * The HTTP/2 door for devices (RFC 9113): each device is one bidirectional stream,
 * `POST /openim/1`, whose two bodies carry Noise messages with 16-bit lengths as TCP does. In clear
 * with prior knowledge (h2c), and over TLS with ALPN `h2` when there is a certificate. A proxy in
 * front may bring many devices over one connection. `GET /healthz` answers 200.
 *
 * Back-pressure: a stream whose session does not read keeps its flow-control window closed, so one
 * slow device holds up itself and not its neighbours on the connection.
 *
 * Floods end the connection with GOAWAY ENHANCE_YOUR_CALM, or, where devices are at work on it,
 * close it to new ones for a while: streams opened and left before a device was proven (rapid
 * reset, CVE-2023-44487), headers without end (CONTINUATION, CVE-2024-27316), frames that are not
 * valid.
 */
import { constants, performServerHandshake } from 'node:http2'
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import { deviceDoorPath, healthPath, streamMediaType } from '../../protocol/session/door-paths.ts'
import { TokenBucket } from '../../protocol/token-bucket.ts'
import type { Connector } from '../ports.ts'
import { DoorGuard } from './door-guard.ts'
import type { Accept, DoorComponents, Visit } from './door-guard.ts'
import { doorMetrics } from './door-metrics.ts'
import { DuplexBytes } from './duplex-bytes.ts'
import { SocketListener } from './socket-listener.ts'
import type { ListenerOptions } from './socket-listener.ts'

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_REFUSED_STREAM } = constants

export interface HTTP2ConnectorOptions extends ListenerOptions {
  /** Reverse proxies: not bounded per address. */
  readonly trustedProxies?: readonly string[]
}

/** Megabytes: what one connection may hold in memory; a proxy's carries many devices. */
const sessionMemoryMiB = 64
/** After a flood of streams nobody new is let in on that connection for so long. */
const calmMs = 5_000

export class HTTP2Connector implements Connector {
  readonly name = 'http2'
  readonly #clock: Clock
  readonly #guard: DoorGuard
  readonly #listener: SocketListener
  readonly #connections = new Set<Connection>()

  constructor(components: DoorComponents, options: HTTP2ConnectorOptions) {
    this.#clock = components.clock
    this.#guard = new DoorGuard(components, { transport: 'http2', ...options })
    const { log } = components
    this.#listener = new SocketListener(
      { guard: this.#guard, log },
      { ...options, name: 'http2', alpn: ['h2'] },
    )
  }

  async start(accept: Accept): Promise<void> {
    await this.#listener.start((socket, visit) => {
      const parts = { socket, visit, accept, clock: this.#clock, guard: this.#guard }
      const connection = new Connection(parts, () => this.#connections.delete(connection))
      this.#connections.add(connection)
    })
  }

  async stop(): Promise<void> {
    const stopped = this.#listener.stop()
    this.#guard.closeLinks()
    for (const connection of this.#connections) connection.close()
    await stopped
  }

  address(): string | undefined {
    return this.#listener.address()
  }

  metrics(): Readonly<Record<string, number>> {
    return doorMetrics(this.#guard, this.#listener)
  }
}

interface ConnectionParts {
  readonly socket: Socket
  readonly visit: Visit
  readonly accept: Accept
  readonly clock: Clock
  readonly guard: DoorGuard
}

/** One HTTP/2 connection: a device's own, or a proxy's with many devices. */
class Connection {
  readonly #parts: ConnectionParts
  readonly #session: ServerHttp2Session
  readonly #unproven: TokenBucket
  #streams = 0
  #links = 0
  #refusesUntilMs = 0
  #idle: Timer | undefined

  constructor(parts: ConnectionParts, gone: () => void) {
    const { socket, clock } = parts
    this.#parts = parts
    this.#unproven = new TokenBucket(clock, {
      perSecond: limits.http2UnprovenPerSecond, burst: limits.http2UnprovenBurst,
    })
    this.#session = performServerHandshake(socket, {
      maxSessionMemory: sessionMemoryMiB,
      maxHeaderListPairs: 32,
      maxSessionInvalidFrames: 16,
      maxSessionRejectedStreams: 32,
      settings: {
        maxConcurrentStreams: limits.http2StreamsMax,
        maxHeaderListSize: limits.doorHeaderBytesMax,
        initialWindowSize: limits.deviceLinkHighBytes,
        enablePush: false,
      },
    })
    // Shaken hands long ago; but only a `tls.Server` tells a session so, and it would wait.
    if (socket instanceof TLSSocket) socket.emit('secureConnect')
    this.#session
      .on('stream', (stream, headers) => this.#stream(stream, headers))
      // What no peer of ours sends; 'close' follows.
      .on('error', (error) => this.#parts.guard.abuse(this.#parts.visit.remote, error.message))
      .on('close', () => {
        this.#idle?.cancel()
        socket.destroy()
        gone()
      })
  }

  /** No new streams; those that carry links end by themselves, the connection after them. */
  close(): void {
    if (this.#links === 0) this.#session.destroy()
    else this.#session.close()
  }

  #stream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    if (this.#parts.clock.monotonicMs() < this.#refusesUntilMs) {
      stream.on('error', () => {}).close(NGHTTP2_REFUSED_STREAM)
      return
    }
    this.#streams++
    this.#idle?.cancel()
    let isProven = false
    stream.on('error', () => {})
    stream.once('close', () => {
      this.#streams--
      if (isProven) this.#links--
      else if (!this.#unproven.take(1)) return this.#flood('streams opened and left')
      if (this.#streams === 0) this.#awaitStream()
    })
    const { ':method': method, ':path': path } = headers
    if (method === 'POST' && path === deviceDoorPath) {
      void this.#device(stream).then((proven) => {
        isProven = proven && !stream.closed
        if (isProven) this.#links++
      })
    } else {
      this.#answer(stream, method === 'GET' && path === healthPath)
    }
  }

  async #device(stream: ServerHttp2Stream): Promise<boolean> {
    const { guard, visit, accept } = this.#parts
    stream.respond({ ':status': 200, 'content-type': streamMediaType })
    const bytes = new DuplexBytes(stream)
    const isProven = await guard.shakeHands(visit, { bytes, framing: 'length' }, accept)
    if (!isProven && !stream.destroyed) stream.close(NGHTTP2_REFUSED_STREAM)
    return isProven
  }

  #answer(stream: ServerHttp2Stream, isHealth: boolean): void {
    stream.respond({ ':status': isHealth ? 200 : 404, 'content-type': 'text/plain' })
    stream.end(isHealth ? 'ok\n' : 'not found\n')
    // A body that nobody wants.
    stream.resume()
  }

  #awaitStream(): void {
    this.#idle = this.#parts.clock.after(limits.http2IdleMs, () => {
      if (this.#streams === 0) this.#session.close()
    })
  }

  /** Behind a proxy the neighbours must not pay for one: there, only new streams are refused. */
  #flood(what: string): void {
    this.#parts.guard.abuse(this.#parts.visit.remote, what)
    if (this.#links > 0) {
      this.#refusesUntilMs = this.#parts.clock.monotonicMs() + calmMs
    } else {
      this.#session.goaway(NGHTTP2_ENHANCE_YOUR_CALM)
      this.#session.destroy()
    }
  }
}

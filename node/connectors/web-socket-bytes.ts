/**
 * A WebSocket of the `ws` package as the transport under a StreamLink: one binary message for each
 * Noise message (RFC 6455). Serves the door and the dialer.
 *
 * Pings are answered at a bounded rate: a peer that sends pings and reads no pongs would otherwise
 * fill our memory with answers.
 */
import type { WebSocket } from 'ws'
import type { Clock } from '../../protocol/ports.ts'
import type { ByteTransport, ByteTransportListener } from '../../protocol/session/byte-transport.ts'
import { limits } from '../../protocol/limits.ts'
import { TokenBucket } from '../../protocol/token-bucket.ts'

/** RFC 6455 §7.4.1. */
const closeCodes = { normal: 1000, goingAway: 1001, unsupportedData: 1003, policy: 1008, none: 1005 } as const

export interface WebSocketRules {
  readonly clock: Clock
  /** The peer broke a rule of the transport; it is being closed. */
  readonly abuse?: (what: string) => void
}

export class WebSocketBytes implements ByteTransport {
  readonly #socket: WebSocket
  readonly #rules: WebSocketRules
  #ended = false

  /** `socket` was made with `autoPong: false`. */
  constructor(socket: WebSocket, rules: WebSocketRules) {
    this.#socket = socket
    this.#rules = rules
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  write(bytes: Uint8Array): void {
    const socket = this.#socket
    if (socket.readyState === socket.OPEN) this.#send(bytes)
    // Handshake bytes of a dialer wait until it is connected.
    else if (socket.readyState === socket.CONNECTING) socket.once('open', () => this.#send(bytes))
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#ended = true
    // Paused, it would never see the peer's close frame.
    this.#socket.resume()
    this.#socket.close(closeCodes.normal)
  }

  destroy(): void {
    this.#socket.terminate()
  }

  listen(listener: ByteTransportListener): void {
    const pings = new TokenBucket(this.#rules.clock, {
      perSecond: limits.webSocketPingsPerSecond, burst: limits.webSocketPingsBurst,
    })
    this.#drain = () => listener.drain()
    this.#socket
      .on('message', (data, isBinary) => {
        if (!isBinary) return this.#refuse(closeCodes.unsupportedData, 'text')
        if (!this.#ended) listener.bytes(data as Buffer)
      })
      .on('ping', (data) => {
        if (!pings.take(1)) return this.#refuse(closeCodes.policy, 'ping flood')
        if (this.#socket.readyState === this.#socket.OPEN) this.#socket.pong(data)
      })
      // Oversize, fragments without end, masks left out: 'close' follows.
      .on('error', (error) => this.#rules.abuse?.(error.message))
      .on('close', (code) => listener.closed(isOrderly(code)))
  }

  #drain: () => void = () => {}

  #send(bytes: Uint8Array): void {
    this.#socket.send(bytes, { binary: true }, () => {
      if (this.#socket.bufferedAmount === 0) this.#drain()
    })
  }

  #refuse(code: number, what: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#rules.abuse?.(what)
    this.#socket.close(code, what)
    this.#socket.terminate()
  }
}

function isOrderly(code: number): boolean {
  return code === closeCodes.normal || code === closeCodes.goingAway || code === closeCodes.none
}

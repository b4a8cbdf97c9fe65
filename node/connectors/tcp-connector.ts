/**
 * The TCP door for devices: accepts, shakes hands as the node of the door key, and hands over
 * proven links (DESIGN §4). It moves bytes and knows no accounts. With a certificate the same port
 * speaks TLS, too (socket-listener.ts).
 */
import type { Socket } from 'node:net'
import type { Connector } from '../ports.ts'
import { DoorGuard } from './door-guard.ts'
import type { Accept, DoorComponents } from './door-guard.ts'
import { doorMetrics } from './door-metrics.ts'
import { DuplexBytes } from './duplex-bytes.ts'
import { SocketListener } from './socket-listener.ts'
import type { ListenerOptions } from './socket-listener.ts'

export interface TCPConnectorOptions extends ListenerOptions {
  /** Reverse proxies: not bounded per address. */
  readonly trustedProxies?: readonly string[]
}

export class TCPConnector implements Connector {
  readonly name = 'tcp'
  readonly #guard: DoorGuard
  readonly #listener: SocketListener
  /** Those that carry a link, as the system knows them. */
  readonly #linked = new WeakSet<Socket>()

  constructor(components: DoorComponents, options: TCPConnectorOptions) {
    this.#guard = new DoorGuard(components, { transport: 'tcp', ...options })
    const { log } = components
    this.#listener = new SocketListener({ guard: this.#guard, log }, { ...options, name: 'tcp' })
  }

  async start(accept: Accept): Promise<void> {
    await this.#listener.start(async (socket, visit, raw) => {
      const stream = { bytes: new DuplexBytes(socket), framing: 'length' } as const
      if (await this.#guard.shakeHands(visit, stream, accept)) this.#linked.add(raw)
      else socket.destroy()
    })
  }

  /** Closes the door and what is still open behind it; sessions have said bye before. */
  async stop(): Promise<void> {
    const stopped = this.#listener.stop()
    this.#guard.closeLinks()
    this.#listener.destroyAll((socket) => this.#linked.has(socket))
    await stopped
  }

  address(): string | undefined {
    return this.#listener.address()
  }

  metrics(): Readonly<Record<string, number>> {
    return doorMetrics(this.#guard, this.#listener)
  }
}

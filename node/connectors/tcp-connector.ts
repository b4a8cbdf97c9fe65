/**
 * The TCP door for devices: accepts, shakes hands as the node of the door key, and hands over
 * proven links (DESIGN §4). It moves bytes and knows no accounts.
 *
 * Strangers can reach this port, so until a device has proven its key it costs one socket, at
 * most 96 bytes of input and one handshake, in bounded numbers and time (`limits.handshake…`,
 * `limits.connections…`). What is over a bound is closed without an answer: an answer would be
 * work, too.
 */
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, MessageLink } from '../../protocol/ports.ts'
import { openStreamLink } from '../../protocol/session/stream-link.ts'
import type { AcceptedLink, Connector, Log } from '../ports.ts'
import { addressGroup, AddressTally } from './address-tally.ts'
import { SocketBytes } from './socket-bytes.ts'

export interface TCPConnectorComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** X25519; devices know its public half from the invite or a pin. */
  readonly doorKey: DhKeyPair
}

export interface TCPConnectorOptions {
  readonly host: string
  /** 0: the system picks one. */
  readonly port: number
}

export class TCPConnector implements Connector {
  readonly name = 'tcp'
  readonly #components: TCPConnectorComponents
  readonly #options: TCPConnectorOptions
  /** With its link once the handshake is done. */
  readonly #sockets = new Map<Socket, MessageLink | undefined>()
  readonly #connections = new AddressTally(limits.connectionsMax, limits.connectionsPerAddressMax)
  readonly #handshakes = new AddressTally(limits.handshakesMax, limits.handshakesPerAddressMax)
  #server: Server | undefined

  constructor(components: TCPConnectorComponents, options: TCPConnectorOptions) {
    this.#components = components
    this.#options = options
  }

  async start(accept: (accepted: AcceptedLink) => void): Promise<void> {
    const server = createServer({ noDelay: true }, (socket) => this.#connected(socket, accept))
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => reject(this.#listenError(cause)))
      server.listen(this.#options.port, this.#options.host, resolve)
    })
    // Out of file descriptors and the like: it goes on with the connections it has.
    server.removeAllListeners('error').on('error', (error) => {
      this.#components.log.warn({ code: errorCode(error) }, 'tcp door cannot accept')
    })
    this.#server = server
  }

  /** Closes the door and what is still open behind it; sessions have said bye before. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => { server.close(() => resolve()) })
    for (const [socket, link] of this.#sockets) {
      if (link === undefined) socket.destroy()
      else link.close('CONNECTOR_STOPPED')
    }
    await closed
  }

  address(): string | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined
    if (address === undefined || address === null) return undefined
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
    return `${host}:${address.port}`
  }

  #connected(socket: Socket, accept: (accepted: AcceptedLink) => void): void {
    const remote = socket.remoteAddress
    const group = remote === undefined ? undefined : addressGroup(remote)
    if (group === undefined || !this.#connections.enter(group)) {
      return this.#refuse(socket, remote, 'connections')
    }
    if (!this.#handshakes.enter(group)) {
      this.#connections.leave(group)
      return this.#refuse(socket, remote, 'handshakes')
    }
    this.#sockets.set(socket, undefined)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#connections.leave(group)
    })
    void this.#shakeHands(socket, group, accept)
  }

  async #shakeHands(socket: Socket, group: string, accept: (accepted: AcceptedLink) => void): Promise<void> {
    const { clock, random, doorKey, log } = this.#components
    const remote = `${socket.remoteAddress}:${socket.remotePort}`
    const opened = await openStreamLink(
      { clock, bytes: new SocketBytes(socket) },
      { transport: 'tcp', own: doorKey, random },
    )
    this.#handshakes.leave(group)
    if (!opened.ok) return log.debug({ remote, code: opened.code }, 'device handshake failed')
    this.#sockets.set(socket, opened.value.link)
    accept({ link: opened.value.link, deviceKey: opened.value.peerKey, remote })
  }

  #refuse(socket: Socket, remote: string | undefined, bound: string): void {
    socket.on('error', () => {})
    socket.destroy()
    this.#components.log.debug({ remote, bound }, 'connection over a bound closed')
  }

  #listenError(cause: Error): OpenIMError {
    const place = `${this.#options.host}:${this.#options.port}`
    if (errorCode(cause) === 'EADDRINUSE') {
      return new OpenIMError('CONNECTOR_ADDRESS_IN_USE',
        `tcp ${place} is in use by another program; stop it or choose another port`, { cause })
    }
    return new OpenIMError('CONNECTOR_LISTEN',
      `cannot listen on tcp ${place} (${errorCode(cause) ?? 'unknown reason'}); check address and rights`,
      { cause })
  }
}

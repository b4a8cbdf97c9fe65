/**
 * A listening TCP port of a door: lets connections in through the guard, and, when there is a
 * certificate, speaks TLS with those that begin with a TLS record and plain with the others.
 *
 * One port for both, because the Noise channel inside is what protects devices: TLS is there for
 * networks that let nothing else through, and a device that knows nothing of it keeps working.
 * A TLS record begins with 0x16 (RFC 8446 §5.1); a Noise hello of ours with its length, 0x00 0x60;
 * HTTP with a letter.
 */
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { Log } from '../ports.ts'
import type { DoorGuard, Visit } from './door-guard.ts'

const tlsRecord = 0x16

export interface ListenerOptions {
  readonly host: string
  /** 0: the system picks one. */
  readonly port: number
  /** The certificate to show now; absent: plain only. */
  readonly tls?: () => SecureContext
}

/** `socket` to talk through: `raw`, or TLS over it. */
export type Connected = (socket: Socket, visit: Visit, raw: Socket) => void | Promise<void>

export class SocketListener {
  readonly #guard: DoorGuard
  readonly #log: Log
  readonly #name: string
  readonly #alpn: readonly string[]
  readonly #options: ListenerOptions
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #bytesIn = 0
  #bytesOut = 0

  constructor(
    components: { guard: DoorGuard, log: Log },
    options: ListenerOptions & { name: string, alpn?: readonly string[] },
  ) {
    this.#guard = components.guard
    this.#log = components.log
    this.#name = options.name
    this.#alpn = options.alpn ?? []
    this.#options = options
  }

  /** @throws CONNECTOR_ADDRESS_IN_USE, CONNECTOR_LISTEN */
  async start(connected: Connected): Promise<void> {
    const server = createServer({ noDelay: true }, (socket) => this.#connected(socket, connected))
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) => reject(this.#listenError(cause)))
      server.listen(this.#options.port, this.#options.host, resolve)
    })
    // Out of file descriptors and the like: it goes on with the connections it has.
    server.removeAllListeners('error').on('error', (error) => {
      this.#log.warn({ code: errorCode(error), door: this.#name }, 'a door cannot accept')
    })
    this.#server = server
  }

  /** Lets nobody in any more; settles when everybody is out. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    await new Promise<void>((resolve) => { server.close(() => resolve()) })
  }

  /** Connections that carry no link. */
  destroyAll(isKept: (socket: Socket) => boolean): void {
    for (const socket of this.#sockets) if (!isKept(socket)) socket.destroy()
  }

  address(): string | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined
    if (address === undefined || address === null) return undefined
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
    return `${host}:${address.port}`
  }

  /** On the wire, TLS included. */
  get bytes(): { in: number, out: number } {
    const total = { in: this.#bytesIn, out: this.#bytesOut }
    for (const socket of this.#sockets) {
      total.in += socket.bytesRead
      total.out += socket.bytesWritten
    }
    return total
  }

  #connected(socket: Socket, connected: Connected): void {
    // A connection that breaks says so by 'close'.
    socket.on('error', () => {})
    const from = { address: socket.remoteAddress, port: socket.remotePort }
    const visit = this.#guard.admit(from, () => socket.destroy())
    if (visit === undefined) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#bytesIn += socket.bytesRead
      this.#bytesOut += socket.bytesWritten
      visit.leave()
    })
    const { tls } = this.#options
    if (tls === undefined) {
      void connected(socket, visit, socket)
      return
    }
    socket.once('data', (first: Uint8Array) => {
      socket.pause()
      socket.unshift(first)
      if (first[0] === tlsRecord) {
        const secured = this.#secure(socket, tls())
        secured.once('secure', () => { void connected(secured, visit, socket) })
      } else {
        void connected(socket, visit, socket)
      }
      queueMicrotask(() => socket.resume())
    })
  }

  #secure(socket: Socket, secureContext: SecureContext): Socket {
    const alpn = this.#alpn.length === 0 ? {} : { ALPNProtocols: [...this.#alpn] }
    const secured = new TLSSocket(socket, { isServer: true, secureContext, ...alpn })
    // A failed TLS handshake is a stranger's; the connection goes with it.
    secured.on('error', () => socket.destroy())
    secured.once('close', () => socket.destroy())
    return secured
  }

  #listenError(cause: Error): OpenIMError {
    const place = `${this.#options.host}:${this.#options.port}`
    if (errorCode(cause) === 'EADDRINUSE') {
      return new OpenIMError('CONNECTOR_ADDRESS_IN_USE',
        `${this.#name} ${place} is in use by another program; stop it or choose another port`, { cause })
    }
    return new OpenIMError('CONNECTOR_LISTEN',
      `cannot listen on ${this.#name} ${place} (${errorCode(cause) ?? 'unknown reason'}); `
        + 'check address and rights', { cause })
  }
}

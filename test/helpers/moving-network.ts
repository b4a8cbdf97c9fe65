/**
 * The network under a device that moves: a relay on loopback before each door of a node. What goes
 * to the node leaves from one of the addresses 127.0.0.2 … 127.0.0.250, as from a phone that leaves
 * one network for the next. `move` takes the next address: connections of streams break in the
 * middle of whatever passes, and datagrams come from elsewhere from now on, as behind a router that
 * gave out another address.
 */
import { createSocket } from 'node:dgram'
import type { Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

const firstHost = 2
const lastHost = 250

export class MovingNetwork {
  readonly #sockets = new Set<Socket>()
  readonly #servers: Server[] = []
  readonly #datagrams: DatagramRelay[] = []
  #host = firstHost

  /** Where the node sees the device. */
  get source(): string {
    return `127.0.0.${this.#host}`
  }

  /** The port of a relay to this port of a stream door (TCP, WebSocket, HTTP/2). */
  async stream(doorPort: number): Promise<number> {
    const server = createServer({ noDelay: true }, (near) => this.#relay(near, doorPort))
    this.#servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }

  /** The same for a UDP door. */
  async datagrams(doorPort: number): Promise<number> {
    const relay = new DatagramRelay(doorPort, () => this.source)
    this.#datagrams.push(relay)
    return await relay.open()
  }

  /** To the next address. */
  move(): void {
    this.#host = this.#host === lastHost ? firstHost : this.#host + 1
    for (const socket of this.#sockets) socket.destroy()
    for (const relay of this.#datagrams) relay.leave()
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    const closed = this.#servers.map((server) => new Promise<void>((resolve) => {
      server.close(() => resolve())
    }))
    for (const relay of this.#datagrams) relay.close()
    await Promise.all(closed)
  }

  #relay(near: Socket, port: number): void {
    const far = connect({ host: '127.0.0.1', port, localAddress: this.source, noDelay: true })
    for (const [from, to] of [[near, far], [far, near]] as const) {
      this.#sockets.add(from)
      from
        .on('data', (chunk: Buffer) => {
          if (to.write(chunk)) return
          from.pause()
          to.once('drain', () => from.resume())
        })
        .on('end', () => to.end())
        .on('error', () => {})
        .on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
    }
  }
}

/** Datagrams of each device socket go on through a socket of their own, until the next move. */
class DatagramRelay {
  readonly #doorPort: number
  readonly #source: () => string
  readonly #near = createSocket('udp4')
  readonly #far = new Map<number, UdpSocket>()

  constructor(doorPort: number, source: () => string) {
    this.#doorPort = doorPort
    this.#source = source
  }

  async open(): Promise<number> {
    this.#near.on('message', (message, { port }) => {
      this.#out(port).send(message, this.#doorPort, '127.0.0.1')
    })
    this.#near.on('error', () => {})
    this.#near.bind(0, '127.0.0.1')
    await once(this.#near, 'listening')
    return this.#near.address().port
  }

  leave(): void {
    for (const socket of this.#far.values()) socket.close()
    this.#far.clear()
  }

  close(): void {
    this.leave()
    this.#near.close()
  }

  #out(devicePort: number): UdpSocket {
    const known = this.#far.get(devicePort)
    if (known !== undefined) return known
    const socket = createSocket('udp4')
    socket.bind(0, this.#source())
    socket.on('message', (message) => this.#near.send(message, devicePort, '127.0.0.1'))
    socket.on('error', () => {})
    this.#far.set(devicePort, socket)
    return socket
  }
}

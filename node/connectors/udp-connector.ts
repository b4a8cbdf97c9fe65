/**
 * The UDP door for devices: one socket for each address family, whatever the number of devices, and
 * the rules of protocol/session/udp/udp-door.ts above them. It moves datagrams and knows no accounts.
 *
 * On a host with several addresses, listening on `0.0.0.0` or `::` answers from the address that the
 * system's routes say, which need not be the one that was asked: name the address there.
 */
import type { AddressInfo } from 'node:net'
import type { RemoteInfo, Socket } from 'node:dgram'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { UdpDoor } from '../../protocol/session/udp/udp-door.ts'
import type { DoorAddress } from '../../protocol/session/udp/udp-door.ts'
import type { AcceptedLink, Connector } from '../ports.ts'
import { addressGroup, AddressTally } from './address-tally.ts'
import type { DoorComponents } from './door-guard.ts'
import { addressesOf, closeSocket, hasRoom, plainBytes, udpSocket } from './udp-socket.ts'
import type { Place } from './udp-socket.ts'

/** A free port of one family may be taken in the other. */
const portTriesMax = 8

export interface UDPConnectorOptions {
  /** `::` is every address of both families. */
  readonly host: string
  /** 0: the system picks one, the same for both families. */
  readonly port: number
}

class Remote implements DoorAddress {
  readonly key: string
  readonly socket: Socket
  readonly address: string
  readonly port: number

  constructor(socket: Socket, { address, port }: RemoteInfo) {
    this.key = `${address}:${port}`
    this.socket = socket
    this.address = address
    this.port = port
  }

  get group(): string {
    return addressGroup(this.address)
  }
}

export class UDPConnector implements Connector {
  readonly name = 'udp'
  readonly #components: DoorComponents
  readonly #options: UDPConnectorOptions
  #sockets: readonly Socket[] = []
  #door: UdpDoor<Remote> | undefined
  #sendsDropped = 0

  constructor(components: DoorComponents, options: UDPConnectorOptions) {
    this.#components = components
    this.#options = options
  }

  async start(accept: (accepted: AcceptedLink) => void): Promise<void> {
    const sockets = await this.#listen()
    const door = new UdpDoor<Remote>({
      ...this.#components,
      connections: new AddressTally(limits.connectionsMax, limits.connectionsPerAddressMax),
      handshakes: new AddressTally(limits.handshakesMax, limits.handshakesPerAddressMax),
      send: (datagram, to) => this.#send(datagram, to),
    }, ({ link, deviceKey, address }) => accept({ link, deviceKey, remote: address.key }))
    for (const socket of sockets) {
      // What an ICMP message says about some datagram, anybody can say. Timers find out.
      socket.on('error', (error) => this.#components.log.debug({ code: errorCode(error) }, 'udp socket'))
      socket.on('message', (message, from) => door.receive(plainBytes(message), new Remote(socket, from)))
    }
    this.#sockets = sockets
    this.#door = door
  }

  /** Closes the links that are left, then the sockets; sessions have said bye before. */
  async stop(): Promise<void> {
    const sockets = this.#sockets
    this.#sockets = []
    if (sockets.length === 0) return
    await this.#door!.stop()
    await Promise.all(sockets.map(closeSocket))
  }

  address(): string | undefined {
    const address = this.#sockets[0]?.address() as AddressInfo | undefined
    if (address === undefined) return undefined
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
    return `${host}:${address.port}`
  }

  metrics(): Readonly<Record<string, number>> {
    if (this.#door === undefined) return {}
    const { counters, open, pending } = this.#door
    return { open, pending, ...counters.list(), sendsDropped: this.#sendsDropped }
  }

  #send(datagram: Uint8Array, { socket, address, port }: Remote): void {
    if (hasRoom(socket)) socket.send(datagram, port, address)
    else this.#sendsDropped++
  }

  async #listen(): Promise<Socket[]> {
    const { host, port } = this.#options
    try {
      const places = await addressesOf(host)
      if (host === '::') places.push({ address: '0.0.0.0', family: 4 })
      for (let tries = 1; ; tries++) {
        try {
          return await bindAll(places, port)
        } catch (error) {
          const wasChosen = port === 0 && places.length > 1 && errorCode(error) === 'EADDRINUSE'
          if (!wasChosen || tries === portTriesMax) throw error
        }
      }
    } catch (cause) {
      throw this.#listenError(cause)
    }
  }

  #listenError(cause: unknown): OpenIMError {
    const place = `${this.#options.host}:${this.#options.port}`
    if (errorCode(cause) === 'EADDRINUSE') {
      return new OpenIMError('CONNECTOR_ADDRESS_IN_USE',
        `udp ${place} is in use by another program; stop it or choose another port`, { cause })
    }
    return new OpenIMError('CONNECTOR_LISTEN',
      `cannot listen on udp ${place} (${errorCode(cause) ?? 'unknown reason'}); check address and rights`,
      { cause })
  }
}

/** All on one port, or none. */
async function bindAll(places: readonly Place[], port: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  try {
    for (const { address, family } of places) {
      const socket = udpSocket(family)
      sockets.push(socket)
      const wanted = sockets.length === 1 ? port : sockets[0]!.address().port
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.bind({ port: wanted, address, exclusive: true }, resolve)
      })
      socket.removeAllListeners('error')
    }
    return sockets
  } catch (error) {
    await Promise.all(sockets.map(closeSocket))
    throw error
  }
}

/**
 * Dials a node's UDP door from a device that runs on Node: the counterpart of UDPConnector. The
 * socket is connected, so the system takes datagrams of the node alone and says when nobody
 * listens. When nothing comes back, or the network that the socket belongs to is gone, a fresh
 * socket takes over in the middle of the connection: the system then picks address and way anew.
 */
import type { Socket } from 'node:dgram'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import { UdpDevice } from '../../protocol/session/udp/udp-device.ts'
import { checkSignal, placeOf } from './dial-link.ts'
import type { DialerComponents, DialerOptions } from './dial-link.ts'
import { addressesOf, closeSocket, hasRoom, plainBytes, udpSocket } from './udp-socket.ts'
import type { Place } from './udp-socket.ts'

/** The address or network under the socket is not there any more. */
const lostNetwork = new Set(['EADDRNOTAVAIL', 'EHOSTUNREACH', 'EINVAL', 'ENETDOWN', 'ENETUNREACH', 'EPERM'])

export type UDPDialerOptions = Omit<DialerOptions, 'tls'>

export class UDPDialer implements Dialer {
  readonly #components: DialerComponents
  readonly #options: UDPDialerOptions

  constructor(components: DialerComponents, options: UDPDialerOptions) {
    this.#components = components
    this.#options = options
  }

  /** @throws LINK_UNREACHABLE, CHANNEL_TIMEOUT, NOISE_KEY */
  async dial(signal: AbortSignal): Promise<MessageLink> {
    const place = placeOf(this.#options)
    checkSignal(signal, place)
    const node = await this.#nodeAddress(place)
    checkSignal(signal, place)
    const opened = Promise.withResolvers<MessageLink>()
    const { own, doorKey } = this.#options
    const device = new UdpDevice(this.#components, { own, nodeKey: doorKey }, {
      send: (datagram) => sockets.send(datagram),
      settled: (result) => {
        if (result.ok) opened.resolve(result.value)
        else opened.reject(new OpenIMError(result.code, `${place}: ${result.detail ?? result.code}`))
      },
      stuck: () => sockets.renew(),
      gone: () => sockets.close(),
    })
    const sockets = new DialerSocket(node, device)
    const abort = (): void => device.abandon('LINK_UNREACHABLE', 'dialling was given up')
    signal.addEventListener('abort', abort, { once: true })
    sockets.open(() => device.start())
    try {
      return await opened.promise
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async #nodeAddress(place: string): Promise<NodeAddress> {
    const { host, port } = this.#options
    try {
      const [first] = await addressesOf(host)
      if (first !== undefined) return { ...first, port }
    } catch (cause) {
      throw new OpenIMError('LINK_UNREACHABLE', `no address for ${place}`, { cause })
    }
    throw new OpenIMError('LINK_UNREACHABLE', `no address for ${place}`)
  }
}

interface NodeAddress extends Place {
  readonly port: number
}

/** The device's one socket, which may be replaced by another. */
class DialerSocket {
  readonly #node: NodeAddress
  readonly #device: UdpDevice
  #socket: Socket | undefined
  #connected = false
  /** Whether this socket ever brought something: one that never did is not worth a hasty renewal. */
  #heard = false
  #closed = false

  constructor(node: NodeAddress, device: UdpDevice) {
    this.#node = node
    this.#device = device
  }

  open(ready: () => void): void {
    const socket = udpSocket(this.#node.family)
    this.#socket = socket
    socket.on('error', (error) => { if (socket === this.#socket) this.#failed(error) })
    socket.on('message', (message) => {
      if (socket !== this.#socket) return
      this.#heard = true
      this.#device.receive(plainBytes(message))
    })
    socket.on('connect', () => {
      if (socket !== this.#socket) return
      this.#connected = true
      ready()
    })
    socket.connect(this.#node.port, this.#node.address)
  }

  send(datagram: Uint8Array): void {
    if (this.#connected && hasRoom(this.#socket!)) this.#socket!.send(datagram)
  }

  /** While there is no way out, the next probe that is not answered asks again. */
  renew(): void {
    if (this.#closed) return
    this.#drop()
    this.open(() => this.#device.rebound())
  }

  close(): void {
    this.#closed = true
    this.#drop()
  }

  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#connected = this.#heard = false
    if (socket !== undefined) void closeSocket(socket)
  }

  /**
   * Before the link is open, nobody listening there is the end of the dial. Later an ICMP message
   * that says so proves nothing: anybody can send one.
   */
  #failed(error: Error): void {
    this.#device.abandon('LINK_UNREACHABLE', `no way there (${errorCode(error) ?? 'unknown reason'})`)
    if (this.#heard && lostNetwork.has(errorCode(error) ?? '')) this.renew()
  }
}

/**
 * A device's end of a UDP link, sans I/O: the handshake, then the connection, behind one address
 * for datagrams. Whoever has the socket (node/connectors/udp-dialer.ts) hands datagrams in, sends
 * what comes out, and may change sockets in the middle.
 */
import { equalBytes } from '../../../crypto/bytes.ts'
import type { Result } from '../../../crypto/errors.ts'
import type { DhKeyPair } from '../../../crypto/provider.ts'
import type { Random } from '../../../crypto/random.ts'
import { tryDecode } from '../../codec/struct.ts'
import { limits } from '../../limits.ts'
import type { Clock, MessageLink, Timer } from '../../ports.ts'
import { privateStreamLink } from '../stream-link.ts'
import { UdpCounters } from './counters.ts'
import { connectionIdOf, isData, packetTypes, resetCodec } from './packets.ts'
import type { UdpAddress } from './path-keeper.ts'
import { UdpConnection } from './udp-connection.ts'
import { UdpInitiator } from './udp-initiator.ts'
import type { Initiated } from './udp-initiator.ts'

/** A device sends everything to the one node that its socket is for. */
const theNode: UdpAddress = { key: 'node' }

export interface UdpDeviceListener {
  send(datagram: Uint8Array): void
  /** Once: the link, or CHANNEL_TIMEOUT, or the code given to `abandon`. */
  settled(result: Result<MessageLink>): void
  /** Nothing comes back: a fresh socket may help, and `rebound` after it. */
  stuck(): void
  /** Last call: the socket may go. */
  gone(): void
}

export class UdpDevice {
  readonly counters = new UdpCounters()
  readonly #components: { readonly clock: Clock, readonly random: Random }
  readonly #listener: UdpDeviceListener
  readonly #initiator: UdpInitiator
  #deadline: Timer | undefined
  #connection: UdpConnection<UdpAddress> | undefined
  #settled = false
  #nodeId: Uint8Array | undefined

  /** @throws NOISE_KEY when the node's key is of small order */
  constructor(
    components: { clock: Clock, random: Random },
    keys: { own: DhKeyPair, nodeKey: Uint8Array },
    listener: UdpDeviceListener,
  ) {
    this.#components = components
    this.#listener = listener
    this.#initiator = new UdpInitiator(components, keys, {
      send: (datagram) => this.#send(datagram),
      initiated: (result) => this.#initiated(result),
    })
  }

  start(): void {
    this.#deadline = this.#components.clock.after(limits.handshakeMs, () => {
      this.abandon('CHANNEL_TIMEOUT', `no handshake within ${limits.handshakeMs} ms`)
    })
    this.#initiator.start()
  }

  /** Gives up while the handshake is under way; later nothing happens. */
  abandon(code: string, detail: string): void {
    if (this.#settled) return
    this.#settle({ ok: false, code, detail })
    this.#listener.gone()
  }

  receive(datagram: Uint8Array): void {
    this.counters.datagramsIn++
    this.counters.bytesIn += datagram.length
    if (isData(datagram)) this.#receiveData(datagram)
    else if (datagram[0] === packetTypes.reset) this.#receiveReset(datagram)
    else if (!this.#settled) this.#initiator.receive(datagram)
  }

  /** The socket is another one now. */
  rebound(): void {
    this.#connection?.rebound()
  }

  #receiveData(datagram: Uint8Array): void {
    const own = equalBytes(connectionIdOf(datagram), this.#initiator.deviceId)
    const dropped = own ? this.#connection?.receive(datagram, theNode) : 'unknown'
    if (dropped !== undefined) this.counters.dropped[dropped]++
  }

  #receiveReset(datagram: Uint8Array): void {
    const reset = tryDecode(resetCodec, datagram)
    const known = reset.ok && this.#nodeId !== undefined && equalBytes(reset.value.nodeId, this.#nodeId)
    if (known && this.#connection?.receiveReset(reset.value.token) === true) return
    this.counters.dropped.forged++
  }

  #initiated({ keys, nodeId, resetToken, roundTripMs }: Initiated): void {
    const { clock } = this.#components
    this.#nodeId = nodeId
    const connection = new UdpConnection({ ...this.#components, counters: this.counters }, {
      role: 'device',
      keys,
      peerId: nodeId,
      address: theNode,
      resetToken,
      ...(roundTripMs === undefined ? {} : { roundTripMs }),
    }, {
      send: (datagram) => this.#send(datagram),
      confirmed: () => {},
      stuck: () => this.#listener.stuck(),
      gone: () => this.#listener.gone(),
    })
    this.#connection = connection
    this.counters.handshakes++
    const link = privateStreamLink({ clock, bytes: connection }, { transport: 'udp' })
    connection.start()
    this.#settle({ ok: true, value: link })
  }

  #send(datagram: Uint8Array): void {
    this.counters.datagramsOut++
    this.counters.bytesOut += datagram.length
    this.#listener.send(datagram)
  }

  #settle(result: Result<MessageLink>): void {
    this.#settled = true
    this.#deadline?.cancel()
    this.#initiator.stop()
    this.#listener.settled(result)
  }
}

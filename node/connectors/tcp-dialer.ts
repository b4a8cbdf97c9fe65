/** Dials a node's TCP door from a device that runs on Node: the counterpart of TCPConnector. */
import { connect } from 'node:net'
import { connect as connectSecure } from 'node:tls'
import type { MessageLink } from '../../protocol/ports.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import { checkSignal, dialLink, placeOf } from './dial-link.ts'
import type { DialerComponents, DialerOptions } from './dial-link.ts'
import { DuplexBytes } from './duplex-bytes.ts'

export class TCPDialer implements Dialer {
  readonly #components: DialerComponents
  readonly #options: DialerOptions

  constructor(components: DialerComponents, options: DialerOptions) {
    this.#components = components
    this.#options = options
  }

  /** @throws LINK_UNREACHABLE, CHANNEL_REFUSED, CHANNEL_TIMEOUT, CHANNEL_HANDSHAKE, CHANNEL_LENGTH */
  async dial(signal: AbortSignal): Promise<MessageLink> {
    const { host, port, tls } = this.#options
    checkSignal(signal, placeOf(this.#options))
    const socket = tls === true
      ? connectSecure({ host, port, rejectUnauthorized: false }).setNoDelay(true)
      : connect({ host, port, noDelay: true })
    let isConnected = false
    let cause: unknown
    socket.once(tls === true ? 'secureConnect' : 'connect', () => { isConnected = true })
    socket.once('error', (error) => { cause = error })
    return dialLink(this.#components, { ...this.#options, signal }, {
      bytes: new DuplexBytes(socket),
      transport: 'tcp',
      framing: 'length',
      destroy: () => { socket.destroy() },
      unreachable: () => (isConnected ? undefined : { cause }),
    })
  }
}

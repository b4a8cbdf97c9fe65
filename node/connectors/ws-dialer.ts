/**
 * Dials a node's WebSocket door from a device that runs on Node: the counterpart of WSConnector.
 * (A page uses protocol/session/page-dialer.ts over the browser's own WebSocket.)
 */
import { WebSocket } from 'ws'
import { limits } from '../../protocol/limits.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { deviceDoorPath, webSocketProtocol } from '../../protocol/session/door-paths.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import { checkSignal, dialLink, placeOf } from './dial-link.ts'
import type { DialerComponents, DialerOptions } from './dial-link.ts'
import { WebSocketBytes } from './web-socket-bytes.ts'

export class WSDialer implements Dialer {
  readonly #components: DialerComponents
  readonly #options: DialerOptions

  constructor(components: DialerComponents, options: DialerOptions) {
    this.#components = components
    this.#options = options
  }

  /** @throws LINK_UNREACHABLE, CHANNEL_REFUSED, CHANNEL_TIMEOUT, CHANNEL_HANDSHAKE, CHANNEL_LENGTH */
  async dial(signal: AbortSignal): Promise<MessageLink> {
    const place = placeOf(this.#options)
    checkSignal(signal, place)
    const scheme = this.#options.tls === true ? 'wss' : 'ws'
    const socket = new WebSocket(`${scheme}://${place}${deviceDoorPath}`, [webSocketProtocol], {
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: limits.noiseMessageBytesMax,
      rejectUnauthorized: false,
    })
    let isConnected = false
    let cause: unknown
    socket.once('open', () => { isConnected = true })
    socket.once('error', (error) => { cause = error })
    return dialLink(this.#components, { ...this.#options, signal }, {
      bytes: new WebSocketBytes(socket, { clock: this.#components.clock }),
      transport: 'ws',
      framing: 'message',
      destroy: () => { socket.terminate() },
      unreachable: () => (isConnected ? undefined : { cause }),
    })
  }
}

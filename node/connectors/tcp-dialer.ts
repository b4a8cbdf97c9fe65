/** Dials a node's TCP door from a device that runs on Node: the counterpart of TCPConnector. */
import { connect } from 'node:net'
import { OpenIMError } from '../../crypto/errors.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import type { Clock, MessageLink } from '../../protocol/ports.ts'
import { openStreamLink } from '../../protocol/session/stream-link.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import { SocketBytes } from './socket-bytes.ts'

export interface TCPDialerOptions {
  readonly host: string
  readonly port: number
  /** The node's X25519 door key, 32 bytes, known beforehand. */
  readonly doorKey: Uint8Array
  /** The device's X25519 key. */
  readonly own: DhKeyPair
}

export class TCPDialer implements Dialer {
  readonly #components: { readonly clock: Clock, readonly random: Random }
  readonly #options: TCPDialerOptions

  constructor(components: { clock: Clock, random: Random }, options: TCPDialerOptions) {
    this.#components = components
    this.#options = options
  }

  /** @throws LINK_UNREACHABLE, CHANNEL_REFUSED, CHANNEL_TIMEOUT, CHANNEL_HANDSHAKE, CHANNEL_LENGTH */
  async dial(signal: AbortSignal): Promise<MessageLink> {
    const { host, port, doorKey, own } = this.#options
    const place = `${host}:${port}`
    if (signal.aborted) throw new OpenIMError('LINK_UNREACHABLE', `dialling ${place} was given up`)
    const { clock, random } = this.#components
    const socket = connect({ host, port, noDelay: true })
    let connected = false
    let cause: Error | undefined
    socket.once('connect', () => { connected = true })
    socket.once('error', (error) => { cause = error })
    const abort = (): void => { socket.destroy() }
    signal.addEventListener('abort', abort, { once: true })
    try {
      // Handshake bytes wait in the socket until it is connected; the deadline covers both.
      const opened = await openStreamLink(
        { clock, bytes: new SocketBytes(socket) },
        { transport: 'tcp', own, random, nodeKey: doorKey },
      )
      if (opened.ok) return opened.value.link
      if (!connected) throw new OpenIMError('LINK_UNREACHABLE', `no connection to ${place}`, { cause })
      throw new OpenIMError(opened.code, `${place}: ${opened.detail ?? opened.code}`)
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}

/** Dials a node's HTTP/2 door from a device that runs on Node: the counterpart of HTTP2Connector. */
import { connect } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { deviceDoorPath, streamMediaType } from '../../protocol/session/door-paths.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import { checkSignal, dialLink, placeOf } from './dial-link.ts'
import type { DialerComponents, DialerOptions } from './dial-link.ts'
import { DuplexBytes } from './duplex-bytes.ts'

export class HTTP2Dialer implements Dialer {
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
    const scheme = this.#options.tls === true ? 'https' : 'http'
    const session = connect(`${scheme}://${place}`, {
      rejectUnauthorized: false,
      settings: { enablePush: false, initialWindowSize: limits.deviceLinkHighBytes },
    })
    const stream = openStream(session)
    let isConnected = false
    let cause: unknown
    session.once('error', (error) => { cause = error })
    stream.once('response', ({ ':status': status }) => {
      isConnected = status === 200
      if (isConnected) return
      cause = new OpenIMError('LINK_UNREACHABLE', `${place} answers ${status} to ${deviceDoorPath}`)
      stream.destroy()
    })
    stream.once('close', () => session.close())
    return dialLink(this.#components, { ...this.#options, signal }, {
      bytes: new DuplexBytes(stream),
      transport: 'http2',
      framing: 'length',
      destroy: () => { session.destroy() },
      unreachable: () => (isConnected ? undefined : { cause }),
    })
  }
}

function openStream(session: ClientHttp2Session): ClientHttp2Stream {
  return session.request({
    ':method': 'POST', ':path': deviceDoorPath, 'content-type': streamMediaType,
  }, { endStream: false })
}

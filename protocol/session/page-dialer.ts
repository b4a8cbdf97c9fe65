/**
 * Dials a node's WebSocket door with the WebSocket that a page has (WHATWG WebSockets). A device on
 * Node uses node/connectors/ws-dialer.ts.
 *
 * A page cannot stop reading its WebSocket: what comes while the session is held up waits in
 * memory, bounded by the session's window (`limits.sessionWindowBytes`), which the node obeys.
 * Nor does it hear when its own bytes have left, so while much is queued it looks now and then.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { limits } from '../limits.ts'
import type { Clock, MessageLink, Timer } from '../ports.ts'
import type { ByteTransport, ByteTransportListener } from './byte-transport.ts'
import { deviceDoorPath, webSocketProtocol } from './door-paths.ts'
import type { Way } from './racing-dialer.ts'
import { openStreamLink } from './stream-link.ts'
import type { Dialer } from './types.ts'

/** What is used of a page's `WebSocket`. */
export interface PageSocket {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  send(data: Uint8Array<ArrayBuffer>): void
  close(code?: number): void
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number }) => void) | null
}

export interface PageDialerOptions {
  /** `ws://…/openim/1` or `wss://…/openim/1`. */
  readonly url: string
  /** The node's X25519 door key, 32 bytes, known beforehand. */
  readonly doorKey: Uint8Array
  /** The device's X25519 key. */
  readonly own: DhKeyPair
  /** `(url, protocols) => new WebSocket(url, protocols)`. */
  readonly open: (url: string, protocols: string[]) => PageSocket
}

const states = { connecting: 0, open: 1 } as const
/** RFC 6455 §7.4.1: normal, going away, no code given. */
const orderlyCodes: readonly number[] = [1000, 1001, 1005]
const lookMs = 20

/**
 * A way for each address that a page can dial: `ws://HOST:PORT` and `wss://HOST:PORT`, with another
 * path when there is one. The others are for other devices and left out.
 * @throws DOOR_ADDRESS when none is left
 */
export function pageWays(
  addresses: readonly string[],
  components: { clock: Clock, random: Random },
  keys: Pick<PageDialerOptions, 'doorKey' | 'own'>,
): Way[] {
  const names = addresses.filter((name) => /^wss?:\/\//.test(name) && URL.canParse(name))
  if (names.length === 0) {
    const among = addresses.length === 0 ? 'none is known' : addresses.join(', ')
    throw new OpenIMError('DOOR_ADDRESS', `a page dials ws://HOST:PORT or wss://HOST:PORT, and ${among}`)
  }
  // Its handlers take an event that ours do without, which the type does not allow.
  const open = (url: string, protocols: string[]): PageSocket =>
    new WebSocket(url, protocols) as unknown as PageSocket
  return names.map((name) => {
    const url = new URL(name)
    if (url.pathname === '/') url.pathname = deviceDoorPath
    return { name, dialer: new PageDialer(components, { url: url.href, open, ...keys }) }
  })
}

export class PageDialer implements Dialer {
  readonly #components: { readonly clock: Clock, readonly random: Random }
  readonly #options: PageDialerOptions

  constructor(components: { clock: Clock, random: Random }, options: PageDialerOptions) {
    this.#components = components
    this.#options = options
  }

  /** @throws LINK_UNREACHABLE, CHANNEL_REFUSED, CHANNEL_TIMEOUT, CHANNEL_HANDSHAKE, CHANNEL_LENGTH */
  async dial(signal: AbortSignal): Promise<MessageLink> {
    const { url, doorKey, own, open } = this.#options
    if (signal.aborted) throw new OpenIMError('LINK_UNREACHABLE', `dialling ${url} was given up`)
    const { clock, random } = this.#components
    const bytes = new PageBytes(open(url, [webSocketProtocol]), clock)
    const abort = (): void => bytes.destroy()
    signal.addEventListener('abort', abort, { once: true })
    try {
      const opened = await openStreamLink(
        { clock, bytes },
        { transport: 'ws', framing: 'message', own, random, nodeKey: doorKey },
      )
      if (opened.ok) return opened.value.link
      if (!bytes.wasOpen) throw new OpenIMError('LINK_UNREACHABLE', `no connection to ${url}`)
      throw new OpenIMError(opened.code, `${url}: ${opened.detail ?? opened.code}`)
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}

class PageBytes implements ByteTransport {
  readonly #socket: PageSocket
  readonly #clock: Clock
  #listener: ByteTransportListener | undefined
  #waiting: Uint8Array[] = []
  #looking: Timer | undefined
  #ended = false
  #closed = false
  wasOpen = false

  constructor(socket: PageSocket, clock: Clock) {
    this.#socket = socket
    this.#clock = clock
    socket.binaryType = 'arraybuffer'
    socket.onopen = () => this.#opened()
    socket.onmessage = ({ data }) => this.#message(data)
    socket.onclose = ({ code }) => this.#gone(orderlyCodes.includes(code))
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  write(bytes: Uint8Array): void {
    const { readyState } = this.#socket
    if (readyState === states.connecting) this.#waiting.push(bytes)
    if (readyState !== states.open) return
    this.#socket.send(bytes as Uint8Array<ArrayBuffer>)
    this.#look()
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.#ended = true
    this.#socket.close(orderlyCodes[0])
  }

  /** A page cannot cut a connection; it can forget it. */
  destroy(): void {
    this.#socket.close()
    this.#gone(false)
  }

  listen(listener: ByteTransportListener): void {
    this.#listener = listener
  }

  #opened(): void {
    this.wasOpen = true
    const waiting = this.#waiting
    this.#waiting = []
    for (const bytes of waiting) this.write(bytes)
  }

  #message(data: unknown): void {
    if (this.#ended || this.#closed) return
    if (data instanceof ArrayBuffer) this.#listener?.bytes(new Uint8Array(data))
    else this.destroy()
  }

  #look(): void {
    this.#looking ??= this.#clock.after(lookMs, () => {
      this.#looking = undefined
      if (this.#closed) return
      if (this.#socket.bufferedAmount <= limits.deviceLinkLowBytes) this.#listener?.drain()
      else this.#look()
    })
  }

  #gone(orderly: boolean): void {
    if (this.#closed) return
    this.#closed = true
    this.#looking?.cancel()
    // Never within the call that caused it.
    queueMicrotask(() => this.#listener?.closed(orderly))
  }
}

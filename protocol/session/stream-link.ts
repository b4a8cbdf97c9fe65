/**
 * A `MessageLink` over a transport of bytes: one write for what is sent in a tick, high- and
 * low-water marks (DESIGN §4). Over TCP, TLS, WebSocket and HTTP/2 the Noise channel lies between
 * messages and bytes; a stream that is private already, as that of a UDP connection, carries the
 * messages themselves.
 *
 * Codes that its listener sees in `closed`: `LINK_CLOSED` (the peer closed), the code given to
 * `close` (we closed), `LINK_LOST` (the transport broke), `CHANNEL_*` (the peer sent what no peer
 * of ours sends). A stream that ends is never proof that the peer meant it; sessions say `bye`.
 */
import type { Result } from '../../crypto/errors.ts'
import { assert } from '../../crypto/errors.ts'
import { limits } from '../limits.ts'
import type { Clock, MessageLink, MessageLinkListener, Timer } from '../ports.ts'
import type { ByteTransport } from './byte-transport.ts'
import { LinkInbox } from './link-inbox.ts'
import { joinMessages, MessageSplitter } from './message-framing.ts'
import { NoiseChannel } from './noise-channel.ts'
import type { NoiseChannelListener, NoiseChannelOptions } from './noise-channel.ts'

/** An `await` costs its caller one to three microtasks; a hop costs us a tenth of a microsecond. */
const quietHopsMin = 8
const settled = Promise.resolve()

export interface OpenedLink {
  readonly link: MessageLink
  /** The peer's proven X25519 key. */
  readonly peerKey: Uint8Array
}

/**
 * Shakes hands over a fresh transport. Settles with the link, or with a refusal (`CHANNEL_*`)
 * after which the transport is gone. Destroying the transport ends the wait.
 */
export function openStreamLink(
  components: { clock: Clock, bytes: ByteTransport },
  options: NoiseChannelOptions & {
    /** Runs when the transport is gone. */
    readonly gone?: () => void
  },
): Promise<Result<OpenedLink>> {
  return new Promise((resolve) => {
    const channel = (listener: NoiseChannelListener): Channel => new NoiseChannel(options, listener)
    new StreamLink(components, { ...options, channel }, resolve)
  })
}

/** Over a stream that is private already, to a peer that has proven its key: open at once. */
export function privateStreamLink(
  components: { clock: Clock, bytes: ByteTransport },
  options: { transport: string },
): MessageLink {
  const channel = (listener: NoiseChannelListener): Channel => new OpenChannel(listener)
  return new StreamLink(components, { ...options, channel }, () => {})
}

/** What turns messages into bytes of the stream and back. */
interface Channel {
  readonly open: boolean
  start(): void
  /** What is to be written, in order. */
  seal(messages: readonly Uint8Array[]): Uint8Array[]
  receive(chunk: Uint8Array): void
}

/** Only the framing: the transport below encrypts. */
class OpenChannel implements Channel {
  readonly open = true
  readonly #listener: NoiseChannelListener
  readonly #splitter: MessageSplitter

  constructor(listener: NoiseChannelListener) {
    this.#listener = listener
    this.#splitter = new MessageSplitter((message) => listener.message(message))
  }

  start(): void {
    this.#listener.opened(new Uint8Array(0))
  }

  seal(messages: readonly Uint8Array[]): Uint8Array[] {
    return [joinMessages(messages)]
  }

  receive(chunk: Uint8Array): void {
    const broken = this.#splitter.push(chunk)
    if (broken !== undefined) this.#listener.failed('CHANNEL_FRAMING', broken)
  }
}

class StreamLink implements MessageLink {
  readonly transport: string
  readonly #clock: Clock
  readonly #bytes: ByteTransport
  readonly #channel: Channel
  readonly #inbox = new LinkInbox()
  readonly #settle: (result: Result<OpenedLink>) => void
  readonly #gone: (() => void) | undefined
  #timer: Timer | undefined
  #opened = false
  #reading = true
  #closed = false
  /** Why we closed; `closed` waits for the transport, so that whoever stops can wait for it. */
  #closeCode: string | undefined
  #outgoing: Uint8Array[] = []
  #outgoingBytes = 0
  #aboveHigh = false
  #flushing = false
  #quietHops = 0

  constructor(
    components: { clock: Clock, bytes: ByteTransport },
    options: {
      transport: string
      channel: (listener: NoiseChannelListener) => Channel
      gone?: () => void
    },
    settle: (result: Result<OpenedLink>) => void,
  ) {
    this.transport = options.transport
    this.#clock = components.clock
    this.#bytes = components.bytes
    this.#settle = settle
    this.#gone = options.gone
    this.#channel = options.channel({
      write: (bytes) => this.#bytes.write(bytes),
      opened: (peerKey) => this.#open(peerKey),
      message: (message) => this.#inbox.push(message),
      failed: (code, detail) => this.#abort(code, detail),
    })
    this.#timer = this.#clock.after(limits.handshakeMs, () => {
      this.#abort('CHANNEL_TIMEOUT', `no handshake within ${limits.handshakeMs} ms`)
    })
    this.#bytes.listen({
      bytes: (chunk) => this.#receive(chunk),
      drain: () => this.#drained(),
      closed: (orderly) => this.#transportClosed(orderly),
    })
    this.#channel.start()
  }

  get bufferedBytes(): number {
    return this.#outgoingBytes + this.#bytes.bufferedBytes
  }

  listen(listener: MessageLinkListener): void {
    this.#inbox.listen(listener)
    this.#steer()
  }

  pause(): void {
    this.#inbox.pause()
    this.#steer()
  }

  resume(): void {
    this.#inbox.resume()
    this.#steer()
  }

  send(message: Uint8Array): void {
    if (this.#closed) return
    this.#outgoing.push(message)
    this.#outgoingBytes += message.length
    this.#quietHops = 0
    if (this.bufferedBytes >= limits.deviceLinkHighBytes) this.#aboveHigh = true
    if (!this.#flushing) this.#flushWhenQuiet()
  }

  /**
   * In this tick still, but after the senders that await one send before the next: once nothing
   * was added for some microtasks, or enough is there for a whole Noise message.
   */
  #flushWhenQuiet(): void {
    this.#flushing = true
    void settled.then(this.#hop)
  }

  /** Made once: `queueMicrotask` and a closure for each hop cost more than the rest of a small message. */
  readonly #hop = (): void => {
    if (++this.#quietHops < quietHopsMin && this.#outgoingBytes < limits.noiseMessageBytesMax) {
      void settled.then(this.#hop)
      return
    }
    this.#flushing = false
    this.#flush()
    // A system that takes everything at once has nothing to drain later.
    this.#drained()
  }

  close(code: string): void {
    if (this.#closed) return
    this.#flush()
    this.#closed = true
    this.#closeCode = code
    this.#inbox.discard()
    this.#timer = this.#clock.after(limits.linkLingerMs, () => this.#bytes.destroy())
    this.#bytes.end()
  }

  #open(peerKey: Uint8Array): void {
    this.#opened = true
    this.#timer?.cancel()
    this.#settle({ ok: true, value: { link: this, peerKey } })
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closed) return
    this.#channel.receive(chunk)
    this.#steer()
  }

  /** Reads while somebody takes what is read; before the handshake is done, we do. */
  #steer(): void {
    const reading = !this.#opened || this.#inbox.flowing
    if (reading === this.#reading || this.#closed) return
    this.#reading = reading
    if (reading) this.#bytes.resume()
    else this.#bytes.pause()
  }

  #flush(): void {
    if (this.#closed || this.#outgoing.length === 0) return
    assert(this.#channel.open, 'a link is used before it is open')
    const messages = this.#outgoing
    this.#outgoing = []
    this.#outgoingBytes = 0
    for (const piece of this.#channel.seal(messages)) this.#bytes.write(piece)
  }

  #drained(): void {
    if (this.#closed || !this.#aboveHigh || this.bufferedBytes > limits.deviceLinkLowBytes) return
    this.#aboveHigh = false
    this.#inbox.drain()
  }

  /** The bytes cannot be trusted any more, or never could. */
  #abort(code: string, detail: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#timer?.cancel()
    this.#bytes.destroy()
    this.#settle({ ok: false, code, detail })
    this.#inbox.abort(code)
  }

  #transportClosed(orderly: boolean): void {
    this.#gone?.()
    this.#timer?.cancel()
    if (this.#closeCode !== undefined) this.#inbox.abort(this.#closeCode)
    if (this.#closed) return
    this.#closed = true
    this.#settle({ ok: false, code: 'CHANNEL_REFUSED', detail: 'the peer hung up during the handshake' })
    this.#inbox.close(orderly ? 'LINK_CLOSED' : 'LINK_LOST')
  }
}

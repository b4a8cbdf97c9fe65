/**
 * A `MessageLink` over a stream of bytes: the Noise channel, one encryption and one write for what
 * is sent in a tick, high- and low-water marks. TCP uses it and HTTP/2 can (DESIGN §4).
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
import { NoiseChannel } from './noise-channel.ts'
import type { NoiseChannelOptions } from './noise-channel.ts'

/** An `await` costs its caller one to three microtasks; a hop costs us a tenth of a microsecond. */
const quietHopsMin = 8

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
  options: NoiseChannelOptions,
): Promise<Result<OpenedLink>> {
  return new Promise((resolve) => { new StreamLink(components, options, resolve) })
}

class StreamLink implements MessageLink {
  readonly transport: string
  readonly #clock: Clock
  readonly #bytes: ByteTransport
  readonly #channel: NoiseChannel
  readonly #inbox = new LinkInbox()
  readonly #settle: (result: Result<OpenedLink>) => void
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
    options: NoiseChannelOptions,
    settle: (result: Result<OpenedLink>) => void,
  ) {
    this.transport = options.transport
    this.#clock = components.clock
    this.#bytes = components.bytes
    this.#settle = settle
    this.#channel = new NoiseChannel(options, {
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
    queueMicrotask(() => {
      if (++this.#quietHops < quietHopsMin && this.#outgoingBytes < limits.noiseMessageBytesMax) {
        return this.#flushWhenQuiet()
      }
      this.#flushing = false
      this.#flush()
      // A system that takes everything at once has nothing to drain later.
      this.#drained()
    })
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
    this.#bytes.write(this.#channel.seal(messages))
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
    this.#timer?.cancel()
    if (this.#closeCode !== undefined) this.#inbox.abort(this.#closeCode)
    if (this.#closed) return
    this.#closed = true
    this.#settle({ ok: false, code: 'CHANNEL_REFUSED', detail: 'the peer hung up during the handshake' })
    this.#inbox.close(orderly ? 'LINK_CLOSED' : 'LINK_LOST')
  }
}

/**
 * The door for clients that live in the node's own process (the owner's hosted client, later the
 * XMPP and MQTT accounts): pairs of links joined in memory (DESIGN §2). Who asks for a dialer is
 * trusted with the device key it names, so there is no handshake and no encryption; everything
 * else is as over a socket: messages arrive later, never in the caller's own stack, in order,
 * with high- and low-water marks. Messages are handed over, not copied: neither end writes to one
 * again.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, MessageLink, MessageLinkListener } from '../../protocol/ports.ts'
import { LinkInbox } from '../../protocol/session/link-inbox.ts'
import { Fifo } from '../../protocol/fifo.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import type { AcceptedLink, Connector } from '../ports.ts'

/**
 * Messages delivered in microtasks before a link waits for a timer: two ends that answer each
 * other would otherwise keep sockets and timers of the whole process waiting.
 */
const burstMax = 512

export class LoopbackConnector implements Connector {
  readonly name = 'loopback'
  readonly #clock: Clock
  readonly #links = new Set<LoopbackLink>()
  #accept: ((accepted: AcceptedLink) => void) | undefined

  constructor(components: { clock: Clock }) {
    this.#clock = components.clock
  }

  async start(accept: (accepted: AcceptedLink) => void): Promise<void> {
    this.#accept = accept
  }

  async stop(): Promise<void> {
    this.#accept = undefined
    for (const link of [...this.#links]) link.close('CONNECTOR_STOPPED')
  }

  address(): undefined {
    return undefined
  }

  metrics(): Readonly<Record<string, number>> {
    return {}
  }

  /** Dials as the device of this X25519 public key; the caller vouches for it. */
  dialer(deviceKey: Uint8Array): Dialer {
    return { dial: async (signal) => this.#dial(deviceKey, signal) }
  }

  #dial(deviceKey: Uint8Array, signal: AbortSignal): MessageLink {
    const accept = this.#accept
    if (accept === undefined || signal.aborted) {
      throw new OpenIMError('LINK_UNREACHABLE', 'the loopback door is closed; start the node first')
    }
    const [device, node] = loopbackPair(this.#clock)
    this.#links.add(node)
    node.onGone = () => this.#links.delete(node)
    accept({ link: node, deviceKey, remote: 'local' })
    return device
  }
}

/** Two joined ends. */
export function loopbackPair(clock: Clock): [LoopbackLink, LoopbackLink] {
  const a = new LoopbackLink(clock)
  const b = new LoopbackLink(clock)
  a.join(b)
  b.join(a)
  return [a, b]
}

export class LoopbackLink implements MessageLink {
  readonly transport = 'loopback'
  readonly #clock: Clock
  readonly #inbox = new LinkInbox()
  /** Sent and not yet taken by the peer's inbox. */
  readonly #outgoing = new Fifo<Uint8Array>()
  #peer!: LoopbackLink
  #outgoingBytes = 0
  #aboveHigh = false
  #scheduled = false
  #burst = 0
  #closeCode: string | undefined
  /** For the connector's books. */
  onGone: () => void = () => {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  join(peer: LoopbackLink): void {
    this.#peer = peer
  }

  get bufferedBytes(): number {
    return this.#outgoingBytes
  }

  listen(listener: MessageLinkListener): void {
    this.#inbox.listen(listener)
    this.#peer.#schedule()
  }

  pause(): void {
    this.#inbox.pause()
  }

  resume(): void {
    this.#inbox.resume()
    this.#peer.#schedule()
  }

  send(message: Uint8Array): void {
    if (this.#closeCode !== undefined) return
    this.#outgoing.push(message)
    this.#outgoingBytes += message.length
    if (this.#outgoingBytes >= limits.deviceLinkHighBytes) this.#aboveHigh = true
    this.#schedule()
  }

  close(code: string): void {
    if (this.#closeCode !== undefined) return
    this.#closeCode = code
    this.#inbox.discard()
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    if (this.#burst < burstMax) queueMicrotask(() => this.#deliver())
    else {
      this.#burst = 0
      this.#clock.after(0, () => this.#deliver())
    }
  }

  /** Moves what was sent to the peer while it listens, then the news that we closed. */
  #deliver(): void {
    this.#scheduled = false
    const inbox = this.#peer.#inbox
    while (this.#outgoing.length > 0 && inbox.flowing) {
      if (this.#burst >= burstMax) return this.#schedule()
      this.#burst++
      const message = this.#outgoing.shift()!
      this.#outgoingBytes -= message.length
      inbox.push(message)
    }
    if (this.#aboveHigh && this.#outgoingBytes <= limits.deviceLinkLowBytes) {
      this.#aboveHigh = false
      this.#inbox.drain()
    }
    if (this.#closeCode !== undefined) this.#finish(this.#closeCode)
  }

  /** Our end is gone at once; the peer's after what we sent it, if it still reads. */
  #finish(code: string): void {
    this.#inbox.abort(code)
    this.onGone()
    if (this.#outgoing.length === 0) this.#peer.#peerClosed()
  }

  #peerClosed(): void {
    this.#closeCode ??= 'LINK_CLOSED'
    this.#outgoing.clear()
    this.#outgoingBytes = 0
    this.#inbox.close(this.#closeCode)
    this.onGone()
  }
}

/** A stream that we opened to another server: outbound-negotiation.ts on a real connection. */
import type { SecureContext } from 'node:tls'
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { SocketStream } from '../stream/socket-stream.ts'
import type { StreamError } from '../stream/stream-errors.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { presentedBy } from './certificate-path.ts'
import { serverNameOf } from './dialer.ts'
import type { Dialled } from './dialer.ts'
import type { S2sFailure } from './failure.ts'
import type { OutboundAction } from './negotiation.ts'
import { OutboundNegotiation } from './outbound-negotiation.ts'
import type { OutboundOptions } from './outbound-negotiation.ts'
import type { S2sPolicy } from './policy.ts'

export interface OutboundListener {
  ready(facts: OutboundFacts): void
  /** Of a question about a key. */
  verdict?(isValid: boolean): void
  manage?(element: XmlElement): void
  drained?(): void
  /** Last call. */
  ended(failure: S2sFailure): void
}

export interface OutboundFacts {
  readonly by: 'certificate' | 'dialback'
  readonly hasManagement: boolean
  /** `TLSv1.3`. */
  readonly protocol: string
  readonly transport: 'direct' | 'starttls'
}

export interface OutboundComponents {
  readonly clock: Clock
  readonly policy: S2sPolicy
  /** With our certificate. */
  readonly secureContext: SecureContext | undefined
}

export class OutboundStream {
  readonly #components: OutboundComponents
  readonly #theirs: string
  readonly #negotiation: OutboundNegotiation
  readonly #stream: SocketStream
  readonly #transport: 'direct' | 'starttls'
  readonly #listener: OutboundListener
  readonly #deadline: Timer
  #failure: S2sFailure | undefined
  #isReady = false

  constructor(
    components: OutboundComponents,
    { socket, target, ...options }: Dialled & OutboundOptions,
    listener: OutboundListener,
  ) {
    this.#components = components
    this.#theirs = options.theirs
    this.#transport = target.transport
    this.#listener = listener
    this.#negotiation = new OutboundNegotiation(options)
    const { clock } = components
    this.#stream = new SocketStream({ socket, clock }, { side: 'client' })
    this.#deadline = clock.after(xmppLimits.s2sNegotiationMs, () => {
      this.#perform(this.#negotiation.ended({ condition: 'connection-timeout', text: 'it took too long' }))
      this.#stream.destroy()
    })
    this.#stream.listen({
      opened: (header) => this.#perform(this.#negotiation.opened(header)),
      element: (element) => this.#perform(this.#negotiation.element(element)),
      secured: () => this.#secured(),
      drained: () => listener.drained?.(),
      closed: ({ error }) => this.#closed(error),
    })
    if (target.transport === 'direct') this.#secured()
    else this.#perform(this.#negotiation.start())
  }

  get bufferedBytes(): number {
    return this.#stream.bufferedBytes
  }

  send(element: XmlElement): void {
    this.#stream.send(element)
  }

  close(error?: StreamError): void {
    this.#stream.close(error)
  }

  destroy(): void {
    this.#stream.destroy()
  }

  #secured(): void {
    const presented = presentedBy(this.#stream.tls?.peerCertificate)
    this.#perform(this.#negotiation.secured(this.#components.policy.judge(presented, this.#theirs)))
  }

  #closed(error: StreamError | undefined): void {
    this.#deadline.cancel()
    this.#perform(this.#negotiation.ended(error))
    this.#listener.ended(this.#failure ?? {
      ok: false, condition: 'remote-server-timeout', text: `${this.#theirs} hung up`, isLasting: false,
    })
  }

  #perform(actions: readonly OutboundAction[]): void {
    for (const action of actions) this.#act(action)
  }

  #act(action: OutboundAction): void {
    switch (action.do) {
      case 'header': {
        const { from, to } = action.header
        this.#stream.open({ from: from!, to: to!, contentNs: ns.server, withDialback: true })
        break
      }
      case 'restart':
        this.#stream.restart()
        break
      case 'send':
        this.#stream.send(action.element)
        break
      case 'secure': {
        const { secureContext } = this.#components
        this.#stream.startTls({
          side: 'client', serverName: serverNameOf(this.#theirs),
          ...secureContext === undefined ? {} : { secureContext },
        })
        break
      }
      case 'ready':
        this.#deadline.cancel()
        this.#isReady = true
        this.#stream.setStanzaMax(xmppLimits.serverStanzaMax)
        this.#listener.ready({
          by: action.by, hasManagement: action.hasManagement,
          protocol: this.#stream.tls?.protocol ?? '', transport: this.#transport,
        })
        break
      case 'verdict':
        this.#deadline.cancel()
        this.#listener.verdict?.(action.isValid)
        break
      case 'manage':
        this.#listener.manage?.(action.element)
        break
      case 'fail':
        this.#failure ??= action.failure
        break
      case 'close':
        this.#stream.close(action.error)
        break
      case 'ignore':
        // A server that sends stanzas here without having asked for XEP-0288 proved nothing of them.
        break
    }
  }

  get isReady(): boolean {
    return this.#isReady
  }
}

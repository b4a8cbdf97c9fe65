/**
 * Connects to one of several addresses: the next is tried beside one that keeps silent (RFC 8305), and
 * what connects first is handed out. Whoever finds that the server behind it is of no use asks again,
 * and gets one of the rest.
 */
import { once } from 'node:events'
import { connect as connectTcp, isIP } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { domainToASCII } from 'node:url'
import type { Clock, Timer } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { S2sTarget } from './resolver.ts'

export interface Dialled {
  /** With TLS up where the target is direct. */
  readonly socket: Socket
  readonly target: S2sTarget
}

export interface DialOptions {
  readonly domain: string
  /** With our certificate, so that the other end can ask for it. */
  readonly secureContext: SecureContext | undefined
  readonly signal: AbortSignal
  /** Where TLS comes first; `xmpp-server` when left out. */
  readonly alpn?: string
}

/** What a TLS client asks for by SNI; no name for an address (RFC 6066 §3). */
export function serverNameOf(domain: string): string {
  return isIP(domain.replace(/^\[(.*)\]$/, '$1')) === 0 ? domainToASCII(domain) : ''
}

export class S2sDialer {
  readonly #clock: Clock
  readonly #options: DialOptions
  #left: readonly S2sTarget[]
  /** Of the last address that failed, for people. */
  #problem = 'no address was left to try'

  constructor(clock: Clock, targets: readonly S2sTarget[], options: DialOptions) {
    this.#clock = clock
    this.#left = targets
    this.#options = options
  }

  get problem(): string {
    return this.#problem
  }

  /** `undefined`: none of those that are left answers. */
  async next(): Promise<Dialled | undefined> {
    const targets = this.#left
    if (targets.length === 0 || this.#options.signal.aborted) return undefined
    const sockets = new Set<Socket>()
    let timer: Timer | undefined
    const { promise, resolve } = Promise.withResolvers<Dialled | undefined>()
    const failed = new Set<S2sTarget>()
    let begun = 0
    const beginNext = (): void => {
      timer?.cancel()
      const target = targets[begun]
      if (target === undefined) return
      begun++
      const socket = this.#open(target)
      sockets.add(socket)
      if (begun < targets.length) timer = this.#clock.after(xmppLimits.s2sConnectNextMs, beginNext)
      this.#connected(socket, target).then(() => resolve({ socket, target }), (error: unknown) => {
        socket.destroy()
        sockets.delete(socket)
        failed.add(target)
        this.#problem = error instanceof Error ? error.message : String(error)
        if (failed.size === targets.length) resolve(undefined)
        else beginNext()
      })
    }
    const abort = (): void => resolve(undefined)
    this.#options.signal.addEventListener('abort', abort)
    beginNext()
    const dialled = await promise
    this.#options.signal.removeEventListener('abort', abort)
    timer?.cancel()
    for (const socket of sockets) {
      if (socket !== dialled?.socket) socket.destroy()
    }
    this.#left = targets.filter((target) => target !== dialled?.target && !failed.has(target))
    return dialled
  }

  #open({ address, port, transport }: S2sTarget): Socket {
    if (transport === 'starttls') return connectTcp({ host: address, port })
    const { domain, secureContext, alpn = 'xmpp-server' } = this.#options
    return connectTls({
      host: address, port, servername: serverNameOf(domain), ALPNProtocols: [alpn],
      // Judged by our own policy, which can say why (certificate-path.ts).
      rejectUnauthorized: false, minVersion: 'TLSv1.2',
      ...secureContext === undefined ? {} : { secureContext },
    })
  }

  async #connected(socket: Socket, { transport }: S2sTarget): Promise<void> {
    socket.on('error', () => {})
    const timer = this.#clock.after(xmppLimits.s2sConnectMs, () => {
      socket.destroy(new Error('it does not answer'))
    })
    try {
      const isUp = once(socket, transport === 'direct' ? 'secureConnect' : 'connect')
      const isOver = once(socket, 'close').then(() => { throw new Error('it hung up') })
      isOver.catch(() => {})
      await Promise.race([isUp, isOver])
      socket.pause()
    } finally {
      timer.cancel()
    }
  }
}

/**
 * Links that break the way radio does: at some byte everything in flight in both directions is
 * lost without a word, and a moment later the link is gone. Wraps the dialer of any transport.
 */
import { limits } from '../../protocol/limits.ts'
import type { Clock, MessageLink, MessageLinkListener } from '../../protocol/ports.ts'
import type { Dialer } from '../../protocol/session/types.ts'

/** From the first loss to the end of the link. */
const silenceMs = 20

export interface ShakyOptions {
  readonly clock: Clock
  /** For each link: how many bytes pass, both directions together, before all is lost. */
  readonly bytesUntilLoss: () => number
  /** False: it stays silent for ever, as behind a router that forgot the connection. */
  readonly closes?: boolean
}

export function shakyDialer(dialer: Dialer, options: ShakyOptions): Dialer & { readonly cuts: number } {
  let cuts = 0
  return {
    get cuts() { return cuts },
    async dial(signal) {
      return new ShakyLink(await dialer.dial(signal), options, () => cuts++)
    },
  }
}

class ShakyLink implements MessageLink {
  readonly transport: string
  readonly #inner: MessageLink
  readonly #options: ShakyOptions
  readonly #onCut: () => void
  #bytesLeft: number
  #lost = false
  #closeCode: string | undefined

  constructor(inner: MessageLink, options: ShakyOptions, onCut: () => void) {
    this.transport = inner.transport
    this.#inner = inner
    this.#options = options
    this.#onCut = onCut
    this.#bytesLeft = options.bytesUntilLoss()
  }

  get bufferedBytes(): number {
    return this.#lost ? 0 : this.#inner.bufferedBytes
  }

  send(message: Uint8Array): void {
    if (this.#passes(message)) this.#inner.send(message)
  }

  pause(): void {
    this.#inner.pause()
  }

  resume(): void {
    this.#inner.resume()
  }

  close(code: string): void {
    this.#closeCode ??= code
    this.#inner.close(code)
  }

  listen(listener: MessageLinkListener): void {
    this.#inner.listen({
      message: (message) => { if (this.#passes(message)) listener.message(message) },
      drain: () => listener.drain(),
      closed: (code) => listener.closed(this.#closeCode ?? code),
    })
  }

  #passes(message: Uint8Array): boolean {
    if (this.#lost) return false
    this.#bytesLeft -= message.length
    if (this.#bytesLeft >= 0) return true
    this.#lost = true
    this.#onCut()
    if (this.#options.closes !== false) {
      this.#options.clock.after(silenceMs, () => {
        this.#closeCode ??= 'LINK_LOST'
        this.#inner.close('LINK_LOST')
      })
    }
    return false
  }
}

/** As a `closes: false` link: the keep-alive has to find out. */
export const keepAliveDeadMs = limits.keepAliveMs * 2 + limits.pongMs

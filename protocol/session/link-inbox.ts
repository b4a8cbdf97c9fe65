/**
 * The receiving end of a `MessageLink`: hands messages to the listener in order, holds them while
 * there is none yet or it paused, and brings `closed` last and once. Links of every transport use
 * it, so that all keep the same order of events.
 */
import { assert } from '../../crypto/errors.ts'
import type { MessageLinkListener } from '../ports.ts'
import { Fifo } from '../fifo.ts'

export class LinkInbox {
  readonly #held = new Fifo<Uint8Array>()
  #listener: MessageLinkListener | undefined
  #paused = false
  #delivering = false
  #discarding = false
  #closeCode: string | undefined
  #finished = false

  /** Messages go straight through: nobody needs to hold the transport back. */
  get flowing(): boolean {
    return this.#listener !== undefined && !this.#paused
  }

  listen(listener: MessageLinkListener): void {
    assert(this.#listener === undefined, 'a link has one listener')
    this.#listener = listener
    this.#deliver()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  push(message: Uint8Array): void {
    if (this.#discarding || this.#closeCode !== undefined) return
    if (this.#listener !== undefined && !this.#paused && !this.#delivering && this.#held.length === 0) {
      this.#delivering = true
      this.#listener.message(message)
      this.#delivering = false
      // While it was handed over more may have come, or the end.
      if (this.#held.length === 0 && this.#closeCode === undefined) return
    } else {
      this.#held.push(message)
    }
    this.#deliver()
  }

  drain(): void {
    if (!this.#discarding && !this.#finished) this.#listener?.drain()
  }

  /** After the messages before it: an orderly end loses nothing. */
  close(code: string): void {
    this.#closeCode ??= code
    this.#deliver()
  }

  /** The own side closed: no message reaches the listener any more, only `closed`. */
  discard(): void {
    this.#held.clear()
    this.#discarding = true
  }

  /** `closed` now, whatever is held: the own side closed, or the bytes cannot be trusted. */
  abort(code: string): void {
    this.discard()
    this.close(code)
  }

  #deliver(): void {
    if (this.#delivering || this.#listener === undefined) return
    this.#delivering = true
    while (!this.#paused && this.#held.length > 0) {
      this.#listener.message(this.#held.shift()!)
    }
    this.#delivering = false
    if (this.#closeCode !== undefined && !this.#finished && this.#held.length === 0) {
      this.#finished = true
      this.#listener.closed(this.#closeCode)
    }
  }
}

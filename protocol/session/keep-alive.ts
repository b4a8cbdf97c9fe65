/**
 * Finds dead links: a silent peer is asked after `limits.keepAliveMs` and given up when it stays
 * silent for `limits.pongMs` more. Anything heard counts, so a busy link sends no pings, and
 * hearing costs one flag instead of a look at the clock.
 */
import { limits } from '../limits.ts'
import type { Clock, Timer } from '../ports.ts'

export class KeepAlive {
  readonly #clock: Clock
  readonly #actions: { ping(): void, dead(): void }
  #timer: Timer | undefined
  #heard = false

  constructor(clock: Clock, actions: { ping(): void, dead(): void }) {
    this.#clock = clock
    this.#actions = actions
  }

  start(): void {
    this.#listenQuietly()
  }

  heard(): void {
    this.#heard = true
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #listenQuietly(): void {
    this.#wait(limits.keepAliveMs, () => {
      this.#actions.ping()
      this.#wait(limits.pongMs, () => this.#actions.dead())
    })
  }

  #wait(delayMs: number, silent: () => void): void {
    this.#heard = false
    this.#timer = this.#clock.after(delayMs, () => (this.#heard ? this.#listenQuietly() : silent()))
  }
}

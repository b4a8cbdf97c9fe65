/**
 * The one home of the platform's clocks and timers: everything else takes a `Clock`
 * (protocol/ports.ts), so that tests and simulations can move time by hand. Runs in Node and in
 * browsers.
 */
import type { Clock, Timer } from './ports.ts'

/** `setTimeout` fires at once above this (a signed 32-bit count of milliseconds, HTML §8.7). */
const platformDelayMsMax = 2 ** 31 - 1

class SystemTimer implements Timer {
  #handle: ReturnType<typeof setTimeout> | undefined

  constructor(delayMs: number, callback: () => void) {
    this.#arm(delayMs, callback)
  }

  #arm(delayMs: number, callback: () => void): void {
    const partMs = Math.min(delayMs, platformDelayMsMax)
    this.#handle = setTimeout(() => {
      if (delayMs > partMs) this.#arm(delayMs - partMs, callback)
      else callback()
    }, partMs)
    // A browser's handle is a number and keeps nothing alive.
    ;(this.#handle as { unref?: () => void }).unref?.()
  }

  cancel(): void {
    clearTimeout(this.#handle)
  }
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, callback) => new SystemTimer(delayMs, callback),
}

/**
 * Which counters came already: a bitmap of the last `limits.udpReplayPackets`, as RFC 6479 keeps
 * it. What is older than the window counts as come. `isNew` before the decryption, `mark` after
 * it, so that forged packets change nothing.
 */
import { limits } from '../../limits.ts'

const size = limits.udpReplayPackets
const wordBits = 32

export class ReplayWindow {
  readonly #words = new Uint32Array(size / wordBits)
  #highest = -1

  /** −1 before the first. */
  get highest(): number {
    return this.#highest
  }

  isNew(counter: number): boolean {
    if (counter > this.#highest) return true
    return counter > this.#highest - size && (this.#words[slot(counter)]! & bit(counter)) === 0
  }

  mark(counter: number): void {
    const steps = Math.min(counter - this.#highest, size)
    if (steps > 0) {
      // The places of counters that fall out of the window become those of the new ones.
      for (let next = counter - steps + 1; next <= counter; next++) this.#words[slot(next)]! &= ~bit(next)
      this.#highest = counter
    }
    this.#words[slot(counter)]! |= bit(counter)
  }
}

function slot(counter: number): number {
  return Math.floor((counter % size) / wordBits)
}

function bit(counter: number): number {
  return 1 << (counter % wordBits)
}

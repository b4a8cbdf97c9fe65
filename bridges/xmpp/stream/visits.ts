/**
 * Who may come in before anybody is logged in: bounded in number, per address and in all, and in time.
 * Nothing that a stranger sends makes the time longer.
 */
import { addressGroup, AddressTally } from '../../../node/connectors/address-tally.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'

export interface Visit {
  /** Somebody is logged in, or the domain is proven: the deadline is off, and it does not count any more. */
  proven(): void
  /** Idempotent. */
  leave(): void
}

export class Visits {
  readonly #clock: Clock
  readonly #tally: AddressTally

  constructor(clock: Clock, { totalMax, perAddressMax }: { totalMax: number, perAddressMax: number }) {
    this.#clock = clock
    this.#tally = new AddressTally(totalMax, perAddressMax)
  }

  /** `undefined`: too many. `late` is called at the deadline. */
  enter(address: string, late: () => void): Visit | undefined {
    const group = addressGroup(address)
    if (!this.#tally.enter(group)) return undefined
    let isHere = true
    const timer = this.#clock.after(xmppLimits.loginMs, late)
    const leave = (): void => {
      if (!isHere) return
      isHere = false
      timer.cancel()
      this.#tally.leave(group)
    }
    return { proven: leave, leave }
  }
}

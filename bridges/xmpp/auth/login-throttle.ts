/**
 * How often somebody may guess. By address first: it must wait twice as long after each failure, and
 * meanwhile is refused before anything is computed. By account second: its answers come a little
 * later, to all but the addresses it logged in from before, so guessing from many addresses is slow,
 * and no stranger locks the owner out.
 *
 * Addresses of this machine are those of a reverse proxy, behind which everybody looks alike: for them
 * the account alone counts.
 *
 * Held in memory: a restart forgives, and a password of 100 bits does not need more.
 */
import { addressGroup } from '../../../node/connectors/address-tally.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'

interface Failures {
  count: number
  /** Monotonic. */
  lastMs: number
}

export interface Attempt {
  readonly address: string
  /** Local part; also of an account that does not exist. */
  readonly account: string
}

export class LoginThrottle {
  readonly #clock: Clock
  readonly #addresses = new Map<string, Failures>()
  readonly #accounts = new Map<string, Failures>()
  /** Account and address that fit each other before. */
  readonly #familiar = new Map<string, true>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How long this address is not listened to; 0: it is. */
  waitMs(address: string): number {
    const failures = this.#current(this.#addresses, addressGroup(address))
    if (failures === undefined || isOwnMachine(address)) return 0
    const { loginFailuresFree, loginWaitMs, loginWaitMsMax } = xmppLimits
    if (failures.count < loginFailuresFree) return 0
    const doublings = Math.min(failures.count - loginFailuresFree, 20)
    const waitMs = Math.min(loginWaitMs * 2 ** doublings, loginWaitMsMax)
    return Math.max(0, failures.lastMs + waitMs - this.#clock.monotonicMs())
  }

  /** How much later an attempt on this account is looked at. */
  delayMs({ address, account }: Attempt): number {
    if (this.#familiar.has(familiarKey({ address, account }))) return 0
    const failures = this.#current(this.#accounts, account)
    const over = (failures?.count ?? 0) - xmppLimits.loginFailuresFree
    return over < 0 ? 0 : Math.min(250 * 2 ** Math.min(over, 10), xmppLimits.loginDelayMsMax)
  }

  failed({ address, account }: Attempt): void {
    this.#count(this.#addresses, addressGroup(address))
    this.#count(this.#accounts, account)
  }

  succeeded(attempt: Attempt): void {
    // The account's own count stays: its owner logging in does not help who guesses beside.
    this.#addresses.delete(addressGroup(attempt.address))
    if (!isOwnMachine(attempt.address)) remember(this.#familiar, familiarKey(attempt), true)
  }

  #current(table: ReadonlyMap<string, Failures>, key: string): Failures | undefined {
    const failures = table.get(key)
    const isOver = failures !== undefined
      && this.#clock.monotonicMs() - failures.lastMs > xmppLimits.loginForgetMs
    return isOver ? undefined : failures
  }

  #count(table: Map<string, Failures>, key: string): void {
    const count = (this.#current(table, key)?.count ?? 0) + 1
    remember(table, key, { count, lastMs: this.#clock.monotonicMs() })
  }
}

function isOwnMachine(address: string): boolean {
  return /^(?:::1|(?:::ffff:)?127\.\d+\.\d+\.\d+)$/.test(address)
}

function familiarKey({ address, account }: Attempt): string {
  return `${account} ${addressGroup(address)}`
}

/** As the newest; the oldest goes when there are too many. */
function remember<V>(table: Map<string, V>, key: string, value: V): void {
  table.delete(key)
  table.set(key, value)
  if (table.size <= xmppLimits.loginRemembered) return
  table.delete(table.keys().next().value!)
}

/**
 * How often the other side may begin a session anew while we have one. Each costs a handshake and
 * prekeys, so a contact who begins thousands of them must not keep us busy; beyond
 * `sessionResetsPerHour` of one device they are refused with SESSION_RESETS, before any work. An
 * honest device loses nothing by it: what it wrote is asked for again.
 */
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Clock } from '../ports.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { ContactId } from './records.ts'

const rate = { perSecond: limits.sessionResetsPerHour / 3_600, burst: limits.sessionResetsPerHour }

export class SessionResets {
  readonly #clock: Clock
  readonly #buckets = new Map<string, TokenBucket>()
  #refused = 0

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock
  }

  /** Handshakes refused since the start. */
  get refused(): number {
    return this.#refused
  }

  /** Whether this device of the contact may begin anew now; counts it. */
  allow(contact: ContactId, device: DeviceId): boolean {
    const key = `${contact}/${device}`
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#clock, rate)
    if (this.#buckets.size >= limits.cachedThreadsMax) this.#buckets.clear()
    this.#buckets.set(key, bucket)
    const isAllowed = bucket.take(1)
    if (!isAllowed) this.#refused++
    return isAllowed
  }
}

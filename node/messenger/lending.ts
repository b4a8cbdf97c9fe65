/**
 * How much of other people's mail this node takes: one budget of bytes, friends first.
 *
 * A friend is the home of somebody our own people write to. Strangers together get a share of the
 * budget, and every single owner is capped, so that nobody can fill a living-room node. What each
 * owner used is added up in byte-hours: the ledger that reciprocity will be based on.
 */
import { limits } from '../../protocol/limits.ts'
import type { NodeId } from '../../protocol/ids.ts'

export type LendingDecision =
  | { readonly allow: true }
  | { readonly allow: false, readonly reason: 'budget' | 'strangers' | 'owner' }

const hourMs = 3_600_000

export class Lending {
  readonly #bytesMax: number
  readonly #isFriend: (home: NodeId) => boolean
  readonly #bytesByOwner = new Map<NodeId, number>()
  readonly #byteHours = new Map<NodeId, number>()
  #bytes = 0
  #strangerBytes = 0
  #countedAtMs: number

  constructor(options: { bytesMax: number, nowMs: number, isFriend: (home: NodeId) => boolean }) {
    this.#bytesMax = options.bytesMax
    this.#isFriend = options.isFriend
    this.#countedAtMs = options.nowMs
  }

  get bytes(): number {
    return this.#bytes
  }

  get bytesMax(): number {
    return this.#bytesMax
  }

  /** Whether `more` bytes may be kept for this owner's home now. */
  decide(home: NodeId, more: number): LendingDecision {
    if (this.#bytes + more > this.#bytesMax) return { allow: false, reason: 'budget' }
    if ((this.#bytesByOwner.get(home) ?? 0) + more > limits.lentPerOwnerBytesMax) {
      return { allow: false, reason: 'owner' }
    }
    const strangersMax = this.#bytesMax * limits.lentToStrangersShare
    if (!this.#isFriend(home) && this.#strangerBytes + more > strangersMax) {
      return { allow: false, reason: 'strangers' }
    }
    return { allow: true }
  }

  /** Counts bytes that came (positive) or went (negative). */
  count(home: NodeId, bytes: number): void {
    const owned = Math.max(0, (this.#bytesByOwner.get(home) ?? 0) + bytes)
    if (owned > 0) this.#bytesByOwner.set(home, owned)
    else this.#bytesByOwner.delete(home)
    this.#bytes = Math.max(0, this.#bytes + bytes)
    if (!this.#isFriend(home)) this.#strangerBytes = Math.max(0, this.#strangerBytes + bytes)
  }

  /** Starts over from what the store really holds; also adds the time since to the ledger. */
  recount(nowMs: number, held: Iterable<{ readonly home: NodeId, readonly bytes: number }>): void {
    const hours = Math.max(0, nowMs - this.#countedAtMs) / hourMs
    for (const [home, bytes] of this.#bytesByOwner) {
      this.#byteHours.set(home, (this.#byteHours.get(home) ?? 0) + bytes * hours)
    }
    this.#countedAtMs = nowMs
    this.#bytesByOwner.clear()
    this.#bytes = 0
    this.#strangerBytes = 0
    for (const { home, bytes } of held) this.count(home, bytes)
  }

  /** Byte-hours lent to each owner's home since start. */
  ledger(): ReadonlyMap<NodeId, number> {
    return this.#byteHours
  }
}

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

/** Bytes by whose they are. */
class Tally {
  readonly #byOwner = new Map<NodeId, number>()
  #total = 0
  #strangers = 0

  get total(): number {
    return this.#total
  }

  get strangers(): number {
    return this.#strangers
  }

  get owners(): ReadonlyMap<NodeId, number> {
    return this.#byOwner
  }

  of(owner: NodeId): number {
    return this.#byOwner.get(owner) ?? 0
  }

  add(owner: NodeId, bytes: number, isFriend: boolean): void {
    const owned = Math.max(0, this.of(owner) + bytes)
    if (owned > 0) this.#byOwner.set(owner, owned)
    else this.#byOwner.delete(owner)
    this.#total = Math.max(0, this.#total + bytes)
    if (!isFriend) this.#strangers = Math.max(0, this.#strangers + bytes)
  }

  clear(): void {
    this.#byOwner.clear()
    this.#total = 0
    this.#strangers = 0
  }
}

export class Lending {
  readonly #bytesMax: number
  readonly #isFriend: (home: NodeId) => boolean
  readonly #held = new Tally()
  /** On its way to the disk: counts against the budget, or many deposits at once would exceed it. */
  readonly #promised = new Tally()
  readonly #byteHours = new Map<NodeId, number>()
  #countedAtMs: number

  constructor(options: { bytesMax: number, nowMs: number, isFriend: (home: NodeId) => boolean }) {
    this.#bytesMax = options.bytesMax
    this.#isFriend = options.isFriend
    this.#countedAtMs = options.nowMs
  }

  get bytes(): number {
    return this.#held.total
  }

  get bytesMax(): number {
    return this.#bytesMax
  }

  /** When `recount` was called last. */
  get countedAtMs(): number {
    return this.#countedAtMs
  }

  /** Whether `more` bytes may be kept for this owner's home now. */
  decide(home: NodeId, more: number): LendingDecision {
    const held = this.#held
    const promised = this.#promised
    if (held.total + promised.total + more > this.#bytesMax) return { allow: false, reason: 'budget' }
    if (held.of(home) + promised.of(home) + more > limits.lentPerOwnerBytesMax) {
      return { allow: false, reason: 'owner' }
    }
    const strangersMax = this.#bytesMax * limits.lentToStrangersShare
    if (!this.#isFriend(home) && held.strangers + promised.strangers + more > strangersMax) {
      return { allow: false, reason: 'strangers' }
    }
    return { allow: true }
  }

  /** Sets bytes aside until the returned function is called, when it is known what came of them. */
  promise(home: NodeId, bytes: number): () => void {
    const isFriend = this.#isFriend(home)
    this.#promised.add(home, bytes, isFriend)
    return () => this.#promised.add(home, -bytes, isFriend)
  }

  /** Counts bytes that came (positive) or went (negative). */
  count(home: NodeId, bytes: number): void {
    this.#held.add(home, bytes, this.#isFriend(home))
  }

  /** Starts over from what the store really holds; also adds the time since to the ledger. */
  recount(nowMs: number, held: Iterable<{ readonly home: NodeId, readonly bytes: number }>): void {
    const hours = Math.max(0, nowMs - this.#countedAtMs) / hourMs
    for (const [home, bytes] of this.#held.owners) {
      this.#byteHours.set(home, (this.#byteHours.get(home) ?? 0) + bytes * hours)
    }
    this.#countedAtMs = nowMs
    this.#held.clear()
    for (const { home, bytes } of held) this.count(home, bytes)
  }

  /** Byte-hours lent to each owner's home since start. */
  ledger(): ReadonlyMap<NodeId, number> {
    return this.#byteHours
  }
}

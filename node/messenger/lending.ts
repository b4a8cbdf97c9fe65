/**
 * How much of other people's mail and files this node takes: one budget of bytes, friends first.
 *
 * A friend is the home of somebody our own people write to. Strangers together get a share of the
 * budget, and every single owner is capped, so that nobody can fill a living-room node. Files get
 * a share, too, and a cap of their own, so that they never take the room of messages. What each
 * owner used is added up in byte-hours: the ledger that reciprocity will be based on.
 */
import { limits } from '../../protocol/limits.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { boxKinds } from '../../protocol/service/lease.ts'
import type { BoxKind } from '../../protocol/service/lease.ts'

export type LendingDecision =
  | { readonly allow: true }
  | { readonly allow: false, readonly reason: 'budget' | 'strangers' | 'owner' | 'files' }

/** Bytes of one owner: of one kind. */
export interface Lent {
  readonly home: NodeId
  readonly kind: BoxKind
  readonly bytes: number
}

const ownerBytesMax: Readonly<Record<BoxKind, number>> = {
  [boxKinds.mail]: limits.lentPerOwnerBytesMax,
  [boxKinds.file]: limits.lentFilesPerOwnerBytesMax,
}

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

}

/** Both kinds. */
class Tallies {
  readonly #byKind: Readonly<Record<BoxKind, Tally>> = {
    [boxKinds.mail]: new Tally(), [boxKinds.file]: new Tally(),
  }

  kind(kind: BoxKind): Tally {
    return this.#byKind[kind]
  }

  get total(): number {
    return this.kind(boxKinds.mail).total + this.kind(boxKinds.file).total
  }

  get strangers(): number {
    return this.kind(boxKinds.mail).strangers + this.kind(boxKinds.file).strangers
  }
}

export class Lending {
  readonly #bytesMax: number
  readonly #isFriend: (home: NodeId) => boolean
  #held = new Tallies()
  /** On its way to the disk: counts against the budget, or many deposits at once would exceed it. */
  readonly #promised = new Tallies()
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

  /** Whether so many more bytes may be kept for this owner's home now. */
  decide({ home, kind, bytes: more }: Lent): LendingDecision {
    const sum = (of: (tallies: Tallies) => number): number => of(this.#held) + of(this.#promised) + more
    const isStranger = !this.#isFriend(home)
    const strangersMax = this.#bytesMax * limits.lentToStrangersShare
    if (sum(({ total }) => total) > this.#bytesMax) return { allow: false, reason: 'budget' }
    if (sum((tallies) => tallies.kind(kind).of(home)) > ownerBytesMax[kind]) {
      return { allow: false, reason: 'owner' }
    }
    if (isStranger && sum(({ strangers }) => strangers) > strangersMax) {
      return { allow: false, reason: 'strangers' }
    }
    if (kind === boxKinds.mail) return { allow: true }
    const share = limits.lentToFilesShare
    const isOver = sum((tallies) => tallies.kind(kind).total) > this.#bytesMax * share ||
      (isStranger && sum((tallies) => tallies.kind(kind).strangers) > strangersMax * share)
    return isOver ? { allow: false, reason: 'files' } : { allow: true }
  }

  /** Sets bytes aside until the returned function is called, when it is known what came of them. */
  promise({ home, kind, bytes }: Lent): () => void {
    const isFriend = this.#isFriend(home)
    this.#promised.kind(kind).add(home, bytes, isFriend)
    return () => this.#promised.kind(kind).add(home, -bytes, isFriend)
  }

  /** Counts bytes that came (positive) or went (negative). */
  count({ home, kind, bytes }: Lent): void {
    this.#held.kind(kind).add(home, bytes, this.#isFriend(home))
  }

  /** Starts over from what the store really holds; also adds the time since to the ledger. */
  recount(nowMs: number, held: Iterable<Lent>): void {
    const hours = Math.max(0, nowMs - this.#countedAtMs) / hourMs
    for (const kind of Object.values(boxKinds)) {
      for (const [home, bytes] of this.#held.kind(kind).owners) {
        this.#byteHours.set(home, (this.#byteHours.get(home) ?? 0) + bytes * hours)
      }
    }
    this.#countedAtMs = nowMs
    this.#held = new Tallies()
    for (const lent of held) this.count(lent)
  }

  /** Byte-hours lent to each owner's home since start. */
  ledger(): ReadonlyMap<NodeId, number> {
    return this.#byteHours
  }
}

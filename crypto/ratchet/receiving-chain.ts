/**
 * One receiving chain: the messages that the other device sent between two of its ratchet steps.
 * It gives the seed of any message that has not been read yet, and keeps the seeds of those that
 * were passed over, within the limits.
 *
 * Nothing changes while a message is only being tried: `plan` and `planEnd` compute, `commit` and
 * `end` apply, `discard` forgets.
 */
import { concat, wipe } from '../bytes.ts'
import { assert } from '../errors.ts'
import { u32Bytes, u8Bytes } from '../fields.ts'
import type { FieldReader } from '../fields.ts'
import { stepChain } from './key-schedule.ts'
import { ratchetLimits } from './limits.ts'

const keyBytes = 32

type Seed = readonly [number: number, seed: Uint8Array]

/** A way along the chain and what it passed over (the newest ones, within the limit). */
export interface Advance {
  readonly chainKey: Uint8Array
  readonly next: number
  readonly skipped: readonly Seed[]
}

/** The seed of one message and what reading it changes. */
export interface ReadPlan {
  readonly number: number
  readonly seed: Uint8Array
  /** Absent: the seed was kept from earlier. */
  readonly advance?: Advance
}

export class ReceivingChain {
  readonly headerKey: Uint8Array
  /** `undefined` once the chain has ended. */
  #chainKey: Uint8Array | undefined
  #next: number
  /** By message number, in rising order. */
  readonly #skipped: Map<number, Uint8Array>

  /** Owns the keys from now on. */
  constructor(state: {
    headerKey: Uint8Array
    chainKey: Uint8Array | undefined
    next?: number
    skipped?: Map<number, Uint8Array>
  }) {
    this.headerKey = state.headerKey
    this.#chainKey = state.chainKey
    this.#next = state.next ?? 0
    this.#skipped = state.skipped ?? new Map()
  }

  get skippedCount(): number {
    return this.#skipped.size
  }

  /**
   * `used`: read before, or kept no longer. `tooFar`: more than chainJumpMax messages ahead.
   * `beyond`: after the end that the other device itself gave this chain.
   */
  plan(number: number): ReadPlan | 'used' | 'tooFar' | 'beyond' {
    if (number < this.#next) {
      const seed = this.#skipped.get(number)
      return seed === undefined ? 'used' : { number, seed }
    }
    if (this.#chainKey === undefined) return 'beyond'
    const passed = this.#pass(this.#chainKey, number)
    if (passed === 'tooFar') return passed
    const { seed, chainKey } = stepChain(passed.chainKey)
    wipe(passed.chainKey)
    return { number, seed, advance: { chainKey, next: number + 1, skipped: passed.skipped } }
  }

  /** The message was opened; its seed is wiped. */
  commit({ number, seed, advance }: ReadPlan): void {
    if (advance === undefined) this.#skipped.delete(number)
    else this.#apply(advance)
    wipe(seed)
  }

  /** The message was not opened. */
  discard({ seed, advance }: ReadPlan): void {
    if (advance === undefined) return
    wipe(seed)
    wipeAdvance(advance)
  }

  /** The way to the end of the chain, when the other device says it sent `count` messages in it. */
  planEnd(count: number): Advance | 'tooFar' {
    assert(this.#chainKey !== undefined, 'a chain ends once')
    return this.#pass(this.#chainKey, Math.max(count, this.#next))
  }

  /** Keeps only what late messages need. */
  end(advance: Advance): void {
    this.#apply(advance)
    wipe(advance.chainKey)
    this.#chainKey = undefined
  }

  /** Forgets the `count` oldest messages that have not arrived. */
  dropOldest(count: number): void {
    let left = count
    for (const [number, seed] of this.#skipped) {
      if (left-- <= 0) return
      wipe(seed)
      this.#skipped.delete(number)
    }
  }

  clone(): ReceivingChain {
    return new ReceivingChain({
      headerKey: this.headerKey.slice(),
      chainKey: this.#chainKey?.slice(),
      next: this.#next,
      skipped: new Map(Array.from(this.#skipped, ([number, seed]) => [number, seed.slice()])),
    })
  }

  wipe(): void {
    wipe(this.headerKey, ...this.#skipped.values())
    if (this.#chainKey !== undefined) wipe(this.#chainKey)
    this.#skipped.clear()
  }

  /**
   * headerKey[32] ‖ bool ended ‖ chainKey[32] unless ended ‖ u32 next ‖ u32 count, then the seeds:
   * u32 number ‖ seed[32]
   */
  serialize(): Uint8Array {
    const parts = [this.headerKey, u8Bytes(this.#chainKey === undefined ? 1 : 0)]
    if (this.#chainKey !== undefined) parts.push(this.#chainKey)
    parts.push(u32Bytes(this.#next), u32Bytes(this.#skipped.size))
    for (const [number, seed] of this.#skipped) parts.push(u32Bytes(number), seed)
    return concat(...parts)
  }

  /** Reads no further than its limits allow; what is missing shows in the reader's `complete`. */
  static read(reader: FieldReader): ReceivingChain {
    const headerKey = reader.bytes(keyBytes)
    const chainKey = reader.bool() ? undefined : reader.bytes(keyBytes)
    const next = reader.u32()
    const count = reader.count(ratchetLimits.skippedKeysPerChainMax)
    const skipped = new Map<number, Uint8Array>()
    for (let i = 0; i < count; i++) skipped.set(reader.u32(), reader.bytes(keyBytes))
    return new ReceivingChain({ headerKey, chainKey, next, skipped })
  }

  /** Walks from the next message up to, not including, `number`. The result is its own copy. */
  #pass(from: Uint8Array, number: number): Advance | 'tooFar' {
    if (number - this.#next > ratchetLimits.chainJumpMax) return 'tooFar'
    const keepFrom = number - ratchetLimits.skippedKeysPerChainMax
    const skipped: Seed[] = []
    let chainKey: Uint8Array = from.slice()
    for (let at = this.#next; at < number; at++) {
      const step = stepChain(chainKey)
      wipe(chainKey)
      chainKey = step.chainKey
      if (at >= keepFrom) skipped.push([at, step.seed])
      else wipe(step.seed)
    }
    return { chainKey, next: number, skipped }
  }

  #apply(advance: Advance): void {
    if (this.#chainKey !== undefined) wipe(this.#chainKey)
    this.#chainKey = advance.chainKey
    this.#next = advance.next
    for (const [number, seed] of advance.skipped) this.#skipped.set(number, seed)
    this.dropOldest(this.#skipped.size - ratchetLimits.skippedKeysPerChainMax)
  }
}

export function wipeAdvance(advance: Advance): void {
  wipe(advance.chainKey, ...advance.skipped.map(([, seed]) => seed))
}

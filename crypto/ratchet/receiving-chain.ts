/**
 * One receiving chain: the messages that the other device sent between two of its ratchet steps.
 * It gives the key of any message that has not been read yet, and keeps the keys of those that
 * were passed over, within the limits.
 *
 * Nothing changes while a message is only being tried: `plan` and `planEnd` compute, `commit` and
 * `end` apply, `discard` forgets.
 */
import { wipe } from '../bytes.ts'
import { assert } from '../errors.ts'
import { writeU32 } from '../fields.ts'
import type { FieldReader, FieldWriter } from '../fields.ts'
import type { ChainMode } from './kem-step.ts'
import { nextMessageKey, nextChainKey } from './key-schedule.ts'
import { ratchetLimits } from './limits.ts'

const keyBytes = 32
const keptBytes = 4 + keyBytes
const modeMax = 2

type KeptKey = readonly [number: number, key: Uint8Array]

/** A way along the chain and what it passed over (the newest ones, within the limit). */
export interface Advance {
  readonly chainKey: Uint8Array
  readonly next: number
  readonly skipped: readonly KeptKey[]
}

/** The key of one message and what reading it changes. */
export interface ReadPlan {
  readonly number: number
  readonly key: Uint8Array
  /** Absent: the key was kept from earlier. */
  readonly advance?: Advance
}

export class ReceivingChain {
  readonly headerKey: Uint8Array
  /** Of every header in it; says how long they are. */
  readonly mode: ChainMode
  /** `undefined` once the chain has ended. */
  #chainKey: Uint8Array | undefined
  #next: number
  /** By message number, in rising order. */
  readonly #skipped: Map<number, Uint8Array>
  /** Stored form of `#skipped`, while that stays as it is: it may be 72 kB, and is stored often. */
  #storedSkipped: Uint8Array | undefined

  /** Owns the keys from now on. */
  constructor(state: {
    headerKey: Uint8Array
    mode: ChainMode
    chainKey: Uint8Array | undefined
    next?: number
    skipped?: Map<number, Uint8Array>
  }) {
    this.headerKey = state.headerKey
    this.mode = state.mode
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
      const key = this.#skipped.get(number)
      return key === undefined ? 'used' : { number, key }
    }
    if (this.#chainKey === undefined) return 'beyond'
    const passed = this.#pass(this.#chainKey, number)
    if (passed === 'tooFar') return passed
    const key = nextMessageKey(passed.chainKey)
    const chainKey = nextChainKey(passed.chainKey)
    wipe(passed.chainKey)
    return { number, key, advance: { chainKey, next: number + 1, skipped: passed.skipped } }
  }

  /** The message was opened; its key is wiped. */
  commit({ number, key, advance }: ReadPlan): void {
    if (advance === undefined) this.#forget(number)
    else this.#apply(advance)
    wipe(key)
  }

  /** The message was not opened. */
  discard({ key, advance }: ReadPlan): void {
    if (advance === undefined) return
    wipe(key)
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
    for (const [number, key] of this.#skipped) {
      if (left-- <= 0) return
      wipe(key)
      this.#forget(number)
    }
  }

  clone(): ReceivingChain {
    return new ReceivingChain({
      headerKey: this.headerKey.slice(),
      mode: this.mode,
      chainKey: this.#chainKey?.slice(),
      next: this.#next,
      skipped: new Map(Array.from(this.#skipped, ([number, key]) => [number, key.slice()])),
    })
  }

  wipe(): void {
    this.#dropStored()
    wipe(this.headerKey, ...this.#skipped.values())
    if (this.#chainKey !== undefined) wipe(this.#chainKey)
    this.#skipped.clear()
  }

  /**
   * headerKey[32] ‖ u8 mode ‖ bool ended ‖ chainKey[32] unless ended ‖ u32 next ‖ u32 count, then
   * the kept keys: u32 number ‖ key[32]
   */
  write(writer: FieldWriter): void {
    writer.bytes(this.headerKey)
    writer.u8(this.mode)
    writer.bool(this.#chainKey === undefined)
    if (this.#chainKey !== undefined) writer.bytes(this.#chainKey)
    writer.u32(this.#next)
    this.#storedSkipped ??= storeSkipped(this.#skipped)
    writer.bytes(this.#storedSkipped)
  }

  /** Reads no further than its limits allow; what is missing shows in the reader's `complete`. */
  static read(reader: FieldReader): ReceivingChain {
    const headerKey = reader.bytes(keyBytes)
    const mode = reader.u8Max(modeMax) as ChainMode
    const chainKey = reader.bool() ? undefined : reader.bytes(keyBytes)
    const next = reader.u32()
    const count = reader.count(ratchetLimits.skippedKeysPerChainMax)
    const skipped = new Map<number, Uint8Array>()
    for (let i = 0; i < count; i++) skipped.set(reader.u32(), reader.bytes(keyBytes))
    return new ReceivingChain({ headerKey, mode, chainKey, next, skipped })
  }

  /** Walks from the next message up to, not including, `number`. The result is its own copy. */
  #pass(from: Uint8Array, number: number): Advance | 'tooFar' {
    if (number - this.#next > ratchetLimits.chainJumpMax) return 'tooFar'
    const keepFrom = number - ratchetLimits.skippedKeysPerChainMax
    const skipped: KeptKey[] = []
    let chainKey: Uint8Array = from.slice()
    for (let at = this.#next; at < number; at++) {
      // Most of a long way is only walked: no message key is made that would not be kept.
      if (at >= keepFrom) skipped.push([at, nextMessageKey(chainKey)])
      const next = nextChainKey(chainKey)
      wipe(chainKey)
      chainKey = next
    }
    return { chainKey, next: number, skipped }
  }

  #apply(advance: Advance): void {
    if (this.#chainKey !== undefined) wipe(this.#chainKey)
    this.#chainKey = advance.chainKey
    this.#next = advance.next
    if (advance.skipped.length === 0) return
    this.#dropStored()
    for (const [number, key] of advance.skipped) this.#skipped.set(number, key)
    this.dropOldest(this.#skipped.size - ratchetLimits.skippedKeysPerChainMax)
  }

  #forget(number: number): void {
    this.#dropStored()
    this.#skipped.delete(number)
  }

  #dropStored(): void {
    if (this.#storedSkipped !== undefined) wipe(this.#storedSkipped)
    this.#storedSkipped = undefined
  }
}

function storeSkipped(skipped: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const out = new Uint8Array(4 + skipped.size * keptBytes)
  writeU32(out, 0, skipped.size)
  let at = 4
  for (const [number, key] of skipped) {
    writeU32(out, at, number)
    out.set(key, at + 4)
    at += keptBytes
  }
  return out
}

export function wipeAdvance(advance: Advance): void {
  wipe(advance.chainKey, ...advance.skipped.map(([, key]) => key))
}

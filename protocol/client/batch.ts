/**
 * One atomic change of the client's store and what follows from it: effects (events, frames,
 * what is kept in memory) run only when the change is durable, and never when it failed.
 *
 * `late` operations are built in the same breath as the store is called. The store keeps the call
 * order of its writes, so numbers that are given out there (history cursors) become visible in
 * their own order: a reader that saw 8 will never see a 7 appear behind its back.
 */
import { assert } from '../../crypto/errors.ts'
import { encode } from '../codec/struct.ts'
import type { Codec } from '../codec/struct.ts'
import type { KvOperation, KvStore } from '../ports.ts'

const nothing = new Uint8Array(0)

export class Batch {
  readonly #operations: KvOperation[] = []
  readonly #late: (() => void)[] = []
  readonly #effects: (() => void)[] = []
  readonly #regrets: (() => void)[] = []

  get isEmpty(): boolean {
    return this.#operations.length === 0 && this.#late.length === 0 && this.#effects.length === 0
  }

  put<T>(key: string, codec: Codec<T>, value: T): void {
    this.#operations.push({ type: 'put', key, value: encode(codec, value) })
  }

  putBytes(key: string, value: Uint8Array): void {
    this.#operations.push({ type: 'put', key, value })
  }

  /** A record whose name says it all. */
  mark(key: string): void {
    this.#operations.push({ type: 'put', key, value: nothing })
  }

  delete(key: string): void {
    this.#operations.push({ type: 'delete', key })
  }

  /** `build` may add operations to this batch; it runs right before the write, after earlier ones. */
  late(build: () => void): void {
    this.#late.push(build)
  }

  /** Runs when the batch is durable, after earlier ones. Must not throw. */
  then(effect: () => void): void {
    this.#effects.push(effect)
  }

  /** Runs when the batch is not written after all, before earlier ones. Must not throw. */
  otherwise(regret: () => void): void {
    this.#regrets.push(regret)
  }

  /** @throws STORE_FULL, STORE_CLOSED: nothing was written, no effect ran */
  async commit(kv: KvStore): Promise<void> {
    try {
      for (const build of this.#late) build()
      if (this.#operations.length > 0) {
        assert(await kv.write(this.#operations), 'a batch without checks is never refused')
      }
    } catch (error) {
      this.drop()
      throw error
    }
    for (const effect of this.#effects) effect()
  }

  /** The batch will not be written. */
  drop(): void {
    for (const regret of this.#regrets.reverse()) regret()
    this.#regrets.length = 0
  }
}

/**
 * What goes along with a message on its way: the operations of its sender's side (archive entry,
 * cursor), written in the one batch that keeps it for its receiver, or by themselves where nothing
 * is kept.
 */
import type { KvOperation, KvStore } from '../../protocol/ports.ts'

export class Along {
  /** Settles as the write does that has them. */
  readonly kept: Promise<unknown>
  readonly #settled = Promise.withResolvers<unknown>()
  readonly #kv: KvStore
  readonly #operations: readonly KvOperation[]
  #isWritten = false

  constructor(kv: KvStore, operations: readonly KvOperation[]) {
    this.#kv = kv
    this.#operations = operations
    this.kept = this.#settled.promise
    // Whoever waits for it learns of a failure; nobody has to wait.
    this.kept.catch(() => {})
  }

  /** Some batch has them, or is being written with them. */
  get isWritten(): boolean {
    return this.#isWritten
  }

  /** Writes the batch, and ours with the first one. */
  write(batch: readonly KvOperation[]): Promise<unknown> {
    if (this.#isWritten) return this.#kv.write([...batch])
    this.#isWritten = true
    const written = this.#kv.write([...batch, ...this.#operations])
    this.#settled.resolve(written)
    return written
  }

  /** Ours by themselves, if no batch had them. */
  settle(): Promise<unknown> {
    return this.#isWritten ? this.kept : this.write([])
  }
}

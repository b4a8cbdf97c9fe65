/**
 * One node that envelopes are on their way to: a queue, one batch after the other, and a back-off
 * while it does not answer.
 *
 * The queue holds ids only; bodies are read from the store when their turn comes, so a long queue
 * to a dead node costs little. Order of acceptance is kept per destination, and one
 * batch is under way at a time, so that a slow node is not flooded.
 */
import { jittered } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import type { EnvelopeId, NodeId } from '../../protocol/ids.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import type { PrivacyLevel } from '../../protocol/frame/submit.ts'
import type { DepositReply } from '../../protocol/service/deposit.ts'

const backOffMinMs = 1_000
const backOffMaxMs = 5 * 60_000

export type DepositOutcome =
  | { readonly ok: true, readonly reply: DepositReply, readonly level: PrivacyLevel }
  | { readonly ok: false, readonly code: string }

/** Which of a batch were offered, and which no longer matter; the rest waits for the next batch. */
export interface OfferedBatch {
  readonly offered: readonly EnvelopeId[]
  readonly gone: readonly EnvelopeId[]
  readonly outcome: DepositOutcome
}

export interface DestinationWork {
  /** Reads and deposits as many of `ids` as fit into one call, in order. Never rejects. */
  offer(nodeId: NodeId, ids: readonly EnvelopeId[]): Promise<OfferedBatch>
  /** What became of the offered ones; when the node did not answer they stay queued. */
  settled(nodeId: NodeId, batch: OfferedBatch): void
}

export class Destination {
  readonly nodeId: NodeId
  readonly #clock: Clock
  readonly #random: Random
  readonly #work: DestinationWork
  readonly #batchMax: number
  /** Insertion order is the order of offering. */
  readonly #waiting = new Set<EnvelopeId>()
  #running = false
  #stopped = false
  #backOffMs = 0
  #retry: Timer | undefined

  constructor(
    components: { clock: Clock, random: Random },
    work: DestinationWork,
    options: { nodeId: NodeId, batchMax: number },
  ) {
    this.nodeId = options.nodeId
    this.#clock = components.clock
    this.#random = components.random
    this.#work = work
    this.#batchMax = options.batchMax
  }

  /** Not answering lately: what waits here should go elsewhere as well. */
  get isSilent(): boolean {
    return this.#backOffMs > 0
  }

  get isIdle(): boolean {
    return this.#waiting.size === 0 && !this.#running && this.#retry === undefined
  }

  has(id: EnvelopeId): boolean {
    return this.#waiting.has(id)
  }

  add(id: EnvelopeId): void {
    this.#waiting.add(id)
    this.#kick()
  }

  remove(id: EnvelopeId): void {
    this.#waiting.delete(id)
  }

  /** The node was heard of (a link came up): try now. */
  wake(): void {
    if (this.#retry === undefined) return
    this.#retry.cancel()
    this.#retry = undefined
    this.#kick()
  }

  stop(): void {
    this.#stopped = true
    this.#retry?.cancel()
    this.#retry = undefined
  }

  #kick(): void {
    if (this.#running || this.#stopped || this.#retry !== undefined || this.#waiting.size === 0) return
    this.#running = true
    void this.#run()
  }

  async #run(): Promise<void> {
    // One turn of the loop lets everything that is accepted in the same tick share a batch.
    await Promise.resolve()
    while (this.#waiting.size > 0 && !this.#stopped) {
      const batch = await this.#work.offer(this.nodeId, [...take(this.#waiting, this.#batchMax)])
      if (this.#stopped) break
      for (const id of batch.gone) this.#waiting.delete(id)
      if (!batch.outcome.ok) {
        this.#backOff()
        this.#work.settled(this.nodeId, batch)
        break
      }
      // A batch of which nothing is left to offer says nothing about the node.
      if (batch.offered.length > 0) this.#backOffMs = 0
      for (const id of batch.offered) this.#waiting.delete(id)
      this.#work.settled(this.nodeId, batch)
    }
    this.#running = false
    this.#kick()
  }

  #backOff(): void {
    this.#backOffMs = Math.min(backOffMaxMs, Math.max(backOffMinMs, this.#backOffMs * 2))
    this.#retry = this.#clock.after(jittered(this.#random, this.#backOffMs, 0.2), () => {
      this.#retry = undefined
      this.#kick()
    })
  }
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  let taken = 0
  for (const item of items) {
    if (taken++ >= count) return
    yield item
  }
}

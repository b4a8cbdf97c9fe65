/**
 * Calls of an in-memory node that wait for their answers, with one timer for all of them: at the
 * earliest deadline. (Over libp2p each link keeps its own, link-calls.ts.)
 */
import type { NodeId } from '../../protocol/ids.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import type { CallOptions } from '../ports.ts'
import type { CallResult } from './link-calls.ts'

export interface PendingCall {
  readonly to: NodeId
  readonly deadlineMs: number
  /** The first one counts. */
  readonly settle: (result: CallResult) => void
}

const timedOut: CallResult = { ok: false, code: 'OVERLAY_TIMEOUT' }

export class PendingCalls {
  readonly #clock: Clock
  readonly #calls = new Set<PendingCall>()
  #timer: Timer | undefined
  #dueMs = Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#calls.size
  }

  open(to: NodeId, options: CallOptions): { promise: Promise<CallResult>, settle: PendingCall['settle'] } {
    const { promise, resolve } = Promise.withResolvers<CallResult>()
    const deadlineMs = this.#clock.monotonicMs() + options.timeoutMs
    const giveUp = (): void => call.settle(timedOut)
    const call: PendingCall = {
      to,
      deadlineMs,
      settle: (result) => {
        this.#calls.delete(call)
        options.signal?.removeEventListener('abort', giveUp)
        resolve(result)
      },
    }
    options.signal?.addEventListener('abort', giveUp)
    this.#calls.add(call)
    this.#expireAt(deadlineMs)
    return { promise, settle: call.settle }
  }

  /** Ends the calls to one node. */
  failTo(to: NodeId, result: CallResult): void {
    for (const call of [...this.#calls]) if (call.to === to) call.settle(result)
  }

  /** Ends all of them, and the timer. */
  end(result: CallResult): void {
    this.#timer?.cancel()
    for (const call of [...this.#calls]) call.settle(result)
  }

  #expireAt(deadlineMs: number): void {
    if (deadlineMs >= this.#dueMs) return
    this.#timer?.cancel()
    this.#dueMs = deadlineMs
    this.#timer = this.#clock.after(Math.max(0, deadlineMs - this.#clock.monotonicMs()), () => {
      this.#dueMs = Infinity
      const nowMs = this.#clock.monotonicMs()
      let earliestMs = Infinity
      for (const call of [...this.#calls]) {
        if (call.deadlineMs <= nowMs) call.settle(timedOut)
        else earliestMs = Math.min(earliestMs, call.deadlineMs)
      }
      if (earliestMs < Infinity) this.#expireAt(earliestMs)
    })
  }
}

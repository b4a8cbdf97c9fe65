/**
 * The calls that one link makes: a queue of those not sent yet, a table of those not answered yet,
 * and their deadlines. No timer per call: the link asks `expire` at the earliest deadline, at most
 * every `sweepMs`, so a call may end that much late.
 */
import type { Result } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import type { CallOptions } from '../ports.ts'
import { Fifo } from '../../protocol/fifo.ts'

/** Least time between two sweeps over all calls of a link. */
export const sweepMs = 10
/** Ended calls stay in the queue until they are this many and more than half of it. */
const deadCallsMin = 32

export type CallResult = Result<Uint8Array>

export class Call {
  readonly id: number
  readonly service: ServiceCode
  readonly body: Uint8Array
  readonly deadlineMs: number
  readonly #resolve: (result: CallResult) => void
  #signal: AbortSignal | undefined
  #onAbort: (() => void) | undefined
  /** Body bytes sent; −1 before the first frame. */
  sent = -1
  settled = false

  constructor(input: {
    id: number
    service: ServiceCode
    body: Uint8Array
    deadlineMs: number
    resolve: (result: CallResult) => void
  }) {
    this.id = input.id
    this.service = input.service
    this.body = input.body
    this.deadlineMs = input.deadlineMs
    this.#resolve = input.resolve
  }

  watch(signal: AbortSignal, onAbort: () => void): void {
    this.#signal = signal
    this.#onAbort = onAbort
    signal.addEventListener('abort', onAbort)
  }

  settle(result: CallResult): void {
    if (this.settled) return
    this.settled = true
    if (this.#signal !== undefined) this.#signal.removeEventListener('abort', this.#onAbort!)
    this.#resolve(result)
  }
}

const timedOut: CallResult = { ok: false, code: 'OVERLAY_TIMEOUT' }
const overloaded: CallResult = {
  ok: false,
  code: 'OVERLAY_OVERLOADED',
  detail: `${limits.linkWaitingCallsMax} calls wait for this peer already`,
}

export interface NewCall {
  readonly service: ServiceCode
  readonly body: Uint8Array
  readonly options: CallOptions
  readonly nowMs: number
}

export class CallTable {
  #nextId = 1
  /** Sent and not answered, or queued: everything that can still end. */
  readonly #open = new Map<number, Call>()
  readonly #queue = new Fifo<Call>()
  #unanswered = 0
  /** Calls in the queue that ended before they were sent. */
  #dead = 0
  /** Encoded size of what is queued, roughly; sizes the next write. */
  queuedBytes = 0

  get open(): number {
    return this.#open.size
  }

  add(input: NewCall): Promise<CallResult> {
    const { service, body, options, nowMs } = input
    if (options.signal?.aborted === true) return Promise.resolve(timedOut)
    if (this.#open.size - this.#unanswered >= limits.linkWaitingCallsMax) return Promise.resolve(overloaded)
    return new Promise((resolve) => {
      const deadlineMs = nowMs + options.timeoutMs
      const call = new Call({ id: this.#nextId++, service, body, deadlineMs, resolve })
      if (options.signal !== undefined) call.watch(options.signal, () => this.#end(call, timedOut))
      this.#open.set(call.id, call)
      this.#queue.push(call)
      this.queuedBytes += body.length
    })
  }

  /** The call whose frames go out next; undefined when none may start now. */
  next(): Call | undefined {
    for (;;) {
      const call = this.#queue.peek()
      if (call === undefined) return undefined
      // A body under way is sent to its end: the peer is waiting for the rest of it.
      if (call.sent >= 0) return call
      if (!call.settled) return this.#unanswered < limits.linkCallsMax ? call : undefined
      this.#dead--
      this.#dequeue(call)
    }
  }

  /** `bytes` more of the body of `next()` went out. */
  advance(call: Call, bytes: number): void {
    if (call.sent < 0) {
      call.sent = 0
      if (!call.settled) this.#unanswered++
    }
    call.sent += bytes
    if (call.sent === call.body.length) this.#dequeue(call)
  }

  #dequeue(call: Call): void {
    this.queuedBytes -= call.body.length
    this.#queue.shift()
  }

  /** The call that a reply is for; undefined when it ended meanwhile. */
  get(id: number): Call | undefined {
    const call = this.#open.get(id)
    return call !== undefined && call.sent >= 0 ? call : undefined
  }

  /** Whether an id was ever given to a call. */
  issued(id: number): boolean {
    return id > 0 && id < this.#nextId
  }

  settle(call: Call, result: CallResult): void {
    this.#end(call, result)
  }

  #end(call: Call, result: CallResult): void {
    if (!this.#open.delete(call.id)) return
    call.settle(result)
    if (call.sent >= 0) {
      this.#unanswered--
      return
    }
    this.#dead++
    if (this.#dead >= deadCallsMin && this.#dead * 2 > this.#queue.length) this.#bury()
  }

  /** A peer that reads nothing must not make us keep the bodies of calls that timed out. */
  #bury(): void {
    this.#queue.keep((call) => {
      const keep = !call.settled || call.sent >= 0
      if (!keep) this.queuedBytes -= call.body.length
      return keep
    })
    this.#dead = 0
  }

  /** Ends the calls whose time is over; returns the earliest deadline of the rest, or Infinity. */
  expire(nowMs: number): number {
    let earliestMs = Infinity
    for (const call of this.#open.values()) {
      if (call.deadlineMs <= nowMs) this.#end(call, timedOut)
      else if (call.deadlineMs < earliestMs) earliestMs = call.deadlineMs
    }
    return earliestMs
  }

  /** Ends all of them. */
  fail(result: CallResult): void {
    const calls = [...this.#open.values()]
    this.#open.clear()
    this.#queue.clear()
    this.#unanswered = 0
    this.#dead = 0
    this.queuedBytes = 0
    for (const call of calls) call.settle(result)
  }
}

/**
 * The `Clock` port moved by hand: no test waits for real time, and a simulated month passes in
 * seconds. Timers fire in the order (time, creation), and after each the promises it settled run
 * to their end before the next fires, as under Node's own event loop. So two runs of one seed are
 * the same run.
 *
 * Only promise jobs count as settled: work that really leaves the process (disk, sockets) takes
 * real time, and virtual time does not wait for it.
 *
 * One turn of `setImmediate` drains a promise chain of any depth; it is awaited without a promise
 * of its own, because simulations fire millions of timers.
 */
import type { Clock, Timer } from '../../protocol/ports.ts'

const turn = globalThis.setImmediate

/** 2026-01-01T00:00:00Z: recent enough for expiries, and the same in every run. */
const startWallMs = 1_767_225_600_000

/** Cancelled timers stay in the heap until they are this many and more than half of it. */
const deadTimersMin = 1_024

interface Entry {
  readonly dueMs: number
  readonly order: number
  callback: (() => void) | undefined
}

export class VirtualClock implements Clock {
  #nowMs = 0
  #wallOffsetMs: number
  #order = 0
  #heap: Entry[] = []
  #dead = 0
  #running = false
  #fired = 0

  /** @param wallMs what `now()` starts at; `monotonicMs()` starts at 0 */
  constructor(wallMs: number = startWallMs) {
    this.#wallOffsetMs = wallMs
  }

  now(): number {
    return this.#wallOffsetMs + Math.floor(this.#nowMs)
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  /** Timers not yet fired or cancelled. */
  get pending(): number {
    return this.#heap.length - this.#dead
  }

  /** Timers fired so far: the size of a simulation. */
  get fired(): number {
    return this.#fired
  }

  after(delayMs: number, callback: () => void): Timer {
    if (!(delayMs >= 0)) throw new RangeError(`a delay is at least 0 ms, got ${delayMs}`)
    const entry: Entry = { dueMs: this.#nowMs + delayMs, order: this.#order++, callback }
    this.#push(entry)
    return {
      cancel: () => {
        if (entry.callback === undefined) return
        entry.callback = undefined
        this.#dead++
        if (this.#dead >= deadTimersMin && this.#dead * 2 > this.#heap.length) this.#bury()
      },
    }
  }

  /** The wall clock jumps, as when somebody sets it; timers and `monotonicMs` do not notice. */
  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs
  }

  /** Moves time on by `ms` and fires all that falls due. Rejects with what a callback throws. */
  async advance(ms: number): Promise<void> {
    await this.runUntil(this.#nowMs + ms)
  }

  /** Moves time on to `monotonicMs()` = `ms`. */
  async runUntil(ms: number): Promise<void> {
    await this.#run(ms, () => false)
    this.#nowMs = Math.max(this.#nowMs, ms)
  }

  /** Lets the promises under way run to their end; time stands still. */
  async settle(): Promise<void> {
    await this.advance(0)
  }

  /** Moves time from timer to timer until `promise` settles, and gives what it gives. */
  async until<T>(promise: Promise<T>, options: { withinMs: number }): Promise<T> {
    let settled = false
    const mark = (): void => { settled = true }
    promise.then(mark, mark)
    const startMs = this.#nowMs
    await this.#run(startMs + options.withinMs, () => settled)
    if (!settled) {
      const passedMs = this.#nowMs - startMs
      throw new Error(`not settled within ${options.withinMs} ms of virtual time`
        + ` (${passedMs} ms passed, ${this.pending} timers left)`)
    }
    return await promise
  }

  #run(untilMs: number, done: () => boolean): Promise<void> {
    if (this.#running) throw new Error('the clock is moving already; await advance() before the next')
    this.#running = true
    return new Promise<void>((resolve, reject) => {
      const step = (): void => {
        try {
          const next = done() ? undefined : this.#takeDue(untilMs)
          if (next === undefined) {
            this.#running = false
            resolve()
            return
          }
          next()
        } catch (error) {
          this.#running = false
          reject(error as Error)
          return
        }
        turn(step)
      }
      turn(step)
    })
  }

  /** The next live callback due by `untilMs`, with time moved to it. */
  #takeDue(untilMs: number): (() => void) | undefined {
    for (;;) {
      const entry = this.#heap[0]
      if (entry === undefined || entry.dueMs > untilMs) return undefined
      this.#pop()
      const { callback } = entry
      if (callback === undefined) {
        this.#dead--
        continue
      }
      entry.callback = undefined
      this.#nowMs = entry.dueMs
      this.#fired++
      return callback
    }
  }

  #push(entry: Entry): void {
    this.#heap.push(entry)
    this.#siftUp(this.#heap.length - 1)
  }

  #pop(): void {
    const last = this.#heap.pop()!
    if (this.#heap.length === 0) return
    this.#heap[0] = last
    this.#siftDown(0)
  }

  #siftUp(from: number): void {
    const heap = this.#heap
    const entry = heap[from]!
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(entry, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = entry
  }

  #siftDown(from: number): void {
    const heap = this.#heap
    const entry = heap[from]!
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, entry)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = entry
  }

  /** Drops cancelled timers; a call's time-out outlives the call a thousandfold. */
  #bury(): void {
    this.#heap = this.#heap.filter((entry) => entry.callback !== undefined)
    this.#dead = 0
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#siftDown(at)
  }
}

function before(left: Entry, right: Entry): boolean {
  return left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order)
}

/**
 * Order as the sender wrote it: texts are shown by their sequence per sending device. One that
 * comes early is held, durably, until its predecessor is there; after `limits.gapWaitMs` it is
 * shown with `afterGap`. Texts that another device of ours wrote have their place in its own order.
 * One that comes late, or again under an old number, is shown when it
 * comes: nothing is ever hidden.
 */
import { routes } from '../frame/receipt.ts'
import type { DeviceId, MessageId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Timer } from '../ports.ts'
import type { Context } from './context.ts'
import type { EarlyReceipts } from './early-receipts.ts'
import { historyFace } from './history.ts'
import type { History } from './history.ts'
import { keys, lastPart } from './keys.ts'
import { advance, statusFace } from './message-status.ts'
import { heldCodec, messageCodec, readRecord, states } from './records.ts'
import type { ContactId, HeldRecord, MessageRecord, ThreadRecord } from './records.ts'
import type { Turn, Turns } from './turns.ts'

/** Held texts shown in one turn: bounds one write. */
const releaseMax = 128
const positionsMax = 4 * limits.devicesMax

export interface Arrival {
  readonly device: DeviceId
  /** 0 for what has no place in the order. */
  readonly sequence: number
  /** `text` undefined: takes its place in the order without being shown. */
  readonly record: HeldRecord
}

export class Ordering {
  readonly #context: Context
  readonly #turns: Turns
  readonly #history: History
  readonly #early: EarlyReceipts
  readonly #nameOf: (id: ContactId) => string
  /** When the patience for a contact's missing text ends, wall clock. */
  readonly #deadlines = new Map<ContactId, number>()
  #timer: Timer | undefined
  #isStarted = false

  constructor(
    context: Context,
    parts: { turns: Turns, history: History, early: EarlyReceipts, nameOf: (id: ContactId) => string },
  ) {
    this.#context = context
    this.#turns = parts.turns
    this.#history = parts.history
    this.#early = parts.early
    this.#nameOf = parts.nameOf
  }

  async load(): Promise<void> {
    for (const entry of await this.#context.kv.list({ prefix: keys.gaps })) {
      this.#deadlines.set(lastPart(entry.key) as ContactId, 0)
    }
  }

  start(): void {
    this.#isStarted = true
    this.#arm()
  }

  stop(): void {
    this.#isStarted = false
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Shows it, and what waited for it, or holds it. In a turn of the contact, which ends with `settle`. */
  async take(turn: Turn, arrival: Arrival): Promise<void> {
    const { device, sequence, record } = arrival
    const next = positionOf(turn.thread, device)
    // Numbers that no counter reaches would leave no room for a next one.
    if (sequence < next || sequence >= Number.MAX_SAFE_INTEGER) {
      await this.#show(turn, record, false)
    } else if (sequence === next) {
      await this.#show(turn, record, false)
      setPosition(turn, device, next + 1)
      await this.#release(turn, device)
    } else {
      this.#hold(turn, arrival)
      if (heldOf(turn, device).size > limits.heldMax) await this.#skipTo(turn, device)
    }
  }

  /** Forgets a removed contact's held texts. */
  drop(turn: Turn): void {
    for (const [device, times] of turn.held) {
      for (const sequence of times.keys()) turn.batch.delete(keys.held(turn.id, device, sequence))
    }
    turn.held.clear()
    this.settle(turn)
  }

  /** Keeps the mark and the deadline of this contact in step with what is held. */
  settle(turn: Turn): void {
    const deadlines = [...turn.held.values()].flatMap((times) => {
      const lowest = lowestOf(times)
      return lowest === undefined ? [] : [times.get(lowest)! + limits.gapWaitMs]
    })
    const deadlineMs = Math.min(...deadlines)
    const isMarked = this.#deadlines.has(turn.id)
    if (deadlines.length > 0 && !isMarked) turn.batch.mark(keys.gap(turn.id))
    if (deadlines.length === 0 && isMarked) turn.batch.delete(keys.gap(turn.id))
    turn.batch.then(() => {
      if (deadlines.length === 0) this.#deadlines.delete(turn.id)
      else this.#deadlines.set(turn.id, deadlineMs)
      this.#arm()
    })
  }

  #hold(turn: Turn, { device, sequence, record }: Arrival): void {
    const key = keys.held(turn.id, device, sequence)
    turn.batch.put(key, heldCodec, record)
    turn.fresh.set(key, record)
    heldOf(turn, device).set(sequence, record.receivedAtMs)
  }

  /** Shows held texts that are next, in order. */
  async #release(
    turn: Turn,
    device: DeviceId,
    options: { afterGap: boolean } = { afterGap: false },
  ): Promise<void> {
    const times = heldOf(turn, device)
    let next = positionOf(turn.thread, device)
    for (let shown = 0; times.has(next); shown++, next++) {
      if (shown === releaseMax) {
        turn.batch.then(() => void this.#continue(turn.id, device))
        break
      }
      const key = keys.held(turn.id, device, next)
      const record = turn.fresh.get(key) ?? await readRecord(this.#context.kv, heldCodec, key)
      if (record !== undefined) await this.#show(turn, record, options.afterGap && shown === 0)
      turn.batch.delete(key)
      times.delete(next)
    }
    setPosition(turn, device, next)
  }

  async #continue(id: ContactId, device: DeviceId): Promise<void> {
    try {
      await this.#turns.run(id, async (turn) => {
        await this.#release(turn, device)
        this.settle(turn)
      })
    } catch (error) {
      this.#context.log.warn({ err: error }, 'held texts could not be shown')
    }
  }

  /** The missing ones are given up: goes on with the lowest held. */
  async #skipTo(turn: Turn, device: DeviceId): Promise<void> {
    const lowest = lowestOf(heldOf(turn, device))
    if (lowest === undefined) return
    setPosition(turn, device, lowest)
    await this.#release(turn, device, { afterGap: true })
  }

  async #show(turn: Turn, held: HeldRecord, afterGap: boolean): Promise<void> {
    const { isOutgoing, id, text, sentAtMs, receivedAtMs, file } = held
    if (text === undefined || (isOutgoing && !await this.#isNew(turn, id))) return
    const record = { contact: turn.id, isOutgoing, id, text, sentAtMs, receivedAtMs, afterGap, file }
    const status = isOutgoing ? await this.#status(turn, held) : undefined
    let cursor = 0
    this.#history.append(turn.batch, record, (given) => {
      cursor = given
      if (status !== undefined) turn.batch.put(keys.message(id), messageCodec, { ...status, cursor })
    })
    turn.batch.then(() => {
      const name = this.#nameOf(turn.id)
      const face = status && statusFace(id, status, name)
      this.#context.emit({ type: 'message', entry: historyFace({ cursor, record }, name, face) })
    })
  }

  /**
   * What another device of ours wrote may have come again, by whatever way, while it was held: its state
   * says that it is shown, in the store or in this very turn. (What contacts write is marked as it comes.)
   */
  async #isNew(turn: Turn, id: MessageId): Promise<boolean> {
    const name = keys.message(id)
    if (turn.taken.has(name)) return false
    turn.taken.add(name)
    return await readRecord(this.#context.kv, messageCodec, name) === undefined
  }

  /** Of a text that was written on another device of ours, with the receipts that came before it. */
  async #status(turn: Turn, { id, sentAtMs }: HeldRecord): Promise<MessageRecord> {
    const record: MessageRecord = {
      contact: turn.id, cursor: 0, sequence: 0, state: states.queued, have: 0, want: 0, route: routes.none,
      level: 0, sentAtMs, storedAtMs: 0, deliveredAtMs: 0, readAtMs: 0, code: '',
    }
    const state = await this.#early.take(turn, id)
    return state === undefined ? record : advance(record, state, this.#context.clock.now())
  }

  #arm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (!this.#isStarted || this.#deadlines.size === 0) return
    const dueMs = Math.min(...this.#deadlines.values())
    this.#timer = this.#context.clock.after(
      Math.max(0, dueMs - this.#context.clock.now()),
      () => void this.#giveUp(),
    )
  }

  async #giveUp(): Promise<void> {
    this.#timer = undefined
    const nowMs = this.#context.clock.now()
    for (const [id, deadlineMs] of [...this.#deadlines]) {
      if (deadlineMs > nowMs || !this.#isStarted) continue
      try {
        await this.#turns.run(id, (turn) => this.#giveUpOn(turn))
      } catch (error) {
        this.#context.log.warn({ err: error }, 'held texts could not be shown')
        this.#deadlines.set(id, nowMs + limits.gapWaitMs)
      }
    }
    this.#arm()
  }

  async #giveUpOn(turn: Turn): Promise<void> {
    const nowMs = this.#context.clock.now()
    for (const [device, times] of turn.held) {
      const lowest = lowestOf(times)
      if (lowest !== undefined && times.get(lowest)! + limits.gapWaitMs <= nowMs) {
        await this.#skipTo(turn, device)
      }
    }
    this.settle(turn)
  }
}

function heldOf(turn: Turn, device: DeviceId): Map<number, number> {
  const times = turn.held.get(device) ?? new Map<number, number>()
  turn.held.set(device, times)
  return times
}

function lowestOf(times: ReadonlyMap<number, number>): number | undefined {
  let lowest: number | undefined
  for (const sequence of times.keys()) if (lowest === undefined || sequence < lowest) lowest = sequence
  return lowest
}

function positionOf(thread: ThreadRecord, device: DeviceId): number {
  return thread.receiving.find((position) => position.device === device)?.next ?? 1
}

function setPosition(turn: Turn, device: DeviceId, next: number): void {
  const others = turn.thread.receiving.filter((position) => position.device !== device)
  turn.thread = { ...turn.thread, receiving: [...others, { device, next }].slice(-positionsMax) }
}

/**
 * One group of writes in the making: reads see what earlier writes of the group changed, and
 * nothing is real before the whole group is on disk. So two puts of one id in one group give
 * `stored` and `duplicate`, and a quota is exact however many writers race for it.
 *
 * `StoreState` is the part of the rows that is always in memory: counters and boxes.
 */
import type { Codec } from '../../protocol/codec/struct.ts'
import { encode } from '../../protocol/codec/struct.ts'
import type { BoxId } from '../../protocol/ids.ts'
import type { LevelBatch } from './level-database.ts'
import {
  boxRow, decodeRow, expiryKind, expiryRow, noId, rowKey, schemaVersion, sealRow, stateRow,
} from './level-rows.ts'
import type { BoxRow, ExpiryRow } from './level-rows.ts'

export interface StoreState {
  nextNumber: number
  expiryMarkMs: number
  readonly boxes: Map<BoxId, BoxRow>
  items: number
  bytes: number
  /** Generations of dropped boxes whose rows are still there. */
  readonly garbage: Set<number>
}

export function emptyState(): StoreState {
  return { nextNumber: 1, expiryMarkMs: 0, boxes: new Map(), items: 0, bytes: 0, garbage: new Set() }
}

/** Told once about each damaged row that was met. */
export type CorruptionListener = (key: string) => void

export class Draft {
  /** Bytes of bodies deleted by this group. */
  freedBytes = 0
  readonly #state: StoreState
  readonly #committed: ReadonlyMap<string, Uint8Array | undefined>
  readonly #onCorrupt: CorruptionListener
  /** Sealed rows; undefined: deleted. */
  readonly #rows = new Map<string, Uint8Array | undefined>()
  readonly #boxes = new Map<BoxId, BoxRow | undefined>()
  readonly #garbage = new Map<number, boolean>()
  #nextNumber: number
  #expiryMarkMs: number
  #earliestMs = Infinity

  /** @param committed the rows that the group's writes asked for */
  constructor(
    state: StoreState,
    committed: ReadonlyMap<string, Uint8Array | undefined>,
    onCorrupt: CorruptionListener,
  ) {
    this.#state = state
    this.#committed = committed
    this.#onCorrupt = onCorrupt
    this.#nextNumber = state.nextNumber
    this.#expiryMarkMs = state.expiryMarkMs
  }

  /** The row as stored, for those who treat damage themselves. */
  raw(key: string): Uint8Array | undefined {
    return this.#rows.has(key) ? this.#rows.get(key) : this.#committed.get(key)
  }

  /** A damaged row counts as absent and is reported. */
  get<T>(codec: Codec<T>, key: string): T | undefined {
    const row = this.raw(key)
    if (row === undefined) return undefined
    const value = decodeRow(codec, key, row)
    if (value === undefined) this.#onCorrupt(key)
    return value
  }

  put<T>(codec: Codec<T>, key: string, value: T): void {
    this.putBytes(key, encode(codec, value))
  }

  putBytes(key: string, value: Uint8Array): void {
    this.#rows.set(key, sealRow(key, value))
  }

  delete(key: string): void {
    this.#rows.set(key, undefined)
  }

  nextNumber(): number {
    return this.#nextNumber++
  }

  box(id: BoxId): BoxRow | undefined {
    return this.#boxes.has(id) ? this.#boxes.get(id) : this.#state.boxes.get(id)
  }

  putBox(id: BoxId, box: BoxRow): void {
    this.#boxes.set(id, box)
  }

  /** The box goes now; the rows of its generation are swept later. */
  dropBox(id: BoxId, box: BoxRow): void {
    this.#boxes.set(id, undefined)
    this.#garbage.set(box.generation, true)
    this.putBytes(rowKey.garbage(box.generation), new Uint8Array())
    this.freedBytes += box.bytes
  }

  swept(generation: number): void {
    this.#garbage.set(generation, false)
    this.delete(rowKey.garbage(generation))
  }

  putExpiry(number: number, row: Omit<ExpiryRow, 'id'> & Partial<Pick<ExpiryRow, 'id'>>): void {
    if (row.kind === expiryKind.box && row.atMs === Infinity) return
    this.put(expiryRow, rowKey.expiry(row.atMs, number), { id: noId, ...row })
    this.#earliestMs = Math.min(this.#earliestMs, row.atMs)
  }

  deleteExpiry(atMs: number, number: number): void {
    this.delete(rowKey.expiry(atMs, number))
  }

  /** All that expires before `markMs` is gone, as far as earlier groups know. */
  raiseExpiryMark(markMs: number): void {
    this.#expiryMarkMs = Math.max(this.#expiryMarkMs, markMs)
  }

  /** The batch that makes the group real; empty when nothing changed. */
  batch(): LevelBatch[] {
    this.#expiryMarkMs = Math.min(this.#expiryMarkMs, this.#earliestMs)
    const { nextNumber, expiryMarkMs } = this.#state
    if (this.#nextNumber !== nextNumber || this.#expiryMarkMs !== expiryMarkMs) {
      this.put(stateRow, rowKey.state, {
        schema: schemaVersion,
        nextNumber: this.#nextNumber,
        expiryMarkMs: this.#expiryMarkMs,
      })
    }
    for (const [id, box] of this.#boxes) {
      if (box === undefined) this.delete(rowKey.box(id))
      else this.put(boxRow, rowKey.box(id), box)
    }
    const batch: LevelBatch[] = []
    for (const [key, value] of this.#rows) {
      batch.push(value === undefined ? { type: 'del', key } : { type: 'put', key, value })
    }
    return batch
  }

  /** After the batch is on disk. */
  commit(): void {
    const state = this.#state
    state.nextNumber = this.#nextNumber
    state.expiryMarkMs = this.#expiryMarkMs
    for (const [id, box] of this.#boxes) {
      const old = state.boxes.get(id)
      state.items += (box?.items ?? 0) - (old?.items ?? 0)
      state.bytes += (box?.bytes ?? 0) - (old?.bytes ?? 0)
      if (box === undefined) state.boxes.delete(id)
      else state.boxes.set(id, box)
    }
    for (const [generation, waits] of this.#garbage) {
      if (waits) state.garbage.add(generation)
      else state.garbage.delete(generation)
    }
  }
}

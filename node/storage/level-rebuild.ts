/**
 * Makes the rows of an embedded store fit each other again, after some were lost or damaged (see
 * level-rows.ts for what they are). The order rows and the bodies lead: an item lives when its
 * body is whole and its box is known; its slot, order and expiry rows are written anew.
 */
import { encode } from '../../protocol/codec/struct.ts'
import type { Codec } from '../../protocol/codec/struct.ts'
import { envelopeId } from '../../protocol/envelope.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import type { LevelBatch, LevelDatabase } from './level-database.ts'
import {
  boxOf, boxRow, decodeRow, expiryKind, expiryRow, generationOf, kvRow, noId, openRow, orderRow,
  proofRow, rowKey, schemaVersion, sealRow, slotId, slotKind, slotRow, stateRow, trailingNumber,
} from './level-rows.ts'
import type { BoxRow, ExpiryRow, SlotRow } from './level-rows.ts'

export interface RebuildReport {
  /** Mail that is there now, and mail that had to be dropped. */
  readonly items: number
  readonly itemsLost: number
  /** Boxes whose limits could not be read, gone with all in them. */
  readonly boxesLost: number
  readonly records: number
  /** Key-value records that are damaged and stay so. */
  readonly damagedKeys: readonly string[]
}

type Row = readonly [key: string, row: Uint8Array]

interface Living {
  readonly generation: number
  readonly number: number
  readonly id: EnvelopeId
  readonly expiresAtMs: number
  readonly bytes: number
}

const chunkRows = 256

export async function rebuildRows(database: LevelDatabase): Promise<RebuildReport> {
  return await new Rebuild(database).run()
}

class Rebuild {
  readonly #database: LevelDatabase
  readonly #boxes = new Map<number, { readonly box: BoxId, row: BoxRow }>()
  /** Generations of boxes that were dropped on purpose. */
  readonly #garbage = new Set<number>()
  /** Numbers of items that live, that were lost, and that went with their box. */
  readonly #living = new Set<number>()
  readonly #lost = new Set<number>()
  readonly #dropped = new Set<number>()
  readonly #damagedKeys: string[] = []
  #batch: LevelBatch[] = []
  #largestNumber = 0
  #boxesLost = 0
  #records = 0

  constructor(database: LevelDatabase) {
    this.#database = database
  }

  async run(): Promise<RebuildReport> {
    await this.#eachChunk('g', async (rows) => {
      for (const [key] of rows) this.#garbage.add(generationOf(key))
    })
    await this.#eachChunk('b', async (rows) => this.#readBoxes(rows))
    await this.#eachChunk('o', async (rows) => await this.#rebuildItems(rows))
    await this.#eachChunk('i', async (rows) => await this.#rebuildSlots(rows))
    await this.#eachChunk('p', async (rows) => this.#dropOrphans(rows))
    await this.#eachChunk('q', async (rows) => this.#rebuildProofs(rows))
    await this.#eachChunk('k', async (rows) => this.#checkRecords(rows))
    for (const { box, row } of this.#boxes.values()) {
      this.#put(boxRow, rowKey.box(box), row)
      if (row.expiresAtMs !== Infinity) {
        this.#putExpiry({ kind: expiryKind.box, atMs: row.expiresAtMs, box, id: noId }, row.generation)
      }
    }
    await this.#writeState()
    return {
      items: this.#living.size,
      itemsLost: this.#lost.size,
      boxesLost: this.#boxesLost,
      records: this.#records,
      damagedKeys: this.#damagedKeys,
    }
  }

  /** Hands out all rows of one letter, some at a time, and writes what `work` changed. */
  async #eachChunk(prefix: string, work: (rows: readonly Row[]) => Promise<void>): Promise<void> {
    let after = prefix
    const end = String.fromCharCode(prefix.charCodeAt(0) + 1)
    for (;;) {
      const rows = await this.#database.read((handle) =>
        handle.iterator({ gt: after, lt: end, limit: chunkRows }).all())
      if (rows.length > 0) await work(rows)
      await this.#flush()
      if (rows.length < chunkRows) return
      after = rows.at(-1)![0]
    }
  }

  #readBoxes(rows: readonly Row[]): void {
    for (const [key, value] of rows) {
      const row = decodeRow(boxRow, key, value)
      if (row === undefined) {
        this.#boxesLost++
        this.#delete(key)
        continue
      }
      this.#boxes.set(row.generation, { box: boxOf(key), row: { ...row, items: 0, bytes: 0 } })
      this.#largestNumber = Math.max(this.#largestNumber, row.generation)
    }
  }

  /** By order rows: the slot is written anew unless it says that the item went. */
  async #rebuildItems(rows: readonly Row[]): Promise<void> {
    const bodies = await this.#bodies(rows.map(([key]) => trailingNumber(key)))
    const ids = rows.map(([key, value], i) => decodeRow(orderRow, key, value)?.id ?? bodies[i]?.id)
    const slots = await this.#slots(rows.map(([key], i) => ({ generation: generationOf(key), id: ids[i] })))
    for (const [i, [key, value]] of rows.entries()) {
      this.#sawNumber(key)
      const number = trailingNumber(key)
      const generation = generationOf(key)
      const [id, body, slot] = [ids[i], bodies[i], slots[i]]
      const expiresAtMs = decodeRow(orderRow, key, value)?.expiresAtMs ?? slot?.expiresAtMs
      const whole = id !== undefined && body?.id === id && expiresAtMs !== undefined
      const gone = slot !== undefined && (slot.kind === slotKind.tombstone || slot.number !== number)
      if (!whole || gone || !this.#boxes.has(generation)) {
        (gone || this.#garbage.has(generation) ? this.#dropped : this.#lost).add(number)
        this.#delete(key)
        continue
      }
      this.#keep({ generation, number, id, expiresAtMs, bytes: body.bytes })
    }
  }

  /** By slots: items that lost their order row, tombstones, and boxes that are not there any more. */
  async #rebuildSlots(rows: readonly Row[]): Promise<void> {
    const slots = rows.map(([key, value]) => decodeRow(slotRow, key, value))
    const bodies = await this.#bodies(slots.map((slot) => slot?.number ?? 0))
    for (const [i, [key]] of rows.entries()) {
      const [slot, body] = [slots[i], bodies[i]]
      const generation = generationOf(key)
      const box = this.#boxes.get(generation)?.box
      if (box === undefined) {
        this.#put(emptyRow, rowKey.garbage(generation), undefined)
        continue
      }
      if (slot === undefined) {
        this.#delete(key)
        continue
      }
      const { number, expiresAtMs } = slot
      const id = slotId(key)
      this.#largestNumber = Math.max(this.#largestNumber, number)
      if (slot.kind === slotKind.tombstone) {
        this.#putExpiry({ kind: expiryKind.slot, atMs: expiresAtMs, box, id }, number)
      } else if (this.#living.has(number)) continue
      else if (body?.id === id) this.#keep({ generation, number, id, expiresAtMs, bytes: body.bytes })
      else {
        this.#lost.add(number)
        this.#delete(key)
      }
    }
  }

  /** Bodies that nothing leads to. */
  #dropOrphans(rows: readonly Row[]): void {
    for (const [key] of rows) {
      const number = trailingNumber(key)
      this.#sawNumber(key)
      if (this.#living.has(number)) continue
      if (!this.#dropped.has(number)) this.#lost.add(number)
      this.#delete(key)
    }
  }

  #rebuildProofs(rows: readonly Row[]): void {
    for (const [key, value] of rows) {
      this.#sawNumber(key)
      const box = this.#boxes.get(generationOf(key))?.box
      const proof = decodeRow(proofRow, key, value)
      if (box === undefined || proof === undefined) {
        this.#delete(key)
        continue
      }
      const { expiresAtMs: atMs } = proof
      this.#putExpiry({ kind: expiryKind.proof, atMs, box, id: noId }, trailingNumber(key))
    }
  }

  #keep(item: Living): void {
    const { generation, number, id, expiresAtMs, bytes } = item
    const box = this.#boxes.get(generation)!
    box.row = { ...box.row, items: box.row.items + 1, bytes: box.row.bytes + bytes }
    this.#living.add(number)
    const slot: SlotRow = { kind: slotKind.item, number, expiresAtMs, bytes, proof: 0 }
    this.#put(slotRow, rowKey.slot(generation, id), slot)
    this.#put(orderRow, rowKey.order(generation, number), { id, expiresAtMs, bytes })
    this.#putExpiry({ kind: expiryKind.slot, atMs: expiresAtMs, box: box.box, id }, number)
  }

  #checkRecords(rows: readonly Row[]): void {
    for (const [key, value] of rows) {
      this.#records++
      const row = decodeRow(kvRow, key, value)
      if (row === undefined) {
        this.#damagedKeys.push(key.slice(1))
        continue
      }
      this.#largestNumber = Math.max(this.#largestNumber, row.version)
      if (row.expiresAtMs === Infinity) continue
      const expiry = rowKey.recordExpiry(row.expiresAtMs, key.slice(1))
      this.#put(emptyRow, expiry, undefined)
    }
  }

  async #writeState(): Promise<void> {
    const row = await this.#database.read((handle) => handle.get(rowKey.state))
    const known = row === undefined ? undefined : decodeRow(stateRow, rowKey.state, row)
    const nextNumber = Math.max(this.#largestNumber + 1, known?.nextNumber ?? 0)
    this.#put(stateRow, rowKey.state, { schema: schemaVersion, nextNumber, expiryMarkMs: 0 })
    await this.#flush()
  }

  /** Id and size of each body that is whole. */
  async #bodies(numbers: readonly number[]): Promise<({ id: EnvelopeId, bytes: number } | undefined)[]> {
    const keys = numbers.map(rowKey.body)
    const rows = await this.#database.read((handle) => handle.getMany(keys))
    return rows.map((row, i) => {
      const body = row === undefined ? undefined : openRow(keys[i]!, row)
      return body === undefined ? undefined : { id: envelopeId(body), bytes: body.length }
    })
  }

  async #slots(
    places: readonly { generation: number, id: EnvelopeId | undefined }[],
  ): Promise<(SlotRow | undefined)[]> {
    const keys = places.map(({ generation, id }) => rowKey.slot(generation, id ?? noId))
    const rows = await this.#database.read((handle) => handle.getMany(keys))
    return rows.map((row, i) => row === undefined ? undefined : decodeRow(slotRow, keys[i]!, row))
  }

  #sawNumber(key: string): void {
    this.#largestNumber = Math.max(this.#largestNumber, trailingNumber(key))
  }

  #putExpiry(row: ExpiryRow, number: number): void {
    this.#put(expiryRow, rowKey.expiry(row.atMs, number), row)
  }

  #put<T>(codec: Codec<T>, key: string, value: T): void {
    this.#batch.push({ type: 'put', key, value: sealRow(key, encode(codec, value)) })
  }

  #delete(key: string): void {
    this.#batch.push({ type: 'del', key })
  }

  async #flush(): Promise<void> {
    if (this.#batch.length > 0) await this.#database.write(this.#batch)
    this.#batch = []
  }
}

const emptyRow: Codec<undefined> = { write() {}, read: () => undefined }

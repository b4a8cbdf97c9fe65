/**
 * One group of writes in the making: what it touches is loaded under its locks, every operation
 * changes it in memory and sees what the earlier ones did, and `write` makes all of it real in a
 * few statements. The mailbox's part is here; file boxes and records have files of their own.
 */
import { concat, hex, utf8 } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import type { BoxId } from '../../../protocol/ids.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { SqlBoxes } from './sql-boxes.ts'
import { columnBytes, slotOf } from './sql-slot.ts'
import type { SlotKey } from './sql-slot.ts'
import { stripeOfBox, stripeOfRecord } from './sql-schema.ts'
import { forEach, insertRows, numberOf, sendEach, sqlNumber } from './sql-driver.ts'
import type { SqlDriver, SqlRow, SqlSession, SqlValue } from './sql-driver.ts'
import { KvDraft } from './sql-kv-draft.ts'
import { PieceDraft } from './sql-piece-draft.ts'

export interface SqlNeeds {
  /** Of mail. */
  readonly boxes?: readonly BoxId[]
  readonly slots?: readonly SlotKey[]
  readonly files?: readonly BoxId[]
  readonly pieces?: readonly SlotKey[]
  readonly keys?: readonly string[]
  /** Proofs that have expired. */
  readonly proofs?: readonly Uint8Array[]
}

export const slotKind = { item: 0, tombstone: 1 } as const

/** What is known of an id in a box. */
export interface Slot {
  readonly kind: 0 | 1
  readonly expiresAtMs: number
  /** Of the body; 0 for a tombstone. */
  readonly size: number
  /** A body or the name of a proof; empty unless it is new. */
  readonly data: Uint8Array
}

interface Proof {
  readonly box: BoxId
  readonly expiresAtMs: number
  readonly data: Uint8Array
}

const nothing = new Uint8Array()

export class SqlDraft {
  readonly nowMs: number
  readonly boxes = new SqlBoxes('box')
  readonly files: PieceDraft
  readonly kv: KvDraft
  readonly #driver: SqlDriver
  readonly #stored = new Map<SlotKey, Slot>()
  /** What differs; undefined: gone. */
  readonly #changed = new Map<SlotKey, Slot | undefined>()
  /** New ones in order of arrival, some of them gone again. */
  readonly #arrived: SlotKey[] = []
  readonly #proofs = new Map<string, Proof>()
  readonly #overProofs: Uint8Array[] = []
  #needs: readonly SqlNeeds[] = []

  constructor(driver: SqlDriver, clock: Clock) {
    this.#driver = driver
    this.nowMs = clock.now()
    this.files = new PieceDraft(driver)
    this.kv = new KvDraft(driver, this.nowMs)
  }

  needs(needs: readonly SqlNeeds[]): void {
    this.#needs = needs
  }

  /** What must be locked, in order. */
  stripes(): number[] {
    const all = this.#needs.flatMap(({ boxes = [], files = [], keys = [] }) => [
      ...[...boxes, ...files].map(stripeOfBox), ...keys.map(stripeOfRecord),
    ])
    return [...new Set(all)].sort((a, b) => a - b)
  }

  /** Under the locks. */
  async load(session: SqlSession): Promise<void> {
    const all = <K extends keyof SqlNeeds>(name: K) =>
      this.#needs.flatMap((needs) => (needs[name] ?? []) as NonNullable<SqlNeeds[K]>[number][])
    this.#overProofs.push(...all('proofs'))
    await Promise.all([
      this.boxes.load(session, all('boxes')),
      this.#loadSlots(session, new Set(all('slots'))),
      this.files.load(session, { boxes: all('files'), slots: new Set(all('pieces')) }),
      this.kv.load(session, new Set(all('keys'))),
    ])
  }

  write(session: SqlSession): void {
    this.#deleteSlots(session)
    this.boxes.write(this.#driver, session)
    this.#insertSlots(session)
    this.files.write(session)
    this.kv.write(session)
    sendEach(session, 'DELETE FROM openim_proof WHERE proof (*)', this.#overProofs)
  }

  slot(key: SlotKey): Slot | undefined {
    return this.#changed.has(key) ? this.#changed.get(key) : this.#stored.get(key)
  }

  putSlot(key: SlotKey, slot: Slot): void {
    this.#changed.set(key, slot)
    this.#arrived.push(key)
  }

  deleteSlot(key: SlotKey): void {
    this.#changed.set(key, undefined)
  }

  /** The name under which tombstones find it: the same for the same proof, so that it is kept once. */
  putProof(proof: Proof): Uint8Array {
    const time = utf8(`${proof.expiresAtMs} `)
    const name = crypto.sha256(concat(columnBytes(proof.box), time, proof.data))
    this.#proofs.set(hex(name), proof)
    return name
  }

  dropBox(box: BoxId): void {
    this.boxes.drop(box)
    for (const key of [...this.#stored.keys(), ...this.#changed.keys()]) {
      if (key.endsWith(box)) this.#changed.set(key, undefined)
    }
    for (const [name, proof] of this.#proofs) if (proof.box === box) this.#proofs.delete(name)
  }

  async #loadSlots(session: SqlSession, keys: ReadonlySet<SlotKey>): Promise<void> {
    const text = 'SELECT slot, kind, expires_at, size FROM openim_mail WHERE slot (*)'
    for (const row of await forEach(session, text, Array.from(keys, columnBytes))) {
      this.#stored.set(slotOf(row['slot']).key, storedSlot(row))
    }
  }

  #deleteSlots(session: SqlSession): void {
    const dropped = this.boxes.dropped()
    const boxes = dropped.map(columnBytes)
    sendEach(session, 'DELETE FROM openim_mail WHERE box (*)', boxes)
    sendEach(session, 'DELETE FROM openim_proof WHERE box (*)', boxes)
    // A tombstone takes the place of its item; what arrives needs a new position.
    const gone = [...this.#changed].filter(([key, slot]) =>
      slot?.kind !== slotKind.tombstone && this.#stored.has(key))
    sendEach(session, 'DELETE FROM openim_mail WHERE slot (*)', gone.map(([key]) => columnBytes(key)))
  }

  #insertSlots(session: SqlSession): void {
    const proofs = [...this.#proofs].map(([name, { box, expiresAtMs, data }]) =>
      [columnBytes(name), columnBytes(box), sqlNumber(expiresAtMs), data])
    insertRows(this.#driver, session, {
      into: 'openim_proof (proof, box, expires_at, data)',
      rows: proofs,
      end: this.#driver.dialect.ignore('proof'),
    })
    // By its last arrival, should it have gone in between.
    const order = [...new Set(this.#arrived.toReversed())].reverse()
    const rows = (wanted: Slot['kind']): SqlValue[][] => order.flatMap((key) => {
      const slot = this.#changed.get(key)
      if (slot?.kind !== wanted) return []
      const { kind, expiresAtMs, size, data } = slot
      const bytes = columnBytes(key)
      return [[bytes, bytes.subarray(32), BigInt(kind), sqlNumber(expiresAtMs), BigInt(size), data]]
    })
    const into = 'openim_mail (slot, box, kind, expires_at, size, data)'
    insertRows(this.#driver, session, { into, rows: rows(slotKind.item) })
    insertRows(this.#driver, session, {
      into,
      rows: rows(slotKind.tombstone),
      end: this.#driver.dialect.upsert('slot', ['kind', 'expires_at', 'size', 'data']),
    })
  }
}

function storedSlot(row: SqlRow): Slot {
  return {
    kind: numberOf(row['kind']) === slotKind.item ? slotKind.item : slotKind.tombstone,
    expiresAtMs: numberOf(row['expires_at']),
    size: numberOf(row['size']),
    data: nothing,
  }
}

/**
 * File boxes and their pieces as a group of writes sees and changes them. The number of pieces of
 * a box is also the position of its last one, so a piece that went for damage leaves a gap.
 */
import type { BoxId } from '../../../protocol/ids.ts'
import type { Piece, PieceResult } from '../../ports.ts'
import { pieceOverheadBytes } from '../checks.ts'
import { SqlBoxes } from './sql-boxes.ts'
import { columnBytes, slotKey, slotOf } from './sql-slot.ts'
import type { SlotKey } from './sql-slot.ts'
import { forEach, insertRows, sendEach } from './sql-driver.ts'
import type { SqlDriver, SqlSession } from './sql-driver.ts'

export class PieceDraft {
  readonly boxes = new SqlBoxes('file')
  readonly #driver: SqlDriver
  readonly #stored = new Set<SlotKey>()
  readonly #gone = new Set<SlotKey>()
  /** New ones by slot. */
  readonly #fresh = new Map<SlotKey, { readonly position: number, readonly body: Uint8Array }>()

  constructor(driver: SqlDriver) {
    this.#driver = driver
  }

  async load(
    session: SqlSession,
    { boxes, slots }: { boxes: readonly BoxId[], slots: ReadonlySet<SlotKey> },
  ): Promise<void> {
    const text = 'SELECT slot FROM openim_piece WHERE slot (*)'
    const [rows] = await Promise.all([
      forEach(session, text, Array.from(slots, columnBytes)), this.boxes.load(session, boxes),
    ])
    for (const row of rows) this.#stored.add(slotOf(row['slot']).key)
  }

  put(id: BoxId, piece: Piece, nowMs: number): PieceResult {
    const box = this.boxes.live(id, nowMs)
    if (box === undefined) return 'no-box'
    const key = slotKey(id, piece.id)
    if (this.#fresh.has(key) || (this.#stored.has(key) && !this.#gone.has(key))) return 'duplicate'
    const bytes = box.bytes + piece.body.length + pieceOverheadBytes
    if (box.items >= box.limits.itemsMax || bytes > box.limits.bytesMax) return 'over-quota'
    this.#fresh.set(key, { position: box.items + 1, body: piece.body })
    this.boxes.put(id, { ...box, items: box.items + 1, bytes })
    return 'stored'
  }

  /** A damaged one, to be put again. */
  remove(key: SlotKey): void {
    this.#gone.add(key)
  }

  dropBox(box: BoxId): void {
    this.boxes.drop(box)
    for (const key of this.#stored) if (key.endsWith(box)) this.#gone.add(key)
    for (const key of [...this.#fresh.keys()]) if (key.endsWith(box)) this.#fresh.delete(key)
  }

  write(session: SqlSession): void {
    const dropped = this.boxes.dropped().map(columnBytes)
    sendEach(session, 'DELETE FROM openim_piece WHERE box (*)', dropped)
    sendEach(session, 'DELETE FROM openim_piece WHERE slot (*)', Array.from(this.#gone, columnBytes))
    this.boxes.write(this.#driver, session)
    const rows = Array.from(this.#fresh, ([key, { position, body }]) => {
      const slot = columnBytes(key)
      return [slot, slot.subarray(32), BigInt(position), BigInt(body.length), body]
    })
    const into = 'openim_piece (slot, box, position, size, data)'
    insertRows(this.#driver, session, { into, rows })
  }
}

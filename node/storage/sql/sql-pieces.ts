/**
 * `PieceStore` over SQL: pieces are rows, so that every process of a household can serve them. A
 * body is checked against its id when it is read; one that does not fit is left out, and may be
 * put again behind the others.
 */
import { envelopeId } from '../../../protocol/envelope.ts'
import type { BoxId } from '../../../protocol/ids.ts'
import type {
  BoxLimits, Piece, PieceBox, PieceEntry, PiecePage, PieceResult, PieceStore,
} from '../../ports.ts'
import { checkBoxLimits, checkPiece } from '../checks.ts'
import { boxColumns, boxOf } from './sql-boxes.ts'
import { bytesOf, numberOf, sqlNumber } from './sql-driver.ts'
import type { SqlRow } from './sql-driver.ts'
import { pageOf, rowsFor } from './sql-page.ts'
import type { SqlParts } from './sql-parts.ts'
import { columnBytes, slotKey, slotOf } from './sql-slot.ts'

const expireBoxesMax = 100

export class SqlPieces implements PieceStore {
  readonly #parts: SqlParts

  constructor(parts: SqlParts) {
    this.#parts = parts
  }

  async setBox(box: BoxId, limits: BoxLimits): Promise<void> {
    checkBoxLimits(limits)
    const own = { ...limits }
    await this.#parts.lanes.boxes.submit({
      grows: true,
      bytes: 256,
      needs: () => ({ files: [box] }),
      apply({ files: { boxes } }) {
        const { items, bytes } = boxes.get(box) ?? { items: 0, bytes: 0 }
        boxes.put(box, { limits: own, items, bytes })
      },
    })
  }

  async dropBox(box: BoxId): Promise<void> {
    await this.#parts.lanes.boxes.submit({
      grows: false,
      bytes: 128,
      needs: () => ({ files: [box] }),
      apply: ({ files }) => files.dropBox(box),
    })
  }

  async boxes(): Promise<PieceBox[]> {
    const nowMs = sqlNumber(this.#parts.clock.now())
    const text = `SELECT ${boxColumns} FROM openim_file WHERE expires_at > ?`
    const rows = await this.#parts.reader.run(text, [nowMs])
    return rows.map(boxOf).map(({ box, limits, bytes }) => ({ box, limits, bytes }))
  }

  async put(box: BoxId, pieces: readonly Piece[]): Promise<PieceResult[]> {
    for (const piece of pieces) checkPiece(piece)
    const own = pieces.map(({ id, body }) => ({ id, body: body.slice() }))
    return await this.#parts.lanes.boxes.submit({
      grows: true,
      bytes: own.reduce((sum, { body }) => sum + body.length + 256, 0),
      needs: () => ({ files: [box], pieces: own.map(({ id }) => slotKey(box, id)) }),
      apply: ({ files, nowMs }) => own.map((piece) => files.put(box, piece, nowMs)),
    })
  }

  async count(box: BoxId): Promise<number> {
    const text = 'SELECT items FROM openim_file WHERE box = ? AND expires_at > ?'
    const [row] = await this.#parts.reader.run(text, [columnBytes(box), sqlNumber(this.#parts.clock.now())])
    return numberOf(row?.['items'] ?? 0)
  }

  async list(box: BoxId, page: PiecePage): Promise<{ entries: PieceEntry[], more: boolean }> {
    let after = page.after
    for (;;) {
      const { rows, more } = pageOf(await this.#places(box, { ...page, after }), page)
      const entries = await this.#entries(box, rows)
      // All of a page may have gone meanwhile or be damaged; the caller must still get on.
      if (entries.length > 0 || !more) return { entries, more }
      after = numberOf(rows.at(-1)!['position'])
    }
  }

  async expire(nowMs: number): Promise<number> {
    let due: BoxId[] = []
    let gone = 0
    for (;;) {
      const some = await this.#parts.lanes.boxes.submit({
        grows: false,
        bytes: 1_024,
        async needs(session) {
          const text = `SELECT ${boxColumns} FROM openim_file WHERE expires_at <= ? LIMIT ${expireBoxesMax}`
          due = (await session.run(text, [sqlNumber(nowMs)])).map((row) => boxOf(row).box)
          return { files: due }
        },
        apply({ files }) {
          const over = due.filter((box) => (files.boxes.get(box)?.limits.expiresAtMs ?? Infinity) <= nowMs)
          for (const box of over) files.dropBox(box)
          return over.length
        },
      })
      gone += some
      if (some < expireBoxesMax) return gone
    }
  }

  async #places(box: BoxId, { after, itemsMax }: { after: number, itemsMax: number }): Promise<SqlRow[]> {
    return await this.#parts.reader.run(
      `SELECT p.slot, p.position, p.size FROM openim_piece p JOIN openim_file f ON f.box = p.box
       WHERE p.box = ? AND p.position > ? AND f.expires_at > ? ORDER BY p.position LIMIT ?`,
      [
        columnBytes(box), sqlNumber(Math.max(0, after)), sqlNumber(this.#parts.clock.now()),
        sqlNumber(rowsFor(itemsMax)),
      ],
    )
  }

  async #entries(box: BoxId, places: readonly SqlRow[]): Promise<PieceEntry[]> {
    const [first, last] = [places[0]?.['position'], places.at(-1)?.['position']]
    if (first === undefined) return []
    const rows = await this.#parts.reader.run(
      `SELECT slot, position, data FROM openim_piece WHERE box = ? AND position BETWEEN ? AND ?
       ORDER BY position`,
      [columnBytes(box), BigInt(first as string), BigInt(last as string)],
    )
    const entries: PieceEntry[] = []
    for (const row of rows) {
      const { id, key } = slotOf(row['slot'])
      const body = bytesOf(row['data'])
      if (envelopeId(body) === id) entries.push({ position: numberOf(row['position']), id, body })
      else this.#dropDamaged(box, key)
    }
    return entries
  }

  #dropDamaged(box: BoxId, key: string): void {
    this.#parts.onCorrupt(key)
    // Not awaited: whoever reads goes on; a failure here is met again by the next reader.
    this.#parts.lanes.boxes.submit({
      grows: false,
      bytes: 128,
      needs: () => ({ files: [box], pieces: [key] }),
      apply: ({ files }) => files.remove(key),
    }).catch(() => {})
  }
}

/** Pieces of files in memory: what `MemoryStore` keeps of them. Each method is one atomic step. */
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import type { BoxLimits, Piece, PieceBox, PieceEntry, PiecePage, PieceResult } from '../ports.ts'
import { pieceOverheadBytes } from './checks.ts'

interface Box {
  limits: BoxLimits
  bytes: number
  readonly pieces: Piece[]
  readonly ids: Set<EnvelopeId>
}

export class PieceTable {
  readonly #boxes = new Map<BoxId, Box>()

  get bytes(): number {
    return [...this.#boxes.values()].reduce((sum, box) => sum + box.bytes, 0)
  }

  setBox(id: BoxId, limits: BoxLimits): void {
    const box = this.#boxes.get(id)
    if (box === undefined) this.#boxes.set(id, { limits, bytes: 0, pieces: [], ids: new Set() })
    else box.limits = limits
  }

  dropBox(id: BoxId): void {
    this.#boxes.delete(id)
  }

  boxes(nowMs: number): PieceBox[] {
    return [...this.#boxes]
      .filter(([, { limits }]) => limits.expiresAtMs > nowMs)
      .map(([box, { limits, bytes }]) => ({ box, limits, bytes }))
  }

  put(id: BoxId, pieces: readonly Piece[], nowMs: number): PieceResult[] {
    const box = this.#live(id, nowMs)
    return pieces.map((piece) => {
      if (box === undefined) return 'no-box'
      if (box.ids.has(piece.id)) return 'duplicate'
      const bytes = box.bytes + piece.body.length + pieceOverheadBytes
      if (box.pieces.length >= box.limits.itemsMax || bytes > box.limits.bytesMax) return 'over-quota'
      box.pieces.push(piece)
      box.ids.add(piece.id)
      box.bytes = bytes
      return 'stored'
    })
  }

  count(id: BoxId, nowMs: number): number {
    return this.#live(id, nowMs)?.pieces.length ?? 0
  }

  list(id: BoxId, page: PiecePage & { nowMs: number }): { entries: PieceEntry[], more: boolean } {
    const pieces = this.#live(id, page.nowMs)?.pieces ?? []
    const entries: PieceEntry[] = []
    let bytes = 0
    for (let at = Math.max(0, page.after); at < pieces.length; at++) {
      const { id: piece, body } = pieces[at]!
      bytes += body.length
      const isFull = entries.length >= page.itemsMax || bytes > page.bytesMax
      if (isFull && entries.length > 0) return { entries, more: true }
      entries.push({ position: at + 1, id: piece, body: body.slice() })
    }
    return { entries, more: false }
  }

  expire(nowMs: number): number {
    const over = [...this.#boxes].filter(([, { limits }]) => limits.expiresAtMs <= nowMs)
    for (const [id] of over) this.#boxes.delete(id)
    return over.length
  }

  #live(id: BoxId, nowMs: number): Box | undefined {
    const box = this.#boxes.get(id)
    return box === undefined || box.limits.expiresAtMs <= nowMs ? undefined : box
  }
}

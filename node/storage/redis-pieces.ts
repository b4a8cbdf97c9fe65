/**
 * `PieceStore` over Redis: files lie in its memory like everything else, so `limits.held_for_others`
 * bounds them together with mail. A body that does not fit its id is left out when it is read, and may
 * be put again behind the others.
 */
import { envelopeId } from '../../protocol/envelope.ts'
import type { BoxId } from '../../protocol/ids.ts'
import type { BoxLimits, Piece, PieceBox, PieceEntry, PiecePage, PieceResult, PieceStore } from '../ports.ts'
import { checkBoxLimits, checkPiece, pieceOverheadBytes } from './checks.ts'
import type { RedisStoreComponents } from './redis-mailbox.ts'
import { luaNumber } from './redis-scripts.ts'
import { boxArguments, boxPages, bytesOf, envelope, rawId } from './redis-values.ts'

const idBytes = 32

export class RedisPieces implements PieceStore {
  readonly #components: RedisStoreComponents

  constructor(components: RedisStoreComponents) {
    this.#components = components
  }

  async setBox(box: BoxId, bounds: BoxLimits): Promise<void> {
    checkBoxLimits(bounds)
    await this.#components.queue.submit({
      name: 'set_file', args: boxArguments(box, bounds), grows: true, bytes: 256, answer: () => {},
    })
  }

  async dropBox(box: BoxId): Promise<void> {
    await this.#components.queue.submit({
      name: 'drop_file', args: [rawId(box)], grows: false, bytes: 128, answer: () => {},
    })
  }

  async boxes(): Promise<PieceBox[]> {
    const boxes = await boxPages(this.#components.queue, 'files')
    return boxes.map(({ box, limits, usage }) => ({ box, limits, bytes: usage.bytes }))
  }

  async put(box: BoxId, pieces: readonly Piece[]): Promise<PieceResult[]> {
    for (const piece of pieces) checkPiece(piece)
    const own = pieces.flatMap(({ id, body }) => [rawId(id), bytesOf(body.slice())])
    return await this.#components.queue.submit({
      name: 'put_pieces',
      args: [rawId(box), String(pieceOverheadBytes), ...own],
      grows: true,
      bytes: pieces.reduce((sum, { body }) => sum + body.length + 256, 0),
      answer: (value) => (value as Buffer[]).map((one) => String(one) as PieceResult),
    })
  }

  async count(box: BoxId): Promise<number> {
    return await this.#components.queue.read('piece_count', rawId(box)) as number
  }

  async list(box: BoxId, page: PiecePage): Promise<{ entries: PieceEntry[], more: boolean }> {
    let after = Math.max(0, page.after)
    for (;;) {
      const bounds = [after, page.itemsMax, page.bytesMax].map(luaNumber)
      const [more, rows] = await this.#components.queue.read('pieces', rawId(box), ...bounds) as
        [number, [number, Buffer][]]
      const entries = rows.flatMap(([position, piece]) => this.#sound(box, position, piece))
      // All of a page may be damaged; the caller must still get on.
      if (entries.length > 0 || more === 0) return { entries, more: more === 1 }
      after = rows.at(-1)![0]
    }
  }

  async expire(nowMs: number): Promise<number> {
    return await this.#components.queue.submit({
      name: 'expire_files', args: [luaNumber(nowMs)], grows: false, bytes: 1_024, answer: Number,
    })
  }

  #sound(box: BoxId, position: number, piece: Buffer): PieceEntry[] {
    const id = envelope(piece.subarray(0, idBytes))
    const body = new Uint8Array(piece.subarray(idBytes))
    if (envelopeId(body) === id) return [{ position, id, body }]
    this.#components.onCorrupt(`${box} ${position}`)
    const args = [rawId(box), String(position)]
    // Not awaited: whoever reads goes on; a failure here is met again by the next reader.
    this.#components.queue.submit({ name: 'damaged_piece', args, grows: false, bytes: 256, answer: () => {} })
      .catch(() => {})
    return []
  }
}

/** The boxes of one table (openim_box, openim_file) as a group of writes sees and changes them. */
import type { BoxId } from '../../../protocol/ids.ts'
import type { BoxLimits } from '../../ports.ts'
import { forEach, insertRows, numberOf, sendEach, sqlNumber } from './sql-driver.ts'
import type { SqlDriver, SqlReader, SqlRow, SqlSession } from './sql-driver.ts'
import { columnBytes, columnHex } from './sql-slot.ts'

export interface BoxRow {
  readonly limits: BoxLimits
  readonly items: number
  readonly bytes: number
}

export const boxColumns = 'box, items_max, bytes_max, expires_at, items, bytes'

export class SqlBoxes {
  readonly #table: string
  readonly #stored = new Map<BoxId, BoxRow>()
  readonly #changed = new Map<BoxId, BoxRow | undefined>()
  readonly #dropped = new Set<BoxId>()

  constructor(name: 'box' | 'file') {
    this.#table = `openim_${name}`
  }

  async load(session: SqlReader, boxes: readonly BoxId[]): Promise<void> {
    const text = `SELECT ${boxColumns} FROM ${this.#table} WHERE box (*)`
    for (const row of await forEach(session, text, [...new Set(boxes)].map(columnBytes))) {
      const { box, ...rest } = boxOf(row)
      this.#stored.set(box, rest)
    }
  }

  get(box: BoxId): BoxRow | undefined {
    return this.#changed.has(box) ? this.#changed.get(box) : this.#stored.get(box)
  }

  /** Of a box that has not expired. */
  live(box: BoxId, nowMs: number): BoxRow | undefined {
    const row = this.get(box)
    return row === undefined || row.limits.expiresAtMs <= nowMs ? undefined : row
  }

  put(box: BoxId, row: BoxRow): void {
    this.#changed.set(box, row)
  }

  drop(box: BoxId): void {
    this.#changed.set(box, undefined)
    this.#dropped.add(box)
  }

  /** Those whose stored content goes, also when they were made anew afterwards. */
  dropped(): BoxId[] {
    return [...this.#dropped].filter((box) => this.#stored.has(box))
  }

  write(driver: SqlDriver, session: SqlSession): void {
    const gone = [...this.#changed].filter(([box, row]) => row === undefined && this.#stored.has(box))
    sendEach(session, `DELETE FROM ${this.#table} WHERE box (*)`, gone.map(([box]) => columnBytes(box)))
    const rows = [...this.#changed].flatMap(([box, row]) => {
      if (row === undefined) return []
      const { limits: { itemsMax, bytesMax, expiresAtMs }, items, bytes } = row
      return [[columnBytes(box), ...[itemsMax, bytesMax, expiresAtMs, items, bytes].map(sqlNumber)]]
    })
    const columns = boxColumns.split(', ')
    insertRows(driver, session, {
      into: `${this.#table} (${boxColumns})`,
      rows,
      end: driver.dialect.upsert('box', columns.slice(1)),
    })
  }
}

export function boxOf(row: SqlRow): BoxRow & { readonly box: BoxId } {
  return {
    box: columnHex(row['box']) as BoxId,
    limits: {
      itemsMax: numberOf(row['items_max']),
      bytesMax: numberOf(row['bytes_max']),
      expiresAtMs: numberOf(row['expires_at']),
    },
    items: numberOf(row['items']),
    bytes: numberOf(row['bytes']),
  }
}

/** Where a page ends, given one row more than it may have. */
import { numberOf } from './sql-driver.ts'
import type { SqlRow } from './sql-driver.ts'

/** One more than fits, to see whether there is more; without a limit as many as any box has. */
export function rowsFor(itemsMax: number): number {
  return Math.min(Math.max(1, itemsMax), 10 ** 9) + 1
}

/** Up to both limits by the `size` of each row, at least one if there is any. */
export function pageOf(
  rows: readonly SqlRow[],
  { itemsMax, bytesMax }: { readonly itemsMax: number, readonly bytesMax: number },
): { rows: readonly SqlRow[], more: boolean } {
  let bytes = 0
  for (const [count, row] of rows.entries()) {
    bytes += numberOf(row['size'])
    const isFull = count >= itemsMax || bytes > bytesMax
    if (isFull && count > 0) return { rows: rows.slice(0, count), more: true }
  }
  return { rows, more: false }
}

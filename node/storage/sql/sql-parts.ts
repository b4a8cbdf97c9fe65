/** What the three faces of an SQL store share. */
import type { Clock } from '../../../protocol/ports.ts'
import type { SqlCommitQueue } from './sql-commit.ts'
import type { SqlRow, SqlValue } from './sql-driver.ts'

export interface SqlParts {
  readonly queue: SqlCommitQueue
  readonly clock: Clock
  /** @throws STORE_CLOSED, STORE_AWAY, STORE_IO */
  readonly read: (text: string, values?: readonly SqlValue[]) => Promise<SqlRow[]>
  /** Told about each damaged row that was met. */
  readonly onCorrupt: (row: string) => void
}

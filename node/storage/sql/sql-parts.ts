/** What the three faces of an SQL store share. */
import type { Clock } from '../../../protocol/ports.ts'
import type { SqlReader } from './sql-driver.ts'
import type { SqlLanes } from './sql-lanes.ts'

export interface SqlParts {
  readonly lanes: SqlLanes
  readonly clock: Clock
  /** Its `run` throws STORE_CLOSED, STORE_AWAY, STORE_IO. */
  readonly reader: SqlReader
  /** Told about each damaged row that was met. */
  readonly onCorrupt: (row: string) => void
}

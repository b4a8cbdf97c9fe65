/**
 * Writes of one store side by side: boxes and records have a lane each, a queue of groups with a
 * connection and a writer's number of its own. So a small record does not wait for large mail, and
 * while one group waits for the disk, the database works on the other. They lock different stripes.
 *
 * Order of calls holds among all boxes and among all records, not between a box and a record.
 *
 * Two lanes for boxes were measured, too: at 64 puts at once they make groups of half the size and
 * 0.5 to 0.7 times the throughput (two processors for node and database), at 256 about as much.
 */
import { limits } from '../../../protocol/limits.ts'
import { SqlCommitQueue } from './sql-commit.ts'
import type { SqlCommitComponents, SqlWeather } from './sql-commit.ts'

export class SqlLanes {
  readonly boxes: SqlCommitQueue
  readonly records: SqlCommitQueue
  readonly #weather: SqlWeather
  #isClosed = false

  private constructor(weather: SqlWeather, lanes: { boxes: SqlCommitQueue, records: SqlCommitQueue }) {
    this.#weather = weather
    this.boxes = lanes.boxes
    this.records = lanes.records
  }

  static async open(
    components: Omit<SqlCommitComponents, 'weather' | 'operationsMax'>,
    operationsMax: number = limits.commitOperationsMax,
  ): Promise<SqlLanes> {
    const weather: SqlWeather = { queuedBytes: 0, awaySinceMs: undefined }
    const shared = { ...components, weather, operationsMax }
    const boxes = await SqlCommitQueue.open(shared)
    return new SqlLanes(weather, { boxes, records: await SqlCommitQueue.open(shared) })
  }

  /** False after `close`. */
  get accepts(): boolean {
    return !this.#isClosed
  }

  get isAway(): boolean {
    return this.#weather.awaySinceMs !== undefined
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([this.boxes.close(), this.records.close()])
  }
}

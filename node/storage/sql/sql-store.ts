/**
 * The store of a household: mail, file boxes and records in one PostgreSQL or MySQL/MariaDB that
 * several node processes share. Quotas, duplicates and tombstones are judged under locks, so they
 * are exact across processes; every answer comes after its group's commit (sql-commit.ts).
 *
 * What goes wrong, and what happens then:
 *
 * | event                                  | answer                                              |
 * |----------------------------------------|-----------------------------------------------------|
 * | server restarted, connection cut       | tried again for two seconds, then STORE_AWAY         |
 * | server frozen                          | STORE_AWAY after the time limit of a statement       |
 * | deadlock, serialization failure        | the group is done again                             |
 * | connection cut during COMMIT           | looked up whether it was written; never done twice  |
 * | no room                                | STORE_FULL for what needs some; deletions go on     |
 * | written by a newer openIM              | STORE_NEWER                                         |
 * | a body damaged                         | dropped, counted, logged; replicas still have it    |
 *
 * After STORE_AWAY a write may yet have gone through: callers offer it again, and mail is
 * recognised by its id.
 */
import { OpenIMError } from '../../../crypto/errors.ts'
import { systemRandom } from '../../../crypto/random.ts'
import type { Random } from '../../../crypto/random.ts'
import type { Clock } from '../../../protocol/ports.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import type { Log, Store } from '../../ports.ts'
import { storeError } from './sql-commit.ts'
import type { SqlDriver, SqlReader, SqlRow, SqlValue } from './sql-driver.ts'
import { SqlKv } from './sql-kv.ts'
import { SqlLanes } from './sql-lanes.ts'
import { SqlMailbox } from './sql-mailbox.ts'
import type { SqlParts } from './sql-parts.ts'
import { SqlPieces } from './sql-pieces.ts'
import { migrate } from './sql-schema.ts'

export interface SqlStoreComponents {
  /** Closed with the store, also when opening fails. */
  readonly driver: SqlDriver
  /** Of what is stored: when it expires. */
  readonly clock: Clock
  readonly log: Log
  /** Of waiting for the database, which lives in real time. */
  readonly paceClock?: Clock
  readonly random?: Random
  /** Operations of one group, for whoever compares groups with none. */
  readonly operationsMax?: number
}

export interface SqlStore extends Store {
  health(): SqlStoreHealth
}

export interface SqlStoreHealth {
  /** Damaged rows met since the start. */
  readonly corrupt: number
  /** True while the database does not answer. */
  readonly away: boolean
  /** Settings under which a power cut may take what was said to be stored. */
  readonly undurable: readonly string[]
}

/** Makes its tables where there are none. @throws STORE_NEWER, STORE_AWAY, STORE_TLS, STORE_IO */
export async function openSqlStore(components: SqlStoreComponents): Promise<SqlStore> {
  const { driver, clock, log, paceClock = systemClock, random = systemRandom } = components
  let corrupt = 0
  const onCorrupt = (row: string): void => {
    corrupt++
    log.error({ code: 'STORE_CORRUPT', row }, 'a damaged row was met and left out')
  }
  try {
    await migrate(driver)
    const undurable = await driver.undurable()
    if (undurable.length > 0) {
      log.warn({ settings: undurable },
        'the database may lose what it says is stored when the power fails; change its settings')
    }
    const writing = { driver, clock, paceClock, random, log }
    const lanes = await SqlLanes.open(writing, components.operationsMax)
    const parts: SqlParts = { lanes, clock, onCorrupt, reader: reader(driver, lanes) }
    let closing: Promise<void> | undefined
    return {
      mailbox: new SqlMailbox(parts),
      pieces: new SqlPieces(parts),
      kv: new SqlKv(parts),
      health: () => ({ corrupt, away: lanes.isAway, undurable }),
      close() {
        closing ??= (async () => {
          await lanes.close()
          await driver.close()
        })()
        return closing
      },
    }
  } catch (error) {
    await driver.close()
    throw storeError(error, driver.trouble(error))
  }
}

function reader(driver: SqlDriver, lanes: SqlLanes): SqlReader {
  const read = async (text: string, values: readonly SqlValue[], isLast: boolean): Promise<SqlRow[]> => {
    if (!lanes.accepts) throw new OpenIMError('STORE_CLOSED', 'the store is closed')
    try {
      return await driver.run(text, values)
    } catch (error) {
      const trouble = driver.trouble(error)
      // A restarted server leaves dead connections in the pool, and reading twice does no harm.
      if (trouble === 'away' && !isLast && lanes.accepts) return await read(text, values, true)
      throw storeError(error, trouble)
    }
  }
  return { dialect: driver.dialect, run: (text, values = []) => read(text, values, false) }
}

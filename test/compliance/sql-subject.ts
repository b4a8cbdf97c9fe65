/** An SQL store under test: its tables are made anew for each test in one private server. */
import { silentLog } from '../../node/ports.ts'
import type { SqlDriver } from '../../node/storage/sql/sql-driver.ts'
import { tables } from '../../node/storage/sql/sql-schema.ts'
import { openSqlStore } from '../../node/storage/sql/sql-store.ts'
import type { DatabaseProcess } from '../helpers/database-process.ts'
import { suite } from '../helpers/harness.ts'
import type { SqlKind } from '../helpers/sql-kinds.ts'
import type { VirtualClock } from '../helpers/virtual-clock.ts'
import { storeSuite } from './store-suite.ts'
import type { StoreSubject } from './store-subject.ts'

export async function emptyDatabase(driver: SqlDriver): Promise<void> {
  for (const table of tables) await driver.run(`DROP TABLE IF EXISTS ${table}`)
}

/** Holds a kind of database to the suite of the port. */
export function sqlStoreSuite(kind: SqlKind): void {
  if (!kind.isHere) {
    const test = suite(`compliance/store: ${kind.name}`)
    test.skip(`${kind.name} is not installed`)('keeps the promises of the port', () => {})
    test.run()
    return
  }
  let server: DatabaseProcess
  const subject = async (clock: VirtualClock): Promise<StoreSubject> => {
    const driver = await kind.open(kind.address(server), { log: silentLog })
    const store = await openSqlStore({ driver, clock, log: silentLog })
    return {
      store,
      async reopen() {
        await store.close()
        return await subject(clock)
      },
      remove: () => store.close(),
    }
  }
  storeSuite(kind.name, {
    async start() { server = await kind.start(kind.fleeting) },
    async stop() { await server.remove() },
    async open(clock) {
      const driver = await kind.open(kind.address(server), { log: silentLog })
      await emptyDatabase(driver)
      await driver.close()
      return await subject(clock)
    },
  })
}

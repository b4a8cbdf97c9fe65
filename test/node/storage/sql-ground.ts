/** A private SQL server with empty tables for each test, and stores on it that are closed afterwards. */
import { systemClock } from '../../../protocol/system-clock.ts'
import { silentLog } from '../../../node/ports.ts'
import type { MailboxItem } from '../../../node/ports.ts'
import { defaultPace } from '../../../node/storage/sql/sql-driver.ts'
import type { SqlDriver, SqlPace } from '../../../node/storage/sql/sql-driver.ts'
import { openSqlStore } from '../../../node/storage/sql/sql-store.ts'
import type { SqlStore } from '../../../node/storage/sql/sql-store.ts'
import { emptyDatabase } from '../../compliance/sql-subject.ts'
import { boxNamed, itemOf, wide } from '../../compliance/store-subject.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { suite } from '../../helpers/harness.ts'
import type { Suite } from '../../helpers/harness.ts'
import type { SqlKind } from '../../helpers/sql-kinds.ts'

/** Short, so that what never answers is noticed soon. */
export const hasty: SqlPace = { ...defaultPace, connectTimeoutMs: 500, queryTimeoutMs: 1_000 }
export const box = boxNamed('inbox')
export const everlasting = { ...wide, itemsMax: Infinity, bytesMax: Infinity }

export function mail(count: number, from = 0): MailboxItem[] {
  return Array.from({ length: count }, (_, i) => itemOf({ box, number: from + i, expiresAtMs: Infinity }))
}

export interface SqlGround {
  readonly kind: SqlKind
  server: DatabaseProcess
  driver(pace?: SqlPace): Promise<SqlDriver>
  store(pace?: SqlPace): Promise<SqlStore>
}

export function sqlGroundSuite(
  name: string,
  kind: SqlKind,
  register: (test: Suite, ground: SqlGround) => void,
): void {
  const test = suite(`node/storage/${name}: ${kind.name}`, { timeoutMs: 120_000 })
  if (!kind.isHere) {
    test.skip(`${kind.name} is not installed`)('does what it must', () => {})
    test.run()
    return
  }
  const opened: SqlStore[] = []
  const ground: SqlGround = {
    kind,
    server: undefined as unknown as DatabaseProcess,
    driver: (pace = defaultPace) => kind.open(kind.address(ground.server), { log: silentLog, pace }),
    async store(pace = defaultPace) {
      const driver = await ground.driver(pace)
      const store = await openSqlStore({ driver, clock: systemClock, log: silentLog })
      opened.push(store)
      return store
    },
  }
  test.before(async () => { ground.server = await kind.start() })
  test.after(async () => { await ground.server.remove() })
  test.before.each(async () => {
    const driver = await ground.driver()
    await emptyDatabase(driver)
    await driver.close()
  })
  test.after.each(async () => { for (const store of opened.splice(0)) await store.close() })
  register(test, ground)
  test.run()
}

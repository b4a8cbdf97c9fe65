/** Where kill-writer.ts writes and kill-campaign.ts looks afterwards: a directory, or a database server. */
import { systemRandom } from '../../../crypto/random.ts'
import { silentLog } from '../../../node/ports.ts'
import type { Store } from '../../../node/ports.ts'
import { openLevelStore } from '../../../node/storage/level-store.ts'
import type { RedisAddress } from '../../../node/storage/redis-client.ts'
import { openRedisStore } from '../../../node/storage/redis-store.ts'
import { openMysql } from '../../../node/storage/sql/mysql-driver.ts'
import { openPostgresql } from '../../../node/storage/sql/postgresql-driver.ts'
import type { SqlAddress } from '../../../node/storage/sql/sql-driver.ts'
import { openSqlStore } from '../../../node/storage/sql/sql-store.ts'
import { systemClock } from '../../../protocol/system-clock.ts'

export type KillPlace =
  | { readonly kind: 'level', readonly directory: string, readonly unsynced?: boolean }
  | { readonly kind: 'PostgreSQL' | 'MariaDB', readonly address: SqlAddress }
  | { readonly kind: 'Redis', readonly address: RedisAddress }

export async function openPlace(place: KillPlace): Promise<Store & { health(): object }> {
  const common = { clock: systemClock, log: silentLog }
  if (place.kind === 'level') {
    const { directory, unsynced = false } = place
    return await openLevelStore({ ...common, directory, unsynced, ballastBytes: 1024 * 1024 })
  }
  if (place.kind === 'Redis') {
    return await openRedisStore({ ...common, address: place.address, random: systemRandom })
  }
  const open = place.kind === 'MariaDB' ? openMysql : openPostgresql
  return await openSqlStore({ ...common, driver: await open(place.address, common) })
}

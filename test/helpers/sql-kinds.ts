/** The SQL databases that tests run on, each as a private server. */
import type { Log } from '../../node/ports.ts'
import { openMysql } from '../../node/storage/sql/mysql-driver.ts'
import { openPostgresql } from '../../node/storage/sql/postgresql-driver.ts'
import type { SqlAddress, SqlDriver, SqlPace } from '../../node/storage/sql/sql-driver.ts'
import type { DatabaseGround, DatabaseProcess } from './database-process.ts'
import { hasMariadb, mariadbAddress, startMariadb } from './mariadb-server.ts'
import { hasPostgresql, postgresqlAddress, startPostgresql } from './postgresql-server.ts'

export interface SqlKind {
  readonly name: 'PostgreSQL' | 'MariaDB'
  readonly isHere: boolean
  /** Fast, and forgets what it said when the power fails: for tests of anything else. */
  readonly fleeting: readonly string[]
  /** @param settings of the server, as `name=value` */
  start(settings?: readonly string[], ground?: DatabaseGround): Promise<DatabaseProcess>
  address(server: DatabaseProcess): SqlAddress
  open(address: SqlAddress, components: { readonly log: Log, readonly pace?: SqlPace }): Promise<SqlDriver>
}

export const postgresqlKind: SqlKind = {
  name: 'PostgreSQL',
  isHere: hasPostgresql,
  fleeting: ['fsync=off', 'full_page_writes=off'],
  start: startPostgresql,
  address: postgresqlAddress,
  open: openPostgresql,
}

export const mariadbKind: SqlKind = {
  name: 'MariaDB',
  isHere: hasMariadb,
  fleeting: ['innodb-flush-log-at-trx-commit=0', 'skip-innodb-doublewrite'],
  start: startMariadb,
  address: mariadbAddress,
  open: openMysql,
}

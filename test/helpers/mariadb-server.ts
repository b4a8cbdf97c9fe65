/** A private MariaDB from Debian's package for tests. */
import type { SqlAddress } from '../../node/storage/sql/sql-driver.ts'
import { DatabaseProcess } from './database-process.ts'
import type { DatabaseGround } from './database-process.ts'
import { needProgram } from './debian.ts'

const server = await needProgram('mariadbd', 'mariadb-server')
const installer = server === undefined ? undefined : await needProgram('mariadb-install-db', 'mariadb-server')
export const hasMariadb = installer !== undefined

/** @param settings as `name=value` */
export async function startMariadb(
  settings: readonly string[] = [],
  ground: DatabaseGround = {},
): Promise<DatabaseProcess> {
  return await DatabaseProcess.start({
    name: 'MariaDB',
    program: server!,
    args: (folder) => ['--no-defaults', `--datadir=${folder}/data`, ...[
      // One that starts removes what others have under way in a common folder.
      `socket=${folder}/socket`, `tmpdir=${folder}`,
      'skip-networking', 'skip-grant-tables', `pid-file=${folder}/pid`, 'innodb-buffer-pool-size=32M',
      'innodb-log-file-size=32M', 'max-connections=40', ...settings,
    ].map((one) => `--${one}`)],
    ready: /ready for connections/,
    prepare: {
      program: installer!,
      args: (folder) => [
        '--no-defaults', `--datadir=${folder}/data`, `--tmpdir=${folder}`, '--innodb-log-file-size=32M',
        '--auth-root-authentication-method=normal',
      ],
    },
    stopSignal: 'SIGTERM',
  }, ground)
}

export function mariadbAddress({ folder }: DatabaseProcess): SqlAddress {
  return { host: `${folder}/socket`, user: 'root', database: 'test' }
}

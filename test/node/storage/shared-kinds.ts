/** The databases that several processes share, each as a private server and a place to write to. */
import type { DatabaseGround, DatabaseProcess } from '../../helpers/database-process.ts'
import { hasRedis, redisAddress, startRedis } from '../../helpers/redis-server.ts'
import { mariadbKind, postgresqlKind } from '../../helpers/sql-kinds.ts'
import type { KillPlace } from './kill-place.ts'

export interface SharedKind {
  readonly name: 'PostgreSQL' | 'MariaDB' | 'Redis'
  readonly isHere: boolean
  start(ground?: DatabaseGround, settings?: readonly string[]): Promise<DatabaseProcess>
  place(server: DatabaseProcess): KillPlace
}

export const sharedKinds: readonly SharedKind[] = [
  ...[postgresqlKind, mariadbKind].map((kind): SharedKind => ({
    name: kind.name,
    isHere: kind.isHere,
    start: (ground, settings) => kind.start(settings, ground),
    place: (server) => ({ kind: kind.name, address: kind.address(server) }),
  })),
  {
    name: 'Redis',
    isHere: hasRedis,
    start: (ground) => startRedis({}, ground),
    place: (server) => ({ kind: 'Redis', address: redisAddress(server) }),
  },
]

/**
 * The mailbox workload on every database in one run: bodies of 1 KiB, 10⁴ mailboxes, durable
 * settings (LevelDB synced, PostgreSQL as installed, InnoDB flushed at each commit, Redis with
 * appendfsync always). Each store works in a process of its own and the rounds are interleaved.
 *
 * What each is compared with has a server of its own: what that one writes late must not be counted
 * here. `full` fills each store with 10⁶ messages in between, 256 at a time, which is a flood, and
 * then puts 64 at a time into what is full: seven minutes in all. A database can be named to run it alone.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StoreAddress } from '../../node/storage/store-address.ts'
import type { DatabaseProcess } from '../helpers/database-process.ts'
import { hasMariadb, mariadbAddress, startMariadb } from '../helpers/mariadb-server.ts'
import { hasPostgresql, postgresqlAddress, startPostgresql } from '../helpers/postgresql-server.ts'
import { hasRedis, redisAddress, startRedis } from '../helpers/redis-server.ts'
import { BenchProcess } from './bench-process.ts'
import { median } from './bench.ts'
import type { Bench, BenchContext, BenchRow } from './bench.ts'
import type { PutFigures, StorageCommand } from './storage-process.ts'

const script = new URL('./storage-process.ts', import.meta.url)
/** Of a server: sixteen stores that write each put alone come on top of our own. */
const connections = ['max_connections=120']
/** As docs/databases.md says; the server of the tests is smaller. */
const innodb = [...connections, 'innodb-buffer-pool-size=256M', 'innodb-log-file-size=96M']
const rounds = 3
const boxes = 10_000
const putsAlone = 300
const putsTogether = 10_000
const fetchBoxes = 50
const expireCount = 5_000
const fullCount = 1_000_000
const putsAtFull = 20_000

interface Side {
  readonly name: string
  readonly process: BenchProcess<StorageCommand>
  readonly server: DatabaseProcess | undefined
  readonly address: StoreAddress | undefined
  readonly alone: number[]
  readonly together: PutFigures[]
  readonly fetched: number[]
  readonly expired: number[]
  /** Bytes written to disk for each byte stored. */
  amplification: number
  fill: { readonly filling: PutFigures, readonly after: PutFigures } | undefined
}

/** Everything of the store's own process, and of the server's and its children. */
function writtenBytes(pids: readonly number[]): number {
  let total = 0
  for (const pid of pids) {
    try {
      total += Number(/^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0)
    } catch {
      // It ended meanwhile.
    }
  }
  return total
}

function withChildren(pid: number): number[] {
  const pids = [pid]
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const parent = /\) \S (\d+) /.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1]
      if (Number(parent) === pid) pids.push(Number(name))
    } catch {
      // It ended meanwhile.
    }
  }
  return pids
}

async function startSides(folder: string, { say, args }: BenchContext): Promise<Side[]> {
  const sides: Side[] = []
  const named = args.filter((arg) => arg !== 'full')
  const add = async (name: string, start: () => Promise<Partial<Started>>): Promise<void> => {
    if (named.length > 0 && !named.includes(name.toLowerCase())) return
    say(`${name} …`)
    const { server, address } = await start()
    const process = await BenchProcess.start<StorageCommand>(script, 'store')
    const directory = join(folder, name)
    await process.ask({ op: 'open', directory, boxes, ...address === undefined ? {} : { address } })
    sides.push({
      name, process, server, address, alone: [], together: [], fetched: [], expired: [], amplification: 0,
      fill: undefined,
    })
  }
  await add('level', async () => ({}))
  for (const [name, start] of Object.entries(starts)) await add(name, start)
  return sides
}

const rest = { port: undefined, prefix: undefined, tls: undefined }
type Started = Required<Pick<Side, 'server' | 'address'>>
/** Of the databases that are here. */
const starts: Readonly<Record<string, () => Promise<Started>>> = {
  ...hasPostgresql && {
    async PostgreSQL() {
      const server = await startPostgresql(connections)
      return { server, address: { ...rest, kind: 'postgresql', ...sqlAddress(postgresqlAddress(server)) } }
    },
  },
  ...hasMariadb && {
    async MariaDB() {
      const server = await startMariadb(innodb)
      return { server, address: { ...rest, kind: 'mysql', ...sqlAddress(mariadbAddress(server)) } }
    },
  },
  ...hasRedis && {
    async Redis() {
      const server = await startRedis()
      const { host } = redisAddress(server)
      return { server, address: { ...rest, kind: 'redis', host, user: undefined, database: '' } }
    },
  },
}

function sqlAddress(
  { host, user, database }: { host: string, user: string, database: string },
): { host: string, user: string, database: string } {
  return { host, user, database }
}

/** Something plain under the load of 64 puts at a time. */
interface Plain {
  /** Of the side that is compared with it. */
  readonly side: string
  readonly name: string
  readonly op: 'put' | 'plainPut'
  readonly process: BenchProcess<StorageCommand>
  readonly server: DatabaseProcess | undefined
  readonly bounds: { readonly floor?: number, readonly target?: number }
  readonly rates: number[]
}

async function startPlain(folder: string, sides: readonly Side[]): Promise<Plain[]> {
  const plain: Plain[] = []
  const add = async (
    what: Omit<Plain, 'process' | 'rates'>, command: StorageCommand,
  ): Promise<void> => {
    const process = await BenchProcess.start<StorageCommand>(script, 'store')
    await process.ask(command)
    plain.push({ ...what, process, rates: [] })
  }
  for (const { name, address } of sides) {
    if (name === 'level') {
      const what = { side: name, name: 'the same, not synced', op: 'put', server: undefined } as const
      const command = { op: 'open', directory: join(folder, 'unsynced'), boxes, unsynced: true } as const
      await add({ ...what, bounds: { floor: 0.4, target: 0.8 } }, command)
      continue
    }
    if (address?.kind === 'redis') continue
    const singly = await starts[name]!()
    await add(
      {
        side: name, name: `${name}, the same for each put alone`, op: 'plainPut',
        bounds: { floor: 1.5, target: 3 }, server: singly.server,
      },
      { op: 'openSingly', address: singly.address!, boxes },
    )
    if (address?.kind !== 'postgresql') continue
    const { server } = await starts[name]!()
    await add(
      {
        side: name, name: `${name}, one statement for each put`, op: 'plainPut', bounds: { floor: 0.7 },
        server,
      },
      { op: 'openPlain', host: server!.folder, boxes },
    )
  }
  return plain
}

async function measure(side: Side, isFirst: boolean): Promise<void> {
  const { process, server } = side
  const ask = <T>(command: StorageCommand): Promise<T> => process.ask<T>(command)
  const { perSecond } = await ask<PutFigures>({ op: 'put', concurrency: 1, count: putsAlone })
  const pids = [process.pid, ...server === undefined ? [] : withChildren(server.pid)]
  const [bytes, written] = [await ask<number>({ op: 'written' }), writtenBytes(pids)]
  const together = await ask<PutFigures>({ op: 'put', concurrency: 64, count: putsTogether })
  const stored = await ask<number>({ op: 'written' }) - bytes
  const fetched = await ask<number>({ op: 'fetch', boxes: fetchBoxes })
  const expired = await ask<number>({ op: 'expire', count: expireCount })
  if (isFirst) return
  side.amplification = (writtenBytes(pids) - written) / stored
  side.alone.push(perSecond)
  side.together.push(together)
  side.fetched.push(fetched)
  side.expired.push(expired)
}

const million = fullCount.toLocaleString('en')

function rowsOf(side: Side, level: Side | undefined): BenchRow[] {
  const isLevel = side === level
  const against = (value: number, other: number): Partial<BenchRow> =>
    (isLevel ? {} : { against: 'level', againstValue: other, ratio: value / other })
  const row = (what: string, pick: (one: Side) => number): BenchRow => ({
    figure: `${side.name}: ${what}`, unit: '1/s', better: 'higher', value: pick(side),
    ...level === undefined ? {} : against(pick(side), pick(level)),
  })
  const rateTogether = (one: Side): number => median(one.together.map(({ perSecond }) => perSecond))
  const lower = (what: string, unit: string, value: number, target?: number): BenchRow => ({
    figure: `${side.name}: ${what}`, unit, better: 'lower', value, ...target === undefined ? {} : { target },
  })
  const { together, fill } = side
  return [
    row('put, one at a time', (one) => median(one.alone)),
    row('put, 64 at a time', rateTogether),
    row('mailboxes of 100 fetched and acknowledged', (one) => median(one.fetched)),
    row('expired', (one) => median(one.expired)),
    lower('longest stall', 'ms', Math.max(...together.map(({ stallMs }) => stallMs)), 100),
    lower('event loop delay p99', 'ms', median(together.map(({ loopP99Ms }) => loopP99Ms))),
    lower('bytes written for each stored', '', side.amplification),
    ...fill === undefined ? [] : [
      lower(`longest stall while ${million} were put`, 'ms', fill.filling.stallMs, 100),
      lower(`longest stall with ${million} there`, 'ms', fill.after.stallMs, 100),
      row(`put, 64 at a time, with ${million} there`, (one) => one.fill!.after.perSecond),
    ],
  ]
}

export const bench: Bench = {
  about: 'the mailbox workload on each database, durable, beside plain ones',
  usage: 'full: 1,000,000 messages each · level, postgresql, mariadb, redis: these alone',
  async run(context) {
    const folder = await mkdtemp(join(tmpdir(), 'openim-bench-'))
    const sides = await startSides(folder, context)
    const plain = await startPlain(folder, sides)
    try {
      for (let round = 0; round <= rounds; round++) {
        context.say(`round ${round} of ${rounds} …`)
        for (const side of round % 2 === 0 ? sides : sides.toReversed()) await measure(side, round === 0)
        for (const { process, op, rates } of plain) {
          const figures = await process.ask<PutFigures>({ op, concurrency: 64, count: putsTogether })
          if (round > 0) rates.push(figures.perSecond)
        }
      }
      if (context.args.includes('full')) await fillAll(sides, context)
      const level = sides.find(({ name }) => name === 'level')
      const rows = sides.flatMap((side) => rowsOf(side, level))
      return [...rows, ...plain.map((one) => plainRow(sides, one))]
    } finally {
      for (const { process, server } of sides) {
        await process.end()
        await server?.remove()
      }
      for (const { process, server } of plain) {
        await process.end()
        await server?.remove()
      }
      await rm(folder, { recursive: true, force: true })
    }
  },
}

async function fillAll(sides: readonly Side[], { say }: BenchContext): Promise<void> {
  for (const side of sides) {
    say(`${side.name}: ${fullCount} messages …`)
    const { process } = side
    const filling = await process.ask<PutFigures>({ op: 'put', concurrency: 256, count: fullCount })
    say(`${side.name}: ${Math.round(filling.perSecond)} puts a second`)
    const after = await process.ask<PutFigures>({ op: 'put', concurrency: 64, count: putsAtFull })
    side.fill = { filling, after }
  }
}

function plainRow(sides: readonly Side[], { side, name, rates, bounds }: Plain): BenchRow {
  const ours = sides.find((one) => one.name === side)!.together.map(({ perSecond }) => perSecond)
  return {
    figure: side === 'level' ? 'level, synced, 64 at a time' : `${side}, groups, 64 at a time`,
    unit: '1/s',
    better: 'higher',
    value: median(ours),
    against: name,
    againstValue: median(rates),
    ratio: median(ours.map((value, round) => value / rates[round]!)),
    ...bounds,
  }
}

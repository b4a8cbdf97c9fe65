/**
 * The mailbox workload on every database in one run: bodies of 1 KiB, 10⁴ mailboxes, durable
 * settings (LevelDB synced, PostgreSQL as installed, InnoDB flushed at each commit, Redis with
 * appendfsync always). Each store works in a process of its own and the rounds are interleaved.
 *
 * `full` fills each store with 10⁶ messages in between and takes an hour on a small machine.
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
const rounds = 3
const boxes = 10_000
const putsAlone = 300
const putsTogether = 10_000
const fetchBoxes = 50
const expireCount = 5_000
const fullCount = 1_000_000

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
  fill: PutFigures | undefined
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

async function startSides(folder: string, { say }: BenchContext): Promise<Side[]> {
  const sides: Side[] = []
  const add = async (name: string, server?: DatabaseProcess, address?: StoreAddress): Promise<void> => {
    say(`${name} …`)
    const process = await BenchProcess.start<StorageCommand>(script, 'store')
    const directory = join(folder, name)
    await process.ask({ op: 'open', directory, boxes, ...address === undefined ? {} : { address } })
    sides.push({
      name, process, server, address, alone: [], together: [], fetched: [], expired: [], amplification: 0,
      fill: undefined,
    })
  }
  const rest = { port: undefined, prefix: undefined, tls: undefined }
  await add('level')
  if (hasPostgresql) {
    const server = await startPostgresql(connections)
    await add('PostgreSQL', server, { ...rest, kind: 'postgresql', ...sqlAddress(postgresqlAddress(server)) })
  }
  if (hasMariadb) {
    const server = await startMariadb(connections)
    await add('MariaDB', server, { ...rest, kind: 'mysql', ...sqlAddress(mariadbAddress(server)) })
  }
  if (hasRedis) {
    const server = await startRedis()
    const { host } = redisAddress(server)
    await add('Redis', server, { ...rest, kind: 'redis', host, user: undefined, database: '' })
  }
  return sides
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
  readonly bounds: { readonly floor?: number, readonly target?: number }
  readonly rates: number[]
}

async function startPlain(folder: string, sides: readonly Side[]): Promise<Plain[]> {
  const plain: Plain[] = []
  const add = async (
    what: Pick<Plain, 'side' | 'name' | 'op' | 'bounds'>, command: StorageCommand,
  ): Promise<void> => {
    const process = await BenchProcess.start<StorageCommand>(script, 'store')
    await process.ask(command)
    plain.push({ ...what, process, rates: [] })
  }
  await add(
    { side: 'level', name: 'the same, not synced', op: 'put', bounds: { floor: 0.4, target: 0.8 } },
    { op: 'open', directory: join(folder, 'unsynced'), boxes, unsynced: true },
  )
  for (const { name, server, address } of sides) {
    if (address === undefined || address.kind === 'redis') continue
    await add(
      {
        side: name, name: `${name}, the same for each put alone`, op: 'plainPut',
        bounds: { floor: 1.5, target: 3 },
      },
      { op: 'openSingly', address, boxes },
    )
    if (address.kind !== 'postgresql') continue
    await add(
      { side: name, name: `${name}, one statement for each put`, op: 'plainPut', bounds: { floor: 0.7 } },
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

function rowsOf(side: Side, level: Side): BenchRow[] {
  const isLevel = side === level
  const against = (value: number, other: number): Partial<BenchRow> =>
    (isLevel ? {} : { against: 'level', againstValue: other, ratio: value / other })
  const row = (what: string, pick: (one: Side) => number): BenchRow => ({
    figure: `${side.name}: ${what}`, unit: '1/s', better: 'higher', value: pick(side),
    ...against(pick(side), pick(level)),
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
      lower(`longest stall while ${fullCount.toLocaleString('en')} were put`, 'ms', fill.stallMs, 100),
      row(`put, 64 at a time, up to ${fullCount.toLocaleString('en')}`, (one) => one.fill!.perSecond),
    ],
  ]
}

export const bench: Bench = {
  about: 'the mailbox workload on each database, durable, beside plain ones',
  usage: 'full: 1,000,000 messages each',
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
      if (context.args[0] === 'full') await fillAll(sides, context)
      const rows = sides.flatMap((side) => rowsOf(side, sides[0]!))
      return [...rows, ...plain.map((one) => plainRow(sides, one))]
    } finally {
      for (const { process, server } of sides) {
        await process.end()
        await server?.remove()
      }
      for (const { process } of plain) await process.end()
      await rm(folder, { recursive: true, force: true })
    }
  },
}

async function fillAll(sides: readonly Side[], { say }: BenchContext): Promise<void> {
  for (const side of sides) {
    say(`${side.name}: ${fullCount} messages …`)
    side.fill = await side.process.ask<PutFigures>({ op: 'put', concurrency: 64, count: fullCount })
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

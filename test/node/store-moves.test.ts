/**
 * From every database into every other one: an archive of each, imported into each, gives equal
 * digests. And as a person does it: a node's history moves to PostgreSQL, and is there.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { silentLog } from '../../node/ports.ts'
import type { Store } from '../../node/ports.ts'
import { importArchive, writeArchive } from '../../node/store-archive.ts'
import { openLevelStore } from '../../node/storage/level-store.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { openRedisStore } from '../../node/storage/redis-store.ts'
import { openSqlStore } from '../../node/storage/sql/sql-store.ts'
import { storeDigest } from '../../node/storage/store-parts.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { emptyDatabase } from '../compliance/sql-subject.ts'
import { boxNamed, hourMs, itemOf, proof } from '../compliance/store-subject.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import type { DatabaseProcess } from '../helpers/database-process.ts'
import { suite } from '../helpers/harness.ts'
import { hasRedis, redisAddress, redisCommand, startRedis } from '../helpers/redis-server.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { mariadbKind, postgresqlKind } from '../helpers/sql-kinds.ts'
import type { SqlKind } from '../helpers/sql-kinds.ts'

const test = suite('node/store-moves', { timeoutMs: 120_000 })
const folder = mkdtempSync(join(tmpdir(), 'openim-moves-'))
const servers: DatabaseProcess[] = []
const clock = systemClock
const expiresAtMs = Math.ceil(clock.now() / hourMs + 24) * hourMs

test.after(async () => {
  for (const server of servers) await server.remove()
  rmSync(folder, { recursive: true, force: true })
})

interface Place {
  readonly name: string
  /** A store with nothing in it; what was there is gone. */
  empty(): Promise<Store>
}

function embedded(name: 'memory' | 'level'): Place {
  return {
    name,
    async empty() {
      if (name === 'memory') return new MemoryStore({ clock })
      const directory = await mkdtemp(join(folder, 'level-'))
      return await openLevelStore({ directory, clock, log: silentLog, ballastBytes: 1024 * 1024 })
    },
  }
}

async function sqlPlace(kind: SqlKind): Promise<Place> {
  const server = await kind.start(kind.fleeting)
  servers.push(server)
  return {
    name: kind.name,
    async empty() {
      const driver = await kind.open(kind.address(server), { log: silentLog })
      await emptyDatabase(driver)
      return await openSqlStore({ driver, clock, log: silentLog })
    },
  }
}

async function redisPlace(): Promise<Place> {
  const server = await startRedis()
  servers.push(server)
  return {
    name: 'Redis',
    async empty() {
      await redisCommand(server, 'FLUSHALL')
      const random = seededRandom('moves')
      return await openRedisStore({ address: redisAddress(server), clock, random, log: silentLog })
    },
  }
}

/** Some of everything that a store may hold, at its edges. */
async function fill(store: Store): Promise<void> {
  const values = [0, 1, 255, 70_000].map((bytes) => new Uint8Array(bytes).fill(bytes))
  for (const [i, value] of values.entries()) {
    await store.kv.write([
      { type: 'put', key: `record/${i}`, value },
      { type: 'put', key: `ending/é/${i}`, value, expiresAtMs: expiresAtMs + i },
    ])
  }
  for (const [name, until] of [['one', Infinity], ['two', expiresAtMs]] as const) {
    const box = boxNamed(name)
    await store.mailbox.setBox(box, { itemsMax: 1_000, bytesMax: 10_000_000, expiresAtMs: until })
    const sizes = [0, 1, 1_000, 65_000]
    const mail = Array.from({ length: 120 }, (_, number) =>
      itemOf({ box, number, expiresAtMs: expiresAtMs - (number % 5), bytes: 4 + sizes[number % 4]! }))
    await store.mailbox.put(mail)
    const gone = mail.slice(20, 50).map(({ id }) => id)
    await store.mailbox.acknowledge(box, gone, { expiresAtMs, proof })
  }
  await store.mailbox.setBox(boxNamed('none'), { itemsMax: 0, bytesMax: 0, expiresAtMs })
  const files = boxNamed('files')
  await store.pieces.setBox(files, { itemsMax: 100, bytesMax: 10_000_000, expiresAtMs })
  await store.pieces.put(files, Array.from({ length: 10 }, (_, number) =>
    itemOf({ box: files, number, expiresAtMs, bytes: 50_000 })))
}

const everything = hasRedis && mariadbKind.isHere && postgresqlKind.isHere
const allTest = test.skipUnless(everything, 'PostgreSQL, MariaDB and Redis are not all installed')

allTest('an archive of each database fills each other one, with equal digests', async () => {
  const places = [
    embedded('memory'), embedded('level'),
    ...await Promise.all([sqlPlace(postgresqlKind), sqlPlace(mariadbKind), redisPlace()]),
  ]
  const archives: { from: string, path: string, digest: string }[] = []
  for (const { name, empty } of places) {
    const store = await empty()
    await fill(store)
    const path = join(folder, `${name}.openim-store`)
    const { digest } = await writeArchive(store, path)
    assert.is(digest, await storeDigest(store), name)
    await store.close()
    archives.push({ from: name, path, digest })
  }
  assert.equal(new Set(archives.map(({ digest }) => digest)).size, 1, 'they hold the same')
  for (const { name, empty } of places) {
    for (const { from, path, digest } of archives) {
      const store = await empty()
      assert.is((await importArchive(store, path)).digest, digest, `${from} to ${name}`)
      assert.is(await storeDigest(store), digest, `${from} to ${name}`)
      await store.close()
    }
  }
})

const postgresqlTest = test.skipUnless(postgresqlKind.isHere, 'PostgreSQL is not installed')

function must<R extends { code: number | null, stderr: string }>(result: R): R {
  assert.is(result.code, 0, result.stderr)
  return result
}

postgresqlTest('a node that moves to PostgreSQL has its history there, and goes on', async () => {
  const server = await postgresqlKind.start()
  servers.push(server)
  const [alice, bob] = [await CliNode.init('alice'), await CliNode.init('bob')]
  const delivered = ['--wait', 'delivered', '--timeout', '60s']
  try {
    const { p2p } = await bob.start()
    await alice.start([p2p[0]!])
    const { json: { uri } } = must(await bob.run(['invite']))
    must(await alice.run(['add', String(uri), '--name', 'bob']))
    await eventually(async () => {
      const { contacts } = must(await alice.run(['contacts'])).json as { contacts: { state: string }[] }
      return contacts[0]?.state === 'active' ? true : undefined
    }, { withinMs: 60_000, what: 'the invite is answered' })
    must(await bob.run(['send', 'alice', 'before the move', ...delivered]))
    assert.is(await alice.stop(), 0)

    const url = `postgresql://openim@localhost/postgres?socket=${server.folder}`
    const moved = must(await alice.run(['db', 'migrate', '--to', url]))
    assert.is(must(await alice.run(['db', 'check', '--db', url])).json['digest'], moved.json['digest'])
    await appendFile(join(alice.dataDir, 'config.toml'), `\n[database]\nurl = ${JSON.stringify(url)}\n`)
    await rm(join(alice.dataDir, 'store', 'level'), { recursive: true })

    await alice.start([p2p[0]!])
    assert.match(must(await alice.run(['inbox', '--all'])).stdout, 'before the move')
    must(await bob.run(['send', 'alice', 'after the move', ...delivered]))
    must(await alice.run(['send', 'bob', 'from the new database', ...delivered]))
    assert.match(must(await alice.run(['inbox', '--all'])).stdout, /before the move[^]*after the move/)
    assert.is(await alice.stop(), 0)
  } finally {
    await Promise.all([alice.remove(), bob.remove()])
  }
})

test.run()

/** What only the embedded store promises, on a healthy disk. */
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LevelDatastore } from 'datastore-level'
import * as assert from 'uvu/assert'
import { utf8 } from '../../../crypto/bytes.ts'
import { encode } from '../../../protocol/codec/struct.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { LevelDatabase } from '../../../node/storage/level-database.ts'
import { rowKey, schemaVersion, sealRow, stateRow } from '../../../node/storage/level-rows.ts'
import { boxNamed, hourMs, itemOf, proof, rejection, wide } from '../../compliance/store-subject.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { inDirectory, mailFor, openStore, putAll, readBox, rememberingLog } from './level-fixture.ts'

const test = suite('node/storage/level-store')
const diskTest = (name: string, work: (directory: string) => Promise<void>): void =>
  test(name, () => inDirectory(work))
const box = boxNamed('inbox')
const roomy = { itemsMax: 100_000, bytesMax: 1e9, expiresAtMs: Infinity }

async function withDatabase<T>(directory: string, work: (database: LevelDatabase) => Promise<T>): Promise<T> {
  const location = join(directory, 'level')
  const writeBufferBytes = 4 * 1024 * 1024
  const database = await LevelDatabase.open({ location, createIfMissing: false, writeBufferBytes })
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

async function keysStarting(directory: string, prefixes: string): Promise<string[]> {
  return await withDatabase(directory, async (database) =>
    (await database.read((handle) => handle.keys().all())).filter((key) => prefixes.includes(key[0]!)))
}

diskTest('makes its directory private', async (parent) => {
  const directory = join(parent, 'new', 'store')
  await (await openStore({ directory })).close()
  assert.is((await stat(directory)).mode & 0o777, 0o700)
})

diskTest('refuses a second store on a directory until the first closed, and says why', async (directory) => {
  const first = await openStore({ directory })
  try {
    await openStore({ directory })
    assert.unreachable()
  } catch (error) {
    assert.is((error as { code: string }).code, 'STORE_LOCKED')
    assert.match((error as Error).message, 'another openIM node runs on this data directory')
  }
  await first.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
  await first.close()
  await (await openStore({ directory })).close()
})

diskTest('refuses a store of a newer openIM and leaves it as it is', async (directory) => {
  await (await openStore({ directory })).close()
  const row = encode(stateRow, { schema: schemaVersion + 1, nextNumber: 1, expiryMarkMs: 0 })
  // A newer layout has more behind the fields known here.
  const value = sealRow(rowKey.state, new Uint8Array([...row, 1, 2, 3]))
  await withDatabase(directory, (database) => database.write([{ type: 'put', key: rowKey.state, value }]))
  assert.is(await rejection(openStore({ directory })), 'STORE_NEWER')
  assert.is(await rejection(openStore({ directory })), 'STORE_NEWER')
})

diskTest('says that it cannot write where it may not', async (directory) => {
  const path = join(directory, 'file')
  await writeFile(path, '')
  const code = await rejection(openStore({ directory: join(path, 'store') }))
  assert.is(code, 'STORE_IO')
})

diskTest('starts again after a first start that was cut off', async (directory) => {
  await writeFile(join(directory, 'marker'), 'openIM store: creating\n')
  await mkdir(join(directory, 'level'))
  const store = await openStore({ directory })
  await store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
  await store.close()
  const again = await openStore({ directory })
  assert.equal((await again.kv.get('k'))!.value, utf8('v'))
  await again.close()
})

diskTest('opens a database whose marker was lost', async (directory) => {
  const store = await openStore({ directory })
  await store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
  await store.close()
  await rm(join(directory, 'marker'))
  const again = await openStore({ directory })
  assert.equal((await again.kv.get('k'))!.value, utf8('v'))
  await again.close()
})

diskTest('sweeps every row of a dropped box, and goes on with it after a restart', async (directory) => {
  const store = await openStore({ directory })
  await store.mailbox.setBox(box, roomy)
  await putAll(store, mailFor(box, { count: 1_500, bytes: 100 }))
  await store.mailbox.acknowledge(box, [mailFor(box, { count: 1 })[0]!.id], { expiresAtMs: Infinity, proof })
  // Closed at once: the sweep has hardly begun.
  const dropped = store.mailbox.dropBox(box)
  await Promise.all([dropped, store.close()])
  assert.ok((await keysStarting(directory, 'iopxqg')).length > 3_000)

  const again = await openStore({ directory })
  assert.equal(await again.mailbox.usage(), { items: 0, bytes: 0 })
  // Each write is one more group, and the sweep takes part in each.
  for (let i = 0; i < 20; i++) await again.kv.write([{ type: 'put', key: 'turn', value: utf8(String(i)) }])
  await again.close()
  assert.equal(await keysStarting(directory, 'iopxqgb'), [])
})

diskTest('leaves no row behind when mail is acknowledged and everything expires', async (directory) => {
  const clock = new VirtualClock()
  const store = await openStore({ directory, clock })
  await store.mailbox.setBox(box, { ...wide, expiresAtMs: clock.now() + 3 * hourMs })
  const mail = Array.from({ length: 50 }, (_, number) =>
    itemOf({ box, number, expiresAtMs: clock.now() + hourMs + number }))
  await putAll(store, mail)
  const ids = (from: number, to: number): EnvelopeId[] => mail.slice(from, to).map(({ id }) => id)
  await store.mailbox.acknowledge(box, ids(0, 20), { expiresAtMs: clock.now() + hourMs, proof })
  await store.mailbox.acknowledge(box, ids(10, 30), { expiresAtMs: clock.now() + 2 * hourMs, proof })
  await clock.advance(2.5 * hourMs)
  assert.is(await store.mailbox.expire(clock.now(), 1_000), 50)
  await store.close()
  assert.equal((await keysStarting(directory, 'iopxqg')).length, 1)
  assert.equal((await keysStarting(directory, 'iopqg')).length, 0)

  const again = await openStore({ directory, clock })
  await clock.advance(hourMs)
  assert.is(await again.mailbox.expire(clock.now(), 1_000), 1)
  await again.close()
  assert.equal(await keysStarting(directory, 'biopxqg'), [])
})

diskTest('stores the proof of an acknowledgement once for all its ids', async (directory) => {
  const store = await openStore({ directory })
  await store.mailbox.setBox(box, wide)
  const ids = mailFor(box, { count: 200, bytes: 100 }).map(({ id }) => id)
  await store.mailbox.acknowledge(box, ids, { expiresAtMs: Infinity, proof: new Uint8Array(8_000) })
  for (const id of ids) assert.is((await store.mailbox.tombstone(box, id))!.length, 8_000)
  await store.close()
  assert.is((await keysStarting(directory, 'q')).length, 1)
})

/** A datastore's key is whatever prints as one. */
const peerKey = { toString: () => '/peers/a' } as Parameters<LevelDatastore['put']>[0]

diskTest('gives libp2p a database of its own that survives restarts', async (directory) => {
  const store = await openStore({ directory })
  const datastore = new LevelDatastore(await store.scratch('libp2p'))
  await datastore.open()
  await datastore.put(peerKey, utf8('address'))
  await store.close()
  assert.is(await rejection(store.scratch('libp2p')), 'STORE_CLOSED')

  const again = await openStore({ directory })
  const reopened = new LevelDatastore(await again.scratch('libp2p'))
  await reopened.open()
  assert.equal(new Uint8Array(await reopened.get(peerKey)), utf8('address'))
  await reopened.close()
  await again.close()
})

diskTest('makes a damaged scratch database anew', async (directory) => {
  const store = await openStore({ directory })
  await (await store.scratch('libp2p')).put('k', utf8('v'))
  await store.close()
  const location = join(directory, 'scratch-libp2p')
  for (const name of await readdir(location)) if (name.startsWith('MANIFEST')) await rm(join(location, name))
  const again = await openStore({ directory })
  assert.is(await (await again.scratch('libp2p')).get('k'), undefined)
  await again.close()
})

diskTest('takes many racing writers of mail and records', async (directory) => {
  const log = rememberingLog()
  const store = await openStore({ directory, log })
  await store.mailbox.setBox(box, roomy)
  const mail = mailFor(box, { count: 1_000, bytes: 500 })
  await Promise.all(mail.map(async (item, i) => {
    assert.equal(await store.mailbox.put([item]), ['stored'])
    assert.is(await store.kv.write([{ type: 'put', key: `k/${i}`, value: item.body }]), true)
    assert.equal((await store.mailbox.get(box, item.id))!.body, item.body)
  }))
  assert.is((await readBox(store, box)).size, 1_000)
  assert.is((await store.kv.list({ prefix: 'k/' })).length, 1_000)
  assert.equal(store.health(), { corrupt: 0, logBytesLost: 0, full: false })
  assert.equal(log.lines, [])
  await store.close()
})

test.run()

/** Archives of a whole store: out, back in, and everything that can go wrong in between. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import type { Store } from '../../node/ports.ts'
import {
  assertFilled, checkArchive, copyStore, importArchive, writeArchive,
} from '../../node/store-archive.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { storeDigest } from '../../node/storage/store-parts.ts'
import { boxNamed, hourMs, itemOf, proof } from '../compliance/store-subject.ts'
import { suite } from '../helpers/harness.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const test = suite('node/store-archive')
const clock = new VirtualClock()
const folder = mkdtempSync(join(tmpdir(), 'openim-archive-'))
test.after(() => { rmSync(folder, { recursive: true, force: true }) })

let archives = 0
function freshPath(): string {
  return join(folder, `archive-${++archives}`)
}

function empty(): Store {
  return new MemoryStore({ clock })
}

/** Reads end after so many pages of records. */
function cutAfter(store: Store, pages: number): Store {
  let read = 0
  const kv: Store['kv'] = {
    get: (key) => store.kv.get(key),
    write: (operations) => store.kv.write(operations),
    expire: (nowMs, budget) => store.kv.expire(nowMs, budget),
    async list(range) {
      if (++read > pages) throw new Error('the power went')
      return await store.kv.list({ ...range, limit: Math.min(range.limit ?? 50, 500) })
    },
  }
  return { kv, mailbox: store.mailbox, pieces: store.pieces, close: () => store.close() }
}

/** Some of everything, among it a box that holds more than it takes today. */
async function fullStore(): Promise<Store> {
  const store = empty()
  const expiresAtMs = clock.now() + hourMs
  for (let i = 0; i < 600; i++) {
    const value = new Uint8Array(i % 100 === 0 ? 100_000 : i)
    const ending = i % 7 === 0 ? { expiresAtMs } : {}
    await store.kv.write([{ type: 'put', key: `record/${i}`, value, ...ending }])
  }
  for (const name of ['one', 'two', 'three']) {
    const box = boxNamed(name)
    const until = name === 'one' ? Infinity : expiresAtMs
    const bounds = { itemsMax: 1_000, bytesMax: 1_000_000, expiresAtMs: until }
    await store.mailbox.setBox(box, bounds)
    const mail = Array.from({ length: 400 }, (_, number) => itemOf({ box, number, expiresAtMs }))
    await store.mailbox.put(mail)
    await store.mailbox.acknowledge(box, mail.slice(0, 300).map(({ id }) => id), { expiresAtMs, proof })
    await store.mailbox.setBox(box, { ...bounds, itemsMax: 10, bytesMax: 10 })
  }
  const files = boxNamed('files')
  await store.pieces.setBox(files, { itemsMax: 100, bytesMax: 1_000_000, expiresAtMs })
  const pieces = Array.from({ length: 20 }, (_, number) => itemOf({ box: files, number, expiresAtMs }))
  await store.pieces.put(files, pieces)
  return store
}

test('brings all of a store into another one, with equal digests', async () => {
  const store = await fullStore()
  const path = freshPath()
  const seen: number[] = []
  const written = await writeArchive(store, path, ({ records }) => seen.push(records))
  assert.equal([written.records, written.mail, written.pieces], [600, 300, 20])
  assert.ok(seen.length > 3)
  assert.is(written.bytes, statSync(path).size)
  assert.is(statSync(path).mode & 0o777, 0o600)
  const other = empty()
  const read = await importArchive(other, path)
  assert.is(read.digest, written.digest)
  assert.is(await storeDigest(other), await storeDigest(store))
  assert.equal((await checkArchive(path)).digest, written.digest)
  const box = boxNamed('one')
  const tombstones = await other.mailbox.tombstones(box, { limit: 1_000 })
  assert.is(tombstones.length, 300)
  assert.equal(tombstones[0]!.proof, proof)
  const [bounds] = (await other.mailbox.boxes()).filter((one) => one.box === box)
  assert.equal(bounds!.limits, { itemsMax: 10, bytesMax: 10, expiresAtMs: Infinity })
})

test('moves a store straight into another one', async () => {
  const [store, other] = [await fullStore(), empty()]
  const { digest } = await copyStore(store, other)
  assert.is(digest, await storeDigest(other))
  assert.is(digest, await storeDigest(store))
})

test('a copy that was cut off goes on from the same database, never from another', async () => {
  const [store, other, target] = [await fullStore(), empty(), empty()]
  await other.kv.write([{ type: 'put', key: 'of another', value: utf8('v') }])
  await copyStore(cutAfter(store, 2), target).then(() => assert.unreachable(), () => {})
  assert.is(await copyStore(other, target).catch(errorCode), 'STORE_NOT_EMPTY')
  await copyStore(store, target)
  assert.is(await storeDigest(target), await storeDigest(store))
})

test('any entry that differs, and any order, gives another digest', async () => {
  const store = await fullStore()
  const before = await storeDigest(store)
  await store.kv.write([{ type: 'put', key: 'record/8', value: utf8('other') }])
  const changed = await storeDigest(store)
  assert.is.not(changed, before)
  await store.mailbox.acknowledge(boxNamed('two'), [itemOf({
    box: boxNamed('two'), number: 350, expiresAtMs: clock.now() + hourMs,
  }).id], { expiresAtMs: clock.now() + hourMs, proof })
  assert.is.not(await storeDigest(store), changed)
})

test('refuses a damaged archive before anything is written', async () => {
  const path = freshPath()
  await writeArchive(await fullStore(), path)
  const good = readFileSync(path)
  const damages: [string, Uint8Array][] = [
    ['cut', good.subarray(0, good.length - 1)],
    ['cut early', good.subarray(0, 5)],
    ['longer', Buffer.concat([good, Buffer.from([0])])],
    ['no archive', Buffer.from('something else entirely')],
    ['empty', new Uint8Array()],
  ]
  for (const at of [3, 9, 200, good.length >> 1, good.length - 5]) {
    const flipped = Buffer.from(good)
    flipped[at]! ^= 0x10
    damages.push([`flipped at ${at}`, flipped])
  }
  for (const [name, bytes] of damages) {
    const damaged = freshPath()
    writeFileSync(damaged, bytes)
    const store = empty()
    const code = await importArchive(store, damaged).then(() => 'taken', errorCode)
    assert.is(code, 'ARCHIVE_CORRUPT', name)
    assert.equal(await store.kv.list({ prefix: '' }), [], name)
  }
})

test('fills no store that is in use, and goes on where it was cut off', async () => {
  const [store, path] = [await fullStore(), freshPath()]
  await writeArchive(store, path)
  const used = empty()
  await used.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
  assert.is(await importArchive(used, path).catch(errorCode), 'STORE_NOT_EMPTY')

  const cut = empty()
  let writes = 0
  const failing: Store = {
    ...cut,
    kv: {
      get: (key) => cut.kv.get(key),
      list: (range) => cut.kv.list(range),
      expire: (nowMs, budget) => cut.kv.expire(nowMs, budget),
      write: async (operations) => {
        if (++writes > 3) throw new Error('the power went')
        return await cut.kv.write(operations)
      },
    },
    mailbox: cut.mailbox,
    pieces: cut.pieces,
  }
  await importArchive(failing, path).then(() => assert.unreachable(), () => {})
  assert.is(await assertFilled(cut).catch(errorCode), 'STORE_UNFINISHED')
  const another = freshPath()
  await writeArchive(used, another)
  assert.is(await importArchive(cut, another).catch(errorCode), 'STORE_NOT_EMPTY')
  await importArchive(cut, path)
  await assertFilled(cut)
  assert.is(await storeDigest(cut), await storeDigest(store))
})

test('leaves nothing behind when it cannot be written, and replaces no file', async () => {
  const store = await fullStore()
  const path = freshPath()
  writeFileSync(path, 'mine')
  assert.is(await writeArchive(store, path).catch(errorCode), 'USAGE_EXISTS')
  assert.is(readFileSync(path, 'utf8'), 'mine')
  const closed = empty()
  await closed.close()
  const other = freshPath()
  assert.is(await writeArchive(closed, other).catch(errorCode), 'STORE_CLOSED')
  assert.is(statSync(other, { throwIfNoEntry: false }), undefined)
})

test.run()

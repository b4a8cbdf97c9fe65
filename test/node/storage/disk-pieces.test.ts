/** What can happen to the files under `DiskPieces`; its promises are held by test/compliance/. */
import { appendFile, mkdtemp, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { envelopeId } from '../../../protocol/envelope.ts'
import { DiskPieces } from '../../../node/storage/disk-pieces.ts'
import type { Piece } from '../../../node/ports.ts'
import { boxNamed, rejection, wide } from '../../compliance/store-subject.ts'
import { suite } from '../../helpers/harness.ts'
import { KeptLog } from '../../helpers/room-network.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('node/storage/disk pieces')
const box = boxNamed('file')
const whole = { after: 0, itemsMax: 10_000, bytesMax: 100_000_000 }
const random = seededRandom('disk pieces')
const clock = new VirtualClock()
let directory = ''
let log = new KeptLog()

test.before.each(async () => {
  directory = await mkdtemp(join(tmpdir(), 'openim-pieces-'))
  log = new KeptLog()
})

test.after.each(async () => {
  await rm(directory, { recursive: true })
})

function openStore(reserveBytes = 0): Promise<DiskPieces> {
  return DiskPieces.open({ clock, log }, { directory, reserveBytes })
}

function piece(bytes = 3_000): Piece {
  const body = random.bytes(bytes)
  return { id: envelopeId(body), body }
}

async function filePath(): Promise<string> {
  const [name] = await readdir(directory)
  return join(directory, name!)
}

async function filled(count: number): Promise<{ store: DiskPieces, put: Piece[] }> {
  const store = await openStore()
  await store.setBox(box, wide)
  const put = Array.from({ length: count }, () => piece())
  await store.put(box, put)
  return { store, put }
}

test('cuts off what a power cut left at the end, wherever it was torn', async () => {
  for (const cut of [1, 36, 100, 2_999, 3_035]) {
    const { store, put } = await filled(4)
    await store.close()
    const path = await filePath()
    await truncate(path, (await stat(path)).size - cut)
    const again = await openStore()
    const last = put.at(-1)!
    const { entries } = await again.list(box, whole)
    assert.equal(entries.map(({ id }) => id), put.slice(0, 3).map(({ id }) => id))
    assert.equal(await again.put(box, [last]), ['stored'], `torn by ${cut} bytes`)
    assert.equal((await again.list(box, whole)).entries.map(({ body }) => body), put.map(({ body }) => body))
    await again.dropBox(box)
    await again.close()
  }
})

test('cuts off rubbish at the end that looks like a piece', async () => {
  const { store, put } = await filled(2)
  await store.close()
  const head = new Uint8Array(36)
  new DataView(head.buffer).setUint32(32, 50)
  await appendFile(await filePath(), head)
  await appendFile(await filePath(), random.bytes(50))
  const again = await openStore()
  assert.is(await again.count(box), put.length)
  await again.close()
})

test('leaves out a piece whose bytes changed, says so once, and takes it again', async () => {
  const { store, put } = await filled(3)
  const file = await open(await filePath(), 'r+')
  await file.write(new Uint8Array([1, 2, 3]), 0, 3, 3_036 + 36 + 500)
  await file.close()
  for (let i = 0; i < 2; i++) {
    assert.equal((await store.list(box, whole)).entries.map(({ position }) => position), [1, 3])
  }
  assert.equal(log.errors, ['a damaged piece of a file was met and left out'])
  assert.equal(await store.put(box, [put[1]!]), ['stored'])
  assert.equal((await store.list(box, whole)).entries.map(({ position }) => position), [1, 3, 4])
  await store.close()
})

test('takes nothing when the disk has no room to spare', async () => {
  const store = await openStore(Number.MAX_SAFE_INTEGER)
  await store.setBox(box, wide)
  assert.is(await rejection(store.put(box, [piece()])), 'STORE_FULL')
  assert.is(await store.count(box), 0)
  await store.close()
  assert.is(await rejection(store.put(box, [piece()])), 'STORE_CLOSED')
})

test('removes the file of a box that goes, and leaves other files alone', async () => {
  await appendFile(join(directory, 'notes.txt'), 'mine')
  const { store } = await filled(1)
  await store.dropBox(box)
  assert.equal(await readdir(directory), ['notes.txt'])
  await store.close()
})

test.run()

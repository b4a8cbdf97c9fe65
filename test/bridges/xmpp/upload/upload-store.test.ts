/** The store of uploads by itself: time and quotas. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { defaultUploads, UploadStore } from '../../../../bridges/xmpp/upload/upload-store.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { suite } from '../../../helpers/harness.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('bridges/xmpp/upload-store')
const dayMs = 86_400_000

test('files go when their time is over, and their room is free again', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'openim-uploads-'))
  try {
    const clock = new VirtualClock()
    const kv = memoryKv()
    const make = (): UploadStore => new UploadStore({ kv, clock, random: seededRandom('uploads') }, {
      directory, limits: { ...defaultUploads, accountBytesMax: 10, dayBytesMax: 8, keptDays: 3 },
    })
    const store = make()
    await store.load()
    const file = (size: number) => ({ account: 'a', name: 'n', mediaType: 't/t', size })
    const bring = async (size: number): Promise<string> => {
      const { upload, token } = await store.slot(file(size))
      assert.is(await store.put(store.open(upload.id, token)!, chunks(size)), true)
      return upload.id
    }
    const refused = (size: number): Promise<string | undefined> =>
      store.slot(file(size)).then(() => undefined, ({ message }: Error) => message)
    const id = await bring(6)
    assert.match(String(await refused(3)), /8 bytes a day/)
    await clock.advance(dayMs)
    await bring(4)
    assert.match(String(await refused(1)), /at most 10 bytes/)
    await clock.advance(2 * dayMs)
    assert.is(await store.find(id), undefined)
    assert.is(await store.expire(), 1)
    assert.equal([store.bytesKept, (await readdir(directory)).length], [4, 1])
    const again = make()
    await again.load()
    assert.is(again.bytesKept, 4)
    await again.removeAll('a')
    assert.equal([again.bytesKept, await readdir(directory)], [0, []])
  } finally {
    await rm(directory, { recursive: true })
  }
})

test('a slot lapses, and a token opens only its own', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'openim-uploads-'))
  try {
    const clock = new VirtualClock()
    const store = new UploadStore({ kv: memoryKv(), clock, random: seededRandom('slots') }, {
      directory, limits: defaultUploads,
    })
    await store.load()
    const [one, two] = [
      await store.slot({ account: 'a', name: 'n', mediaType: 't/t', size: 1 }),
      await store.slot({ account: 'a', name: 'n', mediaType: 't/t', size: 1 }),
    ]
    assert.is(store.open(one.upload.id, two.token), undefined)
    assert.is(store.open(one.upload.id, one.token)?.id, one.upload.id)
    await clock.advance(5 * 60_000)
    assert.is(store.open(one.upload.id, one.token), undefined)
  } finally {
    await rm(directory, { recursive: true })
  }
})

async function* chunks(size: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < size; i++) yield new Uint8Array(1)
}

test.run()

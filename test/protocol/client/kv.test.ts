/** The wrappers of a key-value store: they stay key-value stores, and keep their secrets. */
import * as assert from 'uvu/assert'
import { inspect } from 'node:util'
import { utf8 } from '../../../crypto/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import { scopedKv, sealedKv, sealedValueBytesMax } from '../../../protocol/client/kv.ts'
import type { KvStore } from '../../../protocol/ports.ts'
import { memoryKv as memoryOnlyKv } from '../../../protocol/memory-kv.ts'
import { MemoryStore } from '../../../node/storage/memory-store.ts'
import { kvSuite } from '../../compliance/kv-suite.ts'
import { rejection } from '../../compliance/store-subject.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const random = seededRandom('sealed kv')
const key = random.bytes(32)
const memoryKv = (): KvStore => new MemoryStore({ clock: new VirtualClock() }).kv

kvSuite('sealed', () => sealedKv({ kv: memoryKv(), key, random }), { valueBytesMax: sealedValueBytesMax })
kvSuite('memory', () => memoryOnlyKv())
kvSuite('scoped', () => scopedKv(memoryKv(), 'alice/'), { keyBytesMax: limits.kvKeyBytesMax - 6 })

const test = suite('protocol/client/kv')
const put = (name: string, value: string) => ({ type: 'put', key: name, value: utf8(value) }) as const

test('hides the value, and seals the same value differently each time', async () => {
  const kv = memoryKv()
  const sealed = sealedKv({ kv, key, random })
  await sealed.write([put('a', 'a secret that is long'), put('b', 'a secret that is long')])
  const [a, b] = await kv.list({ prefix: '' })
  for (const { value } of [a!, b!]) {
    assert.is(Buffer.from(value).includes('secret'), false)
    assert.is(value.length, 'a secret that is long'.length + 40)
  }
  assert.not.equal(a!.value, b!.value)
})

test('refuses another key, a changed byte, a cut value and a value moved to another record', async () => {
  const kv = memoryKv()
  const sealed = sealedKv({ kv, key, random })
  await sealed.write([put('a', 'one'), put('b', 'two')])
  const { value } = (await kv.get('a'))!
  assert.is(await rejection(sealedKv({ kv, key: random.bytes(32), random }).get('a')), 'STORE_SEAL')
  const bad = [
    ...Array.from(value, (_, i) => value.map((byte, at) => (at === i ? byte ^ 1 : byte))),
    ...Array.from(value, (_, i) => value.subarray(0, i)),
    (await kv.get('b'))!.value,
  ]
  for (const one of bad) {
    await kv.write([{ type: 'put', key: 'a', value: one }])
    assert.is(await rejection(sealed.get('a')), 'STORE_SEAL')
    assert.is(await rejection(sealed.list({ prefix: '' })), 'STORE_SEAL')
  }
  await kv.write([{ type: 'put', key: 'a', value }])
  assert.equal((await sealed.get('a'))!.value, utf8('one'))
})

test('keeps its own copy of the key, and shows it nowhere', async () => {
  const own = key.slice()
  const sealed = sealedKv({ kv: memoryKv(), key: own, random })
  own.fill(0)
  await sealed.write([put('a', 'one')])
  assert.equal((await sealed.get('a'))!.value, utf8('one'))
  const shown = inspect(sealed, { depth: 10, showHidden: true }) + JSON.stringify(sealed)
  assert.is(shown.includes(`${key[0]}, ${key[1]}`), false)
  const short = async (): Promise<KvStore> => sealedKv({ kv: memoryKv(), key: new Uint8Array(31), random })
  assert.is(await rejection(short()), 'BUG_ASSERTION')
})

test('a scope sees, lists and changes its own records alone', async () => {
  const kv = memoryKv()
  const [alice, bob] = [scopedKv(kv, 'alice/'), scopedKv(kv, 'bob/')]
  await alice.write([put('a', 'hers'), put('b', 'hers')])
  await bob.write([put('a', 'his')])
  assert.equal((await alice.list({ prefix: '' })).map((entry) => entry.key), ['a', 'b'])
  assert.equal((await alice.list({ prefix: '', after: 'a' })).map((entry) => entry.key), ['b'])
  assert.is(await alice.write([{ type: 'check', key: 'a', version: 0 }, { type: 'delete', key: 'b' }]), false)
  assert.is(await alice.write([{ type: 'delete', key: 'a' }]), true)
  assert.equal((await bob.get('a'))!.value, utf8('his'))
  assert.equal((await kv.list({ prefix: '' })).map((entry) => entry.key), ['alice/b', 'bob/a'])
})

test('a scope around a seal ties values to the scope', async () => {
  const kv = memoryKv()
  const sealed = sealedKv({ kv, key, random })
  await scopedKv(sealed, 'alice/').write([put('a', 'hers')])
  const { value } = (await kv.get('alice/a'))!
  await kv.write([{ type: 'put', key: 'bob/a', value }])
  assert.is(await rejection(scopedKv(sealed, 'bob/').get('a')), 'STORE_SEAL')
})

test.run()

/** One damaged record costs what stood there: it is set aside, named, and the rest goes on. */
import * as assert from 'uvu/assert'
import { utf8 } from '../../../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { scopedKv, sealedKv } from '../../../protocol/client/kv.ts'
import { damagedCodec, salvagingKv } from '../../../protocol/client/salvage.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { KvStore } from '../../../protocol/ports.ts'
import { MemoryStore } from '../../../node/storage/memory-store.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('protocol/client/salvage')
const key = new Uint8Array(32).fill(9)

interface Subject {
  readonly raw: KvStore
  /** Sealed, without salvage. */
  readonly sealed: KvStore
  readonly kv: KvStore
  readonly told: string[]
  readonly clock: VirtualClock
}

async function subject(count = 3): Promise<Subject> {
  const clock = new VirtualClock()
  const { kv: raw } = new MemoryStore({ clock })
  const sealed = sealedKv({ kv: raw, key, random: seededRandom('salvage') })
  const told: string[] = []
  const salvaging = salvagingKv({ kv: sealed, clock }, {
    scope: 'alice/',
    isVital: (name) => name === 'account',
    onSetAside: (name, code) => told.push(`${code} ${name}`),
  })
  const kv = scopedKv(salvaging, 'alice/')
  for (const name of ['account', ...Array.from({ length: count }, (_, i) => `contact/${i}`)]) {
    await kv.write([{ type: 'put', key: name, value: utf8(`value of ${name}`) }])
  }
  return { raw, sealed, kv, told, clock }
}

async function damage(kv: KvStore, name: string, change: (value: Uint8Array) => Uint8Array): Promise<void> {
  const { value } = (await kv.get(name))!
  await kv.write([{ type: 'put', key: name, value: change(value.slice()) }])
}

function flip(value: Uint8Array): Uint8Array {
  value[value.length >> 1]! ^= 4
  return value
}

async function names(kv: KvStore, prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const { key: name } of kvEntries(kv, prefix)) found.push(name)
  return found
}

test('leaves a damaged record out of a list, names it and marks when it was found', async () => {
  const { raw, kv, told, clock } = await subject()
  await damage(raw, 'alice/contact/1', flip)
  await damage(raw, 'alice/contact/2', (value) => value.subarray(0, 10))
  assert.equal(await names(kv, 'contact/'), ['contact/0'])
  assert.equal(told, ['STORE_SEAL contact/1', 'STORE_SEAL contact/2'])
  assert.equal(await names(kv, ''), ['account', 'contact/0', 'damaged/contact/1', 'damaged/contact/2'])
  const mark = (await kv.get('damaged/contact/1'))!.value
  assert.equal(decode(damagedCodec, mark), { foundAtMs: clock.now() })
  assert.equal(await names(kv, 'contact/'), ['contact/0'], 'told once')
  assert.is(told.length, 2)
})

test('has a damaged record as absent, which can be written anew', async () => {
  const { raw, kv, told } = await subject()
  await damage(raw, 'alice/contact/0', () => new Uint8Array(0))
  assert.is(await kv.get('contact/0'), undefined)
  await kv.write([{ type: 'put', key: 'contact/0', value: utf8('anew') }])
  assert.equal((await kv.get('contact/0'))?.value, utf8('anew'))
  assert.is(told.length, 1)
})

test('refuses where a vital record is damaged, and leaves it as it is', async () => {
  const { raw, kv, told } = await subject()
  await damage(raw, 'alice/account', flip)
  const before = (await raw.get('alice/account'))!.value
  assert.is(await kv.get('account').catch(errorCode), 'STORE_SEAL')
  assert.is(await kv.list({ prefix: '' }).catch(errorCode), 'STORE_SEAL')
  assert.equal((await raw.get('alice/account'))!.value, before)
  assert.equal(told, [])
})

test('touches nothing outside its scope, and passes other errors on', async () => {
  const { raw, sealed, clock } = await subject()
  await damage(raw, 'alice/contact/0', flip)
  const other = salvagingKv({ kv: sealed, clock }, { scope: 'bob/', isVital: () => false, onSetAside() {} })
  assert.is(await other.get('alice/contact/0').catch(errorCode), 'STORE_SEAL')
  const failing: KvStore = { ...sealed, get: async () => { throw new OpenIMError('STORE_IO', 'the disk') } }
  const io = salvagingKv({ kv: failing, clock }, { scope: '', isVital: () => false, onSetAside() {} })
  assert.is(await io.get('alice/contact/0').catch(errorCode), 'STORE_IO')
})

test('removes a row that the database cannot read', async () => {
  const { sealed, clock } = await subject(0)
  const bad = new Set(['x/2'])
  const rows = new Map([['x/1', 1], ['x/2', 2], ['x/3', 3]])
  const list = (): never[] => {
    const [damaged] = [...rows.keys()].filter((name) => bad.has(name))
    if (damaged === undefined) return []
    throw new OpenIMError('STORE_CORRUPT', 'damaged', { details: { key: damaged } })
  }
  const kv: KvStore = {
    ...sealed,
    list: async () => list(),
    write: async (operations) => {
      for (const one of operations) if (one.type === 'delete') rows.delete(one.key)
      return true
    },
  }
  const told: string[] = []
  const salvaging = salvagingKv({ kv, clock }, {
    scope: '', isVital: () => false, onSetAside: (name) => told.push(name),
  })
  assert.equal(await salvaging.list({ prefix: 'x/' }), [])
  assert.equal([...rows.keys()], ['x/1', 'x/3'])
  assert.equal(told, ['x/2'])
})

test('does not take away what was written anew in the meantime', async () => {
  const { raw, sealed, clock } = await subject(0)
  await sealed.write([{ type: 'put', key: 'n', value: utf8('old') }])
  await damage(raw, 'n', flip)
  const told: string[] = []
  let isFirst = true
  const kv: KvStore = {
    ...sealed,
    get: async (name) => {
      try {
        return await sealed.get(name)
      } finally {
        // Between the look and the deletion somebody writes.
        if (isFirst) await sealed.write([{ type: 'put', key: 'n', value: utf8('new') }])
        isFirst = false
      }
    },
  }
  const salvaging = salvagingKv({ kv, clock }, {
    scope: '', isVital: () => false, onSetAside: (name) => told.push(name),
  })
  assert.equal((await salvaging.get('n'))?.value, utf8('new'))
  assert.equal(told, [])
})

test.run()

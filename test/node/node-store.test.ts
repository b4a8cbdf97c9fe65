/** The node's store: sealed for all its users, told apart from another key, damage told and forgotten. */
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import { openNodeStore } from '../../node/node-store.ts'
import type { NodeStore } from '../../node/node-store.ts'
import { silentLog } from '../../node/ports.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const test = suite('node/node-store')
const dataKey = new Uint8Array(32).fill(7)
const dayMs = 86_400_000

let clock = new VirtualClock()
let store = new MemoryStore({ clock })
test.before.each(() => {
  clock = new VirtualClock()
  store = new MemoryStore({ clock })
})

function open(key = dataKey): Promise<NodeStore> {
  return openNodeStore({ store, dataKey: key, clock, random: seededRandom('node store'), log: silentLog })
}

async function fill({ store: { kv }, account }: NodeStore): Promise<void> {
  for (const key of ['home/x', 'lent/y']) await kv.write([{ type: 'put', key, value: utf8('of a room') }])
  for (const key of ['account', 'own/devices', 'contact/z']) {
    await account.write([{ type: 'put', key, value: utf8('of the account') }])
  }
}

async function flip(key: string): Promise<void> {
  const value = (await store.kv.get(key))!.value.slice()
  value[30]! ^= 1
  await store.kv.write([{ type: 'put', key, value }])
}

test('seals what rooms and account write, each in its place', async () => {
  const opened = await open()
  await fill(opened)
  const rows = await store.kv.list({ prefix: '' })
  assert.equal(rows.map(({ key }) => key),
    ['client/account', 'client/contact/z', 'client/own/devices', 'home/x', 'lent/y'])
  for (const { value } of rows) assert.not.ok(Buffer.from(value).includes('of '))
  const again = await open()
  assert.equal((await again.store.kv.get('home/x'))?.value, utf8('of a room'))
  assert.equal((await again.account.get('contact/z'))?.value, utf8('of the account'))
})

test('refuses the key of another store before anything is changed', async () => {
  await fill(await open())
  const before = await store.kv.list({ prefix: '' })
  assert.is(await open(new Uint8Array(32).fill(8)).catch(errorCode), 'STORE_SEAL')
  assert.equal(await store.kv.list({ prefix: '' }), before)
})

test('refuses to go on without the account or the device list', async () => {
  await fill(await open())
  await flip('client/own/devices')
  const opened = await open()
  assert.is(await opened.account.get('own/devices').catch(errorCode), 'STORE_SEAL')
  await flip('client/account')
  assert.is(await open().catch(errorCode), 'STORE_SEAL')
})

test('tells what was set aside for thirty days', async () => {
  await fill(await open())
  for (const key of ['home/x', 'client/contact/z']) await flip(key)
  const opened = await open()
  assert.equal(await opened.store.kv.list({ prefix: 'home/' }), [])
  assert.is(await opened.account.get('contact/z'), undefined)
  const damaged = await opened.damaged()
  assert.equal(damaged.map(({ name }) => name), ['home/x', 'client/contact/z'])
  await clock.advance(29 * dayMs)
  assert.is((await (await open()).damaged()).length, 2)
  await clock.advance(2 * dayMs)
  assert.equal(await (await open()).damaged(), [])
})

test('keeps its word when a mark is damaged itself', async () => {
  await fill(await open())
  await flip('home/x')
  const opened = await open()
  await opened.store.kv.get('home/x')
  await flip('damaged/home/x')
  assert.equal(await (await open()).damaged(), [])
})

test.run()

/** Devices come and go while people talk, and while processes die. */
import * as assert from 'uvu/assert'
import { equalBytes } from '../../../crypto/bytes.ts'
import { contactCodec } from '../../../protocol/client/records.ts'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import type { DeviceId } from '../../../protocol/ids.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices-coming-going', { timeoutMs: 180_000 })

async function seen(person: Person): Promise<string[]> {
  const entries = await person.client.history({ limit: 1_000 })
  return entries
    .filter(({ unreadable }) => unreadable === undefined)
    .map(({ direction, text }) => `${direction} ${text}`)
}

async function record(person: Person, name: string): Promise<ContactRecord> {
  const rows = await person.store.kv.list({ prefix: 'contact/' })
  return rows.map(({ value }) => decode(contactCodec, value)).find((contact) => contact.name === name)!
}

/** Alice with a laptop, a phone and a tablet, and Bob. */
async function family(seed: string): Promise<{
  world: World, alice: Person, phone: Person, tablet: Person, bob: Person
}> {
  const world = new World(seed)
  const [alice, bob] = await world.pair()
  const phone = await world.device(alice, `${seed} phone`)
  const tablet = await world.device(alice, `${seed} tablet`)
  await world.until(async () => (await Promise.all([phone, tablet].map((device) => device.client.contacts())))
    .every((contacts) => contacts[0]?.state === 'active'))
  await world.clock.advance(10_000)
  return { world, alice, phone, tablet, bob }
}

async function idOf(person: Person): Promise<DeviceId> {
  return (await person.client.info()).deviceId
}

test('finishes a removal that was cut off, wherever the crash came', async () => {
  for (const at of [1, 2, 4, 7]) {
    const { world, alice, phone, tablet, bob } = await family(`cut at ${at}`)
    const id = await idOf(phone)
    let writes = 0
    alice.beforeWrite = () => {
      if (++writes === at) queueMicrotask(() => alice.crash())
    }
    void alice.client.removeDevice(id).catch(() => {})
    await world.clock.advance(2_000)
    alice.beforeWrite = () => {}
    if (alice.isAlive) alice.crash()
    await world.run(alice.recover())
    const isListed = (await alice.client.devices()).some((device) => device.id === id)
    if (isListed) await world.run(alice.client.removeDevice(id))
    await world.until(async () =>
      (await record(alice, 'Bob')).box.id === (await record(tablet, 'Bob')).box.id
      && (await record(alice, 'Bob')).box.generation === 1
      && equalBytes((await record(bob, 'Alice')).card!.sealKey, (await record(alice, 'Bob')).box.sealKey))
    await world.run(bob.client.send('Alice', 'safe'))
    await world.until(async () => {
      const all = await Promise.all([tablet, alice].map(seen))
      return all.every((texts) => texts.includes('in safe'))
    })
    assert.equal(await seen(phone), [])
    await world.end()
  }
})

test('links and removes devices in mid-conversation, with mail lost and late', async () => {
  const { world, alice, phone, tablet, bob } = await family('coming and going')
  world.network.faults = { drop: 0.15, double: 0.15, shuffle: 0.2, resetEveryMs: 20_000 }
  for (const person of [alice, phone, tablet, bob]) person.session!.reset()
  const expected: string[] = []
  const say = async (from: Person, text: string): Promise<void> => {
    await world.run(from.client.send(from === bob ? 'Alice' : 'Bob', text))
    expected.push(`${from === bob ? 'in' : 'out'} ${text}`)
    await world.clock.advance(900)
  }
  for (let i = 0; i < 4; i++) for (const from of [alice, phone, bob]) await say(from, `${from.name} ${i}`)
  const watch = await world.device(alice, 'watch')
  for (let i = 4; i < 8; i++) for (const from of [alice, tablet, bob]) await say(from, `${from.name} ${i}`)
  // What the phone had said is everybody's before it goes.
  await world.until(async () => (await seen(alice)).filter((text) => text.includes('phone')).length === 4
    && (await seen(bob)).filter((text) => text.includes('phone')).length === 4, { withinMs: 600_000 })
  await world.run(alice.client.removeDevice(await idOf(phone)))
  for (let i = 8; i < 12; i++) for (const from of [alice, tablet, bob]) await say(from, `${from.name} ${i}`)
  const isAll = async (device: Person): Promise<boolean> => (await seen(device)).length === expected.length
  await world.until(async () => await isAll(alice) && await isAll(tablet) && await isAll(watch),
    { withinMs: 1_200_000, stepMs: 1_000 })
  for (const device of [alice, tablet, watch]) {
    assert.equal((await seen(device)).sort(), [...expected].sort(), device.name)
  }
  await world.until(async () => (await seen(bob)).length === expected.length, { withinMs: 600_000 })
  await world.end()
})

test.run()

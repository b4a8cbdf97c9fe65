/** A device that is put out: what it knew is worth nothing afterwards. */
import * as assert from 'uvu/assert'
import { contactCodec } from '../../../protocol/client/records.ts'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import { limits } from '../../../protocol/limits.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices-removal', { timeoutMs: 180_000 })

async function seen(person: Person): Promise<string[]> {
  return (await person.client.history({ limit: 1_000 })).map(({ direction, text }) => `${direction} ${text}`)
}

async function record(person: Person, name: string): Promise<ContactRecord> {
  const rows = await person.store.kv.list({ prefix: 'contact/' })
  return rows.map(({ value }) => decode(contactCodec, value)).find((contact) => contact.name === name)!
}

function undecryptable(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'undecryptable' ? [event.code] : []))
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => 'ok', (error: { code: string }) => error.code)
}

/** Alice with a laptop, a phone and a tablet, and Bob. */
async function family(seed: string): Promise<{ world: World, alice: Person, phone: Person, tablet: Person, bob: Person }> {
  const world = new World(seed)
  const [alice, bob] = await world.pair()
  const phone = await world.device(alice, `${seed} phone`)
  const tablet = await world.device(alice, `${seed} tablet`)
  await world.until(async () => (await Promise.all([phone, tablet].map((device) => device.client.contacts())))
    .every((contacts) => contacts[0]?.state === 'active'))
  await world.clock.advance(10_000)
  return { world, alice, phone, tablet, bob }
}

async function idOf(person: Person): Promise<Parameters<Person['client']['removeDevice']>[0]> {
  return (await person.client.info()).deviceId
}

test('lists devices with names, and refuses what only the primary may do', async () => {
  const { world, alice, phone, tablet } = await family('list')
  const devices = await alice.client.devices()
  assert.equal(devices.map(({ name, isThis, isPrimary }) => [name, isThis, isPrimary]), [
    ['', true, true], ['list phone', false, false], ['list tablet', false, false],
  ])
  assert.equal((await phone.client.devices()).map(({ isThis, isPrimary }) => [isThis, isPrimary]), [
    [false, true], [true, false], [false, false],
  ])
  assert.ok(devices[1]!.lastSeenAtMs! > 0, 'heard of')
  assert.is(await codeOf(phone.client.removeDevice(await idOf(tablet))), 'ACCOUNT_LINKED')
  assert.is(await codeOf(phone.client.certify(new Uint8Array(300))), 'CODEC_UNKNOWN')
  assert.is(await codeOf(alice.client.removeDevice(await idOf(alice))), 'DEVICE_PRIMARY')
  assert.is(await codeOf(alice.client.removeDevice('00'.repeat(16) as typeof devices[0]['id'])), 'DEVICE_UNKNOWN')
  await world.end()
})

test('reads nothing that was written after the removal reached the sender, and cannot log in', async () => {
  const { world, alice, phone, tablet, bob } = await family('thrown out')
  const invite = await world.run(tablet.client.invite())
  await world.clock.advance(3_000)
  const old = await record(alice, 'Bob')
  const { invitesEnded } = await world.run(alice.client.removeDevice(await idOf(phone)))
  assert.is(invitesEnded, 1)
  await world.until(() => !phone.session!.online)
  await world.clock.advance(20_000)

  const fresh = await Promise.all([alice, tablet].map((device) => record(device, 'Bob')))
  assert.is.not(fresh[0]!.box.id, old.box.id, 'another inbox')
  assert.is(fresh[0]!.box.id, fresh[1]!.box.id, 'and all know it')
  const bobsCard = (await record(bob, 'Alice')).card!
  assert.equal(bobsCard.sealKey, fresh[0]!.box.sealKey, 'Bob writes there')

  await world.run(bob.client.send('Alice', 'only for you'))
  await world.run(alice.client.send('Bob', 'we are alone'))
  await world.until(async () => (await seen(tablet)).length === 2 && (await seen(bob)).length === 2)
  assert.equal(undecryptable(tablet), [])
  // It gets hold of every envelope, and of the inboxes it knew.
  phone.session!.reset()
  await world.clock.advance(60_000)
  assert.equal(await seen(phone), [])
  assert.is(phone.session!.online, false)

  const carol = await world.person('Carol')
  await world.run(carol.client.add(invite.uri))
  await world.clock.advance(30_000)
  assert.is((await carol.only()).state, 'requested', 'the invite led to what the device knew')
  await world.end()
})

test('refuses by name what a removed device wrote when its word comes after the removal', async () => {
  const { world, alice, phone, bob } = await family('ghost')
  bob.node.withholds = () => true
  await world.run(phone.client.send('Bob', 'I am still Alice'))
  await world.clock.advance(2_000)
  const late = new Set([...bob.node.held.values()].flatMap((held) => [...held.values()]))
  assert.is(late.size, 1)
  bob.node.withholds = (bytes) => late.has(bytes)
  await world.run(alice.client.removeDevice(await idOf(phone)))
  await world.until(async () => (await record(bob, 'Alice')).formerDevices.length === 1)
  bob.node.withholds = () => false
  bob.session!.reset()
  await world.until(() => undecryptable(bob).length > 0)
  assert.equal(undecryptable(bob), ['DEVICE_REVOKED'])
  assert.equal(await seen(bob), [])
  await world.end()
})

test('closes the inbox that was left when nothing can come any more', async () => {
  const { world, alice, phone } = await family('closing time')
  await world.run(alice.client.removeDevice(await idOf(phone)))
  await world.clock.advance(20_000)
  const { oldBoxes } = await record(alice, 'Bob')
  assert.is(oldBoxes.length, 1)
  assert.ok(alice.node.boxes.has(oldBoxes[0]!.id))
  world.clock.jumpWall(limits.envelopeTtlMs + 60_000)
  await world.clock.advance(2 * limits.clientUpkeepMs)
  assert.equal((await record(alice, 'Bob')).oldBoxes, [])
  assert.not(alice.node.boxes.has(oldBoxes[0]!.id))
  await world.end()
})

test('finishes a removal that was cut off, wherever the crash came', async () => {
  for (const at of [1, 2, 4, 7]) {
    const { world, alice, phone, tablet, bob } = await family(`cut at ${at}`)
    const id = await idOf(phone)
    let writes = 0
    alice.beforeWrite = () => {
      if (++writes === at) queueMicrotask(() => alice.crash())
    }
    await alice.client.removeDevice(id).catch(() => {})
    await world.clock.advance(2_000)
    alice.beforeWrite = () => {}
    if (alice.isAlive) alice.crash()
    await world.run(alice.recover())
    const listed = async (): Promise<boolean> => (await alice.client.devices()).some((device) => device.id === id)
    if (await listed()) await world.run(alice.client.removeDevice(id))
    await world.until(async () =>
      (await record(alice, 'Bob')).box.id === (await record(tablet, 'Bob')).box.id
      && (await record(alice, 'Bob')).box.generation === 1
      && Buffer.compare((await record(bob, 'Alice')).card!.sealKey, (await record(alice, 'Bob')).box.sealKey) === 0)
    await world.run(bob.client.send('Alice', 'safe'))
    await world.until(async () => (await seen(tablet)).includes('in safe') && (await seen(alice)).includes('in safe'))
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
  await world.until(async () => (await seen(bob)).length === expected.length, { withinMs: 600_000 }).catch(async () => {
    console.log(expected, await seen(bob), undecryptable(bob), bob.warnings)
    for (const d of [alice, tablet, watch, phone]) console.log(d.name, (await d.client.history({})).filter(e => e.direction==='out').map(e=>e.text+' '+e.status?.state))
  })
  await world.end()
})

test.run()

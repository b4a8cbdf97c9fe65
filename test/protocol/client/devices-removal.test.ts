/** A device that is put out: what it knew is worth nothing afterwards. */
import * as assert from 'uvu/assert'
import { contactCodec } from '../../../protocol/client/records.ts'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import type { DeviceId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices-removal', { timeoutMs: 180_000 })

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

function undecryptable(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'undecryptable' ? [event.code] : []))
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => 'ok', (error: { code: string }) => error.code)
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
  const nobody = '00'.repeat(16) as DeviceId
  assert.is(await codeOf(alice.client.removeDevice(nobody)), 'DEVICE_UNKNOWN')
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
  assert.equal([...new Set(undecryptable(bob))], ['DEVICE_REVOKED'])
  assert.not((await seen(bob)).includes('in I am still Alice'))
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

test.run()

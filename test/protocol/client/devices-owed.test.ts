/**
 * A new device while others still have to hear of it: every word that one device of the account
 * shows is owed to it by somebody (telling.ts), however late, doubled or out of order mail comes.
 */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { copyCodec } from '../../../protocol/client/copies.ts'
import { ownCodec } from '../../../protocol/client/own-devices.ts'
import type { OwnRecord } from '../../../protocol/client/own-devices.ts'
import { contactCodec, contactRootKey } from '../../../protocol/client/records.ts'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { parseEnvelope } from '../../../protocol/envelope.ts'
import type { BoxId, MessageId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { encodePayload } from '../../../protocol/message/payload.ts'
import type { Body } from '../../../protocol/message/payload.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices-owed', { timeoutMs: 60_000 })

async function shown(person: Person): Promise<string[]> {
  const entries = await person.client.history({ limit: 1_000 })
  return entries.map(({ direction, text }) => `${direction} ${text}`).sort()
}

/** The box in which the devices of an account talk to each other. */
async function selfBox(person: Person): Promise<BoxId> {
  const rows = await person.store.kv.list({ prefix: 'contact/' })
  const contacts = rows.map(({ value }) => decode(contactCodec, value))
  const { name, box } = contacts.find(({ name }) => name === '')!
  assert.is(name, '')
  return box.id
}

/** Alice with a phone, whose words do not reach her for now; both are contacts of Bob. */
async function phoneAhead(seed: string): Promise<{ world: World, alice: Person, phone: Person, box: BoxId }> {
  const world = new World(seed)
  const [alice] = await world.pair()
  const phone = await world.device(alice, `${seed} phone`)
  await world.until(async () => (await phone.client.contacts())[0]?.state === 'active')
  await world.clock.advance(20_000)
  const box = await selfBox(alice)
  alice.node.withholds = (bytes) => boxOf(bytes) === box
  return { world, alice, phone, box }
}

function boxOf(bytes: Uint8Array): BoxId | undefined {
  const parsed = parseEnvelope(bytes)
  return parsed.ok ? parsed.value.box : undefined
}

/** Nobody finds prekeys of the primary any more. */
async function emptyShelf(world: World, primary: Person): Promise<void> {
  const own = decode(ownCodec, (await primary.store.kv.get('own/devices'))!.value)
  const { shelfKey } = own.devices.find(({ deviceId }) => deviceId === own.primary)!
  for (const node of world.network.nodes.values()) node.shelves.delete(hex(shelfKey))
}

/** Somebody new, whom the phone adds and who can write to the phone alone. */
async function meetsPhone(world: World, phone: Person): Promise<Person> {
  const carol = await world.person('Carol')
  const { uri } = await world.run(carol.client.invite())
  await world.run(phone.client.add(uri, { name: 'Carol' }))
  await world.until(async () =>
    (await phone.client.contact('Carol')).state === 'active' && (await carol.client.contacts()).length === 1)
  return carol
}

test('what reaches the primary through a linked device is told to one that is linked meanwhile', async () => {
  const { world, alice, phone } = await phoneAhead('passed on')
  await emptyShelf(world, alice)
  const carol = await meetsPhone(world, phone)
  await world.run(carol.client.send((await carol.only()).name, 'to the phone alone'))
  await world.run(phone.client.send('Carol', 'from the phone'))
  await world.until(async () => (await shown(phone)).includes('in to the phone alone'))
  await world.clock.advance(5_000)
  assert.equal(await shown(alice), [], 'Alice has heard of nothing yet')
  const tablet = await world.device(alice, 'passed on tablet')
  await world.clock.advance(5_000)
  alice.node.withholds = () => false
  alice.node.resetAll()
  const expected = ['in to the phone alone', 'out from the phone']
  await world.until(async () => (await shown(alice)).join() === expected.join())
  // Long before the phone would say anything again.
  await world.until(async () => (await shown(tablet)).join() === expected.join(), { withinMs: 60_000 })
  await world.end()
})

test('a new device gets what the primary heard of a contact before it heard of the contact', async () => {
  const { world, alice, phone, box } = await phoneAhead('orphan')
  await meetsPhone(world, phone)
  await world.clock.advance(1_000)
  const before = new Set(alice.node.held.get(box)!.keys())
  await world.run(phone.client.send('Carol', 'early'))
  await world.clock.advance(1_000)
  const [, ...others] = [...alice.node.held.get(box)!.keys()].filter((id) => !before.has(id)).reverse()
  assert.equal(others, [], 'one envelope, the copy')
  alice.node.withholds = (bytes) => {
    const parsed = parseEnvelope(bytes)
    return parsed.ok && parsed.value.box === box && before.has(parsed.value.id)
  }
  alice.node.resetAll()
  await world.until(async () => (await alice.store.kv.list({ prefix: 'orphan/' })).length === 1)
  const tablet = await world.device(alice, 'orphan tablet')
  await world.clock.advance(20_000)
  alice.node.withholds = () => false
  alice.node.resetAll()
  for (const device of [alice, tablet]) {
    await world.until(async () => (await shown(device)).join() === 'out early')
    assert.equal(await device.store.kv.list({ prefix: 'orphan/' }), [], 'nothing stays behind')
  }
  await world.end()
})

test('shows what it heard before the contact once, wherever a crash cut the page', async () => {
  for (let at = 1; at <= 6; at++) {
    const { world, alice, phone, box } = await phoneAhead(`page ${at}`)
    await meetsPhone(world, phone)
    await world.clock.advance(1_000)
    const before = new Set(alice.node.held.get(box)!.keys())
    await world.run(phone.client.send('Carol', 'early'))
    await world.clock.advance(1_000)
    alice.node.withholds = (bytes) => {
      const parsed = parseEnvelope(bytes)
      return parsed.ok && parsed.value.box === box && before.has(parsed.value.id)
    }
    let writes = 0
    alice.beforeWrite = () => { if (++writes === at) queueMicrotask(() => alice.crash()) }
    alice.session!.reset()
    await world.clock.advance(10_000)
    alice.beforeWrite = () => {}
    if (alice.isAlive) alice.crash()
    // State and copy come together now, the state first.
    alice.node.withholds = () => false
    await world.run(alice.recover())
    await world.until(async () => (await alice.client.contacts()).length === 2)
    await world.clock.advance(60_000)
    assert.equal(await shown(alice), ['out early'], `cut at ${at}`)
    await world.end()
  }
})

test('does what was said of a contact before the contact in one and the same page', async () => {
  const { world, alice, phone, box } = await phoneAhead('one page')
  await meetsPhone(world, phone)
  await world.run(phone.client.send('Carol', 'early'))
  await world.clock.advance(1_000)
  const held = [...alice.node.held.get(box)!].reverse()
  alice.node.held.set(box, new Map(held))
  alice.node.withholds = () => false
  alice.session!.reset()
  await world.until(async () => (await alice.client.contacts()).length === 2)
  await world.clock.advance(1_000)
  assert.equal(await shown(alice), ['out early'])
  await world.end()
})

test('shows once what a linked device wrote, when a crash brings it again while it is held', async () => {
  for (let at = 1; at <= 6; at++) {
    const { world, alice, phone, box } = await phoneAhead(`held ${at}`)
    const before = new Set(alice.node.held.get(box)!.keys())
    for (const text of ['1', '2']) await world.run(phone.client.send('Bob', text))
    await world.clock.advance(1_000)
    const [last] = [...alice.node.held.get(box)!.keys()].filter((id) => !before.has(id)).reverse()
    alice.node.withholds = (bytes) => {
      const parsed = parseEnvelope(bytes)
      return parsed.ok && parsed.value.box === box && parsed.value.id !== last
    }
    let writes = 0
    alice.beforeWrite = () => { if (++writes === at) queueMicrotask(() => alice.crash()) }
    alice.session!.reset()
    await world.clock.advance(10_000)
    alice.beforeWrite = () => {}
    if (alice.isAlive) alice.crash()
    alice.node.withholds = () => false
    await world.run(alice.recover())
    await world.clock.advance(60_000)
    assert.equal(await shown(alice), ['out 1', 'out 2'], `cut at ${at}`)
    await world.end()
  }
})

test('a change that takes its time while a device is linked is told to it', async () => {
  const world = new World('slow')
  const [alice, bob] = await world.pair()
  await world.device(alice, 'slow phone')
  await world.clock.advance(20_000)
  const carol = await world.person('Carol')
  const { uri } = await world.run(alice.client.invite())
  const gate = Promise.withResolvers<void>()
  let held = 0
  alice.slowWrite = (operations) => {
    const isSlow = operations.some(({ key }) => key.startsWith('history/') || key.startsWith('intro/'))
    if (!isSlow) return undefined
    held++
    return gate.promise
  }
  await world.run(bob.client.send('Alice', 'slowly'))
  await world.run(carol.client.add(uri))
  await world.until(() => held === 2)
  const tablet = await world.device(alice, 'slow tablet')
  await world.clock.advance(10_000)
  alice.slowWrite = () => undefined
  gate.resolve()
  const names = async (device: Person): Promise<string> =>
    (await device.client.contacts()).map(({ name }) => name).sort().join()
  await world.until(async () => (await shown(tablet)).join() === 'in slowly'
    && await names(tablet) === 'Bob,Carol', { withinMs: 60_000 })
  await world.end()
})

test('a new device is told on as it confirms, however much more waits than is told ahead', async () => {
  const world = new World('ahead')
  const [alice, bob] = await world.pair()
  const count = 2 * limits.historyPagesAhead
  // Each fills a page.
  const filler = 'x'.repeat(limits.historyPageBytesMax / 3)
  for (let i = 0; i < count; i++) await world.run(bob.client.send('Alice', `${i} ${filler}`))
  await world.until(async () => (await shown(alice)).length === count)
  const phone = await world.device(alice, 'ahead phone')
  await world.until(async () => (await shown(phone)).length === count, { withinMs: 30_000 })
  await world.end()
})

test('a linked device cannot speak for the primary by passing on what it never said', async () => {
  const { world, alice, phone } = await phoneAhead('forger')
  alice.node.withholds = () => false
  const tablet = await world.device(alice, 'forger tablet')
  await world.clock.advance(30_000)
  const own = async (): Promise<OwnRecord> =>
    decode(ownCodec, (await tablet.store.kv.get('own/devices'))!.value)
  const before = await own()
  const rows = await alice.store.kv.list({ prefix: 'contact/' })
  const self = rows.map(({ value }) => decode(contactCodec, value)).find(({ name }) => name === '')!
  const { id: _, ...selfBox } = self.box
  const messageId = '5e'.repeat(16) as MessageId
  const say = (body: Body): Uint8Array =>
    encodePayload({ messageId, sentAtMs: world.clock.now(), sequence: 0, body })
  const secrets = { ...before.secrets, rendezvousSeed: new Uint8Array(15).fill(7) }
  const device = before.primary
  const payload = say({ type: 'ownDevices', ...before, secrets, selfBox })
  // As a thief of the phone would: among the words that it still has to tell.
  const forged = say({ type: 'receivedCopy', contact: contactRootKey(self.id), device, payload })
  await world.run(phone.rewrite('copied/0000000000009999', forged))
  const { deviceId: to } = await tablet.client.info()
  const copy = encode(copyCodec, {
    messageId, madeAtMs: world.clock.now(), notBeforeMs: 0, sealedAtMs: 0, repeats: 0, box: undefined,
    waiting: [{ device: to, isSealed: false }],
  })
  await world.run(phone.rewrite('copy/0000000000009999', copy))
  await world.clock.advance(10_000)
  assert.equal(hex((await own()).secrets.rendezvousSeed), hex(before.secrets.rendezvousSeed))
  assert.ok(tablet.warnings.some((warning) => warning.includes('DEVICE_UNKNOWN')), 'it came and was refused')
  await world.end()
})

test.run()

/** Several devices of one account: each sees everything once, whatever is off or begins anew. */
import * as assert from 'uvu/assert'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import { contactCodec } from '../../../protocol/client/records.ts'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { createEnvelope, expiryHour } from '../../../protocol/envelope.ts'
import type { DeviceId } from '../../../protocol/ids.ts'
import { openCard } from '../../../protocol/inbox-card.ts'
import { limits } from '../../../protocol/limits.ts'
import { sealMessage } from '../../../protocol/message/sealed.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { noFaults } from '../../helpers/client-network.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices', { timeoutMs: 60_000 })
const dayMs = 86_400_000

/** What stands in a device's history, as people see it. */
async function seen(person: Person): Promise<string[]> {
  const entries = await person.client.history({ limit: 1_000 })
  return entries.map(({ direction, text }) => `${direction} ${text}`)
}

function sorted(texts: readonly string[]): string[] {
  return [...texts].sort()
}

/** All devices hold these texts, each once, in whatever order they came. */
async function allSee(world: World, devices: readonly Person[], texts: readonly string[]): Promise<void> {
  await world.until(async () => {
    const all = await Promise.all(devices.map(seen))
    return all.every((shown) => shown.length >= texts.length)
  }, { withinMs: 600_000, stepMs: 500 })
  await world.clock.advance(5_000)
  for (const device of devices) assert.equal(sorted(await seen(device)), sorted(texts), device.name)
}

function undecryptable(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'undecryptable' ? [event.code] : []))
}

async function contactRecord(person: Person): Promise<ContactRecord> {
  const rows = await person.store.kv.list({ prefix: 'contact/' })
  return rows.map(({ value }) => decode(contactCodec, value)).find(({ name }) => name !== '')!
}

/** Alice with laptop and phone, Bob with laptop, phone and tablet, all settled. */
async function household(seed: string): Promise<{ world: World, alices: Person[], bobs: Person[] }> {
  const world = new World(seed)
  const [alice, bob] = await world.pair()
  const alices = [alice, await world.device(alice, `${seed} Alice phone`)]
  const bobs = [bob]
  for (const name of ['phone', 'tablet']) bobs.push(await world.device(bob, `${seed} Bob ${name}`))
  await settled(world, [...alices, ...bobs])
  return { world, alices, bobs }
}

/** Every device knows its contact. */
async function settled(world: World, devices: readonly Person[]): Promise<void> {
  await world.until(async () => {
    const known = await Promise.all(devices.map((device) => device.client.contacts()))
    return known.every((contacts) => contacts.length > 0 && contacts.every(({ state }) => state === 'active'))
  })
  await world.clock.advance(5_000)
}

function other(person: Person): string {
  return person.name.includes('Alice') || person.name === 'Alice' ? 'Bob' : 'Alice'
}

test('shows every message on all five devices of two people once, with true states', async () => {
  const { world, alices, bobs } = await household('five')
  const said: { from: Person, text: string }[] = []
  for (const round of [1, 2, 3]) {
    for (const from of [...alices, ...bobs]) {
      const text = `${from.name} ${round}`
      await world.run(from.client.send(other(from), text))
      said.push({ from, text })
      await world.clock.advance(700)
    }
  }
  const view = (mine: readonly Person[]): string[] =>
    said.map(({ from, text }) => `${mine.includes(from) ? 'out' : 'in'} ${text}`)
  await allSee(world, alices, view(alices))
  await allSee(world, bobs, view(bobs))
  await world.until(async () => {
    const all = await Promise.all([...alices, ...bobs].map((device) => device.client.history({})))
    return all.flat().every(({ direction, status }) => direction === 'in' || status?.state === 'delivered')
  })
  for (const device of [...alices, ...bobs]) {
    assert.equal(undecryptable(device), [], device.name)
    const shown = await seen(device)
    for (const from of [...alices, ...bobs]) {
      const theirs = shown.filter((text) => /^(in|out) (.*) \d$/.exec(text)?.[2] === from.name)
      assert.is(theirs.length, 3)
      assert.equal(theirs, sorted(theirs), `${device.name} sees ${from.name} in order`)
    }
  }
  await world.end()
})

test('brings everything to a device that was off for a week while all others talked', async () => {
  const { world, alices, bobs } = await household('week')
  const [away] = bobs.slice(2)
  away!.crash()
  const said: string[] = []
  for (let day = 0; day < 7; day++) {
    for (const from of [...alices, ...bobs.slice(0, 2)]) {
      await world.run(from.client.send(other(from), `${from.name} day ${day}`))
      said.push(`${alices.includes(from) ? 'in' : 'out'} ${from.name} day ${day}`)
    }
    await world.clock.advance(5_000)
    // Sessions need not live through the night; the days themselves pass quickly.
    for (const person of [...alices, ...bobs.slice(0, 2)]) person.session?.reset()
    await world.clock.advance(3_600_000)
    world.clock.jumpWall(dayMs - 3_605_000)
  }
  await world.run(away!.recover())
  await allSee(world, bobs, said)
  assert.equal(undecryptable(away!), [])
  await world.end()
})

test('gives a new device contacts, names and the last of the history, in its place', async () => {
  const world = new World('newcomer')
  const [alice, bob] = await world.pair()
  await world.run(alice.client.rename('Bob', 'Robert'))
  await world.run(alice.client.markVerified('Robert'))
  for (let i = 0; i < 40; i++) {
    await world.run(alice.client.send('Robert', `a ${i}`))
    await world.run(bob.client.send('Alice', `b ${i} ${'x'.repeat(2_000)}`))
  }
  await world.clock.advance(5_000)
  const before = await seen(alice)
  const phone = await world.device(alice, 'phone')
  await allSee(world, [phone], before)
  assert.equal(await seen(phone), before, 'in order')
  const [robert] = await phone.client.contacts()
  assert.equal([robert?.name, robert?.trust, robert?.state], ['Robert', 'verified', 'active'])
  assert.is((await phone.client.info()).sync, undefined, 'over')
  const messages = phone.events.filter((event) => event.type === 'message')
  assert.is(messages.length, 0, 'old messages are no news')
  await world.run(bob.client.send('Alice', 'new'))
  await world.until(async () => (await seen(phone)).at(-1) === 'in new')
  const states = (await phone.client.history({ direction: 'out' })).map(({ status }) => status?.state)
  assert.ok(states.every((state) => state === 'delivered'))
  await world.end()
})

test('stops at a thousand messages of history, the newest', async () => {
  const world = new World('long history')
  const [alice] = await world.pair()
  const count = limits.historySyncMax + 30
  for (let i = 0; i < count; i += 103) {
    const texts = Array.from({ length: Math.min(103, count - i) }, (_, k) => `t ${i + k}`)
    await world.run(Promise.all(texts.map((text) => alice.client.send('Bob', text))))
    await world.clock.advance(2_000)
  }
  const phone = await world.device(alice, 'phone')
  const shown = async () => await phone.client.history({ limit: 1_000 })
  const isThere = async (): Promise<boolean> => (await shown()).length === limits.historySyncMax
  await world.until(isThere, { withinMs: 600_000, stepMs: 1_000 })
  const texts = (await shown()).map(({ text }) => text)
  assert.equal([texts[0], texts.at(-1)], ['t 30', `t ${count - 1}`])
  await world.end()
})

test('lets two devices write at once, and each shows the other\'s words', async () => {
  const { world, alices, bobs } = await household('at once')
  const texts = alices.flatMap((device) => [0, 1, 2, 3].map((i) => ({ device, text: `${device.name} ${i}` })))
  await world.run(Promise.all(texts.map(({ device, text }) => device.client.send('Bob', text))))
  await allSee(world, alices, texts.map(({ text }) => `out ${text}`))
  await allSee(world, bobs, texts.map(({ text }) => `in ${text}`))
  await world.end()
})

test('is understood at once by contacts who have never heard of the device', async () => {
  const world = new World('stranger device')
  const [alice, bob] = await world.pair()
  const phone = await world.device(alice, 'phone')
  await settled(world, [phone])
  bob.node.heard.length = 0
  await world.run(phone.client.send('Bob', 'it is me'))
  await allSee(world, [bob], ['in it is me'])
  assert.equal(undecryptable(bob), [])
  // His answer reaches the phone, though he may have had no session with it.
  await world.run(bob.client.send('Alice', 'hello you'))
  await allSee(world, [alice, phone], ['out it is me', 'in hello you'])
  await world.end()
})

test('gets what was sent before the contact knew the device from its sibling', async () => {
  const world = new World('old list')
  const [alice, bob] = await world.pair()
  bob.crash()
  const phone = await world.device(alice, 'phone')
  await settled(world, [phone])
  // Bob comes back with the old list and writes at once; his look-ups are lost for now.
  for (const node of [alice.node]) node.withholds = () => true
  await world.run(bob.recover())
  await world.run(bob.client.send('Alice', 'to whom it may concern'))
  await world.clock.advance(2_000)
  alice.node.withholds = () => false
  alice.node.resetAll()
  await allSee(world, [alice, phone], ['in to whom it may concern'])
  assert.equal(undecryptable(phone), [])
  await world.end()
})

test('fetches the newest list once when an unknown device writes, and reads what waited', async () => {
  const world = new World('fetched list')
  const [alice, bob] = await world.pair()
  const phone = await world.device(alice, 'phone')
  await settled(world, [phone])
  // As if the phone thought that Bob has its list: it does not send it along.
  const bobs = await contactRecord(phone)
  await world.run(phone.rewrite(`contact/${bobs.id}`, encode(contactCodec, { ...bobs, toldListNumber: 99 })))
  const before = bob.node.heard.length
  await world.run(phone.client.send('Bob', 'guess who'))
  await allSee(world, [bob], ['in guess who'])
  assert.equal(undecryptable(bob), [])
  const heard = bob.node.heard.slice(before).map(({ type }) => type)
  assert.is(heard.filter((type) => type === 'locate').length <= 2, true, heard.join())
  assert.is((await contactRecord(bob)).isListDue, false)
  await world.end()
})

test('names what an unknown device wrote when the newest list does not know it either', async () => {
  const world = new World('impostor')
  const [alice, bob] = await world.pair()
  const phone = await world.device(alice, 'phone')
  await settled(world, [phone])
  await world.run(phone.client.send('Bob', 'known'))
  await allSee(world, [bob], ['in known'])
  // Another device with the same inbox and sessions of its own, which no list names.
  const bobs = await contactRecord(phone)
  const { writeKeys } = openCard(bobs.card!)
  const { readKey, sealKey } = bobs.card!
  const message = {
    senderDevice: '77'.repeat(16) as DeviceId,
    entries: [{ recipientDevice: (await bob.client.info()).deviceId, wrap: new Uint8Array(135) }],
    deviceList: undefined,
    content: new Uint8Array(100),
  }
  const ciphertext = sealMessage(message, sealKey, world.network.random)
  const expiry = expiryHour(world.clock.now() + dayMs)
  bob.node.deposit(createEnvelope({ writeKeys, readKey, expiryHour: expiry, ciphertext }))
  await world.until(() => undecryptable(bob).length > 0)
  assert.equal(undecryptable(bob), ['DEVICE_UNKNOWN'])
  await world.end()
})

test('converges when names, trust and removal are changed on two devices at once', async () => {
  const world = new World('conflict')
  const alice = await world.person('Alice')
  const friends = [await world.person('Bob'), await world.person('Carol'), await world.person('Dave')]
  for (const friend of friends) {
    const { uri } = await world.run(friend.client.invite())
    await world.run(alice.client.add(uri, { name: friend.name }))
  }
  await world.until(async () => (await alice.client.contacts()).every(({ state }) => state === 'active'))
  const phone = await world.device(alice, 'phone')
  await world.until(async () => (await phone.client.contacts()).length === 3)
  await world.clock.advance(5_000)
  for (const device of [alice, phone]) device.session!.reset()
  // Neither hears the other while they differ.
  await world.run(alice.client.rename('Bob', 'Bobby'))
  await world.run(phone.client.rename('Bob', 'Rob'))
  await world.run(phone.client.markVerified('Rob'))
  await world.run(alice.client.rename('Carol', 'Joe'))
  await world.run(phone.client.rename('Dave', 'Joe'))
  const [laptop, mobile] = [alice, phone]
  const state = async (device: Person): Promise<unknown> => (await device.client.contacts())
    .map(({ name, trust, address }) => ({ name, trust, address }))
    .sort((a, b) => (a.address < b.address ? -1 : 1))
  await world.until(async () => JSON.stringify(await state(laptop)) === JSON.stringify(await state(mobile)))
  await world.clock.advance(20_000)
  assert.equal(await state(laptop), await state(mobile))
  const names = (await laptop.client.contacts()).map(({ name }) => name).sort()
  assert.equal([names[0] === 'Joe' || names[1] === 'Joe', names.includes('Joe-2')], [true, true])
  for (const name of names) {
    const [one, two] = [await laptop.client.contact(name), await mobile.client.contact(name)]
    assert.is(one.address, two.address, 'one name, one contact')
  }

  await world.run(alice.client.remove('Joe'))
  await world.until(async () => (await phone.client.contacts()).length === 2)
  await world.clock.advance(10_000)
  assert.equal(await state(laptop), await state(mobile))
  await world.end()
})

test('adds a contact on a linked device, and all devices talk to them', async () => {
  const world = new World('added on the phone')
  const alice = await world.person('Alice')
  const phone = await world.device(alice, 'phone')
  await world.clock.advance(5_000)
  const bob = await world.person('Bob')
  const { uri } = await world.run(bob.client.invite())
  await world.run(phone.client.add(uri))
  await settled(world, [alice, phone])
  await world.run(alice.client.send('Bob', 'from the laptop'))
  await world.run(phone.client.send('Bob', 'from the phone'))
  await world.run(bob.client.send('Alice', 'hello both'))
  await allSee(world, [alice, phone], ['out from the laptop', 'out from the phone', 'in hello both'])
  await world.end()
})

test('makes one contact with one inbox when two devices add the same person at once', async () => {
  const world = new World('added twice')
  const alice = await world.person('Alice')
  const phone = await world.device(alice, 'phone')
  await world.clock.advance(5_000)
  const bob = await world.person('Bob')
  const { uri } = await world.run(bob.client.invite())
  await world.run(Promise.all([alice.client.add(uri), phone.client.add(uri)]))
  await settled(world, [alice, phone, bob])
  await world.clock.advance(20_000)
  const boxes = await Promise.all([alice, phone].map(async (device) => (await contactRecord(device)).box.id))
  assert.is(boxes[0], boxes[1])
  assert.is((await bob.client.contacts()).length, 1)
  for (const from of [alice, phone, bob]) {
    await world.run(from.client.send(from === bob ? 'Alice' : 'Bob', from.name))
  }
  await allSee(world, [alice, phone], ['out Alice', 'out phone', 'in Bob'])
  await allSee(world, [bob], ['in Alice', 'in phone', 'out Bob'])
  await world.end()
})

test('keeps contact requests for the primary while only a linked device is on', async () => {
  const world = new World('primary away')
  const alice = await world.person('Alice')
  const phone = await world.device(alice, 'phone')
  await world.clock.advance(5_000)
  const { uri } = await world.run(phone.client.invite())
  await world.clock.advance(5_000)
  alice.crash()
  const bob = await world.person('Bob')
  await world.run(bob.client.add(uri))
  const { name } = await bob.only()
  await world.run(bob.client.send(name, 'are you there?'))
  await world.clock.advance(60_000)
  assert.is((await bob.only()).state, 'requested')
  assert.equal(await phone.client.contacts(), [])
  assert.equal(undecryptable(phone), [])
  await world.run(alice.recover())
  await settled(world, [alice, phone, bob])
  await allSee(world, [alice, phone], ['in are you there?'])
  await world.end()
})

test('tells siblings what was read, so that nothing is said to be read twice', async () => {
  const { world, alices: [laptop, phone], bobs: [bob] } = await household('read')
  const { id } = await world.run(bob!.client.send('Alice', 'one'))
  await world.run(bob!.client.send('Alice', 'two'))
  await world.until(async () => (await seen(phone!)).length === 2 && (await seen(laptop!)).length === 2)
  const entries = await phone!.client.history({ direction: 'in' })
  await world.run(phone!.client.markRead('Bob', entries[1]!.cursor))
  await world.run(bob!.client.waitFor(id, 'read'))
  await world.until(() => laptop!.events.some((event) => event.type === 'read'))
  await world.clock.advance(3_000)
  const before = laptop!.node.heard.length
  const last = (await laptop!.client.history({ direction: 'in' })).at(-1)!
  await world.run(laptop!.client.markRead('Bob', last.cursor))
  await world.clock.advance(3_000)
  const later = laptop!.node.heard.slice(before).map(({ type }) => type)
  assert.not(later.includes('submit'))
  await world.end()
})

test('loses and doubles nothing while deliveries are lost, doubled, shuffled and late', async () => {
  const { world, alices, bobs } = await household('rough')
  world.network.faults = { drop: 0.2, double: 0.2, shuffle: 0.3, resetEveryMs: 15_000 }
  for (const person of world.people) person.session!.reset()
  const said: { from: Person, text: string }[] = []
  for (let i = 0; i < 12; i++) {
    for (const from of [...alices, ...bobs]) {
      said.push({ from, text: `${from.name} ${i}` })
      await world.run(from.client.send(other(from), `${from.name} ${i}`))
    }
    await world.clock.advance(400)
  }
  const view = (mine: readonly Person[]): string[] =>
    said.map(({ from, text }) => `${mine.includes(from) ? 'out' : 'in'} ${text}`)
  world.network.faults = noFaults
  await allSee(world, alices, view(alices))
  await allSee(world, bobs, view(bobs))
  await world.end()
})

test.run()

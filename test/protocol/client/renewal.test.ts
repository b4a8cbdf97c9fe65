/**
 * A new device in the place of an old one: after a restored backup, from the recovery words, and
 * after the keys of one device were at work in two places. Nobody is alarmed, nothing is read
 * wrongly, nothing that was not delivered is lost, and the one that was replaced stops.
 */
import * as assert from 'uvu/assert'
import { verifyDeviceList } from '../../../protocol/account.ts'
import type { VerifiedDeviceList } from '../../../protocol/account.ts'
import { createAccount, readAccount } from '../../../protocol/client/account-state.ts'
import { contactCodec, contactRootKey } from '../../../protocol/client/records.ts'
import { beginRenewal, markRecovered } from '../../../protocol/client/renewal.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import { limits } from '../../../protocol/limits.ts'
import { Person, World } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/renewal', { timeoutMs: 60_000 })
const minute = 60_000

type Records = Awaited<ReturnType<Person['backup']>>

async function texts(person: Person): Promise<string[]> {
  return (await person.incoming()).map((entry) => entry.text).filter((text) => text !== '')
}

async function receives(world: World, person: Person, expected: readonly string[]): Promise<void> {
  await world.until(async () => {
    const have = await texts(person)
    return expected.every((text) => have.includes(text))
  }, { withinMs: 30 * minute, stepMs: 500 })
  const have = await texts(person)
  assert.is(new Set(have).size, have.length, 'nothing twice')
}

/** Another device of the account at another home. */
async function renewed(world: World, name: string, records: Records): Promise<Person> {
  const person = new Person(world, name)
  world.people.push(person)
  await world.run(person.beginFrom(records, beginRenewal))
  return person
}

/** The list that somebody has of the other one. */
async function pinned(person: Person): Promise<VerifiedDeviceList> {
  const [entry] = await person.store.kv.list({ prefix: 'contact/' })
  const { id, deviceList } = decode(contactCodec, entry!.value)
  const list = verifyDeviceList(deviceList!, contactRootKey(id))
  if (!list.ok) throw new Error(list.code)
  return list.value
}

function alarms(person: Person): unknown[] {
  return person.events.filter((event) => event.type === 'trust' || event.type === 'alarm')
}

function standings(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'standing' ? [event.standing] : []))
}

async function code(work: Promise<unknown>): Promise<string> {
  return await work.then(() => 'fine', (error: { code: string }) => error.code)
}

test('a restored backup is a new device, of which contacts learn without an alarm', async () => {
  const world = new World('restored')
  const [alice, bob] = await world.pair()
  await world.run(alice.client.send('Bob', 'before'))
  await world.run(bob.client.send('Alice', 'hi'))
  await receives(world, bob, ['before'])
  await receives(world, alice, ['hi'])
  const before = await pinned(bob)
  const backup = await alice.backup()
  alice.crash()
  const again = await renewed(world, 'Alice again', backup)
  await world.until(async () => !(await again.client.info()).isRenewing)
  await world.run(again.client.send('Bob', 'I am back'))
  await receives(world, bob, ['before', 'I am back'])
  await world.run(bob.client.send('Alice', 'welcome'))
  await receives(world, again, ['hi', 'welcome'])
  const after = await pinned(bob)
  assert.is(after.list.number, before.list.number + 1)
  assert.equal(after.list.previous, before.hash)
  assert.is(after.list.devices.length, 1)
  assert.not.equal(after.list.devices[0]!.signingKey, before.list.devices[0]!.signingKey)
  assert.equal(alarms(bob), [])
  assert.is((await bob.only()).trust, 'invite')
  assert.equal((await again.client.info()).address, (await bob.only()).address)
  await world.end()
})

test('what had not been delivered is sealed anew, in its order and once', async () => {
  const world = new World('unsent')
  const [alice, bob] = await world.pair()
  for (const text of ['one', 'two']) await world.run(alice.client.send('Bob', text))
  await receives(world, bob, ['one', 'two'])
  bob.node.isUp = false
  bob.node.replicas.forEach((id) => { world.network.nodes.get(id)!.isFull = true })
  const ids: string[] = []
  for (const text of ['three', 'four', 'five']) ids.push((await world.run(alice.client.send('Bob', text))).id)
  await world.clock.advance(5_000)
  const backup = await alice.backup()
  alice.crash()
  const again = await renewed(world, 'Alice again', backup)
  await world.clock.advance(minute)
  assert.is((await again.client.info()).outbox, 3)
  bob.node.isUp = true
  await receives(world, bob, ['one', 'two', 'three', 'four', 'five'])
  assert.equal(await texts(bob), ['one', 'two', 'three', 'four', 'five'])
  assert.ok((await bob.incoming()).every((entry) => entry.afterGap !== true))
  await world.until(async () => (await again.client.info()).outbox === 0)
  for (const id of ids) assert.is((await again.client.status(id as never))?.state, 'delivered')
  await world.end()
})

test('what contacts wrote to the old device comes again for the new one', async () => {
  const world = new World('meanwhile')
  const [alice, bob] = await world.pair()
  await world.run(bob.client.send('Alice', 'one'))
  await receives(world, alice, ['one'])
  const backup = await alice.backup()
  alice.crash()
  alice.node.isUp = false
  // To the old device's keys, at the replicas.
  for (const text of ['two', 'three']) await world.run(bob.client.send('Alice', text))
  await world.clock.advance(10_000)
  const again = await renewed(world, 'Alice again', backup)
  await world.clock.advance(2_000)
  again.node.drain()
  await receives(world, again, ['one', 'two', 'three'])
  await world.until(async () => (await bob.client.info()).outbox === 0, {
    withinMs: 30 * minute, stepMs: 1_000,
  })
  assert.equal(alarms(bob), [])
  await world.end()
})

test('the words bring the same person back, with a list that follows the one that is found', async () => {
  const world = new World('words')
  const [alice, bob] = await world.pair()
  const before = await pinned(bob)
  const { entropy } = (await readAccount(alice.store.kv))!
  alice.crash()
  const again = await fromWords(world, entropy!)
  await world.until(async () => !(await again.client.info()).isRenewing)
  assert.is((await again.client.info()).address, (await bob.only()).address)
  assert.equal(await again.client.contacts(), [])
  const { uri } = await world.run(bob.client.invite())
  await world.run(again.client.add(uri))
  await world.until(async () => (await again.client.contacts())[0]?.state === 'active')
  await world.run(again.client.send('Bob', 'it is me'))
  await receives(world, bob, ['it is me'])
  await world.run(bob.client.send('Alice', 'so it is'))
  await receives(world, again, ['so it is'])
  const after = await pinned(bob)
  assert.is(after.list.number, before.list.number + 1)
  assert.equal(after.list.previous, before.hash)
  assert.equal(alarms(bob), [])
  await world.end()
})

test('where nobody has anything of us, the list takes a number that no other has', async () => {
  for (const kind of ['restored', 'words'] as const) {
    const world = new World(`nothing found, ${kind}`)
    const [alice, bob] = await world.pair()
    const before = await pinned(bob)
    const backup = await alice.backup()
    const { entropy } = (await readAccount(alice.store.kv))!
    alice.crash()
    alice.node.isUp = false
    world.network.records.clear()
    // Bob is there; of Alice nobody knows anything.
    bob.crash()
    await world.run(bob.recover())
    const again = kind === 'restored'
      ? await renewed(world, 'Alice again', backup)
      : await fromWords(world, entropy!)
    await world.until(async () => !(await again.client.info()).isRenewing)
    if (kind === 'words') {
      const { uri } = await world.run(bob.client.invite())
      await world.run(again.client.add(uri))
      await world.until(async () => (await again.client.contacts())[0]?.state === 'active')
    }
    await world.run(again.client.send('Bob', 'it is me'))
    await receives(world, bob, ['it is me'])
    const after = await pinned(bob)
    assert.ok(after.list.number > before.list.number + 1_000_000, String(after.list.number))
    assert.ok(after.list.number <= world.clock.now() / 1_000)
    assert.equal(alarms(bob), [])
    await world.end()
  }
})

async function fromWords(world: World, entropy: Uint8Array): Promise<Person> {
  const person = new Person(world, 'Alice from words')
  world.people.push(person)
  await world.run(person.beginFrom([], async ({ kv, random }) => {
    await markRecovered(kv)
    await createAccount({ kv, clock: world.clock, random, name: 'Alice', entropy })
  }))
  return person
}

test('a device that was replaced finds out, and does nothing any more', async () => {
  const world = new World('replaced')
  const [alice, bob] = await world.pair()
  const again = await renewed(world, 'Alice again', await alice.backup())
  await world.until(() => standings(alice).includes('retired'), { withinMs: limits.clientUpkeepMs * 2 })
  assert.is((await alice.client.info()).standing, 'retired')
  for (const work of [
    () => alice.client.send('Bob', 'no'), () => alice.client.invite(), () => alice.client.add('openim:x'),
  ]) assert.is(await code(work()), 'ACCOUNT_RETIRED')
  await world.run(bob.client.send('Alice', 'for the new one'))
  await receives(world, again, ['for the new one'])
  assert.equal(await texts(alice), [])
  await world.run(again.client.send('Bob', 'yes'))
  await receives(world, bob, ['yes'])
  alice.crash()
  await world.run(alice.recover())
  assert.is((await alice.client.info()).standing, 'retired', 'for good')
  await world.end()
})

test('two that use one device find out, stop, and go on when one of them is renewed', async () => {
  const world = new World('clones')
  const [alice, bob] = await world.pair()
  await world.run(alice.client.send('Bob', 'hello'))
  await receives(world, bob, ['hello'])
  const copy = await alice.backup()
  alice.crash()
  await world.run(alice.recover())
  const clone = new Person(world, 'Alice cloned')
  world.people.push(clone)
  await world.run(clone.beginFrom(copy))
  await world.run(alice.client.send('Bob', 'from the one'))
  await world.run(clone.client.send('Bob', 'from the other').catch(() => {}))
  for (const person of [alice, clone]) {
    await world.until(() => standings(person).includes('cloned'), { withinMs: limits.clientUpkeepMs * 2 })
  }
  assert.is(await code(alice.client.send('Bob', 'no')), 'ACCOUNT_CLONED')
  await world.run(bob.client.send('Alice', 'who is there?'))
  await world.clock.advance(minute)
  assert.equal([...await texts(alice), ...await texts(clone)], [], 'taken by nobody')
  // Right above what it found, and so below whatever the other one publishes in the meantime.
  const { published } = world.network
  const found = new Set(published.map(({ sequence }) => sequence + 1))
  const announced = published.filter(({ sequence }) => found.has(sequence))
  assert.ok(announced.length > 0)
  for (const { sequence, atMs } of announced) assert.ok(sequence < atMs, `${sequence} at ${atMs}`)

  const records = await alice.backup()
  alice.crash()
  const again = await renewed(world, 'Alice renewed', records)
  await world.until(() => standings(clone).includes('retired'), { withinMs: limits.clientUpkeepMs * 3 })
  await receives(world, again, ['who is there?'])
  await world.run(again.client.send('Bob', 'only me'))
  await receives(world, bob, ['hello', 'from the one', 'only me'])
  const written = ['hello', 'from the one', 'from the other', 'only me']
  assert.equal((await texts(bob)).filter((text) => !written.includes(text)), [])
  assert.equal(alarms(bob), [])
  await world.end()
})

test('one backup restored twice ends with the last one', async () => {
  const world = new World('twice')
  const [alice, bob] = await world.pair()
  const backup = await alice.backup()
  alice.crash()
  const second = await renewed(world, 'Alice 2', backup)
  await world.until(async () => !(await second.client.info()).isRenewing)
  await world.run(second.client.send('Bob', 'from the second'))
  await receives(world, bob, ['from the second'])
  const third = await renewed(world, 'Alice 3', backup)
  await world.until(() => standings(second).includes('retired'), { withinMs: limits.clientUpkeepMs * 2 })
  await world.run(third.client.send('Bob', 'from the third'))
  await receives(world, bob, ['from the second', 'from the third'])
  assert.is((await pinned(bob)).list.devices.length, 1)
  assert.equal(alarms(bob), [])
  await world.end()
})

test('a renewal that is cut off at any write loses no text and doubles none', async () => {
  const world = new World('cut off')
  const [alice, bob] = await world.pair()
  bob.node.isUp = false
  bob.node.replicas.forEach((id) => { world.network.nodes.get(id)!.isFull = true })
  const expected = ['one', 'two', 'three']
  for (const text of expected) await world.run(alice.client.send('Bob', text))
  await world.clock.advance(3_000)
  const backup = await alice.backup()
  alice.crash()
  const again = new Person(world, 'Alice again')
  world.people.push(again)
  let cuts = 0
  let left = 0
  again.beforeWrite = () => {
    if (left-- > 0) return
    throw Object.assign(new Error('power cut'), { code: 'STORE_IO' })
  }
  let isOpen = await world.run(again.beginFrom(backup, beginRenewal).then(() => true, () => false))
  for (; !isOpen; left = cuts) {
    cuts++
    again.store.crash()
    left = cuts
    isOpen = await world.run(again.recover().then(() => true, () => false))
  }
  again.beforeWrite = () => {}
  assert.ok(cuts > 3, `${cuts} cuts`)
  bob.node.isUp = true
  await receives(world, bob, expected)
  assert.equal(await texts(bob), expected)
  await world.end()
})

test('linked devices stay, and tell the restored primary what it missed', async () => {
  const world = new World('siblings')
  const [alice, bob] = await world.pair()
  const phone = new Person(world, 'Alice\'s phone', alice.node)
  world.people.push(phone)
  await world.run(phone.beginLinked(alice.client))
  await world.run(bob.client.send('Alice', 'to both'))
  await receives(world, alice, ['to both'])
  await receives(world, phone, ['to both'])
  const backup = await alice.backup()
  await world.run(bob.client.send('Alice', 'after the backup'))
  await receives(world, phone, ['to both', 'after the backup'])
  await receives(world, alice, ['to both', 'after the backup'])
  alice.crash()
  // The node forgets whom it let in, as node/renewal.ts does.
  alice.node.devices.length = 0
  const again = new Person(world, 'Alice again', alice.node)
  world.people.push(again)
  await world.run(again.beginFrom(backup, beginRenewal))
  await world.until(async () => !(await again.client.info()).isRenewing)
  await world.run(bob.client.send('Alice', 'to the new one, too'))
  await receives(world, phone, ['to both', 'after the backup', 'to the new one, too'])
  await receives(world, again, ['to both', 'after the backup', 'to the new one, too'])
  await world.run(phone.client.send('Bob', 'from the phone'))
  await world.run(again.client.send('Bob', 'from the restored one'))
  await receives(world, bob, ['from the phone', 'from the restored one'])
  assert.equal((await again.client.devices()).length, 2)
  assert.equal(alarms(bob), [])
  await world.end()
})

test.run()

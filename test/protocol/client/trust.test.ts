/** How sure people are of a contact's key: compared, kept, in doubt, settled. */
import * as assert from 'uvu/assert'
import { ratchetLimits } from '../../../crypto/ratchet/limits.ts'
import { decode } from '../../../protocol/codec/struct.ts'
import { readAccount } from '../../../protocol/client/account-state.ts'
import type { ClientEvent } from '../../../protocol/client/api.ts'
import { Client } from '../../../protocol/client/client.ts'
import { mergeContact, stateBody } from '../../../protocol/client/contact-states.ts'
import { contactCodec } from '../../../protocol/client/records.ts'
import type { ContactRecord } from '../../../protocol/client/records.ts'
import { Person, World } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('protocol/client/trust', { timeoutMs: 30_000 })

type TrustEvent = Extract<ClientEvent, { type: 'trust' }>

function trustEvents(person: Person): string[] {
  const told = person.events.filter((event): event is TrustEvent => event.type === 'trust')
  return told.map(({ contact, from, to, code = '' }) => `${contact}: ${from} → ${to} ${code}`.trim())
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => 'taken', (error: { code?: string }) => error.code ?? 'no code')
}

async function record(person: Person, name: string): Promise<ContactRecord> {
  const entries = await person.store.kv.list({ prefix: 'contact/' })
  return entries.map(({ value }) => decode(contactCodec, value)).find((contact) => contact.name === name)!
}

/** The same root key on another device that knows nothing of the first: one key in two hands. */
async function twinOf(world: World, person: Person): Promise<Person> {
  const account = await readAccount(person.store.reopen().kv)
  const twin = new Person(world, `${person.name}'s twin`)
  world.people.push(twin)
  await world.run(Client.create({
    kv: twin.store.kv, clock: world.clock, random: seededRandom(`${world.seed} twin`), name: person.name,
    entropy: account!.entropy!,
  }))
  await world.run(twin.open())
  return twin
}

/**
 * Bob, who verified Alice, and somebody who has Alice's root key and answers an invite of Bob's. One
 * of the two is off at a time, and nothing is left of the other's location record: two nodes that
 * meet each other's records would know at once that they are two.
 */
async function forked(
  seed: string,
  stays: 'alice' | 'twin' = 'alice',
): Promise<{ world: World, alice: Person, bob: Person, twin: Person }> {
  const world = new World(seed)
  const [alice, bob] = await world.pair()
  await world.run(bob.client.markVerified('Alice'))
  const { uri } = await world.run(bob.client.invite())
  alice.crash()
  world.network.records.clear()
  const twin = await twinOf(world, alice)
  await republish(world, bob)
  await world.run(twin.client.add(uri))
  await world.until(async () => (await bob.only()).trust === 'changed')
  if (stays === 'twin') return { world, alice, bob, twin }
  twin.crash()
  world.network.records.clear()
  await world.run(alice.recover())
  await republish(world, bob)
  return { world, alice, bob, twin }
}

async function republish(world: World, person: Person): Promise<void> {
  person.node.session?.reset()
  await world.clock.advance(5_000)
}

test('both sides show the same safety number, in 12 groups of 5 digits', async () => {
  const world = new World('number')
  const [alice, bob] = await world.pair()
  const here = await alice.client.safetyNumber('Bob')
  const there = await bob.client.safetyNumber('Alice')
  assert.equal(here.digits, there.digits)
  assert.is(here.digits.length, 12)
  for (const group of here.digits) assert.match(group, /^\d{5}$/)
  assert.is.not(here.code, there.code)
  assert.ok(here.code.length <= 106, 'a QR code of version 5')
  await world.end()
})

test('tells of sessions that began without one-time keys, until both have answered', async () => {
  const world = new World('secrecy')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  const holders = [alice.node, ...world.replicas]
  for (const node of holders) for (const shelf of node.shelves.values()) shelf.oneTime.length = 0
  const bob = await world.person('Bob')
  await world.clock.advance(5_000)
  const { uri } = await world.run(alice.client.invite())
  const { address } = await world.run(bob.client.add(uri))
  const begun = async (): Promise<boolean> => (await bob.client.safetyNumber(address)).sessions.length === 1
  await world.until(begun, { stepMs: 10 })
  const before = await bob.client.safetyNumber(address)
  assert.equal(before.sessions.map(({ weakForwardSecrecy }) => weakForwardSecrecy), [true])
  await world.until(async () => (await bob.client.contacts())[0]?.state === 'active')
  for (let i = 0; i < 2; i++) {
    await world.run(bob.client.send('Alice', 'a word'))
    await world.run(alice.client.send('Bob', 'and another'))
    await world.clock.advance(5_000)
  }
  for (const number of [await bob.client.safetyNumber('Alice'), await alice.client.safetyNumber('Bob')]) {
    assert.equal(number.sessions.map(({ weakForwardSecrecy }) => weakForwardSecrecy), [false])
    assert.ok(number.sessions[0]!.pqAgeSteps < 2 * ratchetLimits.kemPeriodTurns)
  }
  await world.end()
})

for (const form of ['digits', 'code'] as const) {
  test(`verifies by the ${form} of the other side, and tells`, async () => {
    const world = new World(`by ${form}`)
    const [alice, bob] = await world.pair()
    const number = await bob.client.safetyNumber('Alice')
    const compared = form === 'digits' ? number.digits.join(' ') : number.code
    assert.is((await world.run(alice.client.verify('Bob', compared))).trust, 'verified')
    assert.is((await alice.only()).trust, 'verified')
    assert.equal(trustEvents(alice), ['Bob: invite → verified'])
    assert.is((await bob.only()).trust, 'invite', 'each side verifies for itself')
    await world.end()
  })
}

test('refuses the number of somebody else, our own code and what is none', async () => {
  const world = new World('mismatch')
  const [alice, bob] = await world.pair()
  const carol = await world.person('Carol')
  await world.meet(bob, carol)
  const other = await carol.client.safetyNumber('Bob')
  const own = await alice.client.safetyNumber('Bob')
  assert.is(await refusal(alice.client.verify('Bob', other.digits.join(''))), 'SAFETY_NUMBER_MISMATCH')
  assert.is(await refusal(alice.client.verify('Bob', other.code)), 'SAFETY_NUMBER_MISMATCH')
  assert.is(await refusal(alice.client.verify('Bob', own.code)), 'SAFETY_NUMBER_MISMATCH')
  assert.is(await refusal(alice.client.verify('Bob', own.digits.slice(1).join(''))), 'SAFETY_NUMBER_FORMAT')
  assert.is(await refusal(alice.client.verify('Bob', 'openim-verify:AgAA')), 'SAFETY_NUMBER_VERSION')
  assert.is(await refusal(alice.client.safetyNumber('Dave')), 'CONTACT_UNKNOWN')
  assert.is((await alice.only()).trust, 'invite')
  await world.end()
})

test('keeps what was verified through a rename, a crash, a backup and a moved inbox', async () => {
  const world = new World('kept')
  const [alice, bob] = await world.pair()
  await world.run(alice.client.markVerified('Bob'))
  await world.run(alice.client.rename('Bob', 'Robert'))
  const before = await alice.client.safetyNumber('Robert')
  const backup = await alice.backup()
  alice.crash()
  await world.run(alice.recover())
  assert.is((await alice.only()).trust, 'verified')
  await world.run(alice.restore(backup))
  bob.node.replicas = bob.node.replicas.slice(1)
  bob.node.session?.reset()
  await world.clock.advance(10_000)
  assert.is((await alice.only()).trust, 'verified')
  const after = await alice.client.safetyNumber('Robert')
  assert.equal([after.digits, after.code], [before.digits, before.code])
  await world.end()
})

test('takes a verification back when asked to', async () => {
  const world = new World('unverify')
  const [alice] = await world.pair()
  await world.run(alice.client.markVerified('Bob'))
  assert.is((await world.run(alice.client.unverify('Bob'))).trust, 'invite')
  assert.equal(trustEvents(alice), ['Bob: invite → verified', 'Bob: verified → invite'])
  await world.end()
})

test('two device lists under one root key are an alarm: nothing is sent, nothing is hidden', async () => {
  const { world, alice, bob } = await forked('fork')
  assert.equal(trustEvents(bob), ['Alice: invite → verified', 'Alice: verified → changed DEVICE_LIST_FORK'])
  assert.is((await bob.only()).alarm, 'DEVICE_LIST_FORK')
  assert.is(await refusal(bob.client.send('Alice', 'secret')), 'TRUST_CHANGED')
  assert.equal(await bob.client.history({ direction: 'out' }), [])
  await world.run(alice.client.send('Bob', 'still me'))
  await world.until(async () => (await bob.incoming()).length === 1)
  const [entry] = await bob.incoming()
  assert.is(entry?.text, 'still me')
  assert.is(entry?.alarm, 'DEVICE_LIST_FORK')
  bob.crash()
  await world.run(bob.recover())
  assert.is((await bob.only()).trust, 'changed', 'a restart does not settle it')
  assert.is(await refusal(bob.client.send('Alice', 'secret')), 'TRUST_CHANGED')
  await world.end()
})

test('what is verified on one device is verified on the others, under the same number', async () => {
  const world = new World('two devices')
  const [alice] = await world.pair()
  const phone = await world.device(alice, 'phone')
  await world.until(async () => (await phone.client.contacts()).some(({ state }) => state === 'active'))
  await world.run(alice.client.markVerified('Bob'))
  await world.until(async () => (await phone.client.contact('Bob')).trust === 'verified')
  assert.equal(trustEvents(phone), ['Bob: invite → verified'])
  const [onPhone, here] = [await phone.client.safetyNumber('Bob'), await alice.client.safetyNumber('Bob')]
  assert.equal([onPhone.digits, onPhone.code], [here.digits, here.code])
  await world.run(phone.client.unverify('Bob'))
  await world.until(async () => (await alice.client.contact('Bob')).trust === 'invite')
  await world.end()
})

test('taking a verification back does not end an alarm', async () => {
  const { world, bob } = await forked('stubborn')
  assert.is((await world.run(bob.client.unverify('Alice'))).trust, 'changed')
  await world.end()
})

for (const how of ['acceptChange', 'markVerified'] as const) {
  test(`goes on after ${how}, with the devices that were shown last`, async () => {
    const { world, bob, twin } = await forked(how, 'twin')
    const rival = (await record(bob, 'Alice')).rivalList
    const after = await world.run(bob.client[how]('Alice'))
    assert.is(after.trust, how === 'acceptChange' ? 'invite' : 'verified')
    assert.is(after.alarm, undefined)
    const kept = await record(bob, 'Alice')
    assert.equal(kept.deviceList, rival)
    assert.is(kept.rivalList, undefined)
    assert.is((await world.run(bob.client.send('Alice', 'hello again'))).state, 'queued')
    // Their request was refused with the list. It would be made again in six hours; so it is now.
    const { uri } = await world.run(bob.client.invite())
    await world.run(twin.client.add(uri))
    await world.until(async () => (await twin.incoming()).length === 1)
    await world.end()
  })
}

test('what a person settled on one device holds on the others, with the list that was chosen', async () => {
  const { world, bob } = await forked('siblings')
  const before = await record(bob, 'Alice')
  await world.run(bob.client.acceptChange('Alice'))
  const after = await record(bob, 'Alice')
  await world.end()
  const later = { counter: before.version.counter + 1, device: before.version.device }
  const told = (contact: ContactRecord): ContactRecord => mergeContact({
    id: contact.id, known: contact, nowMs: 0,
    body: stateBody({ ...after, version: later }, { isRemoved: false, positions: [] }),
  })
  for (const known of [before, { ...before, trust: 0 as const, alarm: '', rivalList: undefined }]) {
    const merged = told(known)
    assert.is(merged.trust, after.trust)
    assert.is(merged.alarm, '')
    assert.equal(merged.deviceList, after.deviceList)
    assert.is(merged.rivalList, undefined)
  }
  const stale = mergeContact({
    id: after.id, known: { ...after, version: later }, nowMs: 0,
    body: stateBody(before, { isRemoved: false, positions: [] }),
  })
  assert.is(stale.trust, after.trust, 'an older word does not bring the alarm back')
  assert.equal(stale.deviceList, after.deviceList)
})

test('somebody with the name of a contact is another contact, and does not block the first', async () => {
  const world = new World('namesake')
  const [alice] = await world.pair()
  await world.run(alice.client.markVerified('Bob'))
  const other = new Person(world, 'Bob, again')
  world.people.push(other)
  await world.run(Client.create({
    kv: other.store.kv, clock: world.clock, random: seededRandom('namesake 2'), name: 'Bob',
  }))
  await world.run(other.open())
  const { uri } = await world.run(alice.client.invite())
  await world.run(other.client.add(uri))
  await world.until(async () => (await alice.client.contacts()).some(({ name }) => name === 'Bob-2'))
  assert.is((await alice.client.contact('Bob')).trust, 'verified')
  assert.is((await alice.client.contact('Bob-2')).alarm, 'CONTACT_NAMESAKE')
  assert.ok(trustEvents(alice).includes('Bob-2: invite → invite CONTACT_NAMESAKE'))
  await world.run(alice.client.send('Bob', 'you?'))
  await world.run(alice.client.send('Bob-2', 'and you?'))
  await world.run(alice.client.acceptChange('Bob-2'))
  assert.is((await alice.client.contact('Bob-2')).alarm, undefined)
  await world.end()
})

test.run()

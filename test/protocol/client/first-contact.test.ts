/** Two people meet: an invite, a request, an answer, whatever order the world does it in. */
import * as assert from 'uvu/assert'
import type { Frame } from '../../../protocol/frame/frame.ts'
import { limits } from '../../../protocol/limits.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/first-contact')

async function rejectsWith(code: string, promise: Promise<unknown>): Promise<void> {
  const error = await promise.then(() => undefined, (thrown: unknown) => thrown)
  assert.is((error as { code?: string } | undefined)?.code, code)
}

async function texts(person: Person): Promise<string[]> {
  return (await person.incoming()).map((entry) => entry.text)
}

function undecryptable(person: Person): string[] {
  return person.events.flatMap((event) => (event.type === 'undecryptable' ? [event.code] : []))
}

test('makes contacts of two people from one invite', async () => {
  const world = new World('meet')
  const [alice, bob] = await world.pair()
  const [{ name, address, state, trust }, seen] = [await bob.only(), await alice.only()]
  assert.equal([name, state, trust], ['Alice', 'active', 'invite'])
  assert.equal([seen.name, seen.state, seen.trust], ['Bob', 'active', 'invite'])
  assert.is(address, (await alice.client.info()).address)
  assert.is(seen.address, (await bob.client.info()).address)
  // The very first card says where the inbox is held.
  for (const [person, other] of [[alice, bob], [bob, alice]] as const) {
    const places = await person.client.places(other.name)
    assert.equal([places?.homes, places?.replicas.length], [[other.node.nodeId], 5])
  }
  const event = alice.events.find((one) => one.type === 'contact')
  assert.is(event?.type === 'contact' && event.contact.state, 'active')
  await world.end()
})

test('brings texts that were written before the answer came, in order', async () => {
  const world = new World('eager')
  const [alice, bob] = [await world.person('Alice'), await world.person('Bob')]
  const { uri } = await world.run(alice.client.invite())
  const { name, state } = await world.run(bob.client.add(uri, { name: 'Ally' }))
  assert.equal([name, state], ['Ally', 'requested'])
  const sent = await world.run(
    Promise.all(['one', 'two', 'three'].map((text) => bob.client.send('ally', text))),
  )
  assert.ok(sent.every((status) => status.state === 'queued'))
  await world.until(async () => (await texts(alice)).length === 3)
  assert.equal(await texts(alice), ['one', 'two', 'three'])
  assert.is((await bob.only()).name, 'Ally')
  await world.end()
})

test('makes one contact each when both add each other at once', async () => {
  const world = new World('crossing')
  const [alice, bob] = [await world.person('Alice'), await world.person('Bob')]
  const invites = await world.run(Promise.all([alice.client.invite(), bob.client.invite()]))
  await world.run(Promise.all([alice.client.add(invites[1].uri), bob.client.add(invites[0].uri)]))
  await world.until(
    async () => (await alice.only()).state === 'active' && (await bob.only()).state === 'active',
  )
  await world.clock.advance(5_000)
  const names = [(await alice.only()).name, (await bob.only()).name] as const
  assert.equal(names, ['Bob', 'Alice'])
  for (let i = 0; i < 5; i++) {
    await world.run(Promise.all([alice.client.send('Bob', `a${i}`), bob.client.send('Alice', `b${i}`)]))
    await world.clock.advance(300)
  }
  await world.clock.advance(5_000)
  assert.equal(await texts(bob), ['a0', 'a1', 'a2', 'a3', 'a4'])
  assert.equal(await texts(alice), ['b0', 'b1', 'b2', 'b3', 'b4'])
  assert.is((await alice.client.info()).outbox + (await bob.client.info()).outbox, 0)
  assert.equal([...undecryptable(alice), ...undecryptable(bob)], [])
  await world.end()
})

test('answers a request that is delivered again, and makes no second contact', async () => {
  const world = new World('again')
  world.network.faults = { drop: 0, double: 1, shuffle: 0, resetEveryMs: Infinity }
  const [alice, bob] = await world.pair()
  await world.clock.advance(10_000)
  assert.is((await alice.only()).name, 'Bob')
  assert.is((await bob.only()).state, 'active')
  assert.equal(undecryptable(alice), [])
  await world.end()
})

test('lets only the first of two people use an invite, and says so', async () => {
  const world = new World('two takers')
  const [alice, bob] = [await world.person('Alice'), await world.person('Bob')]
  const carol = await world.person('Carol')
  const { uri } = await world.run(alice.client.invite())
  alice.node.withholds = () => true
  await world.run(Promise.all([bob.client.add(uri), carol.client.add(uri)]))
  await world.clock.advance(5_000)
  alice.node.withholds = () => false
  alice.node.session!.reset()
  await world.clock.advance(10_000)
  assert.is((await alice.only()).state, 'active')
  assert.equal(undecryptable(alice), ['INVITE_USED'])
  await world.end()
})

test('closes the box of a used invite at the node', async () => {
  const world = new World('closed')
  const [alice] = await world.pair()
  await world.clock.advance(2_000)
  const actions = alice.node.heard.flatMap((frame) => (frame.type === 'inbox' ? [frame.action] : []))
  assert.ok(actions.includes(2), 'a close was sent')
  await world.end()
})

test('meets through replicas when the inviter is away, and answers on return', async () => {
  const world = new World('away')
  const [alice, bob] = [await world.person('Alice'), await world.person('Bob')]
  const { uri } = await world.run(alice.client.invite())
  await world.clock.advance(1_000)
  alice.crash()
  alice.node.isUp = false
  await world.run(bob.client.add(uri))
  await world.clock.advance(30_000)
  assert.is((await bob.only()).state, 'requested')
  alice.node.isUp = true
  alice.node.drain()
  await world.run(alice.recover())
  await world.until(async () => (await bob.only()).state === 'active')
  assert.is((await alice.only()).name, 'Bob')
  await world.end()
})

test('goes on where it was when somebody who lost everything adds again with a new invite', async () => {
  const world = new World('reborn')
  const [alice, bob] = [await world.person('Alice'), await world.person('Bob')]
  const empty = await bob.backup()
  await world.meet(alice, bob)
  await world.run(bob.client.send('Alice', 'before'))
  await world.clock.advance(3_000)
  await world.run(bob.restore(empty))
  const { uri } = await world.run(alice.client.invite())
  await world.run(bob.client.add(uri))
  await world.until(async () => (await bob.client.contacts())[0]?.state === 'active')
  await world.run(alice.client.send('Bob', 'welcome back'))
  await world.run(bob.client.send('Alice', 'after'))
  await world.until(async () => (await texts(bob)).length > 0 && (await texts(alice)).length > 1)
  assert.equal(await texts(bob), ['welcome back'])
  assert.equal(await texts(alice), ['before', 'after'])
  assert.is((await alice.only()).name, 'Bob')
  await world.end()
})

test('refuses its own invite, a known contact, a damaged or expired invite, a taken name', async () => {
  const world = new World('refusals')
  const [alice, bob] = await world.pair()
  const { uri } = await world.run(alice.client.invite())
  await world.run(rejectsWith('CONTACT_SELF', alice.client.add(uri)))
  await world.run(rejectsWith('CONTACT_EXISTS', bob.client.add(uri)))
  await world.run(rejectsWith('INVITE_FORMAT', bob.client.add('hello')))
  const carol = await world.person('Carol')
  const other = await world.run(carol.client.invite({ expiresInMs: 3_600_000 }))
  await world.run(rejectsWith('CONTACT_NAME_TAKEN', bob.client.add(other.uri, { name: 'ALICE' })))
  await world.run(rejectsWith('CONTACT_NAME', bob.client.add(other.uri, { name: '\u202e\n' })))
  await world.clock.advance(2 * 3_600_000)
  await world.run(rejectsWith('INVITE_EXPIRED', bob.client.add(other.uri)))
  await world.run(
    rejectsWith('INVITE_EXPIRY', carol.client.invite({ expiresInMs: 2 * limits.inviteTtlMaxMs })),
  )
  await world.run(rejectsWith('CONTACT_UNKNOWN', bob.client.send('nobody', 'hi')))
  await world.end()
})

test('gives people who call themselves alike different names', async () => {
  const world = new World('namesakes')
  const alice = await world.person('Alice')
  const twins = [await world.person('Sam'), await world.person('sam')]
  for (const twin of twins) {
    const { uri } = await world.run(alice.client.invite())
    await world.run(twin.client.add(uri))
    await world.until(async () => (await twin.client.contacts())[0]?.state === 'active')
  }
  assert.equal((await alice.client.contacts()).map(({ name }) => name), ['Sam', 'sam-2'])
  assert.is((await world.run(alice.client.rename('sam-2', 'Samuel'))).name, 'Samuel')
  await world.run(rejectsWith('CONTACT_NAME_TAKEN', alice.client.rename('Samuel', 'SAM')))
  assert.is((await alice.client.contact((await twins[1]!.client.info()).address)).name, 'Samuel')
  await world.end()
})

test('removes a contact: nothing more goes out, and a new invite begins anew', async () => {
  const world = new World('removed')
  const [alice, bob] = await world.pair()
  bob.node.isUp = false
  for (const replica of world.replicas) replica.isUp = false
  const { id } = await world.run(alice.client.send('Bob', 'too late'))
  await world.clock.advance(2_000)
  await world.run(alice.client.remove('Bob'))
  await world.clock.advance(1_000)
  assert.equal(await alice.client.contacts(), [])
  const status = await alice.client.status(id)
  assert.equal([status?.state, status?.code], ['failed', 'CONTACT_REMOVED'])
  const withdrawn = alice.node.heard.filter((frame: Frame) => frame.type === 'withdraw')
  assert.is(withdrawn.length > 0, true)
  bob.node.isUp = true
  for (const replica of world.replicas) replica.isUp = true
  await world.run(bob.client.remove('Alice'))
  await world.meet(bob, alice)
  await world.run(alice.client.send('Bob', 'hello again'))
  await world.until(async () => (await texts(bob)).length > 0)
  assert.equal(await texts(bob), ['hello again'])
  await world.end()
})

test('finds the contact in the location database, and says where their mail goes', async () => {
  const world = new World('places')
  const [alice, bob] = await world.pair()
  const places = await bob.client.places('Alice')
  assert.equal(places?.homes, [alice.node.nodeId])
  assert.is(places?.replicas.length, 5)
  assert.equal((await world.run(bob.client.locate('Alice')))?.homes, [alice.node.nodeId])
  assert.equal((await world.run(alice.client.locate('Bob')))?.homes, [bob.node.nodeId])
  await world.end()
})

test.run()

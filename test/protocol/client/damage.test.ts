/**
 * Records that damage took (salvage.ts sets them aside, so they are absent): what was on its way
 * arrives, or is told not to; what can be made anew is.
 */
import * as assert from 'uvu/assert'
import { damagedCodec } from '../../../protocol/client/salvage.ts'
import { encode } from '../../../protocol/codec/struct.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/damage')
const minute = 60_000

async function texts(person: Person): Promise<string[]> {
  return (await person.incoming()).map((entry) => entry.text)
}

/** Starts again without some records; the mark is what salvage leaves. */
async function lose(world: World, person: Person, prefixes: readonly string[]): Promise<number> {
  const records = await person.backup()
  const isLost = (key: string): boolean => prefixes.some((prefix) => key.startsWith(prefix))
  const value = encode(damagedCodec, { foundAtMs: world.clock.now() })
  const marks = records.filter(({ key }) => isLost(key)).map(({ key }) => ({ key: `damaged/${key}`, value }))
  await world.run(person.restore([...records.filter(({ key }) => !isLost(key)), ...marks]))
  return marks.length
}

/** A text that nobody but the sender's device has. */
async function unsent(world: World): Promise<[Person, Person, string]> {
  const [alice, bob] = await world.pair()
  await world.run(alice.client.send('Bob', 'one'))
  await world.until(async () => (await alice.client.info()).outbox === 0)
  alice.session?.abandon()
  const { id } = await world.run(alice.client.send('Bob', 'two'))
  alice.node.outgoing.clear()
  return [alice, bob, id]
}

test('a text whose envelope was damaged is sealed anew', async () => {
  const world = new World('body')
  const [alice, bob] = await unsent(world)
  assert.ok(await lose(world, alice, ['body/']) > 0)
  await world.until(async () => (await texts(bob)).length === 2, { withinMs: 10 * minute })
  assert.equal(await texts(bob), ['one', 'two'])
  await world.until(async () => (await alice.client.info()).outbox === 0)
  await world.end()
})

test('a text of which nothing says any more what became of it is told to have failed', async () => {
  const world = new World('outbox')
  const [alice, bob, id] = await unsent(world)
  assert.ok(await lose(world, alice, ['outbox/', 'body/']) > 0)
  const status = await alice.client.status(id as never)
  assert.equal([status?.state, status?.code], ['failed', 'STORE_SEAL'])
  assert.ok(alice.warnings.some((warning) => warning.includes('STORE_SEAL')))
  const [first] = await alice.client.history({ direction: 'out' })
  assert.is(first?.status?.state, 'delivered', 'others keep what they had')
  await world.run(alice.client.send('Bob', 'two, again'))
  await world.until(async () => (await texts(bob)).includes('two, again'))
  await world.end()
})

test('a text that was said to have failed and arrived is delivered', async () => {
  const world = new World('arrived after all')
  const [alice, bob] = await world.pair()
  bob.node.isUp = false
  bob.node.replicas.forEach((node) => { world.network.nodes.get(node)!.isFull = true })
  const { id } = await world.run(alice.client.send('Bob', 'one'))
  await world.clock.advance(2_000)
  await lose(world, alice, ['outbox/', 'body/'])
  assert.is((await alice.client.status(id))?.state, 'failed')
  bob.node.isUp = true
  await world.until(async () => (await texts(bob)).length === 1, { withinMs: 10 * minute })
  await world.until(async () => (await alice.client.status(id))?.state === 'delivered')
  await world.end()
})

test('a session that is gone is begun anew before anybody writes', async () => {
  const world = new World('session')
  const [alice, bob] = await world.pair()
  await lose(world, alice, ['session/'])
  await world.clock.advance(20 * minute)
  const before = bob.events.filter((event) => event.type === 'undecryptable').length
  await world.run(alice.client.send('Bob', 'hello'))
  await world.until(async () => (await texts(bob)).length === 1)
  await world.run(bob.client.send('Alice', 'hello yourself'))
  await world.until(async () => (await texts(alice)).length === 1)
  assert.is(bob.events.filter((event) => event.type === 'undecryptable').length, before)
  await world.end()
})

test('a conversation whose counters are gone goes on', async () => {
  const world = new World('thread')
  const [alice, bob] = await world.pair()
  for (const text of ['one', 'two', 'three']) {
    await world.run(alice.client.send('Bob', text))
    await world.run(bob.client.send('Alice', `${text} back`))
  }
  await world.until(async () => (await texts(bob)).length === 3 && (await texts(alice)).length === 3)
  await lose(world, alice, ['thread/'])
  await world.run(alice.client.send('Bob', 'four'))
  await world.run(bob.client.send('Alice', 'four back'))
  await world.until(async () => (await texts(bob)).length === 4, { withinMs: 5 * minute })
  await world.until(async () => (await texts(alice)).length === 4, { withinMs: 5 * minute })
  assert.equal(await texts(bob), ['one', 'two', 'three', 'four'])
  assert.is((await alice.incoming()).at(-1)?.afterGap, true, 'it cannot know what came before')
  await world.end()
})

test('prekeys that are gone are laid out anew', async () => {
  const world = new World('prekeys')
  const [alice, bob] = await world.pair()
  await lose(world, alice, ['prekey/', 'meta/prekeys', 'laid/'])
  const carol = await world.person('Carol')
  await world.clock.advance(30 * minute)
  await world.meet(alice, carol)
  await world.run(carol.client.send('Alice', 'hello'))
  await world.until(async () => (await texts(alice)).includes('hello'), { withinMs: 10 * minute })
  await world.run(bob.client.send('Alice', 'still here'))
  await world.until(async () => (await texts(alice)).includes('still here'))
  await world.end()
})

test.run()

/** Own prekeys over weeks: how long secrets are kept, and what happens when one-time keys run out. */
import * as assert from 'uvu/assert'
import { keys, lastNumber } from '../../../protocol/client/keys.ts'
import { limits } from '../../../protocol/limits.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/prekeys')
const dayMs = 86_400_000

/** Ids of the secrets of one kind. */
async function ids(person: Person, kind: 'signed' | 'kem' | 'once'): Promise<number[]> {
  const prefix = keys.prekey(kind, 0).slice(0, -String(0).padStart(16, '0').length)
  return (await person.store.kv.list({ prefix })).map(({ key }) => lastNumber(key))
}

async function comeBackAfter(world: World, person: Person, days: number): Promise<void> {
  person.crash()
  for (let day = 0; day < days; day++) await world.clock.advance(dayMs)
  await world.run(person.recover())
  await world.clock.advance(60_000)
}

test('keeps secrets as long as a letter written with their prekeys may come, and no longer', async () => {
  const world = new World('secrets of prekeys')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  const [first] = await ids(alice, 'signed')
  const once = await ids(alice, 'once')
  // Taken from a shelf on the last day of its lease, and then 14 days in an inbox.
  await comeBackAfter(world, alice, 50)
  assert.ok((await ids(alice, 'signed')).includes(first!))
  assert.ok((await ids(alice, 'once')).includes(once[0]!))
  await comeBackAfter(world, alice, 2)
  assert.not.ok((await ids(alice, 'signed')).includes(first!))
  assert.not.ok((await ids(alice, 'once')).includes(once[0]!))
  assert.is((await ids(alice, 'signed')).length, 1)
  await world.end()
})

test('counts sessions that began without a one-time prekey, and replaces a worn prekey sooner', async () => {
  const world = new World('worn prekeys')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  const [current] = await ids(alice, 'signed')
  const people: Person[] = []
  for (const name of ['Bob', 'Carol']) {
    for (const node of [alice.node, ...world.replicas]) {
      for (const shelf of node.shelves.values()) shelf.oneTime.length = 0
    }
    const person = await world.person(name)
    const { uri } = await world.run(alice.client.invite({}))
    await world.run(person.client.add(uri))
    await world.until(async () => (await person.only()).state === 'active')
    people.push(person)
  }
  assert.equal(await ids(alice, 'kem'), [current])
  const key = keys.prekey('kem', current!)
  const stored = await alice.store.kv.get(key)
  assert.equal(stored!.value, Uint8Array.of(0, 0, 0, people.length))

  // As if many had come: at the next upkeep after a day there are new ones.
  const worn = Uint8Array.of(0, 0, 0, limits.lastResortUsesMax)
  await world.run(alice.store.kv.write([{ type: 'put', key, value: worn }]))
  alice.crash()
  await world.run(alice.recover())
  await world.clock.advance(60_000)
  assert.equal(await ids(alice, 'signed'), [current])
  await world.clock.advance(limits.prekeyRotationMinMs + 2 * limits.clientUpkeepMs)
  assert.is((await ids(alice, 'signed')).length, 2)
  await world.end()
})

test.run()

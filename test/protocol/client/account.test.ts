/** The account as a whole: prekeys on their shelves, location records, what its names look like. */
import * as assert from 'uvu/assert'
import { foldName, normaliseName, uniqueName } from '../../../protocol/client/names.ts'
import { limits } from '../../../protocol/limits.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/account')
const dayMs = 86_400_000

function shelves(world: World, person: Person): { static: Uint8Array, oneTime: Uint8Array[] }[] {
  return [person.node, ...world.replicas].flatMap((node) => [...node.shelves.values()])
}

test('lays out different one-time prekeys at every holder', async () => {
  const world = new World('shelves')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  const laid = shelves(world, alice)
  assert.is(laid.length, 6)
  assert.ok(laid.every(({ oneTime }) => oneTime.length === limits.shelfOneTimePerHolder))
  const blobs = laid.flatMap(({ oneTime }) => oneTime.map((blob) => blob.join()))
  assert.is(new Set(blobs).size, blobs.length)
  await world.end()
})

test('refills a shelf that runs low, and replaces signed prekeys weekly', async () => {
  const world = new World('refill')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  const [own] = [...alice.node.shelves.values()]
  own!.oneTime.length = 1
  alice.node.push({ type: 'shelfHeld', request: 0, shelfKey: new Uint8Array(32), holders: [] })
  await world.clock.advance(5_000)
  assert.is([...alice.node.shelves.values()][0]!.oneTime.length, limits.shelfOneTimePerHolder)
  const before = [...alice.node.shelves.values()][0]!.static
  for (let day = 0; day < 9; day++) await world.clock.advance(dayMs)
  assert.is.not([...alice.node.shelves.values()][0]!.static.join(), before.join())
  await world.end()
})

test('answers a request that was made with prekeys from before the rotation', async () => {
  const world = new World('old prekeys')
  const [alice, bob] = [await world.person('Alice'), await world.person('Bob')]
  const { uri } = await world.run(alice.client.invite({ expiresInMs: 20 * dayMs }))
  alice.node.withholds = () => true
  await world.run(bob.client.add(uri))
  await world.clock.advance(5_000)
  for (let day = 0; day < 9; day++) await world.clock.advance(dayMs)
  alice.node.withholds = () => false
  alice.node.session!.reset()
  await world.until(async () => (await bob.only()).state === 'active')
  await world.end()
})

test('keeps two periods of location records current, and says where the front replicas are', async () => {
  const world = new World('records')
  const alice = await world.person('Alice')
  await world.clock.advance(5_000)
  assert.is(world.network.records.size, 2)
  const info = await alice.client.info()
  assert.equal([info.replicas, info.locationHolders], [{ have: 5, want: limits.replicas }, 3])
  const before = Math.max(...[...world.network.records.values()].map(({ sequence }) => sequence))
  alice.node.replicas = alice.node.replicas.slice(0, 2)
  alice.node.session!.reset()
  await world.clock.advance(10_000)
  assert.is((await alice.client.info()).replicas.have, 2)
  assert.ok(Math.max(...[...world.network.records.values()].map(({ sequence }) => sequence)) > before)
  await world.end()
})

test('takes everything that does not print out of a name', () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['Alice', 'Alice'],
    ['  Al\u0000i\u001b[31mce\n ', 'Ali[31mce'],
    ['\u202eecilA\u2066', 'ecilA'],
    ['a\u200bb\ufeffc', 'abc'],
    ['José', 'José'],
    ['two\u2028lines', 'two lines'],
    [' \t\n', undefined],
    ['', undefined],
    ['oim1qqqq', undefined],
    ['OpenIM:abc', undefined],
    ['é'.repeat(40), 'é'.repeat(32)],
  ]
  for (const [raw, expected] of cases) assert.is(normaliseName(raw), expected)
})

test('makes a name unique without making it too long', () => {
  const taken = new Set(['sam', 'sam-2'])
  const isTaken = (name: string): boolean => taken.has(foldName(name))
  assert.is(uniqueName('SAM', isTaken), 'SAM-3')
  assert.is(uniqueName('Kim', isTaken), 'Kim')
  const long = 'x'.repeat(limits.nameBytesMax)
  taken.add(long)
  assert.is(uniqueName(long, isTaken), `${'x'.repeat(limits.nameBytesMax - 6)}-2`)
})

test.run()

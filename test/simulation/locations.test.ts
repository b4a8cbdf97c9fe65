/** The location database over a simulated network: publish, find, refuse the old, survive holders that go. */
import * as assert from 'uvu/assert'
import { crypto } from '../../crypto/index.ts'
import { expiryHour } from '../../protocol/envelope.ts'
import { limits } from '../../protocol/limits.ts'
import { createLocationRecord, locationKey, locationKeys } from '../../protocol/location-record.ts'
import { encode, decode } from '../../protocol/codec/struct.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  locationPutReplyCodec, locationPutRequestCodec, locationResults,
} from '../../protocol/service/location.ts'
import { suite } from '../helpers/harness.ts'
import { World } from './world.ts'
import type { SimNode } from './world.ts'

const test = suite('simulation/locations', { timeoutMs: 120_000 })

interface Person {
  readonly rootSeed: Uint8Array
  readonly rootKey: Uint8Array
  readonly seed: Uint8Array
}

async function startedWorld(seed: string, count: number): Promise<World> {
  const world = new World({ seed, network: { lossRate: 0 } })
  for (let i = 0; i < count; i++) world.add({ name: `n${i}`, account: false })
  for (const node of world.nodes) await world.run(node.start())
  await world.clock.advance(5_000)
  return world
}

function person(world: World): Person {
  const rootSeed = world.random.bytes(32)
  return { rootSeed, rootKey: crypto.signingKeyPair(rootSeed).publicKey, seed: world.random.bytes(15) }
}

function record(world: World, who: Person, sequence: number): { bytes: Uint8Array, blindedKey: Uint8Array } {
  const { current } = locationKeys({ ...who, timeMs: world.clock.now() })
  const bytes = createLocationRecord({
    rootSeed: who.rootSeed,
    seed: who.seed,
    period: current.period,
    sequence,
    expiryHour: expiryHour(world.clock.now() + limits.locationTtlMs - 3_600_000),
    content: {
      homes: [world.nodes[0]!.nodeId],
      replicas: [],
      introReadKey: new Uint8Array(32),
      shelves: [],
      deviceListNumber: sequence,
    },
    random: world.random,
  })
  return { bytes, blindedKey: current.blindedKey }
}

/** One node's bare request to another, as anybody may send it. */
function put(world: World, bytes: Uint8Array, { from, to }: { from: SimNode, to: SimNode }) {
  const body = encode(locationPutRequestCodec, { record: bytes })
  return world.run(from.overlay.call(to.nodeId, services.locationPut, body, { timeoutMs: 5_000 }))
}

test('finds from anywhere what somebody published', async () => {
  const world = await startedWorld('locations', 30)
  const alice = person(world)
  const first = record(world, alice, 1)
  const holders = await world.run(world.nodes[3]!.core.locations.publish([first.bytes]))
  assert.ok(holders >= limits.locationHolders, `${holders} holders`)
  for (const reader of world.nodes) {
    const [found] = await world.run(reader.core.locations.locate([first.blindedKey]))
    assert.equal(found, first.bytes)
  }
  await world.end()
})

test('a replayed older record changes nothing at any holder', async () => {
  const world = await startedWorld('replay', 30)
  const alice = person(world)
  const old = record(world, alice, 1)
  const fresh = record(world, alice, 2)
  await world.run(world.nodes[3]!.core.locations.publish([old.bytes]))
  await world.run(world.nodes[3]!.core.locations.publish([fresh.bytes]))
  const attacker = world.nodes.find((node) => node.core.locations.held === 0)!
  let stale = 0
  for (const node of world.nodes) {
    if (node === attacker) continue
    const answer = await put(world, old.bytes, { from: attacker, to: node })
    if (!answer.ok) continue
    const { result } = decode(locationPutReplyCodec, answer.value)
    if (result === locationResults.stale) stale++
  }
  assert.ok(stale >= limits.locationHolders, `${stale} holders knew better`)
  for (const reader of world.nodes) {
    const [found] = await world.run(reader.core.locations.locate([fresh.blindedKey]))
    assert.equal(found, fresh.bytes)
  }
  await world.end()
})

test('refuses a record that another key signed, and one that lives too long', async () => {
  const world = await startedWorld('forged', 5)
  const good = record(world, person(world), 1)
  const forged = good.bytes.slice()
  forged[60]! ^= 1
  const holder = world.nodes[1]!
  for (const bytes of [forged, good.bytes.subarray(0, 100)]) {
    const answer = await put(world, bytes, { from: world.nodes[2]!, to: holder })
    assert.ok(answer.ok)
    if (answer.ok) assert.is(decode(locationPutReplyCodec, answer.value).result, locationResults.invalid)
  }
  await world.end()
})

test('is found when most of its holders are gone, and placed anew', async () => {
  const world = await startedWorld('churn', 40)
  const alice = person(world)
  const { bytes, blindedKey } = record(world, alice, 1)
  const publisher = world.nodes[3]!
  await world.run(publisher.core.locations.publish([bytes]))
  const others = world.nodes.filter((node) => node !== publisher)
  const holders = others.filter((node) => node.core.locations.held > 0)
  for (const node of holders.slice(0, holders.length - 1)) node.crash()
  const reader = others.find((node) => node.isRunning && node !== holders.at(-1))!
  const [found] = await world.run(reader.core.locations.locate([blindedKey]), 30_000)
  assert.equal(found, bytes)
  await world.clock.advance(2 * limits.locationRepublishMs)
  assert.ok(publisher.core.locations.holders >= limits.locationHolders)
  assert.is(locationKey(blindedKey).length, 32)
  await world.end()
})

test.run()

/** Keeping our records alive: enough holders, again at intervals, newer ones at once, over restarts. */
import * as assert from 'uvu/assert'
import { limits } from '../../../protocol/limits.ts'
import { services } from '../../../protocol/service/codes.ts'
import { LocationHolder } from '../../../node/locations/location-holder.ts'
import { LocationPublisher } from '../../../node/locations/location-publisher.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'
import { TestPerson } from '../../helpers/test-location.ts'

const test = suite('node/locations/location-publisher')
const hourMs = 3_600_000

class Scene {
  readonly net: RoomNetwork
  readonly peer: Peer
  readonly others: LocationHolder[] = []
  readonly otherPeers: Peer[] = []
  publisher!: LocationPublisher

  constructor(net: RoomNetwork, peer: Peer) {
    this.net = net
    this.peer = peer
  }

  static async open(seed: string, count: number): Promise<Scene> {
    const net = new RoomNetwork(seed)
    const scene = new Scene(net, await net.peer())
    for (let i = 0; i < count; i++) await scene.add()
    await scene.begin(scene.peer)
    return scene
  }

  async begin(on: Peer): Promise<void> {
    const parts = { ...this.peer.parts, overlay: on.overlay, courier: on.courier }
    const holder = new LocationHolder(parts)
    await this.net.run(holder.load())
    this.publisher = new LocationPublisher({ ...parts, holder })
    await this.net.run(this.publisher.load())
    this.publisher.start()
  }

  async add(): Promise<void> {
    const peer = await this.net.peer()
    const holder = new LocationHolder(peer.parts)
    await this.net.run(holder.load())
    await this.peer.meet(peer)
    this.otherPeers.push(peer)
    this.others.push(holder)
  }

  /** How many others hold exactly these bytes. */
  holding(person: TestPerson, record: Uint8Array): number {
    return this.others.filter((holder) => {
      const held = holder.find(person.blindedKey)
      return held !== undefined && held.join() === record.join()
    }).length
  }

  async end(): Promise<void> {
    const stopping = this.publisher.stop()
    await this.net.end()
    await this.net.run(stopping)
  }
}

test('puts a record to as many nodes as should hold it, and no more', async () => {
  const scene = await Scene.open('enough', 20)
  const person = new TestPerson(scene.net)
  const record = person.record(1)
  assert.is(await scene.net.run(scene.publisher.publish([record])), limits.locationHolders)
  assert.is(scene.holding(person, record), limits.locationHolders - 1, 'and itself')
  assert.is(scene.publisher.holders, limits.locationHolders)
  await scene.end()
})

test('says the fewest that any of the records has', async () => {
  const scene = await Scene.open('fewest', 20)
  const [a, b] = [new TestPerson(scene.net), new TestPerson(scene.net)]
  const fresh = b.record(2)
  for (const holder of scene.others) await scene.net.run(holder.put(scene.peer.nodeId, fresh))
  const holders = await scene.net.run(scene.publisher.publish([a.record(1), b.record(1)]))
  assert.is(holders, 1, 'everybody else knows a newer one')
  assert.is(await scene.net.run(scene.publisher.publish([a.forged(2)])), 0)
  await scene.end()
})

test('publishes again at intervals, so that holders may come and go', async () => {
  const scene = await Scene.open('again', 12)
  const person = new TestPerson(scene.net)
  const record = person.record(1)
  await scene.net.run(scene.publisher.publish([record]))
  for (const [i, holder] of scene.others.entries()) {
    if (holder.size > 0) scene.otherPeers[i]!.overlay.crash()
  }
  for (let i = 0; i < 10; i++) await scene.add()
  await scene.net.clock.advance(2 * limits.locationRepublishMs)
  assert.is(scene.publisher.holders, limits.locationHolders)
  await scene.end()
})

test('finds newcomers at once while it has too few', async () => {
  const scene = await Scene.open('few', 0)
  const person = new TestPerson(scene.net)
  const record = person.record(1)
  assert.is(await scene.net.run(scene.publisher.publish([record])), 1)
  for (let i = 0; i < 3; i++) await scene.add()
  scene.publisher.soon()
  await scene.net.clock.advance(2_000)
  assert.is(scene.holding(person, record), 3)
  await scene.end()
})

test('a newer record replaces the older, an older one is not taken', async () => {
  const scene = await Scene.open('newer', 10)
  const person = new TestPerson(scene.net)
  const [old, fresh] = [person.record(1), person.record(2)]
  await scene.net.run(scene.publisher.publish([fresh]))
  await scene.net.run(scene.publisher.publish([old]))
  await scene.net.clock.advance(2 * limits.locationRepublishMs)
  assert.ok(scene.holding(person, fresh) >= limits.locationHolders - 1)
  assert.is(scene.holding(person, old), 0)
  await scene.end()
})

test('goes on after a restart, and lets go of what lapsed', async () => {
  const scene = await Scene.open('restart', 10)
  const person = new TestPerson(scene.net)
  const record = person.record(1)
  await scene.net.run(scene.publisher.publish([record]))
  await scene.publisher.stop()
  await scene.peer.reopenStore()
  const on = await scene.net.peer()
  for (let i = 0; i < 5; i++) await scene.add()
  for (const peer of scene.otherPeers.slice(10)) await on.meet(peer)
  await scene.begin(on)
  await scene.net.clock.advance(60_000)
  assert.ok(scene.publisher.holders >= 5)
  await scene.net.clock.advance(26 * hourMs)
  assert.is(scene.publisher.holders, 0)
  assert.equal(await scene.net.run(scene.peer.kv.list({ prefix: 'location/' })), [])
  await scene.end()
})

test('stops at once among frozen holders', async () => {
  const scene = await Scene.open('frozen', 0)
  for (let i = 0; i < 20; i++) {
    const peer = await scene.net.peer()
    peer.overlay.handle(services.locationPut, () => new Promise(() => {}))
    await scene.peer.meet(peer)
  }
  const publishing = scene.publisher.publish([new TestPerson(scene.net).record(1)])
  await scene.net.clock.advance(500)
  const startMs = scene.net.clock.monotonicMs()
  await scene.end()
  await scene.net.run(publishing)
  assert.ok(scene.net.clock.monotonicMs() - startMs < 100)
  await scene.net.clock.advance(2 * hourMs)
  assert.equal(scene.peer.log.warnings, [])
})

test.run()

/** Look-ups: a hedge over frozen holders, the newest of two answers, and nothing forged. */
import * as assert from 'uvu/assert'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { limits } from '../../../protocol/limits.ts'
import { locationKey } from '../../../protocol/location-record.ts'
import { services } from '../../../protocol/service/codes.ts'
import { locationGetReplyCodec, locationGetRequestCodec } from '../../../protocol/service/location.ts'
import { LocationHolder } from '../../../node/locations/location-holder.ts'
import { LocationResolver } from '../../../node/locations/location-resolver.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'
import { TestPerson } from '../../helpers/test-location.ts'

const test = suite('node/locations/location-resolver')
const roundTripMs = 20

/** A holder that answers with these bytes after a while; undefined: it has none; 'frozen': never. */
interface Played {
  readonly peer: Peer
  answer: Uint8Array | undefined | 'frozen'
  delayMs: number
  asked: number
}

class Scene {
  readonly net: RoomNetwork
  readonly reader: Peer
  readonly resolver: LocationResolver
  readonly person: TestPerson
  /** Nearest to the person's key first. */
  holders: Played[] = []

  private constructor(net: RoomNetwork, reader: Peer) {
    this.net = net
    this.reader = reader
    this.person = new TestPerson(net)
    const holder = new LocationHolder(reader.parts)
    this.resolver = new LocationResolver({ ...reader.parts, holder })
  }

  static async open(seed: string, count: number): Promise<Scene> {
    const net = new RoomNetwork(seed)
    const scene = new Scene(net, await net.peer())
    const { clock } = net
    for (let i = 0; i < count; i++) {
      const played: Played = { peer: await net.peer(), answer: undefined, delayMs: 0, asked: 0 }
      played.peer.overlay.handle(services.locationGet, async (_from, body) => {
        played.asked++
        assert.equal(decode(locationGetRequestCodec, body).blindedKeys, [scene.person.blindedKey])
        if (played.answer === 'frozen') return await new Promise(() => {})
        await new Promise<void>((resolve) => { clock.after(played.delayMs, resolve) })
        const records = played.answer === undefined ? [] : [played.answer]
        return { ok: true, value: encode(locationGetReplyCodec, { records }) }
      })
      await scene.reader.meet(played.peer)
      scene.holders.push(played)
    }
    const order = scene.reader.overlay.nearest(locationKey(scene.person.blindedKey), 100)
    scene.holders = order.map((nodeId) => scene.holders.find(({ peer }) => peer.nodeId === nodeId)!)
    return scene
  }

  /** What is found, and how long it took. */
  async find(): Promise<{ found: Uint8Array | undefined, tookMs: number }> {
    const startMs = this.net.clock.monotonicMs()
    const found = await this.net.run(this.resolver.find(this.person.blindedKey))
    return { found, tookMs: this.net.clock.monotonicMs() - startMs }
  }

  get asked(): number {
    return this.holders.filter((holder) => holder.asked > 0).length
  }
}

test('asks the three nearest, and no more when two answer', async () => {
  const scene = await Scene.open('three', 12)
  const record = scene.person.record(1)
  for (const holder of scene.holders) holder.answer = record
  const { found, tookMs } = await scene.find()
  assert.equal(found, record)
  assert.is(tookMs, roundTripMs)
  assert.is(scene.asked, limits.locationReaders)
  assert.ok(scene.holders.slice(0, limits.locationReaders).every((holder) => holder.asked === 1))
  await scene.net.end()
})

test('two or three frozen holders cost a hedge, not a time-out', async () => {
  for (const frozen of [2, 3]) {
    const scene = await Scene.open(`frozen ${frozen}`, 12)
    const record = scene.person.record(1)
    for (const holder of scene.holders) holder.answer = record
    for (const holder of scene.holders.slice(0, frozen)) holder.answer = 'frozen'
    const { found, tookMs } = await scene.find()
    assert.equal(found, record)
    assert.ok(tookMs <= limits.locationHedgeMs + roundTripMs + 60, `${tookMs} ms`)
    await scene.net.end()
  }
})

test('holders that lately did not answer are asked last', async () => {
  const scene = await Scene.open('last', 12)
  const record = scene.person.record(1)
  for (const holder of scene.holders) holder.answer = record
  for (const holder of scene.holders.slice(0, 3)) holder.answer = 'frozen'
  await scene.find()
  await scene.net.clock.advance(5_000)
  const { tookMs } = await scene.find()
  assert.is(tookMs, roundTripMs)
  assert.ok(scene.holders.slice(0, 3).every((holder) => holder.asked === 1))
  await scene.net.clock.advance(61_000)
  await scene.find()
  assert.ok(scene.holders.slice(0, 3).every((holder) => holder.asked === 2), 'and first again later')
  await scene.net.end()
})

test('the newest of two answers wins, also when it comes a little later', async () => {
  const scene = await Scene.open('newest', 6)
  const [old, fresh] = [scene.person.record(1), scene.person.record(2)]
  scene.holders[0]!.answer = old
  scene.holders[1]!.answer = fresh
  scene.holders[1]!.delayMs = 40
  const { found, tookMs } = await scene.find()
  assert.equal(found, fresh)
  assert.is(tookMs, roundTripMs + 40)
  await scene.net.end()
})

test('one answer is enough when no second comes soon', async () => {
  const scene = await Scene.open('single', 3)
  const record = scene.person.record(1)
  for (const holder of scene.holders) holder.answer = 'frozen'
  scene.holders[1]!.answer = record
  const { found, tookMs } = await scene.find()
  assert.equal(found, record)
  assert.ok(tookMs <= roundTripMs + 60, `${tookMs} ms`)
  await scene.net.end()
})

test('forged, foreign, lapsed and malformed answers are none', async () => {
  const scene = await Scene.open('forged', 9)
  const record = scene.person.record(1)
  const lies = [
    scene.person.forged(9),
    new TestPerson(scene.net).record(9),
    scene.person.record(9, { livesMs: -3 * 3_600_000 }),
    new Uint8Array(2_000),
    new Uint8Array(0),
  ]
  scene.holders.forEach((holder, i) => { holder.answer = lies[i] ?? record })
  const { found } = await scene.find()
  assert.equal(found, record)
  await scene.net.end()
})

test('a holder that talks nonsense is like one that has nothing', async () => {
  const scene = await Scene.open('nonsense', 4)
  const record = scene.person.record(1)
  const liar = await scene.net.peer()
  liar.overlay.handle(services.locationGet, async () => ({ ok: true, value: new Uint8Array([7, 7, 7]) }))
  await scene.reader.meet(liar)
  scene.holders.at(-1)!.answer = record
  assert.equal((await scene.find()).found, record)
  await scene.net.end()
})

test('goes on to the last holder before it gives up, and asks each once', async () => {
  const scene = await Scene.open('last holder', 15)
  const record = scene.person.record(1)
  scene.holders.at(-1)!.answer = record
  assert.equal((await scene.find()).found, record)
  const none = await Scene.open('nobody', 15)
  assert.is((await none.find()).found, undefined)
  assert.ok(none.holders.every((holder) => holder.asked === 1))
  await none.net.end()
  await scene.net.end()
})

test('a newer record of our own is not beaten by an older one elsewhere', async () => {
  const scene = await Scene.open('own', 3)
  const [old, fresh] = [scene.person.record(1), scene.person.record(2)]
  for (const holder of scene.holders) holder.answer = old
  const own = await scene.net.peer()
  const holder = new LocationHolder(own.parts)
  await scene.net.run(holder.put(own.nodeId, fresh))
  for (const { peer } of scene.holders) await own.meet(peer)
  const resolver = new LocationResolver({ ...own.parts, holder })
  assert.equal(await scene.net.run(resolver.find(scene.person.blindedKey)), fresh)
  await scene.net.end()
})

test('knows nobody, finds nothing, leaves no timer', async () => {
  const scene = await Scene.open('alone', 0)
  const before = scene.net.clock.pending
  assert.is((await scene.find()).found, undefined)
  assert.is(scene.net.clock.pending, before)
  await scene.net.end()
})

test.run()

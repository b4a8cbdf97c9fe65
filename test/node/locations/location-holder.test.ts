/** The holder's side of the location database: what it keeps, what it refuses, what it gives out. */
import * as assert from 'uvu/assert'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { locationKey } from '../../../protocol/location-record.ts'
import { services } from '../../../protocol/service/codes.ts'
import {
  locationGetReplyCodec, locationGetRequestCodec, locationPutReplyCodec, locationPutRequestCodec,
  locationResults,
} from '../../../protocol/service/location.ts'
import { nearestNodes } from '../../../protocol/xor-distance.ts'
import { LocationHolder } from '../../../node/locations/location-holder.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'
import { TestPerson } from '../../helpers/test-location.ts'

const test = suite('node/locations/location-holder')
const hourMs = 3_600_000
const { kept, stale, invalid, overQuota, notNearest } = locationResults

interface Scene {
  readonly net: RoomNetwork
  readonly peer: Peer
  readonly other: Peer
  readonly holder: LocationHolder
  put(bytes: Uint8Array, from?: NodeId): Promise<number>
}

async function scene(seed: string): Promise<Scene> {
  const net = new RoomNetwork(seed)
  const peer = await net.peer()
  const other = await net.peer()
  const holder = new LocationHolder(peer.parts)
  await net.run(holder.load())
  return { net, peer, other, holder, put: (bytes, from = other.nodeId) => net.run(holder.put(from, bytes)) }
}

test('keeps the highest sequence; an older one, or another of the same, changes nothing', async () => {
  const { net, holder, put } = await scene('sequence')
  const person = new TestPerson(net)
  const [first, second, third] = [person.record(1), person.record(2), person.record(3)]
  assert.is(await put(second), kept)
  assert.is(await put(second), kept, 'the very same again is fine')
  assert.is(await put(first), stale)
  assert.is(await put(person.record(2)), stale, 'another record of the same sequence')
  assert.equal(holder.find(person.blindedKey), second)
  assert.is(await put(third), kept)
  assert.equal(holder.find(person.blindedKey), third)
  assert.is(holder.size, 1)
  await net.end()
})

test('refuses what is forged, cut, over, or lives too long', async () => {
  const { net, holder, put } = await scene('invalid')
  const person = new TestPerson(net)
  const wrong = [
    person.forged(1),
    person.record(1).subarray(0, 500),
    new Uint8Array(0),
    person.record(1, { livesMs: -2 * hourMs }),
    person.record(1, { livesMs: limits.locationTtlMs + 3 * hourMs }),
  ]
  for (const bytes of wrong) assert.is(await put(bytes), invalid)
  assert.is(holder.size, 0)
  await net.end()
})

test('gives a record out until it lapses, then forgets it', async () => {
  const { net, peer, holder, put } = await scene('lapse')
  const person = new TestPerson(net)
  await put(person.record(1, { livesMs: 1 }))
  assert.ok(holder.find(person.blindedKey))
  await net.clock.advance(hourMs + 1)
  assert.is(holder.find(person.blindedKey), undefined)
  await net.run(holder.expire())
  assert.is(holder.size, 0)
  assert.equal(await net.run(peer.kv.list({ prefix: 'location/' })), [])
  await net.end()
})

test('takes only so many of one peer, and others\' still', async () => {
  const { net, put, other } = await scene('quota')
  const second = nodeIdFromKey(net.random.bytes(32))
  for (let i = 0; i < limits.locationRecordsPerPeerMax; i++) {
    assert.is(await put(new TestPerson(net).record(1)), kept)
  }
  const person = new TestPerson(net)
  assert.is(await put(person.record(1)), overQuota)
  assert.is(await put(person.record(1), second), kept)
  assert.is(await put(person.record(2), other.nodeId), kept, 'a newer one takes no more room')
  await net.end()
})

test('after a restart it has them still, and room for our own people\'s', async () => {
  const { net, peer, put } = await scene('restart')
  const people = Array.from({ length: limits.locationRecordsPerPeerMax }, () => new TestPerson(net))
  for (const person of people) await put(person.record(1))
  await peer.reopenStore()
  const on = await net.peer()
  const reborn = new LocationHolder({ ...peer.parts, overlay: on.overlay })
  await net.run(reborn.load())
  assert.is(reborn.size, people.length)
  assert.ok(people.every((person) => reborn.find(person.blindedKey) !== undefined))
  assert.is(await net.run(reborn.put(on.nodeId, new TestPerson(net).record(1))), kept)
  assert.is(await net.run(reborn.put(on.nodeId, people[0]!.record(0))), stale)
  await net.end()
})

test('refuses what belongs to nodes nearer than it is', async () => {
  const { net, peer, put } = await scene('nearest')
  const nodes = Array.from({ length: 200 }, () => nodeIdFromKey(net.random.bytes(32)))
  for (const nodeId of nodes) peer.overlay.learn(nodeId, [])
  let near = 0
  let far = 0
  for (let i = 0; i < 60; i++) {
    const person = new TestPerson(net)
    const table = peer.overlay.nearest(locationKey(person.blindedKey), 1_000)
    const nearest = nearestNodes(locationKey(person.blindedKey), [...table, peer.nodeId], 1_000)
    const rank = nearest.indexOf(peer.nodeId)
    const result = await put(person.record(1))
    assert.is(result, rank < 40 ? kept : notNearest, `rank ${rank}`)
    if (result === kept) near++
    else far++
  }
  assert.ok(near > 0 && far > 0, `${near} near, ${far} far`)
  await net.end()
})

test('answers over the network, and refuses what is no request', async () => {
  const { net, peer, other } = await scene('served')
  const person = new TestPerson(net)
  const record = person.record(1)
  const put = await other.call(peer, services.locationPut, encode(locationPutRequestCodec, { record }))
  assert.ok(put.ok && decode(locationPutReplyCodec, put.value).result === kept)
  const blindedKeys = [new TestPerson(net).blindedKey, person.blindedKey]
  const get = await other.call(peer, services.locationGet, encode(locationGetRequestCodec, { blindedKeys }))
  assert.ok(get.ok)
  if (get.ok) assert.equal(decode(locationGetReplyCodec, get.value).records, [record])
  for (const service of [services.locationPut, services.locationGet]) {
    const refused = await other.call(peer, service, new Uint8Array([255]))
    assert.ok(!refused.ok && refused.code.startsWith('CODEC_'))
  }
  await net.end()
})

test.run()

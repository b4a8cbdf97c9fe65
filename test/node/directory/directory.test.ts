/** The node directory: what is believed, passed on, kept and forgotten; bounds against a flood. */
import * as assert from 'uvu/assert'
import { crypto } from '../../../crypto/index.ts'
import type { SigningKeyPair } from '../../../crypto/provider.ts'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { checkNodeDescriptor, signNodeDescriptor } from '../../../protocol/node-descriptor.ts'
import type { NodeDescriptor } from '../../../protocol/node-descriptor.ts'
import { services } from '../../../protocol/service/codes.ts'
import {
  directoryPageMax, directorySyncReplyCodec, directorySyncRequestCodec,
} from '../../../protocol/service/directory.ts'
import { Directory, directoryTopic } from '../../../node/directory/directory.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'

const test = suite('node/directory', { timeoutMs: 60_000 })
const hourMs = 3_600_000

class Scene {
  readonly net: RoomNetwork
  readonly peer: Peer
  readonly other: Peer
  changes = 0
  directory!: Directory

  private constructor(net: RoomNetwork, peer: Peer, other: Peer) {
    this.net = net
    this.peer = peer
    this.other = other
    this.other.overlay.subscribe(directoryTopic, () => true)
  }

  static async open(seed: string): Promise<Scene> {
    const net = new RoomNetwork(seed)
    const scene = new Scene(net, await net.peer(), await net.peer())
    await scene.begin(scene.peer)
    return scene
  }

  async begin(on: Peer): Promise<void> {
    this.directory = directoryOn({ ...this.peer.parts, overlay: on.overlay })
    this.directory.onChange(() => { this.changes++ })
    await this.net.run(this.directory.start())
  }

  /** A node that nobody has heard of. */
  node(change: Partial<NodeDescriptor> = {}) {
    const keys = crypto.signingKeyPair(this.net.random.bytes(32))
    return { keys, ...this.describe(keys, change) }
  }

  /** What the node with these keys says of itself, for four hours unless changed. */
  describe(keys: SigningKeyPair, change: Partial<NodeDescriptor> = {}) {
    const hour = Math.floor(this.net.clock.now() / hourMs)
    const descriptor: NodeDescriptor = {
      nodeId: nodeIdFromKey(keys.publicKey),
      doorKey: new Uint8Array(32),
      onionKey: new Uint8Array(32),
      roles: ['storage'],
      addresses: ['/ip4/192.0.2.1/tcp/1'],
      sequence: this.net.clock.now(),
      sinceHour: hour,
      expiryHour: hour + 4,
      storageFreeMiB: 10,
      ...change,
    }
    return { descriptor, bytes: signNodeDescriptor(descriptor, keys) }
  }

  /** Gossips it and waits until the directory has judged it. */
  async gossip(bytes: Uint8Array): Promise<void> {
    await this.other.meet(this.peer)
    this.other.overlay.publish(directoryTopic, bytes)
    await this.net.clock.advance(100)
  }

  async end(): Promise<void> {
    const stopping = this.directory.stop()
    await this.net.end()
    await this.net.run(stopping)
  }
}

function directoryOn(parts: Peer['parts']): Directory {
  return new Directory(parts, {
    doorKey: new Uint8Array(32),
    onionKey: new Uint8Array(32),
    sinceHour: Math.floor(parts.clock.now() / hourMs),
    describe: () => ({ roles: ['storage'], addresses: parts.overlay.addresses(), storageFreeMiB: 1 }),
  })
}

test('learns a node from its own signed word, and from nothing else', async () => {
  const scene = await Scene.open('learns')
  const node = scene.node()
  const forged = scene.node().bytes
  forged[100]! ^= 1
  const late = scene.node({ expiryHour: Math.floor(scene.net.clock.now() / hourMs) - 1 })
  const endless = scene.node({ expiryHour: Math.floor(scene.net.clock.now() / hourMs) + 9 })
  const all = [node.bytes, forged, late.bytes, endless.bytes, new Uint8Array(5)]
  for (const bytes of all) await scene.gossip(bytes)
  assert.is(scene.directory.size, 1)
  assert.equal(scene.directory.get(node.descriptor.nodeId), node.descriptor)
  assert.equal(scene.directory.withRole('storage').map(({ nodeId }) => nodeId), [node.descriptor.nodeId])
  assert.equal(scene.directory.withRole('mix'), [])
  assert.is(scene.changes, 1)
  await scene.end()
})

test('an older or equal sequence changes nothing, a higher one replaces', async () => {
  const scene = await Scene.open('stale')
  const { keys, bytes, descriptor } = scene.node({ sequence: 5 })
  await scene.gossip(bytes)
  await scene.gossip(scene.describe(keys, { sequence: 4, roles: ['mix'] }).bytes)
  await scene.gossip(scene.describe(keys, { sequence: 5, roles: ['mix'] }).bytes)
  assert.equal(scene.directory.get(descriptor.nodeId)?.roles, ['storage'])
  await scene.gossip(scene.describe(keys, { sequence: 6, roles: ['mix'] }).bytes)
  assert.equal(scene.directory.get(descriptor.nodeId)?.roles, ['mix'])
  assert.is(scene.changes, 1, 'it is no new node')
  await scene.end()
})

test('believes an age no further than since when it knows the node', async () => {
  const scene = await Scene.open('age')
  const hour = Math.floor(scene.net.clock.now() / hourMs)
  const { keys, bytes, descriptor } = scene.node({ sinceHour: 1 })
  await scene.gossip(bytes)
  assert.is(scene.directory.get(descriptor.nodeId)?.sinceHour, hour)
  for (let i = 0; i < 4; i++) {
    await scene.net.clock.advance(2 * hourMs)
    await scene.gossip(scene.describe(keys, { sinceHour: 1 }).bytes)
  }
  assert.is(scene.directory.get(descriptor.nodeId)?.sinceHour, hour, 'it is eight hours old now')

  const young = scene.node()
  await scene.gossip(young.bytes)
  await scene.net.clock.advance(2 * hourMs)
  await scene.gossip(scene.describe(young.keys, { sinceHour: 2 }).bytes)
  assert.is(scene.directory.get(young.descriptor.nodeId)?.sinceHour, young.descriptor.sinceHour)
  await scene.end()
})

test('what it passes on is as its node signed it', async () => {
  const scene = await Scene.open('as signed')
  const { bytes } = scene.node({ sinceHour: 1 })
  await scene.gossip(bytes)
  const request = encode(directorySyncRequestCodec, { offset: 0 })
  const answer = await scene.other.call(scene.peer, services.directorySync, request)
  assert.ok(answer.ok)
  if (!answer.ok) return
  const { descriptors, more } = decode(directorySyncReplyCodec, answer.value)
  assert.not(more)
  assert.is(descriptors.length, 2, 'its own and the one it knows')
  assert.ok(descriptors.every((one) => checkNodeDescriptor(one, scene.net.clock.now()).ok))
  assert.ok(descriptors.some((one) => one.join() === bytes.join()))
  const refused = await scene.other.call(scene.peer, services.directorySync, new Uint8Array([1]))
  assert.ok(!refused.ok && refused.code.startsWith('CODEC_'))
  await scene.end()
})

test('forgets what lapsed, and offers it to nobody from that hour on', async () => {
  const scene = await Scene.open('lapse')
  const { bytes, descriptor } = scene.node()
  await scene.gossip(bytes)
  await scene.net.clock.advance(40_000)
  assert.is((await scene.net.run(scene.peer.kv.list({ prefix: 'directory/' }))).length, 1)
  await scene.net.clock.advance(5 * hourMs)
  assert.equal(scene.directory.withRole('storage'), [])
  await scene.net.clock.advance(2 * hourMs)
  assert.is(scene.directory.get(descriptor.nodeId), undefined)
  assert.equal(await scene.net.run(scene.peer.kv.list({ prefix: 'directory/' })), [])
  await scene.end()
})

test('knows after a restart what it knew, with its age, and drops what lapsed meanwhile', async () => {
  const scene = await Scene.open('restart')
  const hour = Math.floor(scene.net.clock.now() / hourMs)
  const short = scene.node({ expiryHour: hour + 1 })
  const long = scene.node({ sinceHour: 1 })
  for (const { bytes } of [short, long]) await scene.gossip(bytes)
  await scene.directory.stop()
  await scene.peer.reopenStore()
  await scene.net.clock.advance(2 * hourMs)
  await scene.begin(await scene.net.peer())
  assert.is(scene.directory.size, 1)
  assert.is(scene.directory.get(long.descriptor.nodeId)?.sinceHour, hour)
  await scene.net.clock.advance(40_000)
  const rows = await scene.net.run(scene.peer.kv.list({ prefix: 'directory/' }))
  assert.equal(rows.map(({ key }) => key), [`directory/${long.descriptor.nodeId}`])
  await scene.end()
})

test('nodes that meet tell each other what they know', async () => {
  const net = new RoomNetwork('meet')
  const peers = [await net.peer(), await net.peer(), await net.peer()]
  const directories = peers.map((peer) => directoryOn(peer.parts))
  for (const directory of directories) await net.run(directory.start())
  await peers[0]!.meet(peers[1]!)
  await net.clock.advance(1_000)
  await peers[2]!.meet(peers[1]!)
  // What gossip did not bring, because nobody was there to hear it, the next round of asking does.
  await net.clock.advance(60_000)
  assert.equal(directories.map((directory) => directory.size), [2, 2, 2])
  for (const directory of directories) await net.run(directory.stop())
  await net.end()
})

test('a peer that always has more is asked a bounded number of times', async () => {
  const scene = await Scene.open('endless')
  let asked = 0
  scene.other.overlay.handle(services.directorySync, async () => {
    asked++
    return { ok: true, value: encode(directorySyncReplyCodec, { descriptors: [], more: true }) }
  })
  await scene.other.meet(scene.peer)
  await scene.net.clock.advance(20_000)
  assert.ok(asked > 0 && asked <= Math.ceil(limits.descriptorsMax / directoryPageMax), `${asked}`)
  await scene.end()
})

test('knows no more than it may, and keeps those it knew first', async () => {
  const scene = await Scene.open('flood')
  const first = scene.node()
  await scene.gossip(first.bytes)
  // Signing so many takes long; what counts is how many are let in.
  const pages: Uint8Array[][] = [[]]
  for (let i = 0; i < 300; i++) {
    if (pages.at(-1)!.length === directoryPageMax) pages.push([])
    pages.at(-1)!.push(scene.node().bytes)
  }
  scene.other.overlay.handle(services.directorySync, async (_from, body) => {
    const { offset } = decode(directorySyncRequestCodec, body)
    const at = offset / directoryPageMax
    const reply = { descriptors: pages[at] ?? [], more: at + 1 < pages.length }
    return { ok: true, value: encode(directorySyncReplyCodec, reply) }
  })
  await scene.net.clock.advance(20 * 60_000)
  assert.is(scene.directory.size, 301)
  assert.ok(scene.directory.get(first.descriptor.nodeId))
  assert.ok(scene.directory.size <= limits.descriptorsMax)
  await scene.end()
})

test('a store that fails costs nothing that a later write does not bring', async () => {
  const scene = await Scene.open('failing')
  const { kv } = scene.peer.store
  const { write } = kv
  Object.assign(kv, { write: async () => { throw new Error('a bad moment') } })
  const { bytes } = scene.node()
  await scene.gossip(bytes)
  await scene.net.clock.advance(40_000)
  Object.assign(kv, { write })
  await scene.net.clock.advance(40_000)
  assert.is((await scene.net.run(scene.peer.kv.list({ prefix: 'directory/' }))).length, 1)
  await scene.end()
})

test('stops also when the store fails, and does nothing afterwards', async () => {
  const scene = await Scene.open('stop')
  await scene.gossip(scene.node().bytes)
  scene.peer.store.crash()
  await scene.end()
  await scene.net.clock.advance(60_000)
  assert.is(scene.net.clock.pending, 0)
})

test.run()

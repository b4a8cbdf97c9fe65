/** The Messenger's own part: who is told of what, and in which order things leave. */
import * as assert from 'uvu/assert'
import { crypto } from '../../../crypto/index.ts'
import { expiryHour } from '../../../protocol/envelope.ts'
import type { DeliverFrame } from '../../../protocol/frame/deliver.ts'
import { purposes } from '../../../protocol/frame/submit.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { services } from '../../../protocol/service/codes.ts'
import { signShelf } from '../../../protocol/service/shelf.ts'
import { Messenger } from '../../../node/messenger/messenger.ts'
import { suite } from '../../helpers/harness.ts'
import { account } from '../../helpers/inbox-scene.ts'
import { PlayedHolder } from '../../helpers/played-holder.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'
import { idsOf, TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/messenger')

interface Scene {
  readonly net: RoomNetwork
  readonly peer: Peer
  readonly messenger: Messenger
  /** One-time prekeys that the node said are left of a shelf, at itself. */
  readonly shelves: number[]
  end(): Promise<void>
}

async function scene(seed: string, options: { syncDelayMs?: number } = {}): Promise<Scene> {
  const net = new RoomNetwork(seed)
  const peer = await net.peer(options)
  const messenger = new Messenger(peer.parts, {
    lends: true, lentBytesMax: 1_000_000, storageNodes: () => [], devicesOf: () => ['phone'],
  })
  const shelves: number[] = []
  messenger.listen({
    receipt() {},
    places() {},
    fileHeld() {},
    shelf: (_account, _key, holders) => shelves.push(holders[0]!.left),
  })
  await net.run(messenger.load())
  await net.run(messenger.start())
  const end = async (): Promise<void> => {
    const stopping = messenger.stop()
    await net.end()
    await net.run(stopping)
  }
  return { net, peer, messenger, shelves, end }
}

test('the first messages to somebody leave in the order they came', async () => {
  const { net, messenger, end } = await scene('order', { syncDelayMs: 3 })
  const home = new PlayedHolder(await net.peer())
  const envelopes = new TestInbox(net).envelopes(5)
  const homes = [home.nodeId]
  await net.run(Promise.all(envelopes.map((envelope) => messenger.submit('phone', {
    type: 'submit', envelope, homes, replicas: [], purpose: purposes.message, level: 0,
  }))))
  await net.eventually('all there', () => home.got.length === 5)
  assert.equal(home.got, idsOf(envelopes))
  await end()
})

test('mail for our people reaches their devices as it comes, once attached', async () => {
  const { net, peer, messenger, end } = await scene('feeds')
  const inbox = new TestInbox(net)
  await net.run(messenger.inbox(account, inbox.frame()))
  const got: EnvelopeId[] = []
  const send = async (frame: DeliverFrame): Promise<void> => { got.push(...idsOf(frame.envelopes)) }
  const detach = messenger.attach({ account, id: 'phone', send })
  const envelopes = inbox.envelopes(3)
  const homes = [peer.nodeId]
  for (const envelope of envelopes) {
    await net.run(messenger.submit('phone', {
      type: 'submit', envelope, homes, replicas: [], purpose: purposes.message, level: 0,
    }))
  }
  await net.eventually('delivered', () => got.length === 3)
  detach()
  await net.run(messenger.submit('phone', {
    type: 'submit', envelope: inbox.envelope(), homes, replicas: [], purpose: purposes.message, level: 0,
  }))
  await net.clock.advance(1_000)
  assert.equal(got, idsOf(envelopes))
  await end()
})

test('a replica hands mail on at once to a home that is linked', async () => {
  const { net, peer, messenger, end } = await scene('hand over')
  const owner = new PlayedHolder(await net.peer())
  const inbox = new TestInbox(net)
  const lease = inbox.lease({ holder: peer.nodeId, home: owner.nodeId })
  assert.ok((await owner.peer.call(peer, services.lease, lease)).ok)
  const envelope = inbox.envelope()
  await net.run(messenger.submit('phone', {
    type: 'submit', envelope, homes: [], replicas: [peer.nodeId], purpose: purposes.message, level: 0,
  }))
  await net.eventually('handed over', () => owner.got.length > 0)
  assert.equal(owner.got, idsOf([envelope]))
  assert.is(messenger.held().boxes, 1)
  assert.ok(messenger.held().bytes > 0)
  await end()
})

test('says when a shelf at home runs low, and survives a store that closes meanwhile', async () => {
  const { net, peer, messenger, shelves, end } = await scene('shelf')
  const keys = crypto.signingKeyPair(net.random.bytes(32))
  const shelfKey = keys.publicKey
  await net.run(messenger.shelfHolders(account, { shelfKey, placement: shelfKey }))
  const put = signShelf({
    shelfKey,
    holder: peer.nodeId,
    home: peer.nodeId,
    sequence: 1,
    expiryHour: expiryHour(net.clock.now() + 86_400_000),
    static: new Uint8Array(4_096),
    oneTime: Array.from({ length: 5 }, (_, i) => new Uint8Array([i])),
  }, keys)
  await net.run(messenger.shelfPut(account, [put]))
  const take = () => net.run(messenger.shelfTake({ shelfKey, holders: [peer.nodeId] }))
  for (let i = 0; i < 4; i++) await take()
  assert.equal(shelves, [2, 1], 'not while there are plenty')
  const { kv } = peer.store
  const { get } = kv
  let reads = 0
  Object.assign(kv, {
    // The take itself reads once; what follows it finds the store closed.
    get: async (key: string) => {
      if (reads++ > 0) throw new Error('the store is closed')
      return await get(key)
    },
  })
  await take()
  await net.clock.advance(1_000)
  assert.equal(peer.log.warnings, ['a device was not told to lay out prekeys'])
  await end()
})

test.run()

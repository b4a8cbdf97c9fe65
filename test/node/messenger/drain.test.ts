/**
 * Coming home: what replicas held is collected once, and a hostile replica costs little and gains
 * nothing.
 */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../../crypto/errors.ts'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import {
  acknowledgeReplyCodec, acknowledgeRequestCodec, verifyTombstone,
} from '../../../protocol/service/acknowledge.ts'
import { services } from '../../../protocol/service/codes.ts'
import { depositResults } from '../../../protocol/service/deposit.ts'
import type { DepositResult } from '../../../protocol/service/deposit.ts'
import { fetchReplyCodec, fetchRequestCodec } from '../../../protocol/service/fetch.ts'
import type { FetchReply } from '../../../protocol/service/fetch.ts'
import { drainReplica } from '../../../node/messenger/drain.ts'
import type { DrainResult } from '../../../node/messenger/drain.ts'
import { suite } from '../../helpers/harness.ts'
import { InboxScene } from '../../helpers/inbox-scene.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'
import { idsOf, TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/messenger/drain')
const minuteMs = 60_000

type Page = (scene: Scene, after: number) => FetchReply

/** A home that drains one replica, which answers each page as the test says. */
class Scene {
  readonly net: RoomNetwork
  readonly home: Peer
  readonly replica: Peer
  readonly inbox: TestInbox
  readonly deposited: EnvelopeId[] = []
  readonly buried: EnvelopeId[] = []
  result: DepositResult = depositResults.stored
  pages = 0

  private constructor(net: RoomNetwork, peers: { home: Peer, replica: Peer }, page: Page) {
    const { home, replica } = peers
    this.net = net
    this.home = home
    this.replica = replica
    this.inbox = new TestInbox(net)
    replica.overlay.handle(services.fetch, async (_from, body) => {
      this.pages++
      const { after } = decode(fetchRequestCodec, body)
      return { ok: true, value: encode(fetchReplyCodec, page(this, after)) }
    })
    replica.overlay.handle(services.acknowledge, async (_from, body) => {
      const { tombstones } = decode(acknowledgeRequestCodec, body)
      for (const bytes of tombstones) {
        const tombstone = verifyTombstone(bytes)
        if (tombstone.ok) this.buried.push(...tombstone.value.envelopeIds)
      }
      return { ok: true, value: encode(acknowledgeReplyCodec, { accepted: tombstones.map(() => true) }) }
    })
  }

  static async open(seed: string, page: Page): Promise<Scene> {
    const net = new RoomNetwork(seed)
    return new Scene(net, { home: await net.peer(), replica: await net.peer() }, page)
  }

  drain(): Promise<DrainResult> {
    return this.net.run(drainReplica({
      courier: this.home.courier,
      clock: this.net.clock,
      self: this.home.nodeId,
      depositHere: async (envelopes) => {
        this.deposited.push(...idsOf(envelopes))
        return { results: envelopes.map(() => this.result), receipt: undefined, tombstones: [] }
      },
    }, this.inbox, this.replica.nodeId), 3_600_000)
  }
}

const entriesOf = (envelopes: readonly Uint8Array[], from = 1) =>
  envelopes.map((envelope, i) => ({ position: from + i, envelope }))

test('collects page by page, and names what the replica still holds', async () => {
  const all: Uint8Array[] = []
  const scene = await Scene.open('pages', (_scene, after) => {
    const page = all.slice(after, after + 100)
    return { entries: entriesOf(page, after + 1), more: after + page.length < all.length }
  })
  all.push(...scene.inbox.envelopes(250))
  const result = await scene.drain()
  assert.ok(result.complete)
  assert.is(scene.pages, 3)
  assert.equal(scene.deposited, idsOf(all))
  assert.equal(result.waiting, idsOf(all))
  assert.equal(scene.buried, [])
  await scene.net.end()
})

test('tells the replica at once what the owner has already', async () => {
  const scene = await Scene.open('taken', ({ inbox }) => {
    return { entries: entriesOf(inbox.envelopes(5)), more: false }
  })
  scene.result = depositResults.acknowledged
  const result = await scene.drain()
  assert.equal(result.waiting, [])
  assert.equal(scene.buried, scene.deposited)
  assert.is(scene.buried.length, 5)
  await scene.net.end()
})

test('ends with a replica whose positions go back or stand still', async () => {
  for (const position of [1, 5]) {
    const scene = await Scene.open(`back ${position}`, ({ inbox, pages }) =>
      ({ entries: [{ position: pages === 1 ? 5 : position, envelope: inbox.envelope() }], more: true }))
    const result = await scene.drain()
    assert.not(result.complete)
    assert.is(scene.pages, 2)
    await scene.net.end()
  }
})

test('ends with a replica that never ends', async () => {
  const drip = await Scene.open('drip', ({ inbox }, after) =>
    ({ entries: [{ position: after + 1, envelope: inbox.envelope() }], more: true }))
  assert.not((await drip.drain()).complete)
  assert.ok(drip.pages <= 256, `${drip.pages} pages`)
  await drip.net.end()

  let same: Uint8Array | undefined
  const flood = await Scene.open('flood', ({ inbox }, after) => {
    same ??= inbox.envelope()
    return { entries: entriesOf(Array<Uint8Array>(limits.fetchItemsMax).fill(same), after + 1), more: true }
  })
  const result = await flood.drain()
  assert.not(result.complete)
  assert.ok(flood.deposited.length <= limits.boxItemsMax, `${flood.deposited.length} were looked at`)
  await flood.net.end()
})

test('an empty page ends it, even if it says there is more', async () => {
  const scene = await Scene.open('empty', () => ({ entries: [], more: true }))
  assert.ok((await scene.drain()).complete)
  assert.is(scene.pages, 1)
  await scene.net.end()
})

test('takes nothing of other inboxes, no rubbish, and signs nothing about them', async () => {
  const scene = await Scene.open('foreign', ({ inbox, net }) => {
    const foreign = new TestInbox(net).envelopes(3)
    const rubbish = [new Uint8Array(0), new Uint8Array(700)]
    return { entries: entriesOf([...foreign, inbox.envelope(), ...rubbish]), more: false }
  })
  scene.result = depositResults.acknowledged
  assert.ok((await scene.drain()).complete)
  assert.is(scene.deposited.length, 1)
  assert.equal(scene.buried, scene.deposited)
  await scene.net.end()
})

test('a malformed page is silence', async () => {
  const scene = await Scene.open('unused', () => ({ entries: [], more: false }))
  const broken = await scene.net.peer()
  broken.overlay.handle(services.fetch, async () => ({ ok: true, value: new Uint8Array([9, 9, 9]) }))
  const result = await scene.net.run(drainReplica({
    courier: scene.home.courier,
    clock: scene.net.clock,
    self: scene.home.nodeId,
    depositHere: async () => { throw new Error('nothing is to be stored') },
  }, scene.inbox, broken.nodeId))
  assert.equal(result, { complete: false, waiting: [] })
  await scene.net.end()
})

// ── As part of a home ───────────────────────────────────────────────────────────────────────

test('mail comes home when a replica links up, and again when our disk has room', async () => {
  const scene = await InboxScene.open('links', { replicas: 5 })
  await scene.open()
  const [peer] = scene.replicaPeers
  const envelopes = scene.inbox.envelopes(10)
  await scene.depositAt(peer!, envelopes)
  const { mailbox } = scene.home.store
  const { put } = mailbox
  Object.assign(mailbox, { put: async () => { throw new OpenIMError('STORE_FULL', 'no room') } })
  await scene.home.meet(peer!)
  await scene.net.clock.advance(10 * minuteMs)
  assert.equal(await scene.stored(), [])
  assert.is(await scene.heldAt(peer!), 10, 'it stays where it is safe')
  assert.ok(scene.home.log.warnings.includes('mail of a replica could not be taken over'))
  Object.assign(mailbox, { put })
  await scene.net.clock.advance(10 * minuteMs)
  assert.equal(await scene.stored(), idsOf(envelopes))
  await scene.end()
})

test('a full inbox leaves the rest at the replicas until there is room', async () => {
  const scene = await InboxScene.open('full', { replicas: 5 })
  await scene.open({ itemsMax: 4 })
  const [peer] = scene.replicaPeers
  const envelopes = scene.inbox.envelopes(4)
  await scene.receive(scene.inbox.envelopes(3))
  await scene.depositAt(peer!, envelopes)
  await scene.net.clock.advance(10 * minuteMs)
  assert.is((await scene.stored()).length, 4)
  await scene.acknowledge('phone', await scene.stored())
  await scene.net.clock.advance(10 * minuteMs)
  assert.equal(await scene.stored(), idsOf(envelopes.slice(1)))
  await scene.acknowledge('phone', await scene.stored())
  await scene.net.clock.advance(10 * minuteMs)
  assert.is(await scene.heldAt(peer!), 0)
  await scene.end()
})

test.run()

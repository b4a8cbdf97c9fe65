/** File boxes of our own people: who may do what, holders that come and go, and what survives. */
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import type { Result } from '../../../crypto/errors.ts'
import { encode } from '../../../protocol/codec/struct.ts'
import { expiryHour } from '../../../protocol/envelope.ts'
import { fileBoxActions } from '../../../protocol/frame/file.ts'
import type { FileBoxFrame } from '../../../protocol/frame/file.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import type { NodeDescriptor } from '../../../protocol/node-descriptor.ts'
import { services } from '../../../protocol/service/codes.ts'
import { verifyStoreReceipt } from '../../../protocol/service/deposit.ts'
import { fetchReplyCodec } from '../../../protocol/service/fetch.ts'
import type { FetchReply } from '../../../protocol/service/fetch.ts'
import { boxKinds } from '../../../protocol/service/lease.ts'
import { FileBoxes } from '../../../node/messenger/file-boxes.ts'
import type { FileHeld } from '../../../node/messenger/file-boxes.ts'
import { ReplicaService } from '../../../node/messenger/replica-service.ts'
import { suite } from '../../helpers/harness.ts'
import { descriptorOf } from '../../helpers/inbox-scene.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'
import { idsOf, TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/messenger/file boxes')
const account = 'oim1alice'
const pieceBytes = 65_536

class Scene {
  readonly net: RoomNetwork
  readonly home: Peer
  readonly lenders: Peer[] = []
  readonly told: FileHeld[] = []
  readonly inbox: TestInbox
  store!: ReplicaService
  boxes!: FileBoxes

  private constructor(net: RoomNetwork, home: Peer) {
    this.net = net
    this.home = home
    this.inbox = new TestInbox(net)
  }

  static async open(seed: string, lenders: number): Promise<Scene> {
    const net = new RoomNetwork(seed)
    const scene = new Scene(net, await net.peer())
    for (let i = 0; i < lenders; i++) await scene.#addLender()
    await scene.begin(scene.home)
    return scene
  }

  /** The rooms of the home on its store; `on` is whose network they use. */
  async begin(on: Peer): Promise<void> {
    const parts = { ...this.home.parts, overlay: on.overlay, courier: on.courier }
    this.store = new ReplicaService(parts, {
      lends: false,
      lentBytesMax: 0,
      isFriend: () => false,
      homeKind: (box) => (this.boxes.isHome(box) ? boxKinds.file : undefined),
      onMail() {},
      onMoved() {},
    })
    this.boxes = new FileBoxes(parts, {
      storageNodes: () => this.lenders.map((peer): NodeDescriptor => descriptorOf(peer.nodeId)),
      depositHere: (envelopes) => this.store.deposit(envelopes),
      fetchHere: (from, body) => this.store.fetch(from, body),
      onMoved() {},
      onHeld: (held) => this.told.push(held),
    })
    await this.net.run(this.boxes.load())
    this.boxes.start()
  }

  async #addLender(): Promise<void> {
    const peer = await this.net.peer()
    const lender = new ReplicaService(peer.parts, {
      lends: true, lentBytesMax: 64 * 1024 * 1024, isFriend: () => true, homeKind: () => undefined,
      onMail() {}, onMoved() {},
    })
    await this.net.run(lender.start())
    this.lenders.push(peer)
  }

  frame(change: Partial<FileBoxFrame> = {}, inbox = this.inbox): FileBoxFrame {
    return {
      type: 'fileBox',
      request: 1,
      action: fileBoxActions.open,
      writeKey: inbox.writeKey,
      readSeed: inbox.readSeed,
      itemsMax: 100,
      bytesMax: 10_000_000,
      expiryHour: expiryHour(this.net.clock.now() + 10 * 86_400_000),
      ...change,
    }
  }

  apply(change: Partial<FileBoxFrame> = {}): Promise<FileHeld> {
    return this.net.run(this.boxes.apply(account, this.frame(change)))
  }

  async put(count: number): Promise<Uint8Array[]> {
    const envelopes = this.inbox.envelopes(count, { bytes: pieceBytes })
    for (const envelope of envelopes) {
      const { proofs } = await this.net.run(this.boxes.put(account, envelope))
      assert.equal(namesOf(proofs), [[this.home.nodeId, ...idsOf([envelope])]])
    }
    return envelopes
  }

  /** Waits until each of these holders has signed for so many. */
  async copied(holders: readonly NodeId[], count: number): Promise<void> {
    await this.net.eventually('all copied', () => {
      const signed = this.told.flatMap(({ proofs }) => namesOf(proofs))
      return holders.every((holder) =>
        new Set(signed.filter(([name]) => name === holder).flatMap(([, ...ids]) => ids)).size >= count)
    })
  }

  /** How many pieces each lender has. */
  counts(): Promise<number[]> {
    return Promise.all(this.lenders.map((peer) => peer.pieces.count(this.inbox.box)))
  }

  async fetch(holder: NodeId, after: number, from = account): Promise<Result<FetchReply>> {
    const proof = this.inbox.readProof({ holder, reader: this.home.nodeId })
    return await this.net.run(this.boxes.fetch(from, {
      type: 'fileFetch', request: 1, holder, proof, after, itemsMax: 10,
    }))
  }

  async end(): Promise<void> {
    await this.net.run(this.boxes.stop())
    await this.net.end()
  }
}

/** Who signed for which envelopes. */
function namesOf(proofs: readonly Uint8Array[]): string[][] {
  return proofs.map((proof) => {
    const receipt = verifyStoreReceipt(proof)
    if (!receipt.ok) throw new Error(receipt.code)
    return [receipt.value.nodeId, ...receipt.value.envelopeIds]
  })
}

async function refusal(promise: Promise<unknown>): Promise<string | undefined> {
  return await promise.then(() => undefined, (error: unknown) => errorCode(error))
}

test('pieces go to five holders, whose receipts are told and told again', async () => {
  const scene = await Scene.open('five holders', 7)
  const opened = await scene.apply()
  assert.is(opened.replicas.length, 5)
  const envelopes = await scene.put(10)
  await scene.copied(opened.replicas, 10)
  assert.equal((await scene.counts()).sort(), [0, 0, 10, 10, 10, 10, 10])
  const again = await scene.apply()
  assert.is(again.pieces, 10)
  const all = new Set(namesOf(again.proofs).flatMap(([, ...ids]) => ids))
  assert.equal([...all].sort(), idsOf(envelopes).sort())
  await scene.end()
})

test('goes on after a restart where each holder was', async () => {
  const scene = await Scene.open('restart', 5)
  const { replicas } = await scene.apply()
  await scene.put(3)
  await scene.copied(replicas, 3)
  await scene.net.run(scene.boxes.stop())
  await scene.home.reopenStore()
  const reborn = await scene.net.peer()
  const deposits: number[] = []
  const { call } = reborn.courier
  Object.assign(reborn.courier, {
    call: (...args: Parameters<typeof call>) => {
      if (args[1] === services.deposit) deposits.push(args[2].length)
      return call.apply(reborn.courier, args)
    },
  })
  await scene.begin(reborn)
  assert.ok(scene.boxes.isHome(scene.inbox.box))
  await scene.net.clock.advance(5_000)
  assert.equal(deposits, [], 'nothing is offered twice')
  await scene.net.run(scene.boxes.put(account, scene.inbox.envelope({ bytes: pieceBytes })))
  await scene.net.clock.advance(5_000)
  assert.is(deposits.length, 5)
  assert.equal(await scene.counts(), [4, 4, 4, 4, 4])
  await scene.end()
})

test('a holder that takes nothing is replaced, until the holders were told to somebody', async () => {
  const scene = await Scene.open('replaced', 8)
  const opened = await scene.apply()
  const [dead, late] = scene.lenders.filter(({ nodeId }) => opened.replicas.includes(nodeId)) as [Peer, Peer]
  await dead.overlay.stop()
  await scene.put(2)
  await scene.net.eventually('replaced', () => {
    const last = scene.told.at(-1)
    return last !== undefined && !last.replicas.includes(dead.nodeId) && last.replicas.length === 5
  }, 300_000)
  const kept = await scene.apply({ action: fileBoxActions.keep })
  await late.overlay.stop()
  await scene.put(1)
  await scene.net.clock.advance(20 * 60_000)
  assert.equal((await scene.apply()).replicas, kept.replicas, 'they stay')
  await scene.end()
})

test('only the account whose box it is may open, fill or close it', async () => {
  const scene = await Scene.open('accounts', 1)
  await scene.apply()
  const [envelope] = scene.inbox.envelopes(1) as [Uint8Array]
  const other = 'oim1mallory'
  const { boxes, net } = scene
  assert.is(await refusal(net.run(boxes.put(other, envelope))), 'INBOX_GONE')
  for (const action of Object.values(fileBoxActions)) {
    assert.is(await refusal(net.run(boxes.apply(other, scene.frame({ action })))), 'INBOX_TAKEN')
  }
  const strange = new TestInbox(net)
  assert.is(await refusal(net.run(boxes.put(account, strange.envelope()))), 'INBOX_GONE')
  const keep = scene.frame({ action: fileBoxActions.keep }, strange)
  assert.is(await refusal(net.run(boxes.apply(account, keep))), 'INBOX_GONE')
  assert.is(await refusal(net.run(boxes.put(account, scene.inbox.forgedEnvelope()))), 'ENVELOPE_REFUSED')
  await scene.end()
})

test('closing gives the room back, here and at the holders', async () => {
  const scene = await Scene.open('closing', 3)
  const { replicas } = await scene.apply()
  await scene.put(2)
  await scene.copied(replicas, 2)
  await scene.apply({ action: fileBoxActions.close })
  await scene.net.clock.advance(2_000)
  assert.equal(await scene.counts(), [0, 0, 0])
  assert.equal(await scene.home.pieces.boxes(), [])
  assert.equal(await scene.net.run(scene.home.kv.list({ prefix: '' })), [])
  await scene.end()
})

test('a box that is over goes by itself', async () => {
  const scene = await Scene.open('over', 1)
  await scene.apply({ expiryHour: expiryHour(scene.net.clock.now() + 3_600_000) })
  await scene.put(1)
  await scene.net.clock.advance(3 * 3_600_000)
  assert.not(scene.boxes.isHome(scene.inbox.box))
  assert.equal(await scene.net.run(scene.home.kv.list({ prefix: '' })), [])
  await scene.end()
})

test('an account has so many boxes and so much room, and no more', async () => {
  const scene = await Scene.open('quota', 0)
  const { boxes, net } = scene
  const open = (bytesMax: number): Promise<unknown> =>
    net.run(boxes.apply(account, scene.frame({ bytesMax }, new TestInbox(net))))
  const large = Math.floor(limits.fileBoxesBytesMax / limits.fileBoxBytesMax)
  for (let i = 0; i < large; i++) await open(limits.fileBoxBytesMax)
  assert.is(await refusal(open(limits.fileBoxBytesMax)), 'FILE_QUOTA')
  await open(1_000)
  await scene.end()
})

test('a device reads a box at any node that holds it, with the read key alone', async () => {
  const scene = await Scene.open('fetch', 5)
  const opened = await scene.apply()
  const envelopes = await scene.put(4)
  await scene.copied(opened.replicas, 4)
  for (const holder of [scene.home.nodeId, ...opened.replicas]) {
    const page = await scene.fetch(holder, 1)
    if (!page.ok) throw new Error(page.code)
    const { length } = page.value.entries
    assert.equal(page.value.entries.map(({ position }) => position), [2, 3, 4].slice(0, length))
    assert.equal(page.value.entries[0]!.envelope, envelopes[1])
    const bytes = page.value.entries.reduce((sum, { envelope }) => sum + envelope.length, 0)
    assert.ok(bytes <= limits.envelopeBytesMax)
  }
  const stranger = (await scene.net.peer()).nodeId
  const gone = await scene.fetch(stranger, 0)
  assert.is(gone.ok, false)
  const elsewhere = scene.inbox.readProof({ holder: opened.replicas[0]!, reader: stranger })
  const refused = await scene.net.run(scene.boxes.fetch(account, {
    type: 'fileFetch', request: 1, holder: opened.replicas[0]!, proof: elsewhere, after: 0, itemsMax: 1,
  }))
  assert.is(!refused.ok && refused.code, 'FETCH_PROOF', 'a proof is for one reader')
  await scene.end()
})

test('reads under way are bounded, and what a holder sends too much is cut', async () => {
  const scene = await Scene.open('bounds', 0)
  const liar = await scene.net.peer()
  const envelopes = scene.inbox.envelopes(9, { bytes: pieceBytes })
  liar.overlay.handle(services.fetch, async () => ({
    ok: true,
    value: encode(fetchReplyCodec, {
      entries: envelopes.map((envelope, i) => ({ position: i + 1, envelope })), more: false,
    }),
  }))
  const asks = Array.from({ length: limits.fileFetchesMax + 1 }, () => scene.boxes.fetch(account, {
    type: 'fileFetch', request: 1, holder: liar.nodeId, after: 0, itemsMax: 1,
    proof: scene.inbox.readProof({ holder: liar.nodeId, reader: scene.home.nodeId }),
  }))
  const replies = await scene.net.run(Promise.all(asks))
  const codes = replies.flatMap((reply) => (reply.ok ? [] : [reply.code]))
  assert.equal(codes, ['REQUEST_TOO_MANY'])
  for (const reply of replies) {
    if (reply.ok) assert.equal([reply.value.entries.length, reply.value.more], [3, true])
  }
  await scene.end()
})

test.run()

/**
 * The Messenger over a simulated network, without clients: deposits to home, to replicas when home
 * is away, drains on return, deletion after the device acknowledged, refusals.
 */
import * as assert from 'uvu/assert'
import { crypto } from '../../crypto/index.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { boxId, createEnvelope, envelopeId, expiryHour } from '../../protocol/envelope.ts'
import type { DeliverFrame } from '../../protocol/frame/deliver.ts'
import { inboxActions } from '../../protocol/frame/inbox.ts'
import { receiptStates, routes } from '../../protocol/frame/receipt.ts'
import type { ReceiptFrame } from '../../protocol/frame/receipt.ts'
import { purposes } from '../../protocol/frame/submit.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { verifyStoreReceipt } from '../../protocol/service/deposit.ts'
import { suite } from '../helpers/harness.ts'
import { World } from './world.ts'
import type { SimNode } from './world.ts'

const test = suite('simulation/mail', { timeoutMs: 120_000 })
const account = 'oim1owner'

/** An inbox and what its owner's only device has seen of it. */
class Owner {
  readonly world: World
  readonly node: SimNode
  readonly writeKeys: SigningKeyPair
  readonly readSeed: Uint8Array
  readonly received: EnvelopeId[] = []
  readonly places: { homes: NodeId[], replicas: NodeId[] } = { homes: [], replicas: [] }
  acknowledges = true

  constructor(world: World, node: SimNode) {
    this.world = world
    this.node = node
    this.writeKeys = crypto.signingKeyPair(world.random.bytes(32))
    this.readSeed = world.random.bytes(32)
  }

  get readKey(): Uint8Array {
    return crypto.signingKeyPair(this.readSeed).publicKey
  }

  get box(): BoxId {
    return boxId({ writeKey: this.writeKeys.publicKey, readKey: this.readKey })
  }

  async open(itemsMax = 1_000): Promise<void> {
    const { messenger } = this.node.core
    const opened = await this.world.run(messenger.inbox(account, {
      type: 'inbox',
      request: 1,
      action: inboxActions.open,
      writeKey: this.writeKeys.publicKey,
      readSeed: this.readSeed,
      placement: new Uint8Array(32),
      itemsMax,
      bytesMax: 1_000_000,
      expiryHour: 0,
    }))
    this.places.homes = [this.node.nodeId]
    this.places.replicas = [...opened.replicas]
  }

  attach(): void {
    const device = { account, id: 'phone' }
    this.node.core.messenger.attach({
      ...device,
      send: async (frame: DeliverFrame) => {
        const ids = frame.envelopes.map((bytes) => envelopeId(bytes))
        this.received.push(...ids)
        if (this.acknowledges) await this.node.core.messenger.acknowledge(device, this.box, ids)
      },
    })
  }

  /** Waits until the device has seen so many envelopes. */
  async receives(count: number, withinMs: number): Promise<void> {
    await this.world.eventually(() => this.received.length >= count || undefined, {
      withinMs, what: `${count} received`,
    })
  }

  envelope(): Uint8Array {
    return createEnvelope({
      writeKeys: this.writeKeys,
      readKey: this.readKey,
      expiryHour: expiryHour(this.world.clock.now() + limits.envelopeTtlMs),
      ciphertext: this.world.random.bytes(512),
    })
  }
}

/** Submits from a node and keeps the latest receipt of each envelope. */
class Sender {
  readonly receipts = new Map<EnvelopeId, ReceiptFrame>()
  readonly node: SimNode
  readonly owner: Owner

  constructor(node: SimNode, owner: Owner) {
    this.node = node
    this.owner = owner
    node.core.messenger.listen({
      receipt: (_device, receipt) => this.receipts.set(receipt.envelopeId, receipt),
      places() {},
      fileHeld() {},
      shelf() {},
    })
  }

  async submit(envelope: Uint8Array): Promise<EnvelopeId> {
    const { homes, replicas } = this.owner.places
    await this.owner.world.run(this.node.core.messenger.submit('phone', {
      type: 'submit', envelope, homes, replicas, purpose: purposes.message, level: 0,
    }))
    return envelopeId(envelope)
  }

  async until(id: EnvelopeId, state: number): Promise<ReceiptFrame> {
    return this.owner.world.eventually(() => {
      const receipt = this.receipts.get(id)
      return receipt !== undefined && receipt.state >= state ? receipt : undefined
    }, { withinMs: 120_000, what: `state ${state}` })
  }
}

async function startedWorld(seed: string, count = 9): Promise<World> {
  const world = new World({ seed })
  for (let i = 0; i < count; i++) world.add({ name: `n${i}`, account: false })
  for (const node of world.nodes) await world.run(node.start())
  await world.clock.advance(10_000)
  return world
}

test('home gets it, the device gets it, and a receipt proves it', async () => {
  const world = await startedWorld('home')
  const owner = new Owner(world, world.nodes[4]!)
  await owner.open()
  assert.is(owner.places.replicas.length, limits.replicas)
  owner.attach()
  const sender = new Sender(world.nodes[5]!, owner)
  const id = await sender.submit(owner.envelope())
  const receipt = await sender.until(id, receiptStates.stored)
  assert.is(receipt.route, routes.direct)
  assert.is(receipt.have, 1)
  const proof = verifyStoreReceipt(receipt.proofs[0]!)
  assert.ok(proof.ok && proof.value.nodeId === owner.node.nodeId && proof.value.envelopeIds.includes(id))
  await owner.receives(1, 5_000)
  assert.equal(owner.received, [id])
  await world.end()
})

test('replicas keep it while home is away, and home collects it, once, in order', async () => {
  const world = await startedWorld('away')
  const owner = new Owner(world, world.nodes[4]!)
  await owner.open()
  const { replicas } = owner.places
  owner.node.crash()
  const stranger = world.nodes.find((node) => node.isRunning && !replicas.includes(node.nodeId))!
  const sender = new Sender(stranger, owner)
  const ids: EnvelopeId[] = []
  for (let i = 0; i < 200; i++) ids.push(await sender.submit(owner.envelope()))
  for (const id of ids) {
    const receipt = await sender.until(id, receiptStates.stored)
    assert.is(receipt.route, routes.replicas)
    assert.ok(receipt.have >= limits.replicasNeeded)
  }
  await world.clock.advance(60_000)
  sender.node.crash()
  // Two of five go for good; the union of the others is complete.
  for (const replica of replicas.slice(0, 2)) world.nodes.find((node) => node.nodeId === replica)!.crash()
  await world.run(owner.node.start())
  owner.attach()
  await owner.receives(ids.length, 120_000)
  assert.equal([...owner.received].sort(), [...ids].sort())
  await world.clock.advance(20 * 60_000)
  assert.is(owner.received.length, ids.length, 'nothing comes twice')
  for (const node of world.nodes) {
    if (!node.isRunning) continue
    const { items } = await world.run(node.store.mailbox.usage())
    assert.is(items, 0, `${node.name} has deleted what the owner has`)
  }
  await world.end()
})

test('a lost receipt heals: the tombstone proves the delivery', async () => {
  const world = await startedWorld('tombstone')
  const owner = new Owner(world, world.nodes[4]!)
  await owner.open()
  owner.attach()
  const envelope = owner.envelope()
  const first = new Sender(world.nodes[5]!, owner)
  const id = await first.submit(envelope)
  await owner.receives(1, 5_000)
  await world.clock.advance(1_000)
  const second = new Sender(world.nodes[6]!, owner)
  await second.submit(envelope)
  const receipt = await second.until(id, receiptStates.acknowledged)
  assert.is(receipt.proofs.length, 1)
  assert.is(owner.received.length, 1)
  await world.end()
})

test('a full inbox tells the sender, and takes the mail when there is room again', async () => {
  const world = await startedWorld('full')
  const owner = new Owner(world, world.nodes[4]!)
  await owner.open(3)
  owner.acknowledges = false
  const sender = new Sender(world.nodes[5]!, owner)
  const ids: EnvelopeId[] = []
  for (let i = 0; i < 4; i++) ids.push(await sender.submit(owner.envelope()))
  const last = ids.at(-1)!
  await world.eventually(() => sender.receipts.get(last)?.code === 'INBOX_FULL' || undefined, {
    withinMs: 60_000, what: 'told',
  })
  assert.is(sender.receipts.get(last)?.state, receiptStates.accepted)
  owner.acknowledges = true
  owner.attach()
  await sender.until(last, receiptStates.stored)
  await owner.receives(4, 600_000)
  await world.end()
})

test('a node that restarts goes on offering what it had taken over', async () => {
  const world = await startedWorld('restart')
  const owner = new Owner(world, world.nodes[4]!)
  await owner.open()
  const { replicas } = owner.places
  owner.node.crash()
  for (const replica of replicas) world.nodes.find((node) => node.nodeId === replica)!.crash()
  const node = world.nodes.find((other) => other.isRunning)!
  const sender = new Sender(node, owner)
  const id = await sender.submit(owner.envelope())
  assert.is(sender.receipts.get(id)?.state, receiptStates.accepted)
  await world.clock.advance(30_000)
  node.crash()
  await world.run(owner.node.start())
  owner.attach()
  await world.run(node.start())
  await owner.receives(1, 300_000)
  assert.equal(owner.received, [id])
  await world.end()
})

test.run()

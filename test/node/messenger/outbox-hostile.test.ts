/** The outbox among holders that lie, and on a disk that fails: no message is lost, no state is untrue. */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../../crypto/errors.ts'
import { receiptStates } from '../../../protocol/frame/receipt.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { depositResults } from '../../../protocol/service/deposit.ts'
import type { DepositReply } from '../../../protocol/service/deposit.ts'
import { suite } from '../../helpers/harness.ts'
import { OutboxScene } from '../../helpers/outbox-scene.ts'
import { TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/messenger/outbox hostile')
const minuteMs = 60_000
const { stored, acknowledged, invalid } = depositResults

/** A home that answers as the case says; nothing may come of it, and the replicas are asked instead. */
async function unmoved(
  seed: string,
  lie: (scene: OutboxScene, ids: EnvelopeId[]) => DepositReply,
): Promise<void> {
  const scene = await OutboxScene.open(seed)
  scene.home.answer = (ids) => lie(scene, ids)
  for (const replica of scene.replicas) replica.frozen = true
  const id = await scene.submit()
  await scene.net.clock.advance(60_000)
  assert.ok(scene.home.got.length > 0)
  assert.is(scene.last(id).state, receiptStates.accepted, seed)
  assert.equal([scene.last(id).have, scene.last(id).proofs.length], [0, 0])
  assert.is(scene.outbox.size, 1, 'it is still here')
  for (const replica of scene.replicas) replica.frozen = false
  await scene.until(id, receiptStates.stored, 6 * minuteMs)
  await scene.end()
}

test('"stored" without a receipt changes nothing', () =>
  unmoved('bare', (_scene, ids) => ({ results: ids.map(() => stored), receipt: undefined, tombstones: [] })))

test('nor does a receipt with a signature that does not fit', () =>
  unmoved('forged', (scene, ids) => {
    const receipt = scene.home.receipt(ids)
    receipt[receipt.length - 1]! ^= 1
    return { results: ids.map(() => stored), receipt, tombstones: [] }
  }))

test('nor does another node\'s receipt', () =>
  unmoved('borrowed', (scene, ids) =>
    ({ results: ids.map(() => stored), receipt: scene.replicas[0]!.receipt(ids), tombstones: [] })))

test('nor does a receipt of other envelopes', () =>
  unmoved('others', (scene, ids) => {
    const others = ids.map(() => 'ab'.repeat(32) as EnvelopeId)
    return { results: ids.map(() => stored), receipt: scene.home.receipt(others), tombstones: [] }
  }))

test('nor does "acknowledged" without a tombstone', () =>
  unmoved('no tombstone', (_scene, ids) =>
    ({ results: ids.map(() => acknowledged), receipt: undefined, tombstones: [] })))

test('nor does a tombstone that a holder signed for an inbox of its own', () =>
  unmoved('own tombstone', (scene, ids) => {
    const tombstone = new TestInbox(scene.net).tombstone(ids)
    return { results: ids.map(() => acknowledged), receipt: undefined, tombstones: [tombstone] }
  }))

test('nor does a tombstone that names the inbox and is signed by somebody else', () =>
  unmoved('forged tombstone', (scene, ids) => {
    const other = new TestInbox(scene.net)
    const tombstone = scene.inbox.tombstone(ids, other.readKeys)
    return { results: ids.map(() => acknowledged), receipt: undefined, tombstones: [tombstone] }
  }))

test('nor does the owner\'s tombstone of another envelope', () =>
  unmoved('other tombstone', (scene, ids) => {
    const tombstone = scene.inbox.tombstone(['cd'.repeat(32) as EnvelopeId])
    return { results: ids.map(() => acknowledged), receipt: undefined, tombstones: [tombstone] }
  }))

test('nor does an answer with too few results', () =>
  unmoved('short', () => ({ results: [], receipt: undefined, tombstones: [] })))

test('nor does a holder that calls a good envelope invalid', () =>
  unmoved('invalid', (_scene, ids) => {
    return { results: ids.map(() => invalid), receipt: undefined, tombstones: [] }
  }))

test('an envelope that is really invalid is refused for good', async () => {
  const scene = await OutboxScene.open('really invalid')
  scene.home.answer = (ids) => ({ results: ids.map(() => invalid), receipt: undefined, tombstones: [] })
  const id = await scene.submit({ envelope: scene.inbox.forgedEnvelope() })
  await scene.net.clock.advance(1_000)
  assert.equal([scene.last(id).state, scene.last(id).code], [receiptStates.refused, 'ENVELOPE_REFUSED'])
  assert.is(scene.outbox.size, 0)
  await scene.end()
})

test('the owner\'s own tombstone ends it, with the proof, from any holder', async () => {
  const scene = await OutboxScene.open('tombstone')
  scene.home.answer = (ids) =>
    ({ results: ids.map(() => acknowledged), receipt: undefined, tombstones: [scene.inbox.tombstone(ids)] })
  const ids = await scene.submitMany(20)
  await scene.until(ids[19]!, receiptStates.acknowledged)
  for (const id of ids) {
    assert.is(scene.last(id).state, receiptStates.acknowledged)
    assert.is(scene.last(id).proofs.length, 1)
  }
  await scene.net.clock.advance(100)
  assert.is(scene.outbox.size, 0)
  await scene.end()
})

test('a state that was proven is never taken back by a weaker answer', async () => {
  const scene = await OutboxScene.open('weaker')
  const id = await scene.submit()
  await scene.until(id, receiptStates.stored)
  scene.home.answer = (ids) => {
    return { results: ids.map(() => depositResults.noBox), receipt: undefined, tombstones: [] }
  }
  await scene.net.clock.advance(15 * minuteMs)
  assert.is(scene.last(id).state, receiptStates.stored)
  await scene.end()
})

test('a reply of a megabyte leaves a receipt of a few hundred bytes behind', async () => {
  const scene = await OutboxScene.open('fat')
  const tombstones = Array.from({ length: 60 }, () => new Uint8Array(16_000))
  scene.home.answer = (ids) => ({ ...scene.home.stored(ids), tombstones })
  const id = await scene.submit()
  await scene.until(id, receiptStates.stored)
  const [proof] = scene.last(id).proofs
  assert.ok(proof!.buffer.byteLength < 1_024, `${proof!.buffer.byteLength} bytes are kept`)
  await scene.end()
})

test('a full disk under our own inboxes delays their mail and hurts nobody else', async () => {
  const scene = await OutboxScene.open('full disk')
  const here = scene.depositHere
  let full = true
  scene.depositHere = async (envelopes) => {
    if (full) throw new OpenIMError('STORE_FULL', 'no room')
    return here(envelopes)
  }
  const homes = [scene.sender.nodeId]
  const local = await scene.submit({ homes, replicas: [] })
  const remote = await scene.submit()
  await scene.until(remote, receiptStates.stored)
  await scene.net.clock.advance(5_000)
  assert.is(scene.last(local).state, receiptStates.accepted)
  full = false
  await scene.until(local, receiptStates.stored)
  await scene.end()
})

test('what a database that is away does not take is named to its device, which offers it again', async () => {
  const scene = await OutboxScene.open('away')
  const { kv } = scene.sender.store
  const write = kv.write.bind(kv)
  kv.write = async () => { throw new OpenIMError('STORE_AWAY', 'the database does not answer') }
  const envelope = scene.inbox.envelope()
  const id = await scene.begin({ envelope })
  const { state, code } = scene.last(id)
  assert.equal({ state, code }, { state: receiptStates.refused, code: 'STORE_AWAY' })
  assert.is(scene.outbox.size, 0)
  kv.write = write
  await scene.begin({ envelope })
  await scene.until(id, receiptStates.stored)
  await scene.end()
})

test('a store that closes under way leaves no rejection behind', async () => {
  const scene = await OutboxScene.open('closed', { syncDelayMs: 3 })
  const ids = await scene.submitMany(100)
  await scene.net.clock.advance(12)
  scene.sender.store.crash()
  await scene.net.clock.advance(30_000)
  assert.ok(ids.length > 0)
  assert.is(scene.sender.log.errors.length, 0)
  await scene.end()
})

test('signals that were stored when the store closes are no rejection either', async () => {
  const scene = await OutboxScene.open('closed signals', { syncDelayMs: 3 })
  await scene.submit({ purpose: 2 })
  scene.home.answer = (ids) => {
    scene.sender.store.crash()
    return scene.home.stored(ids)
  }
  await scene.net.clock.advance(5_000)
  assert.ok(scene.sender.log.warnings.length > 0)
  await scene.end()
})

test.run()

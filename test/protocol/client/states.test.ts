/** A state is shown only when it is proven, whatever the node says (DESIGN §1, promise 1). */
import * as assert from 'uvu/assert'
import { crypto } from '../../../crypto/index.ts'
import { receiptStates } from '../../../protocol/frame/receipt.ts'
import type { ReceiptFrame } from '../../../protocol/frame/receipt.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { signTombstone } from '../../../protocol/service/acknowledge.ts'
import { signStoreReceipt } from '../../../protocol/service/deposit.ts'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/states')
const dayMs = 86_400_000

/** Bob and all that hold for him are gone; Alice's node is left alone with her messages. */
async function abandoned(seed: string): Promise<{ world: World, alice: Person, bob: Person }> {
  const world = new World(seed)
  const [alice, bob] = await world.pair()
  await world.clock.advance(3_000)
  for (const node of [bob.node, ...world.replicas]) node.isUp = false
  return { world, alice, bob }
}

function bare(envelopeId: EnvelopeId, change: Partial<ReceiptFrame>): ReceiptFrame {
  return {
    type: 'receipt', envelopeId, state: receiptStates.stored, have: 5, want: 3, route: 4, level: 0,
    proofs: [], code: '', ...change,
  }
}

function strangerReceipt(envelopeId: EnvelopeId): Uint8Array {
  const keys = crypto.signingKeyPair(new Uint8Array(32).fill(7))
  return signStoreReceipt(
    { nodeId: nodeIdFromKey(keys.publicKey), storedHour: 1, envelopeIds: [envelopeId] },
    keys,
  )
}

test('goes from queued over stored to delivered and read, each told once it is durable', async () => {
  const world = new World('ladder')
  const [alice, bob] = await world.pair()
  const sent = await world.run(alice.client.send('Bob', 'hello'))
  assert.equal([sent.state, sent.stored.have], ['queued', 0])
  const stored = await world.run(alice.client.waitFor(sent.id, 'stored'))
  assert.equal([stored.stored, stored.route], [{ have: 1, want: 1 }, 'direct'])
  await world.run(alice.client.waitFor(sent.id, 'delivered'))
  const [entry] = await bob.incoming()
  await world.run(bob.client.markRead('Alice', entry!.cursor))
  const read = await world.run(alice.client.waitFor(sent.id, 'read'))
  const times = [sent.sentAtMs, read.storedAtMs!, read.deliveredAtMs!, read.readAtMs!]
  assert.equal(times, [...times].sort((a, b) => a - b))
  const states = alice.events.flatMap(
    (event) => (event.type === 'status' && event.status.id === sent.id ? [event.status.state] : []),
  )
  assert.equal(states, ['queued', 'stored', 'delivered', 'read'])
  assert.is((await alice.client.info()).outbox, 0)
  await world.end()
})

test('counts replicas one by one and says stored at three of five', async () => {
  const { world, alice } = await abandoned('replicas')
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  const seen: unknown[] = []
  for (const replica of world.replicas.slice(0, 4)) {
    replica.isUp = true
    alice.node.offer()
    await world.clock.advance(1_000)
    const status = await alice.client.status(id)
    seen.push([status?.state, status?.stored.have, status?.stored.want])
  }
  assert.equal(seen, [['queued', 1, 3], ['queued', 2, 3], ['stored', 3, 3], ['stored', 4, 3]])
  assert.is((await alice.client.status(id))?.route, 'replicas')
  await world.end()
})

test('believes no receipt without proof, of a node not addressed, or of another envelope', async () => {
  const { world, alice, bob } = await abandoned('forged')
  const other = world.replicas[0]!
  const wrongId = 'ab'.repeat(32) as EnvelopeId
  const ofWrongId = signStoreReceipt(
    { nodeId: other.nodeId, storedHour: 1, envelopeIds: [wrongId] },
    other.keys,
  )
  const ofWrongNode = (id: EnvelopeId): Uint8Array =>
    signStoreReceipt({ nodeId: alice.node.nodeId, storedHour: 1, envelopeIds: [id] }, alice.node.keys)
  const lies: ((id: EnvelopeId) => ReceiptFrame)[] = [
    (id) => bare(id, {}),
    (id) => bare(id, { proofs: [new Uint8Array(0), new Uint8Array(200)] }),
    (id) => bare(id, { proofs: [strangerReceipt(id)] }),
    (id) => bare(id, { proofs: [ofWrongNode(id)] }),
    (id) => bare(id, { proofs: [ofWrongId, ofWrongId, ofWrongId] }),
    (id) => bare(id, { proofs: [resigned(id)] }),
  ]
  // A receipt of Bob's home whose signature is another node's.
  const resigned = (id: EnvelopeId): Uint8Array =>
    signStoreReceipt({ nodeId: bob.node.nodeId, storedHour: 1, envelopeIds: [id] }, alice.node.keys)
  for (const lie of lies) {
    alice.node.tamper = (receipt) => lie(receipt.envelopeId)
    const { id } = await world.run(alice.client.send('Bob', 'hello'))
    await world.clock.advance(10_000)
    const status = await alice.client.status(id)
    assert.equal([status?.state, status?.stored.have], ['queued', 0])
  }
  await world.end()
})

test('counts a holder once, however often its receipt comes', async () => {
  const { world, alice } = await abandoned('thrice')
  const replica = world.replicas[0]!
  alice.node.tamper = ({ envelopeId }) => {
    const one = (storedHour: number): Uint8Array =>
      signStoreReceipt({ nodeId: replica.nodeId, storedHour, envelopeIds: [envelopeId] }, replica.keys)
    return bare(envelopeId, { proofs: [one(1), one(2), one(3)] })
  }
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  await world.clock.advance(10_000)
  const status = await alice.client.status(id)
  assert.equal([status?.state, status?.stored], ['queued', { have: 1, want: 3 }])
  await world.end()
})

test('believes no tombstone that the owner of that very inbox did not sign', async () => {
  const { world, alice } = await abandoned('grave robber')
  const readKeys = crypto.signingKeyPair(new Uint8Array(32).fill(9))
  alice.node.tamper = ({ envelopeId }) => bare(envelopeId, {
    state: receiptStates.acknowledged,
    proofs: [signTombstone(
      { writeKey: readKeys.publicKey, readKey: readKeys.publicKey, envelopeIds: [envelopeId] },
      readKeys,
    )],
  })
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  await world.clock.advance(10_000)
  assert.is((await alice.client.status(id))?.state, 'queued')
  await world.end()
})

test('takes the tombstone of the owner as delivery when the receipt is slow', async () => {
  const world = new World('tombstone')
  const [alice, bob] = await world.pair()
  // Bob's receipts cannot leave his node, his acknowledgements can.
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  alice.node.isFull = true
  await world.run(alice.client.waitFor(id, 'delivered'))
  assert.is((await bob.incoming()).length, 1)
  assert.is((await alice.client.info()).outbox, 1, 'kept until the receipt says that it was readable')
  alice.node.isFull = false
  await world.until(async () => (await alice.client.info()).outbox === 0)
  await world.end()
})

test('says why a message waits, and tries on', async () => {
  const { world, alice, bob } = await abandoned('full')
  alice.node.tamper = (receipt) => ({ ...receipt, code: 'INBOX_FULL' })
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  await world.clock.advance(5_000)
  const waiting = await alice.client.status(id)
  assert.equal([waiting?.state, waiting?.code], ['queued', 'INBOX_FULL'])
  alice.node.tamper = (receipt) => receipt
  bob.node.isUp = true
  await world.until(async () => (await alice.client.status(id))?.state === 'delivered')
  assert.is((await alice.client.status(id))?.code, undefined)
  await world.end()
})

test('fails when it is refused for good, unless copies are proven', async () => {
  const { world, alice, bob } = await abandoned('refused')
  const refuse = ({ envelopeId }: ReceiptFrame): ReceiptFrame =>
    bare(envelopeId, { state: receiptStates.refused, code: 'ENVELOPE_REFUSED' })
  alice.node.tamper = refuse
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  const failed = await world.run(alice.client.waitFor(id, 'delivered'))
  assert.equal([failed.state, failed.code], ['failed', 'ENVELOPE_REFUSED'])
  assert.is((await alice.client.info()).outbox, 0)

  alice.node.tamper = (receipt) => receipt
  bob.node.isUp = true
  bob.node.withholds = () => true
  const next = await world.run(alice.client.send('Bob', 'hello'))
  await world.run(alice.client.waitFor(next.id, 'stored'))
  alice.node.push(refuse(bare(lastSubmitted(alice), {})))
  await world.clock.advance(2_000)
  assert.is((await alice.client.status(next.id))?.state, 'stored')
  await world.end()
})

function lastSubmitted(person: Person): EnvelopeId {
  return [...person.node.outgoing.keys()].at(-1)!
}

test('takes up again what the node had no room for', async () => {
  const world = new World('no room')
  const [alice, bob] = await world.pair()
  let refusals = 0
  alice.node.tamper = (receipt) => {
    if (refusals++ > 3) return receipt
    alice.node.outgoing.delete(receipt.envelopeId)
    return bare(receipt.envelopeId, { state: receiptStates.refused, code: 'OUTBOX_FULL' })
  }
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  await world.until(async () => (await alice.client.status(id))?.code === 'OUTBOX_FULL')
  await world.run(alice.client.waitFor(id, 'delivered'))
  assert.is((await bob.incoming()).length, 1)
  await world.end()
})

test('fails with MESSAGE_EXPIRED after its time, sealed or still waiting', async () => {
  const { world, alice } = await abandoned('late')
  const sealed = await world.run(alice.client.send('Bob', 'sealed'))
  const carol = await world.person('Carol')
  const { uri } = await world.run(carol.client.invite({ expiresInMs: 3_600_000 }))
  carol.crash()
  carol.node.isUp = false
  await world.run(alice.client.add(uri, { name: 'Carol' }))
  const waiting = await world.run(alice.client.send('Carol', 'waiting'))
  for (let day = 0; day < 13; day++) await world.clock.advance(dayMs)
  assert.is((await alice.client.status(sealed.id))?.state, 'queued')
  await world.clock.advance(dayMs + 3_600_000)
  for (const { id } of [sealed, waiting]) {
    const status = await alice.client.status(id)
    assert.equal([status?.state, status?.code], ['failed', 'MESSAGE_EXPIRED'])
  }
  assert.is((await alice.client.info()).outbox, 0)
  assert.ok(limits.envelopeTtlMs === 14 * dayMs)
  await world.end()
})

test('sends what is under way to the new holders when the contact moves', async () => {
  const { world, alice, bob } = await abandoned('moved')
  const ids = await world.run(
    Promise.all(['one', 'two'].map(async (text) => (await alice.client.send('Bob', text)).id)),
  )
  await world.clock.advance(3_000)
  // Bob's node can speak but takes no mail; his new replicas do.
  bob.node.isUp = true
  bob.node.isFull = true
  const fresh = [1, 2, 3].map((i) => world.network.node(`fresh ${i}`))
  bob.node.replicas = fresh.map((node) => node.nodeId)
  bob.node.session!.reset()
  await world.run(Promise.all(ids.map((id) => alice.client.waitFor(id, 'stored'))))
  const status = await alice.client.status(ids[0]!)
  assert.equal([status?.stored, status?.route], [{ have: 3, want: 3 }, 'replicas'])
  assert.equal((await alice.client.places('Bob'))?.replicas, fresh.map((node) => node.nodeId))
  bob.node.isFull = false
  bob.node.drain()
  await world.until(async () => (await bob.incoming()).length === 2)
  assert.equal((await bob.incoming()).map((entry) => entry.text), ['one', 'two'])
  await world.end()
})

test('goes on waiting until the signal aborts, and knows only its own messages', async () => {
  const { world, alice } = await abandoned('patience')
  const { id } = await world.run(alice.client.send('Bob', 'hello'))
  const abort = new AbortController()
  const waiting = alice.client.waitFor(id, 'delivered', abort.signal)
  await world.clock.advance(5_000)
  abort.abort()
  assert.is((await world.run(waiting)).state, 'queued')
  const unknown = await alice.client.waitFor('00'.repeat(16) as typeof id, 'stored').catch(
    (error: { code: string }) => error.code,
  )
  assert.is(unknown, 'MESSAGE_UNKNOWN')
  await world.end()
})

test.run()

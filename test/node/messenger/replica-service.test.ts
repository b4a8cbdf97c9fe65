/** What others may ask of our mailboxes: leases, deposits, reads, deletions, and every refusal. */
import * as assert from 'uvu/assert'
import { expiryHour } from '../../../protocol/envelope.ts'
import { limits } from '../../../protocol/limits.ts'
import { verifyTombstone } from '../../../protocol/service/acknowledge.ts'
import { services } from '../../../protocol/service/codes.ts'
import { depositResults } from '../../../protocol/service/deposit.ts'
import { boxKinds, leaseResults } from '../../../protocol/service/lease.ts'
import { ReplicaService } from '../../../node/messenger/replica-service.ts'
import { suite } from '../../helpers/harness.ts'
import { ReplicaScene } from '../../helpers/replica-scene.ts'
import { idsOf, TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/messenger/replica-service')
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const { granted, noRoom, stale, invalid: invalidLease, notOffered } = leaseResults
const { stored, duplicate, acknowledged, overQuota, noBox, invalid, busy } = depositResults

// ── Leases ──────────────────────────────────────────────────────────────────────────────────

test('grants a lease that the owner signed for this holder and its own home', async () => {
  const scene = await ReplicaScene.open('grant')
  await scene.lease()
  assert.is(scene.replicas.lentBoxes, 1)
  assert.is(scene.replicas.homeOf(scene.inbox.box), scene.home.nodeId)
  await scene.net.end()
})

test('refuses a lease for another holder, of another home, forged, endless, over or too large', async () => {
  const scene = await ReplicaScene.open('refuse lease')
  const { inbox, net } = scene
  const right = { holder: scene.holder.nodeId, home: scene.home.nodeId }
  const hour = (fromNowMs: number): number => expiryHour(net.clock.now() + fromNowMs)
  const wrong: [string, Uint8Array][] = [
    ['holder', inbox.lease({ ...right, holder: scene.sender.nodeId })],
    ['home', inbox.lease({ ...right, home: scene.sender.nodeId })],
    ['signature', inbox.lease(right, new TestInbox(net).readKeys)],
    ['over', inbox.lease({ ...right, expiryHour: hour(-2 * hourMs) })],
    ['too long', inbox.lease({ ...right, expiryHour: hour(limits.leaseTtlMs + 3 * hourMs) })],
    ['too many', inbox.lease({ ...right, itemsMax: limits.boxItemsMax + 1 })],
    ['too large', inbox.lease({ ...right, bytesMax: limits.boxBytesMax + 1 })],
    ['cut', inbox.lease(right).subarray(0, 100)],
    ['empty', new Uint8Array(0)],
  ]
  for (const [why, lease] of wrong) assert.is(await scene.leaseCode(lease), invalidLease, why)
  assert.is(scene.replicas.lentBoxes, 0)
  assert.is(await scene.leaseCode(inbox.lease(right), scene.sender), invalidLease, 'shown by somebody else')
  await scene.net.end()
})

test('a lower sequence changes nothing, the same or a higher one renews', async () => {
  const scene = await ReplicaScene.open('sequence')
  const right = { holder: scene.holder.nodeId, home: scene.home.nodeId }
  assert.is(await scene.leaseCode(scene.inbox.lease({ ...right, sequence: 5 })), granted)
  assert.is(await scene.leaseCode(scene.inbox.lease({ ...right, sequence: 4, itemsMax: 0 })), stale)
  assert.is(scene.replicas.lentBoxes, 1)
  assert.is(await scene.leaseCode(scene.inbox.lease({ ...right, sequence: 5 })), granted)
  assert.is(await scene.leaseCode(scene.inbox.lease({ ...right, sequence: 6, itemsMax: 1 })), granted)
  const [first, second] = scene.inbox.envelopes(2)
  assert.equal((await scene.deposit([first!, second!])).results, [stored, overQuota])
  await scene.net.end()
})

test('giving up drops the mail, and survives a restart', async () => {
  const scene = await ReplicaScene.open('give up')
  await scene.lease()
  await scene.deposit(scene.inbox.envelopes(3))
  await scene.lease(scene.inbox, { sequence: 2, itemsMax: 0 })
  assert.is(scene.replicas.lentBoxes, 0)
  assert.equal(await scene.net.run(scene.holder.mailbox.usage()), { items: 0, bytes: 0 })
  assert.equal(await scene.net.run(scene.holder.kv.list({ prefix: 'lent/' })), [])
  assert.equal((await scene.deposit([scene.inbox.envelope()])).results, [noBox])
  await scene.net.end()
})

test('a node that lends nothing says so, and still takes its own people\'s mail', async () => {
  const scene = await ReplicaScene.open('not offered', { lends: false })
  const lease = scene.inbox.lease({ holder: scene.holder.nodeId, home: scene.home.nodeId })
  assert.is(await scene.leaseCode(lease), notOffered)
  const { box } = scene.inbox
  scene.ownBoxes.add(box)
  await scene.holder.mailbox.setBox(box, { itemsMax: 10, bytesMax: 100_000, expiresAtMs: Infinity })
  assert.equal((await scene.deposit([scene.inbox.envelope()])).results, [stored])
  await scene.net.end()
})

test('grants nothing more when the budget is used up, but renews what it holds', async () => {
  const scene = await ReplicaScene.open('no room', { lentBytesMax: 1_000 })
  await scene.lease()
  scene.friends.add(scene.home.nodeId)
  assert.equal((await scene.deposit([scene.inbox.envelope()])).results, [stored])
  assert.equal((await scene.deposit([scene.inbox.envelope()])).results, [busy])
  scene.friends.clear()
  await scene.net.run(scene.replicas.upkeep())
  const other = new TestInbox(scene.net)
  const lease = other.lease({ holder: scene.holder.nodeId, home: scene.home.nodeId })
  assert.is(await scene.leaseCode(lease), noRoom)
  await scene.lease(scene.inbox, { sequence: 2 })
  await scene.net.end()
})

test('leases are there again after a restart, and gone when they lapsed', async () => {
  const scene = await ReplicaScene.open('lapse')
  await scene.lease()
  await scene.deposit(scene.inbox.envelopes(2))
  const { lentBytes } = scene.replicas
  await scene.holder.reopenStore()
  const { overlay } = await scene.net.peer()
  const reborn = new ReplicaService({ ...scene.holder.parts, overlay }, {
    lends: true, lentBytesMax: 1_000_000, isFriend: () => false, homeKind: () => undefined, onMail() {},
    onMoved() {},
  })
  await scene.net.run(reborn.start())
  assert.equal([reborn.lentBoxes, reborn.lentBytes], [1, lentBytes])
  assert.ok(lentBytes > 0)
  await scene.net.clock.advance(21 * dayMs)
  await scene.net.run(reborn.upkeep())
  assert.equal([reborn.lentBoxes, reborn.lentBytes], [0, 0])
  assert.equal(await scene.net.run(scene.holder.kv.list({ prefix: 'lent/' })), [])
  await scene.net.end()
})

// ── Deposits ────────────────────────────────────────────────────────────────────────────────

test('signs for exactly what it holds, and answers each envelope on its own', async () => {
  const scene = await ReplicaScene.open('mixed')
  await scene.lease()
  const { inbox, net } = scene
  const [known, fresh] = inbox.envelopes(2)
  await scene.deposit([known!])
  const late = inbox.envelope({ expiryHour: expiryHour(net.clock.now() - 2 * hourMs) })
  const tooLateMs = net.clock.now() + limits.envelopeTtlMs + 3 * hourMs
  const distant = inbox.envelope({ expiryHour: expiryHour(tooLateMs) })
  const foreign = new TestInbox(net).envelope()
  const reply = await scene.deposit([
    known!, fresh!, inbox.forgedEnvelope(), late, distant, foreign, new Uint8Array([1, 2, 3]), fresh!,
  ])
  assert.equal(reply.results, [duplicate, stored, invalid, invalid, invalid, noBox, invalid, duplicate])
  assert.equal(scene.receipted(reply), idsOf([known!, fresh!, fresh!]))
  assert.equal(scene.mail, idsOf([known!, fresh!]), 'each is news once')
  await net.end()
})

test('gives no receipt when nothing is held, and none before it is durable', async () => {
  const scene = await ReplicaScene.open('durable', { syncDelayMs: 500 })
  await scene.lease()
  assert.is((await scene.deposit([scene.inbox.forgedEnvelope()])).receipt, undefined)
  const body = scene.inbox.envelope()
  let answered = false
  const depositing = scene.deposit([body]).then((reply) => { answered = true; return reply })
  await depositing
  assert.ok(answered)
  assert.is((await scene.net.run(scene.holder.mailbox.usage())).items, 1)
  await scene.net.end()
})

test('signs for nothing, and holds nothing for others, while its store may lose what it says', async () => {
  const scene = await ReplicaScene.open('undurable')
  await scene.lease()
  scene.undurable = ['fsync = off']
  const body = scene.inbox.envelope()
  const reply = await scene.deposit([body])
  assert.equal([reply.results, reply.receipt], [[stored], undefined])
  assert.equal(scene.mail, idsOf([body]), 'it is delivered as ever')
  const lease = new TestInbox(scene.net).lease({ holder: scene.holder.nodeId, home: scene.home.nodeId })
  assert.is(await scene.leaseCode(lease), notOffered)
  scene.undurable = []
  assert.equal(scene.receipted(await scene.deposit([body])), idsOf([body]))
  await scene.net.end()
})

test('an inbox takes no more items or bytes than its lease says', async () => {
  const scene = await ReplicaScene.open('quota')
  await scene.lease(scene.inbox, { itemsMax: 2 })
  assert.equal((await scene.deposit(scene.inbox.envelopes(3))).results, [stored, stored, overQuota])
  const small = new TestInbox(scene.net)
  await scene.lease(small, { bytesMax: 1_500 })
  assert.equal((await scene.deposit(small.envelopes(3))).results, [stored, stored, overQuota])
  await scene.net.end()
})

test('one deposit cannot exceed the budget, nor can many at once', async () => {
  const envelope = new TestInbox((await ReplicaScene.open('size')).net).envelope()
  const lentBytesMax = 10 * envelope.length
  const scene = await ReplicaScene.open('budget', { lentBytesMax, syncDelayMs: 3 })
  scene.friends.add(scene.home.nodeId)
  await scene.lease()
  const { results } = await scene.deposit(scene.inbox.envelopes(64))
  assert.is(results.filter((result) => result === stored).length, 10)
  assert.is(scene.replicas.lentBytes, lentBytesMax)

  const busyScene = await ReplicaScene.open('budget at once', { lentBytesMax, syncDelayMs: 3 })
  busyScene.friends.add(busyScene.home.nodeId)
  await busyScene.lease()
  const deposits = Array.from({ length: 20 }, () => busyScene.replicas.deposit([busyScene.inbox.envelope()]))
  const replies = await busyScene.net.run(Promise.all(deposits))
  assert.is(replies.filter((reply) => reply.results[0] === stored).length, 10)
  await busyScene.net.end()
  await scene.net.end()
})

test('room that an owner frees is there again at once, not at the next upkeep', async () => {
  const size = new TestInbox((await ReplicaScene.open('size')).net).envelope().length
  const scene = await ReplicaScene.open('freed', { lentBytesMax: 4 * size })
  scene.friends.add(scene.home.nodeId)
  await scene.lease()
  await scene.net.clock.advance(60_000)
  const first = scene.inbox.envelopes(4)
  assert.equal((await scene.deposit(first)).results, [stored, stored, stored, stored])
  assert.equal((await scene.deposit([scene.inbox.envelope()])).results, [busy])
  await scene.acknowledge([scene.inbox.tombstone(idsOf(first))])
  assert.equal((await scene.deposit([scene.inbox.envelope()])).results, [stored])
  await scene.net.end()
})

test('strangers share half of the budget, a friend may have the rest', async () => {
  const size = new TestInbox((await ReplicaScene.open('size')).net).envelope().length
  const scene = await ReplicaScene.open('friends', { lentBytesMax: 10 * size })
  await scene.lease()
  const { results } = await scene.deposit(scene.inbox.envelopes(8))
  assert.is(results.filter((result) => result === stored).length, 5)
  scene.friends.add(scene.home.nodeId)
  const more = await scene.deposit(scene.inbox.envelopes(8))
  assert.is(more.results.filter((result) => result === stored).length, 5)
  await scene.net.end()
})

test('a failing disk takes no budget away', async () => {
  const scene = await ReplicaScene.open('failing', { syncDelayMs: 3 })
  await scene.lease()
  const depositing = scene.replicas.deposit(scene.inbox.envelopes(10)).then(() => 'stored', () => 'failed')
  scene.holder.store.crash()
  assert.is(await scene.net.run(depositing), 'failed')
  assert.is(scene.replicas.lentBytes, 0)
  await scene.net.end()
})

test('refuses a request that is no deposit', async () => {
  const scene = await ReplicaScene.open('malformed')
  for (const service of [services.deposit, services.fetch, services.acknowledge]) {
    const answer = await scene.sender.call(scene.holder, service, new Uint8Array([255, 255, 255]))
    assert.ok(!answer.ok && answer.code.startsWith('CODEC_'))
  }
  assert.equal(scene.holder.log.errors, [])
  await scene.net.end()
})

// ── Reads ───────────────────────────────────────────────────────────────────────────────────

test('the owner reads a page at a time, in order of arrival', async () => {
  const scene = await ReplicaScene.open('read')
  await scene.lease()
  const envelopes = scene.inbox.envelopes(5)
  await scene.deposit(envelopes)
  const read: Uint8Array[] = []
  let after = 0
  for (;;) {
    const page = await scene.fetch({ after, itemsMax: 2 })
    assert.ok(typeof page === 'object')
    if (typeof page !== 'object') return
    read.push(...page.entries.map((entry) => entry.envelope))
    after = page.entries.at(-1)!.position
    if (!page.more) break
  }
  assert.equal(idsOf(read), idsOf(envelopes))
  await scene.net.end()
})

test('a read proof is good at one holder, for one reader, for two minutes, by the read key', async () => {
  const scene = await ReplicaScene.open('proof')
  await scene.lease()
  await scene.deposit([scene.inbox.envelope()])
  const { inbox, net } = scene
  const right = { holder: scene.holder.nodeId, reader: scene.home.nodeId }
  const good = inbox.readProof(right)
  assert.type(await scene.fetch({ proof: good }), 'object')
  const replayed = await scene.fetch({ proof: good, from: scene.sender })
  assert.is(replayed, 'FETCH_PROOF', 'replayed by somebody else')
  const wrong: Uint8Array[] = [
    inbox.readProof({ ...right, holder: scene.sender.nodeId }),
    inbox.readProof({ ...right, timeMs: net.clock.now() - limits.proofSkewMs - 1_000 }),
    inbox.readProof({ ...right, timeMs: net.clock.now() + limits.proofSkewMs + 1_000 }),
  ]
  for (const proof of wrong) assert.is(await scene.fetch({ proof }), 'FETCH_PROOF')
  const forged = inbox.readProof(right, inbox.writeKeys)
  assert.is(await scene.fetch({ proof: forged }), 'SIGNATURE_INVALID', 'a writer is no reader')
  await net.clock.advance(limits.proofSkewMs + 1_000)
  assert.is(await scene.fetch({ proof: good }), 'FETCH_PROOF', 'replayed later')
  await net.end()
})

test('an owner hears that its inbox is not held here', async () => {
  const scene = await ReplicaScene.open('not held')
  assert.is(await scene.fetch(), 'INBOX_GONE')
  await scene.net.end()
})

// ── Deletion ────────────────────────────────────────────────────────────────────────────────

test('only the read key deletes, and the tombstone answers later deposits', async () => {
  const scene = await ReplicaScene.open('delete')
  await scene.lease()
  const { inbox } = scene
  const envelopes = inbox.envelopes(3)
  await scene.deposit(envelopes)
  const ids = idsOf(envelopes)
  const forged = inbox.tombstone(ids, inbox.writeKeys)
  const foreign = new TestInbox(scene.net).tombstone(ids)
  assert.equal(await scene.acknowledge([forged, foreign, new Uint8Array(10)]), [false, false, false])
  assert.is((await scene.net.run(scene.holder.mailbox.usage())).items, 3)

  assert.equal(await scene.acknowledge([inbox.tombstone(ids)]), [true])
  assert.is((await scene.net.run(scene.holder.mailbox.usage())).items, 0)
  const reply = await scene.deposit(envelopes)
  assert.equal(reply.results, [acknowledged, acknowledged, acknowledged])
  assert.is(reply.receipt, undefined)
  assert.is(reply.tombstones.length, 1, 'one covers all three')
  const proof = verifyTombstone(reply.tombstones[0]!)
  assert.ok(proof.ok && ids.every((id) => proof.value.envelopeIds.includes(id)))
  await scene.net.end()
})

test('64 acknowledged envelopes with tombstones of their own fit into a reply', async () => {
  const scene = await ReplicaScene.open('many tombstones')
  await scene.lease()
  const envelopes = scene.inbox.envelopes(64)
  for (const envelope of envelopes) await scene.acknowledge([scene.inbox.tombstone(idsOf([envelope]))])
  const reply = await scene.deposit(envelopes)
  assert.is(reply.tombstones.length, 64)
  await scene.net.end()
})

test('a file box takes large pieces, an inbox does not', async () => {
  const scene = await ReplicaScene.open('large pieces')
  const file = new TestInbox(scene.net)
  await scene.lease()
  await scene.lease(file, { kind: boxKinds.file, bytesMax: 4 * 1024 * 1024 })
  const { ciphertextBytesMax: bytes } = limits
  const envelopes = [scene.inbox.envelope({ bytes }), file.envelope({ bytes }), file.envelope()]
  const reply = await scene.deposit(envelopes)
  assert.equal(reply.results, [depositResults.invalid, depositResults.stored, depositResults.stored])
  assert.equal(scene.mail, [], 'nobody is told of pieces')
  assert.is(scene.receipted(reply).length, 2)
  const proof = file.readProof({ holder: scene.holder.nodeId, reader: scene.home.nodeId })
  const page = await scene.fetch({ proof, after: 1 })
  assert.equal(typeof page === 'string' ? page : page.entries.map(({ position }) => position), [2])
  await scene.net.end()
})

test('a file that has no room is refused before it begins, and takes none from messages', async () => {
  const mebibyte = 1024 * 1024
  const scene = await ReplicaScene.open('file room', { lentBytesMax: 64 * mebibyte })
  const file = new TestInbox(scene.net)
  const lease = (inbox: TestInbox, bytesMax: number): Promise<number> => scene.leaseCode(inbox.lease({
    holder: scene.holder.nodeId, home: scene.home.nodeId, kind: boxKinds.file, bytesMax,
  }))
  // A stranger's files get half of a stranger's half: 16 MiB.
  assert.is(await lease(file, 17 * mebibyte), leaseResults.noRoom)
  assert.is(await lease(file, 16 * mebibyte), leaseResults.granted)
  for (let i = 0; i < 70; i++) await scene.deposit([file.envelope({ bytes: limits.ciphertextBytesMax })])
  assert.is(await lease(new TestInbox(scene.net), mebibyte), leaseResults.noRoom)
  await scene.lease()
  const reply = await scene.deposit([scene.inbox.envelope({ bytes: 65_536 })])
  assert.equal(reply.results, [depositResults.stored])
  await scene.net.end()
})

test('a lease keeps its kind, and no tombstone empties a file box', async () => {
  const scene = await ReplicaScene.open('kinds')
  await scene.lease(scene.inbox, { kind: boxKinds.file })
  const { holder, home, inbox } = scene
  const other = inbox.lease({ holder: holder.nodeId, home: home.nodeId, kind: boxKinds.mail, sequence: 2 })
  assert.is(await scene.leaseCode(other), leaseResults.invalid)
  const envelopes = inbox.envelopes(2)
  await scene.deposit(envelopes)
  assert.equal(await scene.acknowledge([inbox.tombstone(idsOf(envelopes))]), [false])
  assert.is(await holder.pieces.count(inbox.box), 2)
  await scene.lease(inbox, { kind: boxKinds.file, sequence: 3, itemsMax: 0 })
  assert.equal(await holder.pieces.boxes(), [])
  await scene.net.end()
})

test.run()

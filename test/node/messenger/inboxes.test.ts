/** Inboxes of a home: opening, acknowledging by several devices, and the upkeep of replica sets. */
import * as assert from 'uvu/assert'
import { encode } from '../../../protocol/codec/struct.ts'
import { expiryHour } from '../../../protocol/envelope.ts'
import { limits } from '../../../protocol/limits.ts'
import { verifyTombstone } from '../../../protocol/service/acknowledge.ts'
import { services } from '../../../protocol/service/codes.ts'
import { leaseReplyCodec, leaseResults } from '../../../protocol/service/lease.ts'
import { suite } from '../../helpers/harness.ts'
import { account, descriptorOf, InboxScene } from '../../helpers/inbox-scene.ts'
import { idsOf, TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/messenger/inboxes')
const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs

// ── Opening ─────────────────────────────────────────────────────────────────────────────────

test('is home to what it opened, with five replicas, and so again after a restart', async () => {
  const scene = await InboxScene.open('open', { replicas: 8 })
  const { replicas, box } = await scene.open()
  assert.is(replicas.length, limits.replicas)
  assert.is(scene.inboxes.accountOf(box), account)
  await scene.inboxes.stop()
  await scene.home.reopenStore()
  await scene.begin(await scene.net.peer())
  assert.ok(scene.inboxes.isHome(box), 'before anybody is asked')
  assert.equal(scene.inboxes.boxesOf(account), [box])
  assert.equal([...scene.inboxes.holdersFor(new Uint8Array(32))].sort(), [...replicas].sort())
  await scene.end()
})

test('does not wait for replicas that do not answer, and tells the device when some join', async () => {
  const scene = await InboxScene.open('patience', { replicas: 0 })
  for (let i = 0; i < 5; i++) {
    const peer = await scene.net.peer()
    peer.overlay.handle(services.lease, () => new Promise(() => {}))
    scene.known.push(descriptorOf(peer.nodeId))
  }
  const startMs = scene.net.clock.monotonicMs()
  const { replicas } = await scene.open()
  assert.is(replicas.length, 0)
  assert.ok(scene.net.clock.monotonicMs() - startMs <= 4_100)
  await scene.addReplica()
  scene.inboxes.onDirectoryGrew()
  const isTold = (): boolean => scene.places.some((places) => places.replicas.length === 1)
  await scene.net.eventually('told', isTold, 10 * minuteMs)
  await scene.end()
})

test('another account cannot open or close an inbox, nor acknowledge for it', async () => {
  const scene = await InboxScene.open('taken', { replicas: 0 })
  await scene.open()
  const code = await scene.net.run(scene.inboxes.open('oim1other', scene.inbox.frame())
    .then(() => 'opened', (error: { code: string }) => error.code))
  assert.is(code, 'INBOX_TAKEN')
  await scene.net.run(scene.inboxes.close('oim1other', scene.inbox.frame()))
  const ids = await scene.receive(scene.inbox.envelopes(1))
  await scene.net.run(scene.inboxes.acknowledge({ account: 'oim1other', id: 'phone' }, scene.inbox.box, ids))
  assert.equal(await scene.stored(), ids)
  await scene.end()
})

test('what a device renews while replicas are asked is not undone by their answers', async () => {
  const scene = await InboxScene.open('renew', { replicas: 5 })
  const soon = expiryHour(scene.net.clock.now() + 3 * hourMs)
  const first = scene.inboxes.open(account, scene.inbox.frame({ expiryHour: soon }))
  await scene.net.clock.advance(15)
  const renewed = scene.inboxes.open(account, scene.inbox.frame({ expiryHour: 0 }))
  await scene.net.run(Promise.all([first, renewed]))
  const [id] = await scene.receive([scene.inbox.envelope()])
  await scene.net.clock.advance(6 * hourMs)
  assert.ok(scene.inboxes.isHome(scene.inbox.box), 'it was to stay')
  assert.equal(await scene.stored(), [id])
  await scene.end()
})

test('an inbox ends with its time, and what devices acknowledged in it', async () => {
  const scene = await InboxScene.open('ends', { replicas: 5, devices: ['phone', 'tablet'] })
  await scene.open({ expiryHour: expiryHour(scene.net.clock.now() + hourMs) })
  const ids = await scene.receive(scene.inbox.envelopes(3))
  await scene.acknowledge('phone', ids)
  await scene.net.clock.advance(3 * hourMs)
  assert.not(scene.inboxes.isHome(scene.inbox.box))
  for (const prefix of ['home/', 'acked/']) {
    assert.equal(await scene.net.run(scene.home.kv.list({ prefix })), [], prefix)
  }
  await scene.end()
})

test('gives leases up with the inbox', async () => {
  const scene = await InboxScene.open('release', { replicas: 5 })
  await scene.open()
  await scene.close()
  await scene.net.clock.advance(1_000)
  for (const peer of scene.replicaPeers) {
    assert.equal(await scene.net.run(peer.kv.list({ prefix: 'lent/' })), [])
  }
  await scene.end()
})

test('an inbox that is closed and opened again keeps its new leases', async () => {
  const scene = await InboxScene.open('reopen', { replicas: 5 })
  await scene.open()
  await scene.close()
  const { replicas } = await scene.open()
  assert.is(replicas.length, 5)
  await scene.net.clock.advance(minuteMs)
  for (const peer of scene.replicaPeers) {
    assert.is((await scene.net.run(peer.kv.list({ prefix: 'lent/' }))).length, 1)
  }
  await scene.end()
})

// ── Acknowledging ───────────────────────────────────────────────────────────────────────────

test('mail goes when every device has it, not before', async () => {
  const scene = await InboxScene.open('devices', { replicas: 0, devices: ['phone', 'tablet', 'desk'] })
  await scene.open()
  const ids = await scene.receive(scene.inbox.envelopes(4))
  await scene.acknowledge('phone', ids)
  await scene.acknowledge('phone', ids)
  await scene.acknowledge('tablet', ids)
  assert.equal(await scene.stored(), ids)
  const left = async (id: string): Promise<number> => {
    const device = { account, id }
    return (await scene.net.run(scene.inboxes.unacknowledgedBy(device, scene.inbox.box, ids))).size
  }
  assert.is(await left('desk'), 4)
  assert.is(await left('phone'), 0)
  await scene.acknowledge('desk', ids.slice(0, 3))
  assert.equal(await scene.stored(), ids.slice(3))
  await scene.acknowledge('desk', ids)
  assert.equal(await scene.stored(), [])
  assert.equal(await scene.net.run(scene.home.kv.list({ prefix: 'acked/' })), [])
  await scene.end()
})

test('mail does not wait for a device that is gone', async () => {
  const scene = await InboxScene.open('gone', { replicas: 0, devices: ['phone', 'tablet', 'desk'] })
  await scene.open()
  const ids = await scene.receive(scene.inbox.envelopes(4))
  await scene.acknowledge('phone', ids.slice(0, 3))
  await scene.acknowledge('tablet', ids.slice(0, 2))
  scene.devices = ['phone', 'tablet']
  await scene.net.run(scene.inboxes.onDeviceRemoved(account))
  assert.equal(await scene.stored(), ids.slice(2))
  scene.devices = ['phone']
  await scene.net.run(scene.inboxes.onDeviceRemoved('oim1other'))
  assert.equal(await scene.stored(), ids.slice(2), 'another account')
  await scene.net.run(scene.inboxes.onDeviceRemoved(account))
  assert.equal(await scene.stored(), ids.slice(3))
  assert.equal(await scene.net.run(scene.home.kv.list({ prefix: 'acked/' })), [])
  await scene.acknowledge('phone', ids)
  assert.equal(await scene.stored(), [])
  await scene.end()
})

test('devices that acknowledge at the same moment do not undo each other', async () => {
  const scene = await InboxScene.open('at once', {
    replicas: 0, devices: ['phone', 'tablet', 'desk'], syncDelayMs: 4,
  })
  await scene.open()
  const ids = await scene.receive(scene.inbox.envelopes(20))
  const all = scene.devices.map((id) => scene.inboxes.acknowledge({ account, id }, scene.inbox.box, ids))
  await scene.net.run(Promise.all(all))
  assert.equal(await scene.stored(), [])
  await scene.end()
})

test('acknowledges a thousand at once with proofs that cover each of them', async () => {
  const scene = await InboxScene.open('thousand', { replicas: 0 })
  await scene.open()
  const ids = await scene.receive(scene.inbox.envelopes(600))
  await scene.acknowledge('phone', ids)
  assert.equal(await scene.stored(), [])
  for (const id of ids) {
    const proof = await scene.net.run(scene.home.mailbox.tombstone(scene.inbox.box, id))
    const tombstone = verifyTombstone(proof!)
    assert.ok(tombstone.ok && tombstone.value.envelopeIds.includes(id), 'its sender can show it')
  }
  await scene.end()
})

test('what a replica holds is deleted there too', async () => {
  const scene = await InboxScene.open('bury', { replicas: 5 })
  await scene.open()
  const envelopes = scene.inbox.envelopes(300)
  const [a, b] = scene.replicaPeers
  await scene.depositAt(a!, envelopes)
  await scene.depositAt(b!, envelopes)
  await scene.net.clock.advance(10 * minuteMs)
  assert.is((await scene.stored()).length, 300)
  await scene.acknowledge('phone', idsOf(envelopes))
  await scene.net.clock.advance(1_000)
  assert.equal([await scene.heldAt(a!), await scene.heldAt(b!)], [0, 0])
  await scene.end()
})

/** Days on the wall, of which the nodes live through half an hour every two weeks. */
async function pass(scene: InboxScene, days: number): Promise<void> {
  for (let day = 0; day < days; day += 14) {
    scene.net.clock.jumpWall(14 * dayMs)
    await scene.net.clock.advance(30 * minuteMs)
  }
}

// ── Replica sets ────────────────────────────────────────────────────────────────────────────

test('renews leases before they lapse', async () => {
  const scene = await InboxScene.open('renewal', { replicas: 5 })
  await scene.open()
  await pass(scene, 45)
  for (const peer of scene.replicaPeers) {
    await scene.depositAt(peer, [scene.inbox.envelope()])
    assert.is(await scene.heldAt(peer), 1)
  }
  await scene.end()
})

test('asks and writes nothing while there is nothing to do', async () => {
  const scene = await InboxScene.open('quiet', { replicas: 5 })
  await scene.open()
  await scene.net.clock.advance(hourMs)
  const version = async (): Promise<number> =>
    (await scene.net.run(scene.home.kv.get(`home/${scene.inbox.box}`)))!.version
  const before = await version()
  await scene.net.clock.advance(dayMs)
  assert.is(await version(), before)
  await scene.end()
})

test('replaces a silent replica after a day, not before, and says so', async () => {
  const scene = await InboxScene.open('silent', { replicas: 6 })
  const { replicas } = await scene.open()
  const gone = scene.replicaPeers.find((peer) => peer.nodeId === replicas[0])!
  const spare = scene.replicaPeers.find((peer) => !replicas.includes(peer.nodeId))!
  gone.overlay.crash()
  await scene.net.clock.advance(23 * hourMs)
  assert.equal(scene.places, [])
  await scene.net.clock.advance(2 * hourMs)
  const now = scene.places.at(-1)!.replicas
  assert.ok(now.includes(spare.nodeId) && !now.includes(gone.nodeId))
  assert.is(now.length, 5)
  await scene.end()
})

test('replaces one that renews its lease but lets nobody read', async () => {
  const scene = await InboxScene.open('hostage', { replicas: 4 })
  const hostile = await scene.net.peer()
  hostile.overlay.handle(services.lease, async () => ({
    ok: true,
    value: encode(leaseReplyCodec, {
      result: leaseResults.granted, expiryHour: expiryHour(scene.net.clock.now() + 29 * dayMs),
    }),
  }))
  hostile.overlay.handle(services.fetch, () => new Promise(() => {}))
  scene.known.push(descriptorOf(hostile.nodeId))
  const { replicas } = await scene.open()
  assert.ok(replicas.includes(hostile.nodeId))
  const spare = await scene.addReplica()
  await scene.net.clock.advance(26 * hourMs)
  const now = scene.places.at(-1)!.replicas
  assert.ok(now.includes(spare.nodeId) && !now.includes(hostile.nodeId))
  await scene.end()
})

test('leases anew where a replica lost its disk', async () => {
  const scene = await InboxScene.open('lost disk', { replicas: 4 })
  const forgetful = await scene.net.peer()
  let leases = 0
  forgetful.overlay.handle(services.lease, async () => {
    leases++
    const expiry = expiryHour(scene.net.clock.now() + 29 * dayMs)
    return { ok: true, value: encode(leaseReplyCodec, { result: leaseResults.granted, expiryHour: expiry }) }
  })
  forgetful.overlay.handle(services.fetch, async () => ({ ok: false, code: 'INBOX_GONE' }))
  scene.known.push(descriptorOf(forgetful.nodeId))
  await scene.open()
  assert.is(leases, 1)
  await scene.net.clock.advance(30 * minuteMs)
  assert.ok(leases > 1, 'not half a lease later')
  await scene.end()
})

test('newcomers fill a set that is short, and nobody more is asked then', async () => {
  const scene = await InboxScene.open('newcomers', { replicas: 2 })
  assert.is((await scene.open()).replicas.length, 2)
  for (let i = 0; i < 5; i++) {
    await scene.addReplica()
    scene.inboxes.onDirectoryGrew()
    await scene.net.clock.advance(5_000)
  }
  assert.equal(scene.places.map((places) => places.replicas.length), [3, 4, 5])
  await scene.end()
})

test('a node restored from a backup keeps its replicas', async () => {
  const scene = await InboxScene.open('restored', { replicas: 5 })
  await scene.open()
  const backup = (await scene.net.run(scene.home.kv.get(`home/${scene.inbox.box}`)))!
  // Renewed several times since.
  await pass(scene, 60)
  await scene.inboxes.stop()
  scene.home.overlay.crash()
  await scene.net.run(scene.home.kv.write([{ type: 'put', key: backup.key, value: backup.value }]))
  const { places } = scene
  places.length = 0
  await scene.begin(await scene.net.peer())
  await scene.net.clock.advance(hourMs)
  assert.equal(places, [], 'all five are as they were')
  for (const peer of scene.replicaPeers) {
    await scene.depositAt(peer, [scene.inbox.envelope()])
    assert.is(await scene.heldAt(peer), 1)
  }
  await scene.end()
})

test('stops at once, whatever its replicas do', async () => {
  const scene = await InboxScene.open('stop', { replicas: 3 })
  await scene.open()
  for (let i = 0; i < 10; i++) await scene.open({}, new TestInbox(scene.net))
  for (const peer of scene.replicaPeers) peer.overlay.crash()
  await scene.net.clock.advance(9 * minuteMs)
  const startMs = scene.net.clock.monotonicMs()
  await scene.end()
  assert.ok(scene.net.clock.monotonicMs() - startMs < 100)
  const { pending } = scene.net.clock
  assert.ok(pending <= scene.net.peers.length, `${pending} timers are left`)
})

test.run()

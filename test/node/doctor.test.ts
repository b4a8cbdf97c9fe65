/** The doctor: says of each thing what it found, and a cure where there is something to do. */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../crypto/errors.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import { services } from '../../protocol/service/codes.ts'
import { examineContact, examineNode, reach } from '../../node/doctor.ts'
import type { DoctorCheck, DoctorReport, NodeStatus } from '../../node/status.ts'
import { suite } from '../helpers/harness.ts'
import { RoomNetwork } from '../helpers/room-network.ts'

const test = suite('node/doctor')

let dataDir = ''
test.before(async () => { dataDir = await mkdtemp(join(tmpdir(), 'openim-doctor-')) })
test.after(() => rm(dataDir, { recursive: true, force: true }))

function status(change: Partial<NodeStatus> = {}): NodeStatus {
  return {
    version: '0', pid: 1, startedAtMs: 0, uptimeMs: 0, name: 'alice', address: 'oim1', dataDir,
    nodeId: nodeIdFromKey(new Uint8Array(32)),
    online: true, standing: 'good', isRenewing: false, reachable: 'yes',
    peers: { now: 3, max: 64 }, dht: { mode: 'client', known: 3 },
    p2p: [], listen: {},
    queue: { out: 0, held: { boxes: 0, bytes: 0, bytesMax: 0 } }, location: { holders: 8 },
    replicas: { have: 5, want: 5 }, alarms: [], refused: { resets: 0, asks: 0 }, contacts: [], ...change,
  } as NodeStatus
}

function wrongIn(report: DoctorReport): string[] {
  return report.checks.filter((check) => !check.ok).map((check) => check.name)
}

test('finds nothing wrong with a healthy node', async () => {
  const net = new RoomNetwork('healthy')
  const peer = await net.peer()
  await chmod(dataDir, 0o700)
  const report = await examineNode({
    ...peer.parts, dataDir, status: async () => status(), damaged: async () => [],
  })
  assert.ok(report.checks.every((check) => check.ok || check.name === 'disk'), JSON.stringify(report.checks))
  assert.ok(report.checks.every((check) => check.ok || check.cure !== undefined))
  assert.equal(await peer.kv.list({ prefix: 'doctor/' }), [], 'its probe is gone')
  await net.end()
})

test('names the settings under which the database may lose what it stored', async () => {
  const net = new RoomNetwork('undurable')
  const peer = await net.peer()
  await chmod(dataDir, 0o700)
  const report = await examineNode({
    ...peer.parts,
    dataDir,
    status: async () => status(),
    damaged: async () => [],
    undurable: ['fsync = off'],
  })
  const wrong = report.checks.find(({ name }) => name === 'store')!
  assert.match(wrong.detail, /power cut.*fsync = off/)
  assert.match(wrong.cure!, 'settings')
  await net.end()
})

test('names each thing that is wrong, with its cure', async () => {
  const net = new RoomNetwork('ill')
  const peer = await net.peer()
  await chmod(dataDir, 0o755)
  Object.assign(peer.store.kv, { write: async () => { throw new OpenIMError('STORE_FULL', 'no room') } })
  const report = await examineNode({
    ...peer.parts,
    dataDir,
    status: async () => status({
      online: false, peers: { now: 0, max: 64 }, location: { holders: 0 }, replicas: { have: 0, want: 5 },
    }),
    damaged: async () => [
      { name: `client/contact/${'ab'.repeat(32)}`, foundAtMs: 0 },
      { name: 'lent/x', foundAtMs: 86_400_000 },
      { name: 'lent/y', foundAtMs: 0 },
    ],
  })
  assert.not(report.ok)
  const wrong = report.checks.filter((check) => !check.ok && check.name !== 'disk')
  assert.equal(wrong.map((check) => check.name), [
    'data directory', 'store', 'records', 'peers', 'location record', 'replicas', 'account',
  ])
  assert.ok(wrong.every((check) => check.cure !== undefined && check.cure.length > 0))
  assert.match(wrong[1]!.detail, /STORE_FULL/)
  assert.is(wrong[2]!.detail, '3 damaged and set aside, last 1970-01-02T00:00:00.000Z: 1 contact, 2 lent')
  assert.match(wrong[2]!.cure!, /swap invites with oim1/)
  await net.end()
})

test('says whose key is in doubt, and that of our own account first', async () => {
  const net = new RoomNetwork('trust')
  const peer = await net.peer()
  await chmod(dataDir, 0o700)
  const contact = { name: 'bob', address: 'oim1q', state: 'active', route: 'none' } as const
  const trustOf = async (change: Partial<NodeStatus>): Promise<DoctorCheck | undefined> => {
    const report = await examineNode({
      ...peer.parts, dataDir, status: async () => status(change), damaged: async () => [],
    })
    return report.checks.find((check) => check.name === 'trust')
  }
  assert.is((await trustOf({ contacts: [{ ...contact, trust: 'verified' }] }))?.ok, true)
  const doubted = await trustOf({ contacts: [{ ...contact, trust: 'changed', alarm: 'DEVICE_LIST_FORK' }] })
  assert.is(doubted?.detail, 'in doubt: bob')
  const alarms = [{ code: 'OWN_DEVICE_LIST_FORK', atMs: 0, contact: 'carol', number: 2 }]
  assert.is((await trustOf({ alarms }))?.detail, 'carol saw a list of your devices that was not made here')
  await net.end()
})

test('tells of a primitive that gave a wrong answer, and says nothing of it otherwise', async () => {
  const net = new RoomNetwork('cryptography')
  const peer = await net.peer()
  await chmod(dataDir, 0o700)
  const components = { ...peer.parts, dataDir, status: async () => status(), damaged: async () => [] }
  const told = async (fallbacks?: readonly string[]): Promise<string[]> =>
    (await examineNode({ ...components, ...(fallbacks && { fallbacks }) })).checks
      .filter((check) => check.name === 'cryptography').map((check) => check.detail)
  assert.equal(await told(), [])
  assert.equal(await told(['X25519 gives a wrong answer']), ['X25519 gives a wrong answer'])
  await net.end()
})

test('reaches ourselves without asking, and only who answers', async () => {
  const net = new RoomNetwork('reach')
  const [us, alive, frozen] = [await net.peer(), await net.peer(), await net.peer()]
  alive.overlay.handle(services.echo, async (_from, body) => ({ ok: true, value: body }))
  frozen.overlay.handle(services.echo, () => new Promise(() => {}))
  const nowhere = nodeIdFromKey(net.random.bytes(32))
  const nodes = [us.nodeId, alive.nodeId, frozen.nodeId, nowhere]
  assert.equal(await net.run(reach(us.overlay, nodes)), [us.nodeId, alive.nodeId])
  await net.end()
})

test('tells what stands between us and a contact', async () => {
  const net = new RoomNetwork('contact')
  const us = await net.peer()
  const alive = await Promise.all([1, 2, 3].map(async () => {
    const peer = await net.peer()
    peer.overlay.handle(services.echo, async (_from, body) => ({ ok: true, value: body }))
    return peer.nodeId
  }))
  const gone = [1, 2].map(() => nodeIdFromKey(net.random.bytes(32)))
  const components = { overlay: us.overlay, status: async () => status() }
  const examine = (homes: typeof gone, replicas: typeof gone) => net.run(examineContact(components, 'bob', {
    places: async () => ({ homes, replicas }),
    locate: async () => ({ homes, replicas }),
  }))
  assert.ok((await examine(alive.slice(0, 1), [...alive, ...gone])).ok)
  const away = await examine(gone.slice(0, 1), [alive[0]!, ...gone])
  assert.equal(wrongIn(away), ['home of bob', 'replicas of bob'])
  const none = await examine(alive.slice(0, 1), [])
  assert.not(none.ok, 'without replicas mail waits for bob to come online')

  const fresh = await net.run(examineContact(components, 'bob', {
    places: async () => undefined, locate: async () => undefined,
  }))
  assert.not(fresh.ok)
  assert.is(fresh.contact, 'bob')
  assert.equal(wrongIn(fresh), ['location of bob', 'inbox of bob'])
  await net.end()
})

test.run()

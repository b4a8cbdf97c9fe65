/**
 * Two processes that change one shared record at the same moment. Their writes wait in two group
 * commits of the same length, so both have read before either has written: without a check the
 * second would undo the first.
 */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { crypto } from '../../../crypto/index.ts'
import { decode, encode, struct, u32 } from '../../../protocol/codec/struct.ts'
import { expiryHour } from '../../../protocol/envelope.ts'
import { purposes } from '../../../protocol/frame/submit.ts'
import { changeEntry } from '../../../protocol/kv.ts'
import { limits } from '../../../protocol/limits.ts'
import { signShelf } from '../../../protocol/service/shelf.ts'
import { Acknowledgements } from '../../../node/messenger/acknowledgements.ts'
import { adoptOutgoing, processesOf } from '../../../node/messenger/adoption.ts'
import { outgoingCodec } from '../../../node/messenger/records.ts'
import { ShelfService } from '../../../node/messenger/shelf-service.ts'
import { Accounts } from '../../../node/router/accounts.ts'
import type { MemoryStore } from '../../../node/storage/memory-store.ts'
import { suite } from '../../helpers/harness.ts'
import { oneOfMany, sharedStores } from '../../helpers/house-room.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'
import { idsOf, TestInbox } from '../../helpers/test-inbox.ts'

const test = suite('node/household/races')
const account = 'oim1owner'

/** Processes with a network identity and a connection to the shared database each. */
async function house(
  seed: string,
  count = 2,
): Promise<{ net: RoomNetwork, peers: Peer[], stores: MemoryStore[] }> {
  const net = new RoomNetwork(seed)
  const stores = sharedStores(net.clock, { count })
  const peers: Peer[] = []
  for (const store of stores) {
    const peer = await net.peer()
    peer.store = store
    peers.push(peer)
  }
  return { net, peers, stores }
}

function partsOf(peer: Peer) {
  return { ...peer.parts, household: oneOfMany(peer.nodeId) }
}

test('a hundred changes by eight processes are all made', async () => {
  const { net, stores } = await house('counter', 8)
  const counter = struct<{ count: number }>({ count: u32 })
  const add = ({ kv }: MemoryStore): Promise<void> => changeEntry(kv, 'counter', (value) => {
    const count = value === undefined ? 0 : decode(counter, value).count
    return encode(counter, { count: count + 1 })
  })
  await net.run(Promise.all(Array.from({ length: 100 }, (_, i) => add(stores[i % 8]!))))
  assert.is(decode(counter, (await stores[0]!.kv.get('counter'))!.value).count, 100)
  await net.end()
})

test('two devices registered at two processes are both devices of the account', async () => {
  const { net, peers } = await house('register')
  const keys = [net.random.bytes(32), net.random.bytes(32)]
  const accounts = peers.map((peer) => new Accounts(partsOf(peer)))
  await net.run(Promise.all(accounts.map((one, i) => one.register(account, keys[i]!))))
  for (const one of accounts) {
    assert.equal([...await one.devicesNow(account)].sort(), keys.map(hex).sort())
  }
  await net.end()
})

test('what two devices acknowledge at two processes at once is done, and done once', async () => {
  const { net, peers } = await house('acknowledge')
  const inbox = new TestInbox(net)
  const ids = idsOf(inbox.envelopes(20))
  const devices = ['phone', 'tablet']
  const rooms = peers.map((peer) => new Acknowledgements(partsOf(peer), { devicesOf: () => devices }))
  const done = await net.run(Promise.all(rooms.map((room, i) =>
    room.add({ account, id: devices[i]! }, inbox.box, ids))))
  assert.equal(done.flat().sort(), [...ids].sort())
  await net.end()
})

test('a one-time prekey is handed out by one of two processes that are asked at once', async () => {
  const { net, peers } = await house('shelf')
  const shelfKeys = crypto.signingKeyPair(net.random.bytes(32))
  const services = peers.map((peer) => new ShelfService(partsOf(peer), {
    lends: false, isOwn: () => true, onTaken() {},
  }))
  const oneTime = Array.from({ length: 10 }, (_, i) => new Uint8Array([i]))
  const { nodeId } = peers[0]!
  await net.run(services[0]!.put(nodeId, signShelf({
    shelfKey: shelfKeys.publicKey,
    holder: nodeId,
    home: nodeId,
    sequence: 1,
    expiryHour: expiryHour(net.clock.now() + 86_400_000),
    static: new Uint8Array([1]),
    oneTime,
  }, shelfKeys)))
  const asked = Array.from({ length: 12 }, (_, i) => services[i % 2]!.take(shelfKeys.publicKey))
  const taken = (await net.run(Promise.all(asked))).map((one) => one?.oneTime?.[0])
  const given = taken.filter((one) => one !== undefined)
  assert.equal([...given].sort(), oneTime.map(([i]) => i), 'each once, by whomever')
  assert.is(taken.length - given.length, 2, 'and the last ones got the last-resort key alone')
  await net.end()
})

test('mail of a dead process is adopted by one of two that try, and nothing stays behind', async () => {
  const { net, stores } = await house('adoption')
  const inbox = new TestInbox(net)
  const envelopes = inbox.envelopes(250)
  const [first, second] = stores
  await net.run(first!.kv.write(envelopes.map((envelope, i) => ({
    type: 'put',
    key: `process/dead/out/${idsOf([envelope])[0]!}`,
    value: encode(outgoingCodec, {
      device: 'phone',
      acceptedAtMs: 1_000 - i,
      purpose: purposes.message,
      level: 0,
      homes: [],
      replicas: [],
      envelope,
    }),
  }))))
  const other = { type: 'put', key: 'process/other/directory/x', value: new Uint8Array() } as const
  await net.run(second!.kv.write([other]))
  assert.equal(await processesOf(first!.kv), ['dead', 'other'])
  const adopted = await net.run(Promise.all(stores.map(({ kv }, i) =>
    adoptOutgoing(kv, { from: 'process/dead/', to: `process/${i}/` }))))
  assert.equal(adopted.flat().map(({ facts }) => facts.id).sort(), idsOf(envelopes).sort())
  for (const [i, stored] of adopted.entries()) {
    const times = stored.map(({ record }) => record.acceptedAtMs)
    assert.equal(times, [...times].sort((a, b) => a - b), 'the oldest first')
    assert.is((await first!.kv.list({ prefix: `process/${i}/out/` })).length, stored.length)
  }
  assert.equal(await first!.kv.list({ prefix: 'process/dead/' }), [])
  const { householdAdoptMs, householdLeaseMs } = limits
  assert.ok(householdAdoptMs > householdLeaseMs, 'none is robbed before it lost its leases')
  await net.end()
})

test.run()

/** Rendezvous placement: everyone agrees, little moves, tenure counts, subnets are spread. */
import * as assert from 'uvu/assert'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import type { NodeDescriptor } from '../../../protocol/node-descriptor.ts'
import { publicSubnets, rankHolders, SubnetSpread } from '../../../node/messenger/placement.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('node/messenger/placement')
const random = seededRandom('placement')
const nowHour = 500_000

function storageNode(change: Partial<NodeDescriptor> = {}): NodeDescriptor {
  return {
    nodeId: nodeIdFromKey(random.bytes(32)),
    doorKey: new Uint8Array(32),
    onionKey: new Uint8Array(32),
    roles: ['storage'],
    addresses: ['/ip4/127.0.0.1/tcp/4481'],
    sequence: 1,
    sinceHour: nowHour,
    expiryHour: nowHour + 6,
    storageFreeMiB: 100,
    ...change,
  }
}

test('ranks the same whatever the order of the candidates', () => {
  const candidates = Array.from({ length: 50 }, () => storageNode())
  const key = random.bytes(32)
  const first = rankHolders({ key, candidates, nowHour }).map((node) => node.nodeId)
  const reversed = [...candidates].reverse()
  const second = rankHolders({ key, candidates: reversed, nowHour }).map((node) => node.nodeId)
  assert.equal(first, second)
})

test('moves only the share of a node that leaves', () => {
  const candidates = Array.from({ length: 40 }, () => storageNode())
  const keys = Array.from({ length: 200 }, () => random.bytes(32))
  const [gone, ...left] = candidates
  for (const key of keys) {
    const before = rankHolders({ key, candidates, nowHour }).filter((node) => node !== gone).slice(0, 4)
    const after = rankHolders({ key, candidates: left, nowHour }).slice(0, 4)
    assert.equal(before.map((node) => node.nodeId), after.map((node) => node.nodeId))
  }
})

test('prefers nodes that stayed a week about eight times as often', () => {
  const old = Array.from({ length: 20 }, () => storageNode({ sinceHour: nowHour - 10 * 24 }))
  const young = Array.from({ length: 20 }, () => storageNode())
  let oldFirst = 0
  const rounds = 2_000
  for (let i = 0; i < rounds; i++) {
    const [first] = rankHolders({ key: random.bytes(32), candidates: [...old, ...young], nowHour })
    if (old.includes(first!)) oldFirst++
  }
  const share = oldFirst / rounds
  assert.ok(share > 0.84 && share < 0.93, `8 : 1 is 0.89, got ${share}`)
})

test('takes one node of a public subnet and any number of a living room', () => {
  const spread = new SubnetSpread()
  spread.add(storageNode({ addresses: ['/ip4/203.0.113.9/tcp/4481'] }))
  assert.not(spread.admits(storageNode({ addresses: ['/ip4/203.0.113.77/tcp/4481'] })))
  assert.ok(spread.admits(storageNode({ addresses: ['/ip4/203.0.114.77/tcp/4481'] })))
  spread.add(storageNode({ addresses: ['/ip4/192.168.1.5/tcp/4481'] }))
  assert.ok(spread.admits(storageNode({ addresses: ['/ip4/192.168.1.6/tcp/4481'] })))
  const addresses = ['/ip6/2001:db8:7:1::2/tcp/1', '/ip6/fe80::1/tcp/1', '/ip4/100.64.1.1/tcp/1']
  assert.equal(publicSubnets(addresses), ['2001:db8:7'])
})

test.run()

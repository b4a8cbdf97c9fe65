/** The budget for other people's mail: friends first, strangers capped, nobody takes it all. */
import * as assert from 'uvu/assert'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { Lending } from '../../../node/messenger/lending.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('node/messenger/lending')
const home = (n: number) => nodeIdFromKey(new Uint8Array(32).fill(n))
const friend = home(1)
const bytesMax = 100 * 1024 * 1024

function lending(): Lending {
  return new Lending({ bytesMax, nowMs: 0, isFriend: (nodeId) => nodeId === friend })
}

test('gives strangers together half of the budget and a friend the rest', () => {
  const budget = lending()
  budget.count(home(2), 30 * 1024 * 1024)
  budget.count(home(3), 20 * 1024 * 1024)
  assert.equal(budget.decide(home(4), 1), { allow: false, reason: 'strangers' })
  assert.equal(budget.decide(friend, 40 * 1024 * 1024), { allow: true })
})

test('caps a single owner, friend or not', () => {
  const budget = lending()
  budget.count(friend, limits.lentPerOwnerBytesMax)
  assert.equal(budget.decide(friend, 1), { allow: false, reason: 'owner' })
})

test('refuses everybody when the budget is used up', () => {
  const budget = lending()
  for (let n = 10; n < 20; n++) budget.count(home(n), 10 * 1024 * 1024)
  assert.equal(budget.decide(friend, 1), { allow: false, reason: 'budget' })
})

test('starts over from what is really held and keeps a ledger in byte-hours', () => {
  const budget = lending()
  budget.count(home(2), 1_000)
  budget.recount(2 * 3_600_000, [{ home: home(3), bytes: 500 }])
  assert.is(budget.bytes, 500)
  assert.is(budget.ledger().get(home(2)), 2_000)
})

test.run()

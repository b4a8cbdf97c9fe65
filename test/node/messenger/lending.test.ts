/** The budget for other people's mail: friends first, strangers capped, nobody takes it all. */
import * as assert from 'uvu/assert'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { boxKinds } from '../../../protocol/service/lease.ts'
import { Lending } from '../../../node/messenger/lending.ts'
import type { Lent } from '../../../node/messenger/lending.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('node/messenger/lending')
const home = (n: number) => nodeIdFromKey(new Uint8Array(32).fill(n))
const friend = home(1)
const mebibyte = 1024 * 1024
const bytesMax = 100 * mebibyte

function mail(owner: NodeId, bytes: number): Lent {
  return { home: owner, kind: boxKinds.mail, bytes }
}

function file(owner: NodeId, bytes: number): Lent {
  return { home: owner, kind: boxKinds.file, bytes }
}

function lending(): Lending {
  return new Lending({ bytesMax, nowMs: 0, isFriend: (nodeId) => nodeId === friend })
}

test('gives strangers together half of the budget and a friend the rest', () => {
  const budget = lending()
  budget.count(mail(home(2), 30 * mebibyte))
  budget.count(mail(home(3), 20 * mebibyte))
  assert.equal(budget.decide(mail(home(4), 1)), { allow: false, reason: 'strangers' })
  assert.equal(budget.decide(mail(friend, 40 * mebibyte)), { allow: true })
})

test('caps a single owner, friend or not', () => {
  const budget = lending()
  budget.count(mail(friend, limits.lentPerOwnerBytesMax))
  assert.equal(budget.decide(mail(friend, 1)), { allow: false, reason: 'owner' })
})

test('refuses everybody when the budget is used up', () => {
  const budget = lending()
  for (let n = 10; n < 20; n++) budget.count(mail(home(n), 10 * mebibyte))
  assert.equal(budget.decide(mail(friend, 1)), { allow: false, reason: 'budget' })
})

test('starts over from what is really held and keeps a ledger in byte-hours', () => {
  const budget = lending()
  budget.count(mail(home(2), 1_000))
  budget.recount(2 * 3_600_000, [mail(home(3), 500)])
  assert.is(budget.bytes, 500)
  assert.is(budget.ledger().get(home(2)), 2_000)
})

test('gives files half of the budget, and strangers\' files half of what strangers get', () => {
  const budget = lending()
  budget.count(file(home(2), 20 * mebibyte))
  assert.equal(budget.decide(file(home(3), 6 * mebibyte)), { allow: false, reason: 'files' })
  assert.equal(budget.decide(file(friend, 30 * mebibyte)), { allow: true })
  assert.equal(budget.decide(file(friend, 31 * mebibyte)), { allow: false, reason: 'files' })
  assert.equal(budget.decide(mail(home(3), 30 * mebibyte)), { allow: true }, 'messages find room')
})

test('caps what one owner keeps in files apart from mail', () => {
  const budget = new Lending({ bytesMax: 1_000 * mebibyte, nowMs: 0, isFriend: () => true })
  budget.count(mail(friend, limits.lentPerOwnerBytesMax))
  budget.count(file(friend, limits.lentFilesPerOwnerBytesMax - 1))
  assert.equal(budget.decide(file(friend, 1)), { allow: true })
  assert.equal(budget.decide(file(friend, 2)), { allow: false, reason: 'owner' })
})

test.run()

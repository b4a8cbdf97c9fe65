/** The outbox among honest holders: home, replicas, states and their proofs, restarts. */
import * as assert from 'uvu/assert'
import { expiryHour } from '../../../protocol/envelope.ts'
import { receiptStates, routes } from '../../../protocol/frame/receipt.ts'
import type { ReceiptFrame } from '../../../protocol/frame/receipt.ts'
import { purposes } from '../../../protocol/frame/submit.ts'
import { limits } from '../../../protocol/limits.ts'
import { depositResults } from '../../../protocol/service/deposit.ts'
import type { DepositResult } from '../../../protocol/service/deposit.ts'
import { suite } from '../../helpers/harness.ts'
import { OutboxScene } from '../../helpers/outbox-scene.ts'

const test = suite('node/messenger/outbox')
const minuteMs = 60_000

test('home is enough, and no replica is asked', async () => {
  const scene = await OutboxScene.open('home')
  const id = await scene.submit()
  assert.is(scene.last(id).state, receiptStates.accepted)
  await scene.until(id, receiptStates.stored)
  const receipt = scene.last(id)
  assert.equal([receipt.have, receipt.want, receipt.route], [1, 1, routes.direct])
  await scene.net.clock.advance(10_000)
  assert.ok(scene.replicas.every((replica) => replica.got.length === 0))
  await scene.end()
})

test('asks the replicas when home takes too long, and says stored at three of five', async () => {
  const scene = await OutboxScene.open('patience')
  scene.home.frozen = true
  for (const replica of scene.replicas.slice(3)) replica.frozen = true
  const id = await scene.submit()
  await scene.net.clock.advance(1_900)
  assert.ok(scene.replicas.every((replica) => replica.got.length === 0), 'home has its time')
  await scene.until(id, receiptStates.stored)
  const receipt = scene.last(id)
  assert.equal([receipt.have, receipt.want, receipt.route], [3, 3, routes.replicas])
  assert.is(receipt.proofs.length, 3)
  await scene.end()
})

test('a home that has it and does not vouch for it counts for nothing, and replicas are asked', async () => {
  const scene = await OutboxScene.open('undurable')
  scene.home.answer = (ids) => ({ ...scene.home.stored(ids), receipt: undefined })
  const id = await scene.submit()
  await scene.until(id, receiptStates.stored)
  const receipt = scene.last(id)
  assert.equal([receipt.have >= 3, receipt.want, receipt.route], [true, 3, routes.replicas])
  await scene.end()
})

test('two of five are accepted, not stored', async () => {
  const scene = await OutboxScene.open('two')
  scene.home.frozen = true
  for (const replica of scene.replicas.slice(2)) replica.frozen = true
  const id = await scene.submit()
  await scene.net.clock.advance(30_000)
  const receipt = scene.last(id)
  assert.equal([receipt.state, receipt.have, receipt.want], [receiptStates.accepted, 2, 3])
  await scene.end()
})

test('its own copy does not count where others could have one', async () => {
  const scene = await OutboxScene.open('ourselves')
  scene.home.frozen = true
  const [first, second, ...away] = scene.replicas
  for (const replica of away) replica.frozen = true
  const replicas = [scene.sender.nodeId, first!.nodeId, second!.nodeId]
  const id = await scene.submit({ replicas })
  await scene.until(id, receiptStates.stored)
  assert.equal([scene.last(id).have, scene.last(id).want], [2, 2])
  await scene.end()
})

test('offers what is not withdrawn again after five minutes, to everyone', async () => {
  const scene = await OutboxScene.open('again')
  const id = await scene.submit()
  await scene.until(id, receiptStates.stored)
  await scene.net.clock.advance(5 * minuteMs + 5_000)
  assert.ok(scene.replicas.every((replica) => replica.got.join() === id))
  await scene.net.clock.advance(5 * minuteMs + 5_000)
  assert.equal(scene.home.got, [id, id])
  await scene.withdraw([id])
  await scene.net.clock.advance(20 * minuteMs)
  assert.equal(scene.home.got, [id, id])
  assert.is(scene.outbox.size, 0)
  assert.equal(await scene.net.run(scene.sender.kv.list({ prefix: 'out/' })), [])
  await scene.end()
})

test('a signal is forgotten as soon as it is stored', async () => {
  const scene = await OutboxScene.open('signal')
  const id = await scene.submit({ purpose: purposes.signal })
  await scene.until(id, receiptStates.stored)
  await scene.net.clock.advance(100)
  assert.is(scene.outbox.size, 0)
  await scene.net.clock.advance(30 * minuteMs)
  assert.equal(scene.home.got, [id])
  await scene.end()
})

test('says so when the time of an envelope is over, and forgets it', async () => {
  const scene = await OutboxScene.open('expiry')
  scene.home.frozen = true
  for (const replica of scene.replicas) replica.frozen = true
  const soon = expiryHour(scene.net.clock.now() + 1)
  const id = await scene.submit({ envelope: scene.inbox.envelope({ expiryHour: soon }) })
  await scene.net.clock.advance(61 * minuteMs)
  assert.equal([scene.last(id).state, scene.last(id).code], [receiptStates.refused, 'ENVELOPE_EXPIRED'])
  assert.is(scene.outbox.size, 0)
  await scene.end()
})

test('tells each reason of a holder and goes on trying', async () => {
  const cases: [DepositResult, string][] = [
    [depositResults.overQuota, 'INBOX_FULL'],
    [depositResults.busy, 'HOLDER_BUSY'],
    [depositResults.noBox, 'INBOX_GONE'],
  ]
  for (const [result, code] of cases) {
    const scene = await OutboxScene.open(`refusal ${code}`, { replicas: 0 })
    const { home } = scene
    home.answer = (ids) => ({ results: ids.map(() => result), receipt: undefined, tombstones: [] })
    const id = await scene.submit()
    await scene.net.clock.advance(1_000)
    assert.equal([scene.last(id).state, scene.last(id).code], [receiptStates.accepted, code])
    home.answer = undefined
    await scene.until(id, receiptStates.stored, 6 * minuteMs)
    assert.is(scene.last(id).code, '')
    await scene.end()
  }
})

test('replicas are no way around a full inbox, but one around a home that lost it', async () => {
  const scene = await OutboxScene.open('around')
  const answer = (result: DepositResult) => (ids: readonly unknown[]) =>
    ({ results: ids.map(() => result), receipt: undefined, tombstones: [] })
  scene.home.answer = answer(depositResults.overQuota)
  const full = await scene.submit()
  await scene.net.clock.advance(2 * minuteMs)
  assert.ok(scene.replicas.every((replica) => replica.got.length === 0))
  assert.ok(scene.home.got.length >= 4, 'a full inbox is asked every half minute')
  scene.home.answer = answer(depositResults.noBox)
  const lost = await scene.submit()
  await scene.until(lost, receiptStates.stored, 5_000)
  assert.is(scene.last(lost).route, routes.replicas)
  await scene.withdraw([full, lost])
  await scene.end()
})

test('a new card redirects what is still here; what former holders have proves nothing more', async () => {
  const scene = await OutboxScene.open('redirect')
  scene.home.frozen = true
  const [a, b, c, d, e] = scene.replicas.map((replica) => replica.nodeId)
  const envelope = scene.inbox.envelope()
  const id = await scene.submit({ envelope, replicas: [a!, b!] })
  await scene.net.clock.advance(10_000)
  assert.is(scene.last(id).have, 2)
  for (const replica of scene.replicas.slice(3)) replica.frozen = true
  await scene.submit({ envelope, replicas: [c!, d!, e!] })
  await scene.net.clock.advance(10_000)
  assert.equal([scene.last(id).have, scene.last(id).want], [1, 3])
  await scene.end()
})

test('goes on after a restart, and loses nothing it accepted', async () => {
  const scene = await OutboxScene.open('restart')
  scene.home.frozen = true
  for (const replica of scene.replicas) replica.frozen = true
  const ids = await scene.submitMany(100)
  await scene.net.clock.advance(1_000)
  await scene.restart()
  assert.is(scene.outbox.size, 100)
  scene.home.frozen = false
  await scene.net.eventually('all offered', () => scene.home.got.length >= 100, 10 * minuteMs)
  assert.equal(scene.home.got, ids, 'in the order of acceptance')
  await scene.end()
})

test('keeps the order of acceptance within 64 envelopes and 256 KiB a deposit', async () => {
  const scene = await OutboxScene.open('order')
  const ids = await scene.submitMany(150)
  await scene.net.eventually('all there', () => scene.home.got.length >= 150)
  assert.equal(scene.home.got, ids)
  assert.ok(scene.home.batches.every((batch) => batch.length <= limits.depositItemsMax))
  const large = await scene.submitMany(10, { bytes: 65_536 })
  await scene.net.eventually('large ones', () => scene.home.got.length >= 160)
  assert.equal(scene.home.got.slice(150), large)
  assert.ok(scene.home.batches.slice(-4).every((batch) => batch.length <= 3))
  await scene.end()
})

test('one envelope submitted many times at once is one envelope', async () => {
  const scene = await OutboxScene.open('twice', { syncDelayMs: 3 })
  const envelope = scene.inbox.envelope()
  const submits = Array.from({ length: 5 }, () => scene.begin({ envelope }))
  const id = (await scene.net.run(Promise.all(submits)))[0]!
  await scene.until(id, receiptStates.stored)
  await scene.net.clock.advance(5_000)
  assert.equal(scene.home.got, [id])
  assert.is(scene.outbox.size, 1)
  await scene.end()
})

test('what is withdrawn while it is being written down is gone afterwards', async () => {
  const scene = await OutboxScene.open('withdrawn', { syncDelayMs: 3 })
  scene.home.frozen = true
  const envelope = scene.inbox.envelope()
  const submitting = scene.begin({ envelope })
  const withdrawing = scene.outbox.withdraw([scene.idOf(envelope)])
  await scene.net.run(Promise.all([submitting, withdrawing]))
  assert.is(scene.outbox.size, 0)
  assert.equal(await scene.net.run(scene.sender.kv.list({ prefix: 'out/' })), [])
  await scene.end()
})

test('refuses what is malformed', async () => {
  const scene = await OutboxScene.open('malformed')
  const begun = scene.begin({ envelope: new Uint8Array(100) })
  const code = await begun.catch((error: { code: string }) => error.code)
  assert.match(String(code), /^CODEC_/)
  await scene.end()
})

test('an envelope that the disk lost is handed back to its device', async () => {
  const scene = await OutboxScene.open('lost')
  scene.home.frozen = true
  const id = await scene.submit({ replicas: [] })
  await scene.net.clock.advance(9_000)
  await scene.net.run(scene.sender.kv.write([{ type: 'delete', key: `out/${id}` }]))
  await scene.net.clock.advance(5 * minuteMs)
  assert.equal([scene.last(id).state, scene.last(id).code], [receiptStates.refused, 'STORE_CORRUPT'])
  assert.is(scene.outbox.size, 0)
  await scene.end()
})

test('tells the level that a copy really had, and mixes no levels in one deposit', async () => {
  const scene = await OutboxScene.open('level')
  const receipts: ReceiptFrame[] = []
  const [first, second] = [await scene.submit({ level: 2 }), await scene.submit({ level: 0 })]
  for (const id of [first, second]) {
    await scene.until(id, receiptStates.stored)
    receipts.push(scene.last(id))
  }
  assert.equal(receipts.map((receipt) => receipt.level), [0, 0], 'everything is direct today')
  assert.ok(scene.home.batches.every((batch) => batch.length === 1))
  await scene.end()
})

test('leaves no timer, and offers nothing more, once stopped', async () => {
  const scene = await OutboxScene.open('stop')
  scene.home.frozen = true
  await scene.submitMany(10)
  await scene.net.clock.advance(20_000)
  await scene.outbox.stop()
  const { length } = scene.home.got
  await scene.net.clock.advance(10 * minuteMs)
  assert.is(scene.home.got.length, length)
  await scene.end()
})

test.run()

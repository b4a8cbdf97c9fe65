/**
 * The compliance suite of the `Store` port: every promise that `MailboxStore` and `KvStore` make in
 * their doc-comments, held against whatever implements them.
 *
 * ```ts
 * storeSuite('memory', { open: async (clock) => … })
 * ```
 */
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import type { MailboxItem } from '../../node/ports.ts'
import { suite } from '../helpers/harness.ts'
import type { Suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'
import { checkTests, kvExpiryTests, recordTests } from './kv-suite.ts'
import { digestTests } from './mailbox-digest-suite.ts'
import { boxTests, expiryTests } from './mailbox-expiry-suite.ts'
import { acknowledgeTests, listTests, putTests } from './mailbox-suite.ts'
import { piecesTests } from './pieces-suite.ts'
import { boxNamed, hourMs, idsIn, itemOf, proof, rejection, wide } from './store-subject.ts'
import type { StoreFactory, StoreSubject, StoreTestState } from './store-subject.ts'

export function storeSuite(name: string, factory: StoreFactory): void {
  const test = suite(`compliance/store: ${name}`)
  const state: StoreTestState = { clock: new VirtualClock(), subject: undefined as unknown as StoreSubject }
  if (factory.start !== undefined) test.before(async () => { await factory.start!() })
  if (factory.stop !== undefined) test.after(async () => { await factory.stop!() })
  test.before.each(async () => {
    state.clock = new VirtualClock()
    state.subject = await factory.open(state.clock)
  })
  test.after.each(async () => { await state.subject.remove() })

  putTests(test, state)
  listTests(test, state)
  acknowledgeTests(test, state)
  boxTests(test, state)
  expiryTests(test, state)
  digestTests(test, state)
  piecesTests(test, state)
  recordTests(test, { kv: () => state.subject.store.kv })
  checkTests(test, { kv: () => state.subject.store.kv })
  kvExpiryTests(test, { kv: () => state.subject.store.kv })
  lifeTests(test, state)
  test.run()
}

function lifeTests(test: Suite, state: StoreTestState): void {
  const box = boxNamed('inbox')

  test('has everything again after it was closed and opened', async () => {
    const { mailbox, kv } = state.subject.store
    const expiresAtMs = state.clock.now() + hourMs
    const mail = Array.from({ length: 10 }, (_, number) => itemOf({ box, number, expiresAtMs }))
    await mailbox.setBox(box, { ...wide, itemsMax: 10 })
    await mailbox.put(mail)
    await mailbox.acknowledge(box, [mail[9]!.id], { expiresAtMs, proof })
    await kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
    const before = await mailbox.list(box, { after: 0, itemsMax: 100, bytesMax: 100_000 })
    const entry = await kv.get('k')

    state.subject = await state.subject.reopen()
    const again = state.subject.store
    assert.equal(await again.mailbox.list(box, { after: 0, itemsMax: 100, bytesMax: 100_000 }), before)
    assert.equal(await again.mailbox.tombstone(box, mail[9]!.id), proof)
    assert.equal(await again.mailbox.usage(), { items: 9, bytes: 1_800 })
    assert.equal(await again.kv.get('k'), entry)
    const [next, last] = [10, 11].map((number) => itemOf({ box, number, expiresAtMs }))
    const results = await again.mailbox.put([mail[0]!, mail[9]!, next!, last!])
    assert.equal(results, ['duplicate', 'acknowledged', 'stored', 'over-quota'])
  })

  test('an entry is gone when its time comes, also after a restart', async () => {
    const { clock } = state
    const expiresAtMs = clock.now() + 1_000
    await state.subject.store.kv.write([{ type: 'put', key: 'lease', value: utf8('mine'), expiresAtMs }])
    await clock.advance(999)
    state.subject = await state.subject.reopen()
    assert.ok(await state.subject.store.kv.get('lease'))
    await clock.advance(1)
    assert.is(await state.subject.store.kv.get('lease'), undefined)
    assert.equal(await state.subject.store.kv.list({ prefix: '' }), [])
    assert.is(await state.subject.store.kv.expire(clock.now(), 10), 1)
  })

  test('never uses a position twice, also when the last item went before a restart', async () => {
    const expiresAtMs = state.clock.now() + hourMs
    const [first, second] = [1, 2].map((number) => itemOf({ box, number, expiresAtMs }))
    await state.subject.store.mailbox.setBox(box, wide)
    await state.subject.store.mailbox.put([first!])
    const { position } = (await state.subject.store.mailbox.get(box, first!.id))!
    await state.subject.store.mailbox.acknowledge(box, [first!.id], { expiresAtMs, proof })
    state.subject = await state.subject.reopen()
    await state.subject.store.mailbox.put([second!])
    assert.ok((await state.subject.store.mailbox.get(box, second!.id))!.position > position)
  })

  test('finishes what is under way when it is closed, and refuses what comes after', async () => {
    const { store } = state.subject
    await store.mailbox.setBox(box, wide)
    const item = itemOf({ box, number: 1, expiresAtMs: state.clock.now() + hourMs })
    const put = store.mailbox.put([item])
    const write = store.kv.write([{ type: 'put', key: 'k', value: utf8('v') }])
    const closing = store.close()
    assert.equal([await put, await write], [['stored'], true])
    await closing
    await store.close()
    const late = [
      store.mailbox.put([item]), store.mailbox.setBox(box, wide),
      store.mailbox.dropBox(box), store.mailbox.boxes(),
      store.mailbox.list(box, { after: 0, itemsMax: 1, bytesMax: 1 }), store.mailbox.get(box, item.id),
      store.mailbox.acknowledge(box, [item.id], { expiresAtMs: Infinity, proof }),
      store.mailbox.tombstone(box, item.id), store.mailbox.expire(0, 1), store.mailbox.usage(),
      store.mailbox.digest({ fromMs: 0, beforeMs: Infinity })[Symbol.asyncIterator]().next(),
      store.kv.get('k'), store.kv.list({ prefix: '' }), store.kv.write([{ type: 'delete', key: 'k' }]),
      store.kv.expire(0, 1),
    ]
    for (const promise of late) assert.is(await rejection(promise), 'STORE_CLOSED')

    state.subject = await state.subject.reopen()
    assert.equal(await idsIn(state.subject.store, box), [item.id])
    assert.equal((await state.subject.store.kv.get('k'))!.value, utf8('v'))
  })

  test('keeps keys apart from mail', async () => {
    const { kv, mailbox } = state.subject.store
    await mailbox.setBox(boxNamed('inbox'), wide)
    await kv.write(['b', 's', 'x', 'p'].map((key) => ({ type: 'put', key, value: utf8(key) })))
    assert.equal((await kv.list({ prefix: '' })).map(({ key }) => key), ['b', 'p', 's', 'x'])
    assert.is((await mailbox.boxes()).length, 1)
  })

  test('agrees with a plain model over a long random history', async () => {
    await randomHistory(state)
  })
}

/** Random operations on a few boxes against maps; every answer must be the model's. */
async function randomHistory(state: StoreTestState): Promise<void> {
  const random = seededRandom('store history')
  const names = ['one', 'two', 'three'].map(boxNamed)
  const model = new Map<BoxId, Map<EnvelopeId, MailboxItem | 'acknowledged'>>()
  const pick = (bound: number): number => randomInteger(random, bound)
  const any = (box: BoxId): MailboxItem => itemOf({ box, number: pick(60), expiresAtMs: Infinity })
  for (let step = 0; step < 400; step++) {
    if (step % 130 === 129) state.subject = await state.subject.reopen()
    const { mailbox } = state.subject.store
    const box = names[pick(names.length)]!
    const held = model.get(box)
    const action = pick(10)
    if (action === 0) {
      await mailbox.setBox(box, wide)
      if (held === undefined) model.set(box, new Map())
    } else if (action === 1 && pick(4) === 0) {
      await mailbox.dropBox(box)
      model.delete(box)
    } else if (action < 7) {
      const mail = Array.from({ length: 1 + pick(3) }, () => any(box))
      const expected = mail.map((item) => {
        const known = held?.get(item.id)
        if (held === undefined) return 'no-box'
        if (known === undefined) held.set(item.id, item)
        return known === undefined ? 'stored' : known === 'acknowledged' ? known : 'duplicate'
      })
      assert.equal(await mailbox.put(mail), expected)
    } else {
      const ids = Array.from({ length: 1 + pick(5) }, () => any(box).id)
      const there = new Set(ids.filter((id) => typeof held?.get(id) === 'object'))
      assert.is(await mailbox.acknowledge(box, ids, { expiresAtMs: Infinity, proof }), there.size)
      for (const id of ids) {
        held?.delete(id)
        held?.set(id, 'acknowledged')
      }
    }
  }
  let items = 0
  for (const box of names) {
    const expected = [...model.get(box) ?? []].filter(([, item]) => item !== 'acknowledged').map(([id]) => id)
    assert.equal(await idsIn(state.subject.store, box), expected)
    items += expected.length
  }
  assert.equal(await state.subject.store.mailbox.usage(), { items, bytes: items * 200 })
}


/**
 * Boxes and expiry of `MailboxStore`, one test for each promise (node/ports.ts). Part of
 * store-suite.ts.
 */
import * as assert from 'uvu/assert'
import type { MailboxItem } from '../../node/ports.ts'
import type { Suite } from '../helpers/harness.ts'
import { boxNamed, hourMs, idsIn, itemOf, proof, wide } from './store-subject.ts'
import type { StoreTestState } from './store-subject.ts'

export function boxTests(test: Suite, state: StoreTestState): void {
  const box = boxNamed('inbox')
  const item = (number: number): MailboxItem =>
    itemOf({ box, number, expiresAtMs: state.clock.now() + hourMs })

  test('lists boxes with limits and usage', async () => {
    const { mailbox } = state.subject.store
    assert.equal(await mailbox.boxes(), [])
    const other = boxNamed('other')
    await mailbox.setBox(box, { ...wide, itemsMax: 3 })
    await mailbox.setBox(other, wide)
    await mailbox.put([item(1), item(2)])
    const boxes = (await mailbox.boxes()).toSorted((a, b) => (a.box < b.box ? -1 : 1))
    assert.equal(boxes, [
      { box, limits: { ...wide, itemsMax: 3 }, usage: { items: 2, bytes: 400 } },
      { box: other, limits: wide, usage: { items: 0, bytes: 0 } },
    ])
  })

  test('changes limits without evicting anything', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    await mailbox.put([item(1), item(2)])
    await mailbox.setBox(box, { ...wide, itemsMax: 1 })
    assert.is((await idsIn(state.subject.store, box)).length, 2)
    assert.equal(await mailbox.put([item(3)]), ['over-quota'])
    await mailbox.setBox(box, { ...wide, itemsMax: 3 })
    assert.equal(await mailbox.put([item(3)]), ['stored'])
  })

  test('drops a box with its items and tombstones, and makes it anew empty', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    await mailbox.put([item(1), item(2)])
    await mailbox.acknowledge(box, [item(2).id], { expiresAtMs: state.clock.now() + hourMs, proof })
    await mailbox.dropBox(box)
    await mailbox.dropBox(box)
    assert.equal(await mailbox.boxes(), [])
    assert.equal(await mailbox.usage(), { items: 0, bytes: 0 })
    assert.is(await mailbox.get(box, item(1).id), undefined)
    assert.equal(await mailbox.put([item(1)]), ['no-box'])
    await mailbox.setBox(box, wide)
    assert.equal(await idsIn(state.subject.store, box), [])
    assert.is(await mailbox.tombstone(box, item(2).id), undefined)
    assert.equal(await mailbox.put([item(1), item(2)]), ['stored', 'stored'])
    assert.equal(await mailbox.usage(), { items: 2, bytes: 400 })
  })

  test('keeps the order of racing box changes and puts', async () => {
    const { mailbox } = state.subject.store
    const [, before, , , after] = await Promise.all([
      mailbox.setBox(box, wide), mailbox.put([item(1)]),
      mailbox.dropBox(box), mailbox.setBox(box, wide), mailbox.put([item(1), item(2)]),
    ])
    assert.equal([before, after], [['stored'], ['stored', 'stored']])
    assert.equal(await idsIn(state.subject.store, box), [item(1).id, item(2).id])
  })

  test('a lapsed box takes and shows nothing, until it is renewed', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, { ...wide, expiresAtMs: state.clock.now() + 1_000 })
    await mailbox.put([item(1)])
    const [second] = [item(2)]
    await state.clock.advance(1_000)
    assert.equal(await mailbox.put([second!]), ['no-box'])
    assert.equal(await idsIn(state.subject.store, box), [])
    assert.equal(await mailbox.boxes(), [])
    await mailbox.setBox(box, wide)
    assert.equal(await mailbox.put([second!]), ['stored'])
    assert.is(await mailbox.expire(state.clock.now(), 100), 0)
    assert.is((await mailbox.boxes()).length, 1)
  })
}

export function expiryTests(test: Suite, state: StoreTestState): void {
  const box = boxNamed('inbox')

  test('removes what has expired and nothing else, frees its quota, counts it', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, { ...wide, itemsMax: 4 })
    const now = state.clock.now()
    const times = [1_000, 3_000, 2_000, hourMs]
    const mail = times.map((ms, number) => itemOf({ box, number, expiresAtMs: now + ms }))
    await mailbox.put(mail)
    assert.is(await mailbox.expire(now, 100), 0)
    await state.clock.advance(2_000)
    assert.is(await mailbox.expire(state.clock.now(), 100), 2)
    assert.is(await mailbox.expire(state.clock.now(), 100), 0)
    assert.equal(await idsIn(state.subject.store, box), [mail[1]!.id, mail[3]!.id])
    assert.equal(await mailbox.usage(), { items: 2, bytes: 400 })
    const more = [5, 6].map((number) => itemOf({ box, number, expiresAtMs: now + hourMs }))
    assert.equal(await mailbox.put(more), ['stored', 'stored'])
  })

  test('removes lapsed tombstones', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const item = itemOf({ box, number: 1, expiresAtMs: state.clock.now() + hourMs })
    await mailbox.acknowledge(box, [item.id], { expiresAtMs: state.clock.now() + 1_000, proof })
    await state.clock.advance(1_000)
    assert.is(await mailbox.tombstone(box, item.id), undefined)
    assert.is(await mailbox.expire(state.clock.now(), 100), 1)
    assert.equal(await mailbox.put([item]), ['stored'])
  })

  test('a lapsed tombstone that is still there does not stand in the way', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const item = itemOf({ box, number: 1, expiresAtMs: state.clock.now() + hourMs })
    await mailbox.acknowledge(box, [item.id], { expiresAtMs: state.clock.now() + 1_000, proof })
    await state.clock.advance(1_000)
    assert.equal(await mailbox.put([item]), ['stored'])
    assert.is(await mailbox.expire(state.clock.now(), 100), 0)
    assert.equal(await idsIn(state.subject.store, box), [item.id])
  })

  test('removes a lapsed box with all in it, as one', async () => {
    const { mailbox } = state.subject.store
    const other = boxNamed('other')
    const now = state.clock.now()
    await mailbox.setBox(box, { ...wide, expiresAtMs: now + 1_000 })
    await mailbox.setBox(other, wide)
    await mailbox.put([1, 2, 3].map((number) => itemOf({ box, number, expiresAtMs: now + hourMs })))
    await mailbox.put([itemOf({ box: other, number: 1, expiresAtMs: now + hourMs })])
    await state.clock.advance(1_000)
    assert.is(await mailbox.expire(state.clock.now(), 100), 1)
    assert.equal((await mailbox.boxes()).map((one) => one.box), [other])
    assert.equal(await mailbox.usage(), { items: 1, bytes: 200 })
    await state.clock.advance(hourMs)
    assert.is(await mailbox.expire(state.clock.now(), 100), 1)
    assert.equal(await mailbox.usage(), { items: 0, bytes: 0 })
  })

  test('an extended box does not go at its old time', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, { ...wide, expiresAtMs: state.clock.now() + 1_000 })
    await mailbox.setBox(box, { ...wide, expiresAtMs: state.clock.now() + 5_000 })
    await state.clock.advance(2_000)
    assert.is(await mailbox.expire(state.clock.now(), 100), 0)
    assert.is((await mailbox.boxes()).length, 1)
    await mailbox.setBox(box, wide)
    await state.clock.advance(hourMs)
    assert.is(await mailbox.expire(state.clock.now(), 100), 0)
  })

  test('keeps to its budget and gets through with it', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const now = state.clock.now()
    await mailbox.put(Array.from({ length: 95 }, (_, number) =>
      itemOf({ box, number, expiresAtMs: now + 10 * number + 10 })))
    await state.clock.advance(hourMs)
    const steps: number[] = []
    for (let gone = -1; gone !== 0;) {
      gone = await mailbox.expire(state.clock.now(), 10)
      steps.push(gone)
    }
    assert.equal(steps, [10, 10, 10, 10, 10, 10, 10, 10, 10, 5, 0])
  })

  test('expires what is put after the clock jumped back', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const before = state.clock.now()
    assert.is(await mailbox.expire(before + 10 * hourMs, 100), 0)
    await mailbox.put([itemOf({ box, number: 1, expiresAtMs: before + 1_000 })])
    assert.is(await mailbox.expire(before, 100), 0)
    assert.is(await mailbox.expire(before + 1_000, 100), 1)
  })

  test('expires while others put and acknowledge, and counts stay true', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const now = state.clock.now()
    const mail = Array.from({ length: 300 }, (_, number) =>
      itemOf({ box, number, expiresAtMs: now + (number % 3) * 1_000 + 500 }))
    const later = Array.from({ length: 10 }, (_, i) =>
      itemOf({ box, number: 1_000 + i, expiresAtMs: now + hourMs }))
    const ids = mail.slice(0, 150).map(({ id }) => id)
    await mailbox.put(mail)
    await state.clock.advance(1_000)
    const [gone, acknowledged] = await Promise.all([
      mailbox.expire(state.clock.now(), 1_000),
      mailbox.acknowledge(box, ids, { expiresAtMs: now + hourMs, proof }),
      mailbox.put(later),
    ])
    assert.equal([gone, acknowledged], [100, 100])
    assert.equal(await mailbox.usage(), { items: 110, bytes: 22_000 })
    assert.is((await idsIn(state.subject.store, box)).length, 110)
  })
}

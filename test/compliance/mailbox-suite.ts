/**
 * The promises of `MailboxStore`, one test each (node/ports.ts). Part of store-suite.ts.
 */
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import { envelopeId } from '../../protocol/envelope.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { MailboxItem, Tombstone } from '../../node/ports.ts'
import type { Suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { boxNamed, hourMs, idsIn, itemOf, proof, rejection, wide } from './store-subject.ts'
import type { StoreTestState } from './store-subject.ts'

export function putTests(test: Suite, state: StoreTestState): void {
  const box = boxNamed('inbox')
  const items = (count: number, from = 0): MailboxItem[] =>
    Array.from({ length: count }, (_, i) =>
      itemOf({ box, number: from + i, expiresAtMs: state.clock.now() + hourMs }))

  test('gives back what was put, in arrival order, with growing positions', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const mail = items(5)
    assert.equal(await mailbox.put(mail), ['stored', 'stored', 'stored', 'stored', 'stored'])
    const { entries } = await mailbox.list(box, { after: 0, itemsMax: 10, bytesMax: 10_000 })
    assert.equal(entries.map(({ position: _, ...item }) => item), mail)
    for (const [i, { position }] of entries.entries()) assert.ok(position > (entries[i - 1]?.position ?? 0))
    assert.equal(await mailbox.get(box, mail[2]!.id), entries[2])
    assert.is(await mailbox.get(boxNamed('other'), mail[2]!.id), undefined)
  })

  test('refuses mail for a box that is not there', async () => {
    const { mailbox } = state.subject.store
    assert.equal(await mailbox.put(items(1)), ['no-box'])
    assert.equal(await idsIn(state.subject.store, box), [])
    assert.equal(await mailbox.usage(), { items: 0, bytes: 0 })
  })

  test('stores an id once, within one put and over several', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const [item] = items(1)
    assert.equal(await mailbox.put([item!, item!]), ['stored', 'duplicate'])
    assert.equal(await mailbox.put([item!]), ['duplicate'])
    assert.equal(await mailbox.usage(), { items: 1, bytes: 200 })
  })

  test('keeps the same id in two boxes apart', async () => {
    const { mailbox } = state.subject.store
    const other = boxNamed('other')
    await Promise.all([mailbox.setBox(box, wide), mailbox.setBox(other, wide)])
    const [item] = items(1)
    assert.equal(await mailbox.put([item!, { ...item!, box: other }]), ['stored', 'stored'])
    await mailbox.acknowledge(box, [item!.id], { expiresAtMs: state.clock.now() + hourMs, proof })
    assert.equal(await idsIn(state.subject.store, other), [item!.id])
  })

  test('gives one stored and one duplicate to two racing puts of one id', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const mail = items(50)
    const results = await Promise.all(mail.flatMap((item) => [mailbox.put([item]), mailbox.put([item])]))
    for (let i = 0; i < results.length; i += 2) {
      assert.equal([results[i], results[i + 1]], [['stored'], ['duplicate']])
    }
  })

  test('holds a quota of items exactly under 200 racing puts', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, { ...wide, itemsMax: 100 })
    const results = (await Promise.all(items(200).map((item) => mailbox.put([item])))).flat()
    assert.is(results.filter((result) => result === 'stored').length, 100)
    assert.is(results.filter((result) => result === 'over-quota').length, 100)
    assert.is((await idsIn(state.subject.store, box)).length, 100)
    assert.equal(await mailbox.usage(), { items: 100, bytes: 20_000 })
  })

  test('holds a quota of bytes exactly, and one box does not use up another', async () => {
    const { mailbox } = state.subject.store
    const other = boxNamed('other')
    await mailbox.setBox(box, { ...wide, bytesMax: 1_000 })
    await mailbox.setBox(other, { ...wide, bytesMax: 1_000 })
    const large = itemOf({ box, number: 1, expiresAtMs: state.clock.now() + hourMs, bytes: 801 })
    assert.equal(await mailbox.put([large, ...items(1, 7)]), ['stored', 'over-quota'])
    assert.equal(await mailbox.put([{ ...items(1, 7)[0]!, box: other }]), ['stored'])
    const rest = itemOf({ box, number: 2, expiresAtMs: state.clock.now() + hourMs, bytes: 199 })
    assert.equal(await mailbox.put([rest]), ['stored'])
  })

  test('frees quota when mail is acknowledged', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, { ...wide, itemsMax: 1 })
    const [first, second] = items(2)
    assert.equal(await mailbox.put([first!, second!]), ['stored', 'over-quota'])
    await mailbox.acknowledge(box, [first!.id], { expiresAtMs: state.clock.now() + hourMs, proof })
    assert.equal(await mailbox.put([second!]), ['stored'])
  })

  test('refuses mail that has expired, to the millisecond', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const now = state.clock.now()
    const times = [0, 1, now - 1, now, now + 1]
    const mail = times.map((expiresAtMs, number) => itemOf({ box, number, expiresAtMs }))
    assert.equal(await mailbox.put(mail), ['expired', 'expired', 'expired', 'expired', 'stored'])
  })

  test('takes times far away', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const times = [2 ** 48 - 1, 2 ** 48, (2 ** 32 - 1) * hourMs, Infinity]
    const mail = times.map((expiresAtMs, number) => itemOf({ box, number, expiresAtMs }))
    assert.equal(await mailbox.put(mail), times.map(() => 'stored'))
    const { entries } = await mailbox.list(box, { after: 0, itemsMax: 10, bytesMax: 10_000 })
    assert.equal(entries.map(({ expiresAtMs }) => expiresAtMs), times)
  })

  test('takes an empty body and the largest one, and treats a larger one as a bug', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const bodies = [new Uint8Array(), seededRandom(1).bytes(limits.envelopeBytesMax)]
    const mail = bodies.map((body) => ({ box, id: envelopeId(body), expiresAtMs: Infinity, body }))
    assert.equal(await mailbox.put(mail), ['stored', 'stored'])
    for (const { id, body } of mail) assert.equal((await mailbox.get(box, id))!.body, body)
    const body = new Uint8Array(limits.envelopeBytesMax + 1)
    const item = { box, id: envelopeId(body), expiresAtMs: Infinity, body }
    assert.is(await rejection(mailbox.put([item])), 'BUG_ASSERTION')
  })

  test('treats an id that is not the hash of its body as a bug', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const [first, second] = items(2)
    assert.is(await rejection(mailbox.put([{ ...first!, id: second!.id }])), 'BUG_ASSERTION')
    assert.equal(await idsIn(state.subject.store, box), [])
  })

  test('does not notice what a caller does to its buffers afterwards', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const [item] = items(1)
    const body = item!.body.slice()
    const put = mailbox.put([item!])
    item!.body.fill(0xee)
    await put
    const first = (await mailbox.get(box, item!.id))!
    assert.equal(first.body, body)
    first.body.fill(0xee)
    assert.equal((await mailbox.get(box, item!.id))!.body, body)
  })

  test('takes an empty put', async () => {
    assert.equal(await state.subject.store.mailbox.put([]), [])
  })
}

export function listTests(test: Suite, state: StoreTestState): void {
  const box = boxNamed('inbox')
  const fill = async (sizes: readonly number[]): Promise<EnvelopeId[]> => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const expiresAtMs = state.clock.now() + hourMs
    const mail = sizes.map((bytes, number) => itemOf({ box, number, bytes, expiresAtMs }))
    await mailbox.put(mail)
    return mail.map(({ id }) => id)
  }

  test('pages by items', async () => {
    const { mailbox } = state.subject.store
    const ids = await fill(Array.from({ length: 25 }, () => 100))
    const pages: number[] = []
    const seen: EnvelopeId[] = []
    for (let after = 0, more = true; more;) {
      const page = await mailbox.list(box, { after, itemsMax: 10, bytesMax: 1_000_000 })
      pages.push(page.entries.length)
      seen.push(...page.entries.map(({ id }) => id))
      after = page.entries.at(-1)!.position
      more = page.more
    }
    assert.equal(pages, [10, 10, 5])
    assert.equal(seen, ids)
  })

  test('pages by bytes, but always gives at least one', async () => {
    const { mailbox } = state.subject.store
    const ids = await fill([100, 100, 500, 100, 300])
    const pages: EnvelopeId[][] = []
    for (let after = 0, more = true; more;) {
      const page = await mailbox.list(box, { after, itemsMax: 10, bytesMax: 300 })
      pages.push(page.entries.map(({ id }) => id))
      after = page.entries.at(-1)!.position
      more = page.more
    }
    assert.equal(pages, [ids.slice(0, 2), ids.slice(2, 3), ids.slice(3, 4), ids.slice(4)])
  })

  test('says that there is no more when the last page is exactly full', async () => {
    const { mailbox } = state.subject.store
    await fill([100, 100])
    const page = await mailbox.list(box, { after: 0, itemsMax: 2, bytesMax: 200 })
    assert.equal([page.entries.length, page.more], [2, false])
    const rest = await mailbox.list(box, { after: page.entries[1]!.position, itemsMax: 2, bytesMax: 200 })
    assert.equal(rest, { entries: [], more: false })
  })

  test('lists nothing of a box that is not there', async () => {
    const { mailbox } = state.subject.store
    const page = await mailbox.list(boxNamed('none'), { after: 0, itemsMax: 5, bytesMax: 5 })
    assert.equal(page, { entries: [], more: false })
  })

  test('does not show what has expired, and does not stop at it', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const now = state.clock.now()
    const mail = Array.from({ length: 20 }, (_, number) =>
      itemOf({ box, number, expiresAtMs: number < 15 ? now + 1_000 : now + hourMs }))
    await mailbox.put(mail)
    await state.clock.advance(1_000)
    const seen: EnvelopeId[] = []
    for (let after = 0, more = true; more;) {
      const page = await mailbox.list(box, { after, itemsMax: 4, bytesMax: 1_000_000 })
      assert.ok(page.entries.length > 0)
      seen.push(...page.entries.map(({ id }) => id))
      after = page.entries.at(-1)!.position
      more = page.more
    }
    assert.equal(seen, mail.slice(15).map(({ id }) => id))
    assert.is(await mailbox.get(box, mail[0]!.id), undefined)
  })
}

export function acknowledgeTests(test: Suite, state: StoreTestState): void {
  const box = boxNamed('inbox')
  const item = (number: number): MailboxItem =>
    itemOf({ box, number, expiresAtMs: state.clock.now() + hourMs })
  const kept = (ms = hourMs) => ({ expiresAtMs: state.clock.now() + ms, proof })

  test('deletes what is acknowledged, keeps its proof and says how many were there', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const mail = [item(1), item(2), item(3)]
    await mailbox.put(mail)
    const ids = [mail[0]!.id, mail[1]!.id, mail[1]!.id, item(9).id]
    assert.is(await mailbox.acknowledge(box, ids, kept()), 2)
    assert.equal(await idsIn(state.subject.store, box), [mail[2]!.id])
    for (const id of ids) assert.equal(await mailbox.tombstone(box, id), proof)
    assert.is(await mailbox.tombstone(box, mail[2]!.id), undefined)
    assert.is(await mailbox.get(box, mail[0]!.id), undefined)
    assert.equal(await mailbox.usage(), { items: 1, bytes: 200 })
  })

  test('answers a put after the acknowledgement, also of an id it never had', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    await mailbox.acknowledge(box, [item(1).id], kept())
    assert.equal(await mailbox.put([item(1), item(2)]), ['acknowledged', 'stored'])
  })

  test('acknowledging again changes nothing and finds nothing', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    await mailbox.put([item(1)])
    assert.is(await mailbox.acknowledge(box, [item(1).id], kept()), 1)
    assert.is(await mailbox.acknowledge(box, [item(1).id], kept()), 0)
    assert.equal(await mailbox.put([item(1)]), ['acknowledged'])
  })

  test('tells all tombstones in order of their ids, in pages, without those that are over', async () => {
    const { mailbox } = state.subject.store
    const other = boxNamed('other')
    for (const one of [box, other]) await mailbox.setBox(one, wide)
    const ids = Array.from({ length: 25 }, (_, number) => item(number).id)
    await mailbox.put([item(0), item(30)])
    await mailbox.acknowledge(box, ids.slice(0, 12), kept())
    await mailbox.acknowledge(box, ids.slice(12), { ...kept(), proof: utf8('another proof') })
    await mailbox.acknowledge(box, [item(40).id], kept(1_000))
    await mailbox.acknowledge(other, [item(41).id], kept())
    await state.clock.advance(1_000)
    const seen: Tombstone[] = []
    for (let page: Tombstone[] = []; ;) {
      const after = seen.at(-1)?.id
      page = await mailbox.tombstones(box, { ...after === undefined ? {} : { after }, limit: 10 })
      if (page.length === 0) break
      assert.ok(page.length <= 10)
      seen.push(...page)
    }
    assert.equal(seen.map(({ id }) => id), ids.toSorted())
    for (const { id, expiresAtMs, proof: found } of seen) {
      assert.is(expiresAtMs, kept().expiresAtMs - 1_000)
      assert.equal(found, ids.indexOf(id) < 12 ? proof : utf8('another proof'))
    }
  })

  test('keeps the longer of two tombstones', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const mail = [item(1), item(2)]
    const [short, long] = [kept(1_000), { ...kept(10_000), proof: utf8('another proof') }]
    await mailbox.acknowledge(box, [mail[0]!.id], short)
    await mailbox.acknowledge(box, mail.map(({ id }) => id), long)
    await mailbox.acknowledge(box, [mail[1]!.id], short)
    await state.clock.advance(5_000)
    await mailbox.expire(state.clock.now(), 100)
    for (const { id } of mail) assert.equal(await mailbox.tombstone(box, id), long.proof)
    assert.equal(await mailbox.put(mail), ['acknowledged', 'acknowledged'])
  })

  test('lets a racing put and acknowledgement end without the item, whichever is first', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const mail = Array.from({ length: 40 }, (_, number) => item(number))
    await Promise.all(mail.flatMap((one, i) => {
      const put = () => mailbox.put([one])
      const acknowledge = () => mailbox.acknowledge(box, [one.id], kept())
      return i % 2 === 0 ? [put(), acknowledge()] : [acknowledge(), put()]
    }))
    assert.equal(await idsIn(state.subject.store, box), [])
    assert.equal(await mailbox.usage(), { items: 0, bytes: 0 })
  })

  test('does nothing for a box that is not there', async () => {
    const { mailbox } = state.subject.store
    assert.is(await mailbox.acknowledge(box, [item(1).id], kept()), 0)
    assert.is(await mailbox.tombstone(box, item(1).id), undefined)
    await mailbox.setBox(box, wide)
    assert.equal(await mailbox.put([item(1)]), ['stored'])
  })

  test('does not notice what a caller does to the proof afterwards', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(box, wide)
    const own = proof.slice()
    const done = mailbox.acknowledge(box, [item(1).id], { ...kept(), proof: own })
    own.fill(0)
    await done
    const given = (await mailbox.tombstone(box, item(1).id))!
    assert.equal(given, proof)
    given.fill(0)
    assert.equal(await mailbox.tombstone(box, item(1).id), proof)
  })
}

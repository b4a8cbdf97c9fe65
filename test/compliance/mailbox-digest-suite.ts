/**
 * `digest` of `MailboxStore`: what replicas compare (node/ports.ts). Part of store-suite.ts.
 */
import * as assert from 'uvu/assert'
import { limits } from '../../protocol/limits.ts'
import type { DigestRange, MailboxItem, MailMark } from '../../node/ports.ts'
import type { BoxId } from '../../protocol/ids.ts'
import type { Suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { boxNamed, hourMs, itemOf, proof, wide } from './store-subject.ts'
import type { StoreTestState } from './store-subject.ts'

const [one, two, three] = ['one', 'two', 'three'].map(boxNamed) as [BoxId, BoxId, BoxId]
const always: DigestRange = { fromMs: 0, beforeMs: Infinity }

function markOf({ box, id, expiresAtMs }: MailboxItem): MailMark {
  return { box, id, expiresAtMs }
}

function inOrder(mail: readonly MailboxItem[]): MailMark[] {
  const rank = ({ expiresAtMs, id, box }: MailMark): string =>
    `${String(expiresAtMs).padStart(20, '0')} ${id} ${box}`
  return mail.map(markOf).toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1))
}

export function digestTests(test: Suite, state: StoreTestState): void {
  const pagesOf = async (range: DigestRange): Promise<MailMark[][]> => {
    const pages: MailMark[][] = []
    for await (const page of state.subject.store.mailbox.digest(range)) pages.push(page)
    return pages
  }
  const digest = async (range: DigestRange): Promise<MailMark[]> => (await pagesOf(range)).flat()

  test('tells what is held in order of expiry, id and box', async () => {
    const { mailbox } = state.subject.store
    const random = seededRandom('digest')
    for (const box of [one, two, three]) await mailbox.setBox(box, { ...wide, itemsMax: 10_000 })
    const now = state.clock.now()
    const count = limits.digestPageMarks + 123
    const mail = Array.from({ length: count }, (_, i) => itemOf({
      box: [one, two, three][randomInteger(random, 3)]!,
      number: i < 20 ? i >> 1 : i,
      expiresAtMs: now + hourMs * (1 + randomInteger(random, 3)),
    }))
    const results = await mailbox.put(mail)
    const held = mail.filter((_, i) => results[i] === 'stored')
    const pages = await pagesOf(always)
    assert.equal(pages.flat(), inOrder(held))
    assert.ok(pages.length > 1)
    for (const page of pages) assert.ok(page.length > 0 && page.length <= limits.digestPageMarks)
  })

  test('keeps to its range of times and to the boxes asked for', async () => {
    const { mailbox } = state.subject.store
    for (const box of [one, two]) await mailbox.setBox(box, wide)
    const now = state.clock.now()
    const mail = [1, 2, 3, 4].flatMap((hours) => [one, two].map((box) =>
      itemOf({ box, number: 10 * hours + (box === one ? 1 : 2), expiresAtMs: now + hours * hourMs })))
    const forever = itemOf({ box: one, number: 99, expiresAtMs: Infinity })
    await mailbox.put([...mail, forever])
    const range = { fromMs: now + 2 * hourMs, beforeMs: now + 4 * hourMs }
    assert.equal(await digest(range), inOrder(mail.slice(2, 6)))
    const ofOne = mail.filter(({ box }) => box === one)
    assert.equal(await digest({ ...always, boxes: new Set([one]) }), inOrder(ofOne))
    assert.equal(await digest({ ...always, boxes: new Set([three]) }), [])
    assert.equal(await pagesOf({ fromMs: now + 9 * hourMs, beforeMs: Infinity }), [])
  })

  test('leaves out what was acknowledged, has expired, or went with its box', async () => {
    const { mailbox } = state.subject.store
    const now = state.clock.now()
    const expiresAtMs = now + 2 * hourMs
    await mailbox.setBox(one, wide)
    await mailbox.setBox(two, wide)
    await mailbox.setBox(three, { ...wide, expiresAtMs: now + hourMs })
    const [kept, read, short, dropped, lapsed] = [
      itemOf({ box: one, number: 1, expiresAtMs }), itemOf({ box: one, number: 2, expiresAtMs }),
      itemOf({ box: one, number: 3, expiresAtMs: now + hourMs }),
      itemOf({ box: two, number: 4, expiresAtMs }), itemOf({ box: three, number: 5, expiresAtMs }),
    ] as [MailboxItem, MailboxItem, MailboxItem, MailboxItem, MailboxItem]
    await mailbox.put([kept, read, short, dropped, lapsed])
    await mailbox.acknowledge(one, [read.id], { expiresAtMs, proof })
    await mailbox.dropBox(two)
    await state.clock.advance(hourMs)
    assert.equal(await digest(always), [markOf(kept)])
    await mailbox.expire(state.clock.now(), 100)
    assert.equal(await digest(always), [markOf(kept)])
    await mailbox.setBox(two, wide)
    assert.equal(await digest(always), [markOf(kept)])
  })

  test('goes on while others put and acknowledge', async () => {
    const { mailbox } = state.subject.store
    await mailbox.setBox(one, { ...wide, itemsMax: 10_000 })
    const expiresAtMs = state.clock.now() + hourMs
    const count = 2 * limits.digestPageMarks
    const mail = Array.from({ length: count }, (_, number) => itemOf({ box: one, number, expiresAtMs }))
    await mailbox.put(mail)
    const steady = inOrder(mail).slice(limits.digestPageMarks)
    const seen: MailMark[] = []
    for await (const page of mailbox.digest(always)) {
      if (seen.length === 0) {
        await mailbox.acknowledge(one, page.map(({ id }) => id), { expiresAtMs, proof })
        await mailbox.put([itemOf({ box: one, number: count, expiresAtMs })])
      }
      seen.push(...page)
    }
    const ids = new Set(seen.map(({ id }) => id))
    assert.ok(steady.every(({ id }) => ids.has(id)))
    assert.is(ids.size, seen.length)
  })
}

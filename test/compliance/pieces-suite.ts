/**
 * The promises of `PieceStore`, one test each (node/ports.ts). Part of store-suite.ts.
 */
import * as assert from 'uvu/assert'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Piece, PieceStore } from '../../node/ports.ts'
import type { Suite } from '../helpers/harness.ts'
import { boxNamed, hourMs, itemOf, rejection, wide } from './store-subject.ts'
import type { StoreTestState } from './store-subject.ts'

const box = boxNamed('file')
const whole = { after: 0, itemsMax: 10_000, bytesMax: 100_000_000 }

function pieces(count: number, options: { from?: number, bytes?: number } = {}): Piece[] {
  const { from = 0, bytes = 2_000 } = options
  return Array.from({ length: count }, (_, i) => {
    const { id, body } = itemOf({ box, number: from + i, expiresAtMs: Infinity, bytes })
    return { id, body }
  })
}

async function idsOf(store: PieceStore, of: BoxId = box): Promise<EnvelopeId[]> {
  return (await store.list(of, whole)).entries.map(({ id }) => id)
}

export function piecesTests(test: Suite, state: StoreTestState): void {
  const store = (): PieceStore => state.subject.store.pieces

  test('gives pieces back as they came, numbered from 1 without gaps', async () => {
    await store().setBox(box, wide)
    const put = pieces(5, { bytes: limits.envelopeBytesMax / 8 })
    assert.equal(await store().put(box, put.slice(0, 2)), ['stored', 'stored'])
    assert.equal(await store().put(box, put.slice(2)), ['stored', 'stored', 'stored'])
    const { entries, more } = await store().list(box, whole)
    assert.is(more, false)
    assert.equal(entries.map(({ id, body }) => ({ id, body })), put)
    assert.equal(entries.map(({ position }) => position), [1, 2, 3, 4, 5])
    assert.is(await store().count(box), 5)
  })

  test('begins a page of pieces anywhere, and ends it at either limit', async () => {
    await store().setBox(box, wide)
    const put = pieces(6)
    await store().put(box, put)
    const page = await store().list(box, { after: 3, itemsMax: 2, bytesMax: 100_000 })
    assert.equal([page.entries.map(({ position }) => position), page.more], [[4, 5], true])
    const small = await store().list(box, { after: 0, itemsMax: 9, bytesMax: 4_500 })
    assert.equal([small.entries.length, small.more], [2, true])
    const behind = await store().list(box, { after: 6, itemsMax: 1, bytesMax: 1 })
    assert.equal(behind, { entries: [], more: false })
    assert.is((await store().list(box, { after: 5, itemsMax: 1, bytesMax: 1 })).entries.length, 1)
  })

  test('stores a piece once, within one put and over several', async () => {
    await store().setBox(box, wide)
    const [one, two] = pieces(2) as [Piece, Piece]
    assert.equal(await store().put(box, [one, one]), ['stored', 'duplicate'])
    assert.equal(await store().put(box, [two, one]), ['stored', 'duplicate'])
    assert.equal(await idsOf(store()), [one.id, two.id])
  })

  test('takes no more pieces than the box may have, by number and by bytes', async () => {
    await store().setBox(box, { ...wide, itemsMax: 2 })
    assert.equal(await store().put(box, pieces(3)), ['stored', 'stored', 'over-quota'])
    const other = boxNamed('small')
    await store().setBox(other, { ...wide, bytesMax: 5_000 })
    assert.equal(await store().put(other, pieces(3)), ['stored', 'stored', 'over-quota'])
    await store().setBox(other, wide)
    assert.equal(await store().put(other, pieces(3)), ['duplicate', 'duplicate', 'stored'])
  })

  test('knows nothing of a file box that was never made, was dropped or expired', async () => {
    assert.equal(await store().put(box, pieces(1)), ['no-box'])
    await store().setBox(box, { ...wide, expiresAtMs: state.clock.now() + hourMs })
    await store().put(box, pieces(2))
    await state.clock.advance(hourMs)
    assert.equal(await idsOf(store()), [])
    assert.equal(await store().boxes(), [])
    assert.equal(await store().put(box, pieces(1)), ['no-box'])
    assert.is(await store().expire(state.clock.now()), 1)
    await store().setBox(box, wide)
    assert.equal(await idsOf(store()), [], 'made anew it is empty')
    await store().put(box, pieces(1))
    await store().dropBox(box)
    await store().dropBox(box)
    assert.equal(await idsOf(store()), [])
  })

  test('keeps pieces and the limits of their box over a restart', async () => {
    await store().setBox(box, { itemsMax: 3, bytesMax: 50_000, expiresAtMs: state.clock.now() + hourMs })
    await store().setBox(box, { itemsMax: 4, bytesMax: 60_000, expiresAtMs: state.clock.now() + 2 * hourMs })
    const put = pieces(3)
    await store().put(box, put)
    const before = await store().boxes()
    state.subject = await state.subject.reopen()
    assert.equal(await store().boxes(), before)
    assert.is(before[0]!.limits.itemsMax, 4)
    const more = [put[1]!, ...pieces(2, { from: 7 })]
    assert.equal(await store().put(box, more), ['duplicate', 'stored', 'over-quota'])
    assert.is(await store().count(box), 4)
  })

  test('puts at once come one after the other, whole', async () => {
    await store().setBox(box, wide)
    const put = pieces(20)
    await Promise.all(put.map((piece) => store().put(box, [piece])))
    assert.equal(await idsOf(store()), put.map(({ id }) => id))
  })

  test('refuses a body that is not the one of its id', async () => {
    await store().setBox(box, wide)
    const [one, two] = pieces(2) as [Piece, Piece]
    assert.is(await rejection(store().put(box, [{ id: one.id, body: two.body }])), 'BUG_ASSERTION')
  })
}

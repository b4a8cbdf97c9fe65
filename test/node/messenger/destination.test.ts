/** One node's queue: order, batches, back-off, what is gone, and that it stops. */
import * as assert from 'uvu/assert'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { Destination } from '../../../node/messenger/destination.ts'
import type { DepositOutcome, OfferedBatch } from '../../../node/messenger/destination.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('node/messenger/destination')
const nodeId = nodeIdFromKey(new Uint8Array(32).fill(7))
const reply = { results: [], receipt: undefined, tombstones: [] }
const answered: DepositOutcome = { ok: true, level: 0, reply }
const silent: DepositOutcome = { ok: false, code: 'OVERLAY_TIMEOUT' }
const batchMax = 4

/** A node whose answers the test decides. */
class Scene {
  readonly clock = new VirtualClock()
  readonly offers: { ids: EnvelopeId[], atMs: number }[] = []
  readonly settled: OfferedBatch[] = []
  readonly gone = new Set<EnvelopeId>()
  readonly destination: Destination
  outcome: DepositOutcome = answered
  answerMs = 10
  underWay = 0
  mostUnderWay = 0

  constructor() {
    this.destination = new Destination({ clock: this.clock, random: seededRandom('destination') }, {
      offer: async (_to, ids) => {
        this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay)
        const offered = ids.filter((id) => !this.gone.has(id))
        this.offers.push({ ids: offered, atMs: this.clock.monotonicMs() })
        await new Promise<void>((resolve) => { this.clock.after(this.answerMs, resolve) })
        this.underWay--
        const outcome = offered.length === 0 ? answered : this.outcome
        return { offered, gone: ids.filter((id) => this.gone.has(id)), outcome }
      },
      settled: (_to, batch) => { this.settled.push(batch) },
    }, { nodeId, batchMax })
  }

  add(count: number, from = 0): EnvelopeId[] {
    const ids = Array.from({ length: count }, (_, i) => `id${from + i}` as EnvelopeId)
    for (const id of ids) this.destination.add(id)
    return ids
  }
}

test('offers in order, a batch at a time, one batch after the other', async () => {
  const scene = new Scene()
  const ids = scene.add(10)
  await scene.clock.advance(1_000)
  assert.equal(scene.offers.map((offer) => offer.ids.length), [4, 4, 2])
  assert.equal(scene.offers.flatMap((offer) => offer.ids), ids)
  assert.is(scene.mostUnderWay, 1)
  assert.ok(scene.destination.isIdle)
})

test('keeps what is not answered and offers it again, later each time, up to five minutes', async () => {
  const scene = new Scene()
  scene.outcome = silent
  const ids = scene.add(2)
  await scene.clock.advance(3_600_000)
  const times = scene.offers.map((offer) => offer.atMs)
  const pauses = times.slice(1).map((atMs, i) => atMs - times[i]! - scene.answerMs)
  assert.ok(pauses[0]! >= 800 && pauses[0]! <= 1_200, `${pauses[0]}`)
  assert.ok(pauses[3]! >= 0.8 * 8_000 && pauses[3]! <= 1.2 * 8_000, `${pauses[3]}`)
  assert.ok(pauses.every((pause) => pause <= 1.2 * 300_000))
  assert.ok(pauses.at(-1)! >= 0.8 * 300_000)
  assert.ok(scene.offers.every((offer) => offer.ids.join() === ids.join()))
  assert.ok(scene.destination.isSilent && ids.every((id) => scene.destination.has(id)))
  scene.destination.stop()
})

test('tries at once when woken, and begins anew with the first pause after an answer', async () => {
  const scene = new Scene()
  scene.outcome = silent
  scene.add(1)
  await scene.clock.advance(600_000)
  const before = scene.offers.length
  scene.outcome = answered
  scene.destination.wake()
  await scene.clock.advance(100)
  assert.is(scene.offers.length, before + 1)
  assert.not(scene.destination.isSilent)
  scene.outcome = silent
  scene.add(1, 50)
  await scene.clock.advance(2_000)
  assert.is(scene.offers.length, before + 3, 'the first pause is about a second again')
  scene.destination.stop()
})

test('a wake without a pause under way does nothing', async () => {
  const scene = new Scene()
  scene.destination.wake()
  scene.add(1)
  scene.destination.wake()
  await scene.clock.advance(100)
  assert.is(scene.offers.length, 1)
})

test('what is gone leaves the queue, and says nothing about the node', async () => {
  const scene = new Scene()
  scene.outcome = silent
  const [first] = scene.add(1)
  await scene.clock.advance(100)
  assert.ok(scene.destination.isSilent)
  scene.gone.add(first!)
  await scene.clock.advance(10_000)
  assert.not(scene.destination.has(first!))
  assert.ok(scene.destination.isSilent, 'nobody answered')
  assert.is(scene.clock.pending, 0)
})

test('what is removed while it waits is not offered again', async () => {
  const scene = new Scene()
  scene.outcome = silent
  const [first, second] = scene.add(2)
  await scene.clock.advance(100)
  scene.destination.remove(first!)
  scene.outcome = answered
  await scene.clock.advance(10_000)
  assert.equal(scene.offers.at(-1)!.ids, [second])
  assert.ok(scene.destination.isIdle)
})

test('what is added while a batch is under way goes with the next', async () => {
  const scene = new Scene()
  scene.add(1)
  await scene.clock.advance(5)
  scene.add(2, 10)
  await scene.clock.advance(100)
  assert.equal(scene.offers.map((offer) => offer.ids.length), [1, 2])
})

test('leaves no timer and hears of no answer once stopped', async () => {
  const scene = new Scene()
  scene.outcome = silent
  scene.add(1)
  await scene.clock.advance(100)
  assert.is(scene.settled.length, 1)
  scene.destination.stop()
  assert.is(scene.clock.pending, 0)

  const other = new Scene()
  other.add(8)
  await other.clock.advance(5)
  other.destination.stop()
  other.destination.add('late' as EnvelopeId)
  other.destination.wake()
  await other.clock.advance(1_000)
  assert.is(other.offers.length, 1)
  assert.is(other.settled.length, 0)
})

test.run()

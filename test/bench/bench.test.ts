/** The arithmetic of benchmarks: medians, ratios of interleaved rounds, floors and targets. */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { compare, holdsFloor, interleaved, median, percentile, reachesTarget } from './bench.ts'
import type { BenchRow } from './bench.ts'

const test = suite('bench')

test('medians and percentiles are values that were measured', () => {
  assert.is(median([5, 1, 9]), 5)
  assert.is(percentile([1, 2, 3, 4], 99), 4)
  assert.is(percentile([7], 1), 7)
  assert.ok(Number.isNaN(median([])))
})

test('interleaved rounds take turns, every second one backwards, and drop the first', async () => {
  const calls: string[] = []
  let value = 0
  const rounds = await interleaved({
    rounds: 2,
    sides: {
      ours: () => { calls.push('ours'); return value++ },
      theirs: async () => { calls.push('theirs'); return await Promise.resolve(value++) },
    },
  })
  assert.equal(calls, ['ours', 'theirs', 'theirs', 'ours', 'ours', 'theirs'])
  assert.equal(rounds, { ours: [3, 4], theirs: [2, 5] })
})

test('a ratio is the median of the ratios round by round', () => {
  const rounds = { ours: [10, 20, 30], theirs: [10, 10, 10] }
  const row = compare(rounds, 'ours', { against: 'theirs', name: 'the others' })
  assert.equal(row, { value: 20, against: 'the others', againstValue: 10, ratio: 2 })
})

test('floor and target bind the ratio, in the better direction', () => {
  const bounds = { floor: 0.15, target: 0.4 }
  const row: BenchRow = { figure: 'f', value: 1, unit: '1/s', ratio: 0.3, better: 'higher', ...bounds }
  assert.ok(holdsFloor(row))
  assert.not(reachesTarget(row))
  const time: BenchRow = { figure: 'f', value: 100, unit: 'ms', better: 'lower', floor: 90, target: 120 }
  assert.not(holdsFloor(time))
  assert.ok(reachesTarget(time))
})

test('a figure that could not be measured holds nothing', () => {
  const row: BenchRow = { figure: 'f', value: Number.NaN, unit: 'ms', better: 'lower', floor: 90 }
  assert.not(holdsFloor(row))
})

test.run()

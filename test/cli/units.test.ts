/** Durations, sizes and times: read strictly, shown shortly. */
import * as assert from 'uvu/assert'
import { errorCode } from '../../crypto/errors.ts'
import { formatDuration, formatSize, formatTime, parseDuration } from '../../cli/units.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('cli/units')

test('reads durations with a unit, and nothing else', () => {
  const right = { '500ms': 500, '10s': 10_000, '1.5m': 90_000, '2h': 7_200_000, '7d': 604_800_000, '0s': 0 }
  for (const [text, ms] of Object.entries(right)) assert.is(parseDuration(text), ms, text)
  for (const wrong of ['', '10', 's', '-1s', '1e3s', '10 s s', '1w', '400d', '99999999999s']) {
    let code: string | undefined
    try {
      parseDuration(wrong)
    } catch (error) {
      code = errorCode(error)
    }
    assert.is(code, 'USAGE_ARGUMENT', wrong)
  }
})

test('shows durations in two units at most', () => {
  const shown: [number, string][] = [
    [-5, '0 ms'], [38, '38 ms'], [999, '999 ms'], [1_000, '1s'], [61_000, '1m 1s'], [11_520_000, '3h 12m'],
    [86_460_000, '1d'], [90_061_000, '1d 1h'], [172_800_000, '2d'],
  ]
  for (const [ms, text] of shown) assert.is(formatDuration(ms), text)
})

test('shows sizes with one digit where it says something', () => {
  const shown: [number, string][] = [[0, '0 B'], [1_023, '1023 B'], [1_536, '1.5 kB'], [41 * 1_024, '41 kB'],
    [512 * 1_024 ** 2, '512 MB'], [3 * 1_024 ** 4, '3 TB']]
  for (const [bytes, text] of shown) assert.is(formatSize(bytes), text)
})

test('shows the day unless it is today', () => {
  const noon = new Date(2026, 10, 22, 12, 5).getTime()
  assert.is(formatTime(noon, noon + 3_600_000), '12:05')
  assert.is(formatTime(noon, noon + 86_400_000), '2026-11-22 12:05')
})

test.run()

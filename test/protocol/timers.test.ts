/** Sleep, time limit and repeated work, on a clock that is moved by hand. */
import * as assert from 'uvu/assert'
import { Repeater, sleep, within } from '../../protocol/timers.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const test = suite('protocol/timers')

test('sleeps until the time is over, or until it is woken', async () => {
  const clock = new VirtualClock()
  const woken: string[] = []
  const abort = new AbortController()
  void sleep(clock, 1_000).then(() => woken.push('time'))
  void sleep(clock, 1_000, abort.signal).then(() => woken.push('signal'))
  abort.abort()
  await clock.settle()
  assert.equal(woken, ['signal'])
  await clock.advance(1_000)
  assert.equal(woken, ['signal', 'time'])
  assert.is(clock.pending, 0)
})

test('stops waiting for what takes too long', async () => {
  const clock = new VirtualClock()
  assert.is(await clock.until(within(clock, 50, new Promise(() => {})), { withinMs: 100 }), undefined)
  assert.is(await within(clock, 50, Promise.resolve(7)), 7)
})

test('repeats with jitter, never over itself, and goes on after an error', async () => {
  const clock = new VirtualClock()
  let running = 0
  let runs = 0
  const errors: unknown[] = []
  const repeater = new Repeater({ clock, random: seededRandom(1) }, async () => {
    assert.is(++running, 1)
    await sleep(clock, 30)
    running--
    if (++runs === 2) throw new Error('once')
  }, { everyMs: 100, onError: (error) => errors.push(error) })
  repeater.start()
  repeater.soon()
  await clock.advance(1)
  repeater.soon()
  await clock.advance(1_000)
  assert.ok(runs >= 7 && runs <= 11, `${runs} runs`)
  assert.is(errors.length, 1)
  const stopped = repeater.stop()
  await clock.advance(30)
  await stopped
  const before = runs
  repeater.soon()
  await clock.advance(1_000)
  assert.is(runs, before)
})

test.run()

/** Holds the system's clock and the virtual one to the one suite of the `Clock` port. */
import * as assert from 'uvu/assert'
import type { Clock } from '../../protocol/ports.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { suite } from '../helpers/harness.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

interface ClockSubject {
  readonly clock: Clock
  /** Lets at least `ms` pass on it. */
  elapse(ms: number): Promise<void>
}

function clockSuite(name: string, subject: () => ClockSubject): void {
  const test = suite(`compliance/clock ${name}`)

  test('tells milliseconds since 1970, and a time that never goes back', async () => {
    const { clock, elapse } = subject()
    assert.ok(clock.now() > Date.UTC(2025, 0) && clock.now() < Date.UTC(2100, 0))
    const before = clock.monotonicMs()
    await elapse(5)
    assert.ok(clock.monotonicMs() - before >= 4)
  })

  test('runs a callback once, not before its delay is over and never at once', async () => {
    const { clock, elapse } = subject()
    const start = clock.monotonicMs()
    const firedAt: number[] = []
    clock.after(10, () => { firedAt.push(clock.monotonicMs() - start) })
    clock.after(0, () => { firedAt.push(0) })
    assert.equal(firedAt, [])
    await elapse(40)
    assert.is(firedAt.length, 2)
    // The system's timers count whole milliseconds, its clock parts of them.
    assert.ok(firedAt[1]! >= 9, `after ${firedAt[1]} ms`)
  })

  test('fires in the order of due times, and of creation for the same time', async () => {
    const { clock, elapse } = subject()
    const order: string[] = []
    clock.after(60, () => { order.push('late') })
    clock.after(5, () => { order.push('first') })
    clock.after(5, () => { order.push('second') })
    await elapse(100)
    assert.equal(order, ['first', 'second', 'late'])
  })

  test('never runs a cancelled callback; cancelling again or late does nothing', async () => {
    const { clock, elapse } = subject()
    let fired = 0
    const cancelled = clock.after(5, () => { fired++ })
    const kept = clock.after(5, () => { fired++ })
    cancelled.cancel()
    cancelled.cancel()
    await elapse(20)
    kept.cancel()
    assert.is(fired, 1)
  })

  test('a callback may set and cancel timers', async () => {
    const { clock, elapse } = subject()
    const seen: string[] = []
    const doomed = clock.after(30, () => { seen.push('doomed') })
    clock.after(1, () => {
      doomed.cancel()
      clock.after(1, () => { seen.push('nested') })
    })
    await elapse(200)
    assert.equal(seen, ['nested'])
  })

  test('takes delays that the platform cannot hold in one timer', async () => {
    const { clock, elapse } = subject()
    let fired = false
    const timer = clock.after(2 ** 31 + 1_000, () => { fired = true })
    await elapse(20)
    timer.cancel()
    assert.not(fired)
  })

  test.run()
}

clockSuite('system', () => ({
  clock: systemClock,
  elapse: (ms) => new Promise((done) => { setTimeout(done, ms) }),
}))

clockSuite('virtual', () => {
  const clock = new VirtualClock()
  return { clock, elapse: (ms) => clock.advance(ms) }
})

// ── What only one of them promises ──────────────────────────────────────────────────────────

const system = suite('protocol/system-clock')

system('its timers do not keep the process alive', () => {
  const before = process.getActiveResourcesInfo().length
  const timer = systemClock.after(60_000, () => {})
  assert.is(process.getActiveResourcesInfo().length, before)
  timer.cancel()
})

system.run()

const virtual = suite('helpers/virtual-clock')

/** The message that `promise` rejects with. */
async function rejection(promise: Promise<unknown>): Promise<string> {
  return await promise.then(() => 'it did not reject', (error: Error) => error.message)
}

virtual('stands at the due time while a callback runs, and at the end afterwards', async () => {
  const clock = new VirtualClock()
  const seen: number[] = []
  clock.after(100, () => { seen.push(clock.monotonicMs()) })
  clock.after(250, () => { seen.push(clock.monotonicMs()) })
  await clock.advance(1_000)
  assert.equal(seen, [100, 250])
  assert.is(clock.monotonicMs(), 1_000)
})

virtual('lets promises of any depth run to their end between two timers', async () => {
  const clock = new VirtualClock()
  const seen: string[] = []
  clock.after(1, () => {
    void (async () => {
      for (let i = 0; i < 1_000; i++) await null
      seen.push('chain')
    })()
  })
  clock.after(1, () => { seen.push('second timer') })
  await clock.advance(1)
  assert.equal(seen, ['chain', 'second timer'])
})

virtual('goes on until a promise settles, and says so when it does not', async () => {
  const clock = new VirtualClock()
  const soon = new Promise<string>((resolve) => { clock.after(500, () => { resolve('done') }) })
  assert.is(await clock.until(soon, { withinMs: 10_000 }), 'done')
  assert.is(clock.monotonicMs(), 500)
  const never = clock.until(new Promise(() => {}), { withinMs: 50 })
  assert.match(await rejection(never), /not settled within 50 ms/)
})

virtual('rejects with what a callback throws, and can go on', async () => {
  const clock = new VirtualClock()
  clock.after(1, () => { throw new Error('broken timer') })
  clock.after(2, () => {})
  assert.is(await rejection(clock.advance(10)), 'broken timer')
  await clock.advance(10)
  assert.is(clock.pending, 0)
})

virtual('the wall clock can be set; timers do not notice', async () => {
  const clock = new VirtualClock()
  const wall = clock.now()
  clock.jumpWall(-86_400_000)
  let fired = false
  clock.after(10, () => { fired = true })
  await clock.advance(10)
  assert.ok(fired)
  assert.is(clock.now(), wall - 86_400_000 + 10)
})

virtual('forgets cancelled timers', async () => {
  const clock = new VirtualClock()
  for (let i = 0; i < 100_000; i++) clock.after(30_000, () => {}).cancel()
  const order: number[] = []
  for (const delay of [5, 3, 9, 1]) clock.after(delay, () => { order.push(delay) })
  assert.is(clock.pending, 4)
  await clock.advance(60_000)
  assert.equal(order, [1, 3, 5, 9])
  assert.is(clock.fired, 4)
})

virtual.run()

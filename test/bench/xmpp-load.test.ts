/** The load of the XMPP bench against our own server, for a moment: its figures are of messages that came. */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { BenchProcess } from './bench-process.ts'
import { cpuOf, memoryOf, startOurs } from './xmpp-contenders.ts'
import type { Contender } from './xmpp-contenders.ts'
import type { Flow, LoadCommand, Waiting } from './xmpp-load.ts'

const test = suite('the load of the XMPP bench', { timeoutMs: 60_000 })

let load: BenchProcess<LoadCommand>
let at: Contender

test.before(async () => {
  load = await BenchProcess.start(new URL('./xmpp-load.ts', import.meta.url), 'load')
  at = await startOurs({ domain: 'a.test', isArchiving: false, accounts: 3 })
})
test.after(async () => {
  await load.end()
  await at.stop()
})

test('a flow and a steady trickle count each message once', async () => {
  await load.ask({ op: 'pairs', name: 'ours', count: 2, from: at, to: at })
  const before = cpuOf(at.pid)
  const flow = await load.ask<Flow>({ op: 'flow', name: 'ours', inFlight: 3, ms: 200 })
  assert.ok(flow.messages >= 6)
  assert.ok(flow.p50 <= flow.p99)
  assert.ok(cpuOf(at.pid) >= before)
  const steady = await load.ask<Flow>({ op: 'steady', name: 'ours', perSecond: 50, ms: 200 })
  assert.is(steady.messages, 10)
  await load.ask({ op: 'leave', name: 'ours' })
})

test('what waits is stored and fetched', async () => {
  const { storedPerSecond, fetchedPerSecond } = await load.ask<Waiting>(
    { op: 'offline', at, pairs: 2, each: 5 },
  )
  assert.ok(storedPerSecond > 0 && fetchedPerSecond > 0)
})

test('sessions come and go, or stay', async () => {
  await load.ask({ op: 'logins', at, accounts: 3, count: 4 })
  assert.is(await load.ask<number>({ op: 'crowd', at, accounts: 3, first: 0, count: 5 }), 5)
  await at.tidy()
  assert.ok(memoryOf(at.pid) > 10)
})

test.run()

/**
 * UDP links over a real network: two hosts of the kernel's own making, a narrow path that loses
 * packets at random, and a device whose address changes. TCP on the same path stands beside it.
 */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { transfer } from '../helpers/link-transfer.ts'
import { TwoHosts } from '../helpers/two-hosts.ts'

const test = suite('scenes/udp-network', { timeoutMs: 120_000 })
const missing = TwoHosts.unavailable()
const onNetwork = test.skipUnless(missing === undefined, missing ?? '')
const path = { megabitsPerSecond: 20, tcpCongestion: 'cubic' }

let hosts: TwoHosts | undefined
test.after.each(() => {
  hosts?.remove()
  hosts = undefined
})

for (const lossRate of [0.01, 0.05, 0.2]) {
  onNetwork(`${lossRate * 100} % lost: all messages both ways, once and in order`, async () => {
    hosts = new TwoHosts({ ...path, lossRate })
    const done = await transfer(hosts, { transport: 'udp', messages: 100, bytes: 10_000, direction: 'both' })
    process.stdout.write(`  ${done.megabitsPerSecond.toFixed(1)} Mbit/s both ways together, `
      + `${done.metrics['lost']} packets lost on the way down\n`)
    assert.is(done.ended, 'done')
    assert.ok(done.inOrder)
    assert.ok(done.metrics['unprovenBytesOut']! <= done.metrics['unprovenBytesIn']!)
  })
}

onNetwork('5 % lost: at least seven tenths of what TCP carries', async () => {
  hosts = new TwoHosts({ ...path, lossRate: 0.05 })
  const work = { messages: 150, bytes: 10_000, direction: 'up' } as const
  const udp = await transfer(hosts, { transport: 'udp', ...work })
  const tcp = await transfer(hosts, { transport: 'tcp', ...work })
  const ratio = udp.megabitsPerSecond / tcp.megabitsPerSecond
  const [ours, theirs] = [udp, tcp].map(({ megabitsPerSecond }) => megabitsPerSecond.toFixed(1))
  process.stdout.write(`  UDP ${ours}, TCP ${theirs} Mbit/s, ratio ${ratio.toFixed(2)}\n`)
  assert.ok(udp.inOrder && tcp.inOrder)
  assert.ok(ratio >= 0.7, `${ratio}`)
})

onNetwork('a device whose address changes every second goes on, over fresh sockets', async () => {
  hosts = new TwoHosts({ ...path, megabitsPerSecond: 4, lossRate: 0.01 })
  let last = 2
  const done = await transfer(hosts, {
    transport: 'udp', messages: 150, bytes: 10_000, direction: 'both',
    meanwhile: (network) => network.moveDevice(++last),
  })
  process.stdout.write(`  ${last - 2} addresses, ${done.metrics['migrations']} moves, `
    + `${done.megabitsPerSecond.toFixed(1)} Mbit/s\n`)
  assert.is(done.ended, 'done')
  assert.ok(done.inOrder)
  assert.ok(done.metrics['migrations']! >= 2)
})

test.run()

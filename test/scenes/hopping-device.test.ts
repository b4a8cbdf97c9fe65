/**
 * A device that never stays: every second it comes by another transport from another address, and
 * its home node is killed meanwhile, yet both people's histories are what was written. The long form
 * is `npm run campaign -- hop`.
 */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { playHopping } from '../helpers/hopping-play.ts'

const test = suite('scenes/hopping device', { timeoutMs: 240_000 })

test('2,000 texts each way while the phone hops and its home node is killed', async () => {
  const { up, down, hops, links, addresses } = await playHopping({
    count: 2_000, perSecond: 200, kills: 1, drainMs: 120_000,
  })
  for (const { sent, received, written, undelivered } of [up, down]) {
    assert.equal(received, sent)
    assert.equal(written, sent)
    assert.is(undelivered, 0)
  }
  assert.ok(hops >= 9, `${hops} hops`)
  assert.equal(Object.keys(links).sort(), ['http2', 'tcp', 'udp', 'ws'])
  assert.ok(addresses >= 8, `${addresses} addresses`)
})

test.run()

/** The slow reader with few bytes; test/scenes/slow-reader.test.ts offers 200 MB. */
import * as assert from 'uvu/assert'
import { libp2pTimeoutMs, suite } from '../../helpers/harness.ts'
import { growthBytesMax, offerToSlowReader } from './slow-reader.ts'

const test = suite('node/overlay/slow-reader', { timeoutMs: 60_000, leakGraceMs: libp2pTimeoutMs })

test('neither grows nor loses anything when 40 MB are offered to a node that does not read', async () => {
  const { senderGrowth, readerGrowth } = await offerToSlowReader({ bytes: 40e6 })
  assert.ok(senderGrowth < growthBytesMax, `the sender grew by ${senderGrowth} bytes`)
  assert.ok(readerGrowth < growthBytesMax, `the reader grew by ${readerGrowth} bytes`)
})

test.run()

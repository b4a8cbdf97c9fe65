/** 200 MB for a node that does not read: two real processes, their memory, and every byte. */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { growthBytesMax, offerToSlowReader } from '../node/overlay/slow-reader.ts'

const test = suite('scenes/slow-reader', { timeoutMs: 300_000 })

test('neither grows nor loses anything when 200 MB are offered to a node that does not read', async () => {
  const { senderGrowth, readerGrowth } = await offerToSlowReader({ bytes: 200e6 })
  assert.ok(senderGrowth < growthBytesMax, `the sender grew by ${senderGrowth} bytes`)
  assert.ok(readerGrowth < growthBytesMax, `the reader grew by ${readerGrowth} bytes`)
})

test.run()

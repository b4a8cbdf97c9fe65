/**
 * One process dies at each of its writes, one after the other, while a device is linked and first
 * words are said (test/helpers/crash-story.ts): nothing is lost, nothing doubled, and all devices and
 * the contact show the same. The new device's own writes are devices-crash-new.test.ts's, more people
 * devices-crash-family.test.ts's.
 */
import * as assert from 'uvu/assert'
import { cutEverywhere } from '../../helpers/crash-story.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices-crash', { timeoutMs: 120_000 })
const cast = { seed: 'crash', devices: ['phone'], contacts: ['Bob'] }

test('loses and doubles nothing by a crash of the primary at any write of linking', async () => {
  assert.ok(await cutEverywhere(cast, 'Alice') > 40)
})

test('loses and doubles nothing by a crash of the contact at any write meanwhile', async () => {
  assert.ok(await cutEverywhere(cast, 'Bob') > 20)
})

test.run()

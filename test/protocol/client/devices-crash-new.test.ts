/** As devices-crash.test.ts, with the device that is being linked as the one that dies. */
import * as assert from 'uvu/assert'
import { cutEverywhere } from '../../helpers/crash-story.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices-crash-new', { timeoutMs: 120_000 })

test('loses and doubles nothing by a crash of the new device at any of its first writes', async () => {
  const cast = { seed: 'crash new', devices: ['phone'], contacts: ['Bob'] }
  assert.ok(await cutEverywhere(cast, 'phone') > 40)
})

test('and by a crash of either device while mail is lost, doubled and late, and sessions break', async () => {
  const faults = { drop: 0.25, double: 0.25, shuffle: 0.4, resetEveryMs: 3_000 }
  const cast = { seed: 'crash in a storm', devices: ['phone'], contacts: ['Bob'], faults }
  for (const victim of ['Alice', 'phone']) {
    assert.ok(await cutEverywhere(cast, victim, { step: 5, first: 2 }) > 5)
  }
})

test.run()

/**
 * As devices-crash.test.ts, with two contacts and two devices that are linked one after the other. A
 * telling takes longer and has some 670 writes, so one in `OPENIM_CRASH_STEP` is the last one here;
 * 1, and other seeds, are for long searches:
 *
 * ```sh
 * OPENIM_CRASH_STEP=1 OPENIM_CRASH_SEED=2 node test/run.ts test/protocol/client/devices-crash-family.test.ts
 * ```
 */
import * as assert from 'uvu/assert'
import { cutEverywhere } from '../../helpers/crash-story.ts'
import { suite } from '../../helpers/harness.ts'

const step = Number(process.env['OPENIM_CRASH_STEP'] ?? 48)
const seed = `family ${process.env['OPENIM_CRASH_SEED'] ?? 1}`
const cast = { seed, devices: ['phone', 'tablet'], contacts: ['Bob', 'Carol'] }
const test = suite('protocol/client/devices-crash-family', { timeoutMs: 3_600_000 / step })

for (const [i, victim] of ['Alice', 'phone', 'tablet', 'Bob', 'Carol'].entries()) {
  test(`loses and doubles nothing by a crash of ${victim} among three devices and two contacts`, async () => {
    assert.ok(await cutEverywhere(cast, victim, { step, first: 1 + (5 * i) % step }) > 0)
  })
}

test.run()

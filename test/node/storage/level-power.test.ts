/**
 * Power cuts for the embedded store: killed while it writes, then every file is cut back to what
 * was synced (test/helpers/sync-shim.ts). The same on a store that does not sync shows that the
 * model takes what a power cut would.
 */
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { shimMissing, SyncShim } from '../../helpers/sync-shim.ts'
import { killCampaignAt } from './kill-campaign.ts'
import type { Power } from './kill-campaign.ts'
import { openPlace } from './kill-place.ts'
import { inDirectory } from './level-fixture.ts'

const test = suite('node/storage/level-power', { timeoutMs: 120_000 })
const shimTest = test.skipUnless(shimMissing === undefined, shimMissing ?? '', { allowInCI: true })

/** Bytes that went with the power, and what held before. */
async function campaign(rounds: number, unsynced: boolean) {
  return await inDirectory(async (directory) => {
    const shim = await SyncShim.open()
    let gone = 0
    const power: Power = {
      env: shim.env,
      settle: () => shim.settle(directory),
      async cut() { gone += await shim.cutPower(directory) },
    }
    try {
      const place = { kind: 'level', directory, unsynced } as const
      // Made in peace: without its first record there is nothing to open.
      await (await openPlace({ kind: 'level', directory })).close()
      const result = await killCampaignAt(place, { rounds, seed: 'power cuts', power })
      return { ...result, gone, syncs: await shim.syncs() }
    } finally {
      await shim.remove()
    }
  })
}

shimTest('loses nothing it said was durable, and opens whole, when the power fails five times', async () => {
  const { put, acknowledged, gone, syncs } = await campaign(5, false)
  assert.ok(put > 500 && acknowledged > 100, `${put} stored, ${acknowledged} acknowledged`)
  assert.ok(gone > 0, 'something was not synced yet')
  assert.ok(syncs > 20, `${syncs} syncs`)
})

shimTest('the same power cut takes what a store that does not sync said it had', async () => {
  const lost = await campaign(3, true).then(() => 'nothing', (error: Error) => error.message)
  assert.match(lost, /\d is lost/, lost)
})

test.run()

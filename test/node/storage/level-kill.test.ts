/** The short form of the kill −9 campaign; kill-campaign.ts runs it as long as you like. */
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { killCampaign } from './kill-campaign.ts'

const test = suite('node/storage/level-kill', { timeoutMs: 120_000 })

test('loses nothing it said was durable when it is killed three times', async () => {
  const { put, acknowledged } = await killCampaign(3, 'short form')
  assert.ok(put > 200 && acknowledged > 50, `${put} stored, ${acknowledged} acknowledged`)
})

test.run()

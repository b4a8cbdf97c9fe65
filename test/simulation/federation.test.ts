/**
 * Two hundred nodes, 30 % of which fail and rejoin, 1 % packet loss and three partitions: nothing
 * is lost, nothing comes twice. Seeds are printed by a failure; `npm run campaign -- federation`
 * runs as many of them as one wants.
 */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { runFederation } from './federation.ts'

const test = suite('simulation/federation', { timeoutMs: 300_000 })
const minute = 60_000

for (let seed = 1; seed <= 4; seed++) {
  test(`seed ${seed}: 200 nodes, churn, loss and partitions lose and double nothing`, async () => {
    const result = await runFederation({
      seed,
      nodes: 200,
      pairs: 12,
      messages: 20,
      lossRate: 0.01,
      churn: 0.3,
      partitions: 3,
      hectic: 40 * minute,
    })
    assert.ok(result.sent > 300, `${result.sent} sent`)
    assert.ok(result.crashes >= 50, `${result.crashes} crashes`)
    const { lost, doubled, disordered, untrue } = result
    assert.equal({ lost, doubled, disordered, untrue }, { lost: 0, doubled: 0, disordered: 0, untrue: 0 })
  })
}

test.run()

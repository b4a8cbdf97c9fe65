/** Two hundred times one damaged record, each in a little federation of its own (damage.ts). */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { runDamage } from './damage.ts'

const test = suite('simulation/damage', { timeoutMs: 140_000 })
const cases = 200
const atOnce = 50

for (let first = 1_000; first < 1_000 + cases; first += atOnce) {
  const last = first + atOnce - 1
  test(`seeds ${first} to ${last}: refused with a code, or set aside and all goes on`, async () => {
    const outcomes = new Map<string, number>()
    for (let seed = first; seed <= last; seed++) {
      const { name, outcome, problems } = await runDamage(seed)
      assert.equal(problems, [], `seed ${seed}, ${name}`)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
    assert.ok((outcomes.get('set aside') ?? 0) > atOnce / 2, JSON.stringify([...outcomes]))
    assert.ok((outcomes.get('refused') ?? 0) > 0)
  })
}

test.run()

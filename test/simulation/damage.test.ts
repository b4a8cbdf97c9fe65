/** Two hundred times one damaged record, each in a little federation of its own (damage.ts). */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { runDamage } from './damage.ts'

const test = suite('simulation/damage', { timeoutMs: 300_000 })
const [first, cases] = [1_000, 200]

test('each is refused with a code, or set aside by name while everything goes on', async () => {
  const outcomes = new Map<string, number>()
  for (let seed = first; seed < first + cases; seed++) {
    const { name, outcome, problems } = await runDamage(seed)
    assert.equal(problems, [], `seed ${seed}, ${name}`)
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  assert.ok((outcomes.get('set aside') ?? 0) > cases / 2, JSON.stringify([...outcomes]))
  assert.ok((outcomes.get('refused') ?? 0) > 0)
})

test.run()

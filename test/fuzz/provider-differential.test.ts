/** 12,000 questions to every crypto backend (test/crypto/support/differential.ts), one answer each. */
import * as assert from 'uvu/assert'
import { crypto } from '../../crypto/index.ts'
import { askAll } from '../crypto/support/differential.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('fuzz/crypto providers', { timeoutMs: 300_000 })

for (const seed of ['differential-1', 'differential-2', 'differential-3']) {
  test(`all backends answer alike (seed ${seed})`, async () => {
    await crypto.warmUp()
    const asked = askAll({ seed, count: 4_000 })
    const counts = Object.entries(asked).map(([kind, count]) => `${kind} ${count}`)
    process.stdout.write(`\n  ${counts.join(', ')}\n`)
    assert.is(Object.values(asked).reduce((sum, count) => sum + count, 0), 4_000)
  })
}

test.run()

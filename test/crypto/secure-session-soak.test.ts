/** The session model (support/session-world.ts) for half a minute; what it holds does not grow. */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { soak } from './support/session-soak.ts'

const test = suite('crypto/secure-session soak', { timeoutMs: 300_000 })

test('60,000 messages among four and six devices are read once or reported, in bounded memory', () => {
  const result = soak({ seed: 'soak', messages: 60_000 })
  const { sent, read, reported, lost } = result
  assert.is(sent >= 60_000, true)
  // Some that were read were written, or given up, by devices that went back and forgot it.
  assert.ok(read + reported + lost >= sent, JSON.stringify(result))
})

test.run()

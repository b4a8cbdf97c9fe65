/** The short form of `npm run campaign -- xmpp-stream`. */
import { suite } from '../../../helpers/harness.ts'
import { streamFuzzCase } from '../../../helpers/xmpp-stream-fuzz.ts'

const test = suite('bridges/xmpp/xml/stream-fuzz', { timeoutMs: 60_000 })

const cases = 3_000

test('reads what it wrote, and of damaged streams only what reads the same after it is written', () => {
  for (let i = 0; i < cases; i++) {
    try {
      streamFuzzCase(`xmpp-stream ${i}`)
    } catch (cause) {
      throw new Error(`case ${i}: ${(cause as Error).message}`, { cause })
    }
  }
})

test.run()

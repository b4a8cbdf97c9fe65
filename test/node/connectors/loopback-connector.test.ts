/** What only links in memory have. (test/compliance/connector.test.ts has the rest.) */
import * as assert from 'uvu/assert'
import { setImmediate } from 'node:timers/promises'
import { loopbackPair } from '../../../node/connectors/loopback-connector.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('node/connectors/loopback-connector')

test('hands over the very bytes, without a copy', async () => {
  const clock = new VirtualClock()
  const [a, b] = loopbackPair(clock)
  let received: Uint8Array | undefined
  b.listen({ message: (message) => { received = message }, drain: () => {}, closed: () => {} })
  const message = new Uint8Array([1])
  a.send(message)
  await clock.settle()
  assert.is(received, message)
})

test('two ends that answer each other for ever let the rest of the process live', async () => {
  const [a, b] = loopbackPair(systemClock)
  let messages = 0
  for (const end of [a, b]) {
    end.listen({
      message: (message) => {
        messages++
        end.send(message)
      },
      drain: () => {},
      closed: () => {},
    })
  }
  a.send(new Uint8Array(1))
  for (let i = 0; i < 10; i++) await setImmediate()
  assert.ok(messages > 100)
  a.close('TEST_DONE')
  await setImmediate()
})

test('gives the same events in the same order at the same times in every run', async () => {
  const run = async (): Promise<string> => {
    const clock = new VirtualClock()
    const [a, b] = loopbackPair(clock)
    const events: string[] = []
    for (const [name, end] of [['a', a], ['b', b]] as const) {
      end.listen({
        message: (message) => {
          events.push(`${name}${message[0]}@${clock.monotonicMs()}`)
          if (events.length < 3_000) end.send(new Uint8Array([message[0]! + 1]))
        },
        drain: () => events.push(`${name} drain`),
        closed: (code) => events.push(`${name} ${code}`),
      })
    }
    for (let i = 0; i < 700; i++) {
      a.send(new Uint8Array([i]))
      b.send(new Uint8Array(1_000))
    }
    await clock.advance(10)
    a.close('TEST_DONE')
    await clock.advance(10)
    return events.join(' ')
  }
  assert.is(await run(), await run())
})

test.run()

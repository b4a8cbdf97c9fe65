/** Events as an async iterable (protocol/client/event-stream.ts). */
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import { Emitter } from '../../../protocol/client/emitter.ts'
import { eventStream } from '../../../protocol/client/event-stream.ts'
import { limits } from '../../../protocol/limits.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/event-stream')

let emitter: Emitter<number>
let listening: number
test.before.each(() => {
  emitter = new Emitter<number>(() => {})
  listening = 0
})

function on(listener: (event: number) => void): () => void {
  listening++
  const off = emitter.on(listener)
  return () => {
    listening--
    off()
  }
}

async function collect(stream: AsyncIterable<number>, count: number): Promise<number[]> {
  const taken: number[] = []
  for await (const event of stream) {
    taken.push(event)
    if (taken.length === count) break
  }
  return taken
}

test('brings events in order, also those that come while the loop is at work', async () => {
  const taken = collect(eventStream(on), 5)
  emitter.emit(1)
  emitter.emit(2)
  await Promise.resolve()
  for (const event of [3, 4, 5]) emitter.emit(event)
  assert.equal(await taken, [1, 2, 3, 4, 5])
  assert.is(listening, 0)
})

test('ends when its signal aborts, after what came before', async () => {
  const abort = new AbortController()
  const taken = collect(eventStream(on, abort.signal), 10)
  emitter.emit(1)
  abort.abort()
  assert.equal(await taken, [1])
  assert.equal(await collect(eventStream(on, AbortSignal.abort()), 10), [])
  assert.is(listening, 0)
})

test('tells a loop that falls behind, once it took what was kept', async () => {
  const stream = eventStream(on)
  const first = stream.next()
  for (let i = 0; i <= limits.eventsWaitingMax + 5; i++) emitter.emit(i)
  assert.equal(await first, { value: 0, done: false })
  let taken = 1
  const code = await (async () => {
    for await (const _ of stream) taken++
  })().then(() => '', errorCode)
  assert.is(code, 'EVENTS_TOO_MANY')
  assert.ok(taken >= limits.eventsWaitingMax)
  assert.is(listening, 0)
})

test.run()

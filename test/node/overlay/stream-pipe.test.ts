/** The wrapper around libp2p streams, against real streams between two nodes on loopback. */
import type { Stream } from '@libp2p/interface'
import * as assert from 'uvu/assert'
import { libp2pTimeoutMs, suite } from '../../helpers/harness.ts'
import type { BuiltNode } from '../../../node/overlay/libp2p-node.ts'
import { StreamPipe } from '../../../node/overlay/stream-pipe.ts'
import { silentLog } from '../../../node/ports.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { rawNode, until } from './raw-node.ts'

const test = suite('node/overlay/stream-pipe', { leakGraceMs: libp2pTimeoutMs })
const protocol = '/openim/test/1'
const components = { clock: systemClock, log: silentLog }
const soon = (what: string) => ({ withinMs: 10_000, what })

let near: BuiltNode
let far: BuiltNode
let accepted: Stream[] = []

test.before(async () => {
  near = await rawNode()
  far = await rawNode()
  await far.node.handle(protocol, (stream) => { accepted.push(stream) }, { maxInboundStreams: 2 })
  await near.node.start()
  await far.node.start()
})

test.after(async () => {
  await Promise.all([near.node.stop(), far.node.stop()])
})

test.after.each(() => {
  for (const stream of accepted) stream.abort(new Error('test over'))
  accepted = []
})

async function open(): Promise<{ pipe: StreamPipe, stream: Stream, remote: Stream }> {
  const connection = await near.node.dial(far.node.getMultiaddrs()[0]!)
  const stream = await connection.newStream(protocol)
  await until(() => accepted.length > 0, soon('the stream arrives'))
  return { pipe: new StreamPipe(components, stream), stream, remote: accepted.at(-1)! }
}

interface Heard {
  bytes: number
  drains: number
  ends: number
}

function listen(pipe: StreamPipe, onDrain: () => void = () => {}): Heard {
  const heard = { bytes: 0, drains: 0, ends: 0 }
  pipe.listen({
    data: (chunk) => { heard.bytes += chunk.length },
    drained: () => {
      heard.drains++
      onDrain()
    },
    ended: () => { heard.ends++ },
  })
  return heard
}

test('says again and again that the stream drained, and what was sent then arrives', async () => {
  const { pipe, remote } = await open()
  let received = 0
  remote.addEventListener('message', ({ data }) => { received += data.byteLength })
  const chunk = new Uint8Array(64 * 1024)
  const total = 20 * 1024 * 1024
  let sent = 0
  let peak = 0
  // Sends from the drain event itself: what gets lost or stuck shows in the count.
  const pump = (): void => {
    while (sent < total && pipe.bufferedBytes < 1024 * 1024) {
      pipe.write(chunk)
      sent += chunk.length
      peak = Math.max(peak, pipe.bufferedBytes)
    }
  }
  const heard = listen(pipe, pump)
  pump()
  await until(() => received === total, soon('all of it arrives'))
  assert.ok(heard.drains > 3, `${heard.drains} drains`)
  assert.ok(peak <= 1024 * 1024 + chunk.length, `${peak} bytes were queued`)
  pipe.close()
})

test('shows what a peer that reads nothing has not taken', async () => {
  const { pipe, remote } = await open()
  remote.pause()
  listen(pipe)
  for (let i = 0; i < 48; i++) pipe.write(new Uint8Array(64 * 1024))
  await until(() => pipe.bufferedBytes > 0, soon('bytes pile up'))
  assert.ok(pipe.bufferedBytes > 1024 * 1024)
  pipe.abort('LINK_DEAD')
  assert.is(pipe.bufferedBytes, 0)
})

test('hands out plain byte arrays whose slices are copies', async () => {
  const { pipe, remote } = await open()
  const chunks: Uint8Array[] = []
  pipe.listen({ data: (chunk) => chunks.push(chunk), drained() {}, ended() {} })
  remote.send(new Uint8Array(10_000).fill(5))
  await until(() => chunks.length > 0, soon('bytes arrive'))
  assert.is(Object.getPrototypeOf(chunks[0]), Uint8Array.prototype)
  pipe.close()
})

test('says once that the stream ended, whether closed, reset or cut with its connection', async () => {
  for (const end of [
    (stream: Stream) => void stream.close(),
    (stream: Stream) => stream.abort(new Error('reset')),
    () => { for (const connection of far.node.getConnections()) connection.abort(new Error('cut')) },
  ]) {
    const { pipe, remote } = await open()
    const heard = listen(pipe)
    end(remote)
    await until(() => heard.ends > 0, soon('the end is heard'))
    await pipe.closed
    pipe.write(new Uint8Array(1))
    pipe.close()
    assert.is(heard.ends, 1)
  }
})

test('takes nothing more once closed, and what was queued still leaves', async () => {
  const { pipe, remote } = await open()
  let received = 0
  remote.addEventListener('message', ({ data }) => { received += data.byteLength })
  remote.addEventListener('remoteCloseWrite', () => { void remote.close() })
  const heard = listen(pipe)
  pipe.write(new Uint8Array(300_000))
  pipe.close()
  pipe.write(new Uint8Array(300_000))
  await pipe.closed
  assert.is(received, 300_000)
  assert.is(heard.ends, 0)
})

test('cuts a stream whose peer never takes the rest', async () => {
  const { pipe, remote, stream } = await open()
  remote.pause()
  listen(pipe)
  for (let i = 0; i < 40; i++) pipe.write(new Uint8Array(64 * 1024))
  pipe.close()
  await until(() => stream.status !== 'open' && stream.status !== 'closing', soon('the stream is cut'))
  assert.is(pipe.bufferedBytes, 0)
})

test('turns a bug in its listener into the end of the link, not of the process', async () => {
  const { pipe, remote } = await open()
  let ends = 0
  pipe.listen({ data: () => { throw new Error('a bug of ours') }, drained() {}, ended: () => { ends++ } })
  remote.send(new Uint8Array(1))
  await until(() => ends === 1, soon('the link ends'))
})

test.run()

/** A link between two nodes, both ends in memory and in virtual time. */
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { concat, utf8 } from '../../../crypto/bytes.ts'
import { limits } from '../../../protocol/limits.ts'
import { services } from '../../../protocol/service/codes.ts'
import { FrameBuffer, FrameSplitter, frameTypes, varintSize } from '../../../node/overlay/link-frames.ts'
import type { CallOptions } from '../../../node/ports.ts'
import type { CallResult } from '../../../node/overlay/link-calls.ts'
import { linkEnd, linkPair, MemoryPipe } from './link-pair.ts'
import type { LinkEnd } from './link-pair.ts'
import { nodeIdFromKey } from '../../../protocol/ids.ts'

const test = suite('node/overlay/peer-link')

let clock: VirtualClock
let a: LinkEnd
let b: LinkEnd

test.before.each(async () => {
  clock = new VirtualClock()
  ;({ a, b } = linkPair({ clock }))
  await clock.settle()
})

test.after.each(async () => {
  a.link.close()
  b.link.close()
  await clock.settle()
})

const patience = { timeoutMs: 5_000 }
const codeOf = (result: CallResult): string => (result.ok ? 'ok' : result.code)

function call(from: LinkEnd, body: Uint8Array, options: CallOptions = patience): Promise<CallResult> {
  return from.link.call(services.echo, body, options)
}

function settled(promise: Promise<CallResult>): Promise<CallResult> {
  return clock.until(promise, { withinMs: 60_000 })
}

function echo(end: LinkEnd): void {
  end.services.set(services.echo, async (_from, body) => ({ ok: true, value: body }))
}

/** A service that answers when told. */
function gated(end: LinkEnd): { running: () => number, open: () => void } {
  let running = 0
  let open: () => void = () => {}
  const gate = new Promise<void>((resolve) => { open = resolve })
  end.services.set(services.echo, async (_from, body) => {
    running++
    await gate
    running--
    return { ok: true, value: body.subarray(0, 4) }
  })
  return { running: () => running, open }
}

function numbered(type: number, value: number): Uint8Array {
  const buffer = new FrameBuffer(16)
  buffer.head(type, varintSize(value))
  buffer.varint(value)
  return buffer.finish()
}

function varint(value: number): Uint8Array {
  return numbered(0, value).subarray(2)
}

function framed(type: number, ...fields: (number | Uint8Array)[]): Uint8Array {
  const parts = fields.map((field) => typeof field === 'number' ? new Uint8Array([field]) : field)
  const payload = concat(...parts)
  const buffer = new FrameBuffer(payload.length + 8)
  buffer.head(type, payload.length)
  buffer.raw(payload)
  return buffer.finish()
}

test('is up at both ends after the hellos', () => {
  assert.equal([a.ups, b.ups], [1, 1])
  assert.equal([a.link.state, b.link.state], ['up', 'up'])
})

test('shares one write among what is sent in one tick', async () => {
  echo(b)
  a.pipe.writes = []
  b.pipe.writes = []
  const calls = Array.from({ length: 50 }, () => call(a, new Uint8Array(300)))
  for (const each of calls) assert.ok((await settled(each)).ok)
  assert.is(a.pipe.writes.length, 1)
  assert.is(b.pipe.writes.length, 1)
})

test('writes no more than the limit at once, however large the body', async () => {
  echo(b)
  const body = seededRandom('large').bytes(limits.callBodyBytesMax)
  const result = await settled(call(a, body))
  assert.ok(result.ok && Buffer.from(result.value).equals(body))
  assert.ok(Math.max(...a.pipe.writes, ...b.pipe.writes) <= limits.linkWriteBytesMax)
})

test('works when every byte arrives alone', async () => {
  echo(b)
  a.pipe.cutBytes = 1
  b.pipe.cutBytes = 1
  const bodies = [0, 1, 5_000, 40_000].map((length) => seededRandom(length).bytes(length))
  const results = await Promise.all(bodies.map((body) => call(a, body)))
  results.forEach((result, i) => assert.ok(result.ok && Buffer.from(result.value).equals(bodies[i]!)))
})

test('stops sending at the end of its credit and goes on as handlers finish', async () => {
  const gate = gated(b)
  const size = 100_000
  const calls = Array.from({ length: 64 }, (_, i) =>
    call(a, new Uint8Array(size).fill(i), { timeoutMs: 30_000 }))
  await clock.settle()
  const sent = a.pipe.writes.reduce((sum, bytes) => sum + bytes, 0)
  assert.ok(sent <= limits.linkWindowBytes + 4_096, `${sent} bytes went out`)
  assert.ok(sent > limits.linkWindowBytes / 2)
  gate.open()
  for (const [i, each] of calls.entries()) {
    const result = await settled(each)
    assert.ok(result.ok && result.value[0] === i)
  }
})

test('lets replies and heartbeats pass while its requests wait for credit', async () => {
  gated(b)
  echo(a)
  for (let i = 0; i < 40; i++) void call(a, new Uint8Array(100_000), { timeoutMs: 120_000 })
  await clock.settle()
  assert.ok((await settled(call(b, new Uint8Array(50_000)))).ok)
  await clock.advance(2 * limits.linkDeadMs)
  assert.equal([a.link.state, b.link.state], ['up', 'up'])
  assert.ok(a.link.rttMs !== undefined)
})

test('runs a bounded number of handlers at once for one peer', async () => {
  const gate = gated(b)
  const calls = Array.from({ length: 300 }, () => call(a, new Uint8Array(8), { timeoutMs: 30_000 }))
  await clock.settle()
  assert.is(gate.running(), limits.linkHandlersMax)
  gate.open()
  for (const each of calls) assert.ok((await settled(each)).ok)
})

test('starts no handler for a call whose caller gave up meanwhile', async () => {
  const gate = gated(b)
  const busy = Array.from({ length: limits.linkHandlersMax }, () =>
    call(a, new Uint8Array(1), { timeoutMs: 30_000 }))
  const late = call(a, new Uint8Array(1), { timeoutMs: 50 })
  assert.is(codeOf(await settled(late)), 'OVERLAY_TIMEOUT')
  let served = 0
  b.services.set(services.echo, async (_from, body) => {
    served++
    return { ok: true, value: body }
  })
  gate.open()
  for (const each of busy) assert.ok((await settled(each)).ok)
  await clock.advance(100)
  assert.is(served, 0)
})

test('encodes nothing while the transport is full, keeps no body of a call that timed out', async () => {
  echo(b)
  a.pipe.freeze()
  const calls = Array.from({ length: 100 }, () => call(a, new Uint8Array(100_000), { timeoutMs: 1_000 }))
  await clock.settle()
  assert.ok(a.pipe.bufferedBytes <= limits.linkQueueBytesMax + limits.linkWriteBytesMax)
  for (const each of calls) assert.is(codeOf(await settled(each)), 'OVERLAY_TIMEOUT')
  a.pipe.thaw()
  await clock.advance(300)
  assert.ok((await settled(call(a, new Uint8Array(10)))).ok)
})

test('goes on after a full transport even if nobody says that it drained', async () => {
  echo(b)
  a.pipe.onDrained(() => {})
  const calls = Array.from({ length: 30 }, () => call(a, new Uint8Array(100_000), { timeoutMs: 30_000 }))
  for (const each of calls) assert.ok((await settled(each)).ok)
})

test('refuses the caller that outruns it', async () => {
  gated(b)
  a.pipe.freeze()
  const calls = Array.from({ length: limits.linkWaitingCallsMax + 10 }, () => call(a, new Uint8Array(1)))
  const codes = (await Promise.all(calls.slice(-5))).map(codeOf)
  assert.equal(new Set(codes), new Set(['OVERLAY_OVERLOADED']))
  a.link.close()
})

test('keeps deadlines without a timer for each call', async () => {
  gated(b)
  const before = clock.pending
  const calls = Array.from({ length: 1_000 }, (_, i) => call(a, new Uint8Array(1), { timeoutMs: 100 + i }))
  await clock.settle()
  assert.ok(clock.pending <= before + 2, `${clock.pending} timers`)
  const endedAtMs: number[] = []
  calls.forEach((each) => void each.then(() => endedAtMs.push(clock.monotonicMs())))
  await clock.advance(2_000)
  assert.is(endedAtMs.length, 1_000)
  endedAtMs.toSorted((x, y) => x - y).forEach((endMs, i) => {
    assert.ok(endMs >= 100 + i && endMs <= 100 + i + 11, `call ${i} ended at ${endMs}`)
  })
})

test('drops a reply that comes after the deadline', async () => {
  const gate = gated(b)
  const under = call(a, new Uint8Array(70_000), { timeoutMs: 100 })
  assert.is(codeOf(await settled(under)), 'OVERLAY_TIMEOUT')
  gate.open()
  echo(b)
  await clock.advance(100)
  assert.ok((await settled(call(a, new Uint8Array(3)))).ok)
  assert.is(a.link.state, 'up')
})

test('is cut when the peer is silent for too long, and not before', async () => {
  await clock.advance(limits.linkHeartbeatMs + 1_000)
  assert.is(a.link.state, 'up')
  b.pipe.freeze()
  const startMs = clock.monotonicMs()
  const under = call(a, new Uint8Array(1), { timeoutMs: 1_000_000 })
  await clock.advance(limits.linkDeadMs - limits.linkHeartbeatMs)
  assert.is(a.link.state, 'up')
  const result = await settled(under)
  assert.equal(result, { ok: false, code: 'OVERLAY_UNREACHABLE', detail: 'LINK_DEAD' })
  assert.ok(clock.monotonicMs() - startMs <= limits.linkDeadMs + 100)
  assert.is(a.down, 'LINK_DEAD')
})

test('is cut when no hello comes', async () => {
  const pipe = new MemoryPipe()
  const end = linkEnd({ clock }, { id: a.id, remote: b.id, opener: 'local', pipe })
  await clock.advance(limits.linkHandshakeMs + 10)
  assert.is(end.down, 'LINK_HANDSHAKE')
  assert.is(end.ups, 0)
})

test('says goodbye, and both ends are down in order', async () => {
  gated(b)
  const under = call(a, new Uint8Array(1))
  await clock.settle()
  b.link.close()
  assert.equal(await settled(under), { ok: false, code: 'OVERLAY_UNREACHABLE', detail: 'LINK_CLOSED' })
  assert.equal([a.down, b.down], ['LINK_CLOSED', 'LINK_CLOSED'])
  assert.is(codeOf(await call(a, new Uint8Array(1))), 'OVERLAY_UNREACHABLE')
})

test('finishes its calls both ways before it gives way', async () => {
  const gateA = gated(a)
  const gateB = gated(b)
  const calls = [call(a, new Uint8Array(4)), call(b, new Uint8Array(4))]
  await clock.settle()
  a.link.retire('LINK_DUPLICATE')
  await clock.settle()
  assert.equal([a.link.state, b.link.state], ['up', 'up'])
  gateA.open()
  gateB.open()
  for (const each of calls) assert.ok((await settled(each)).ok)
  await clock.settle()
  assert.equal([a.down, b.down], ['LINK_DUPLICATE', 'LINK_DUPLICATE'])
})

test('gives way in the end even if a call never finishes', async () => {
  gated(b)
  const under = call(a, new Uint8Array(4), { timeoutMs: 60_000 })
  a.link.retire('LINK_DUPLICATE')
  assert.is(codeOf(await settled(under)), 'OVERLAY_UNREACHABLE')
  assert.ok(clock.monotonicMs() <= limits.linkRetireMs + 100)
})

test('tells within a moment whether the peer lives', async () => {
  const answers: boolean[] = []
  a.link.probe((alive) => answers.push(alive))
  await clock.settle()
  assert.equal(answers, [true])
  b.pipe.freeze()
  a.link.probe((alive) => answers.push(alive))
  await clock.advance(limits.linkProbeMs + 20)
  assert.equal(answers, [true, false])
})

test('refuses a peer beyond its calls or bytes', async () => {
  const rates = { calls: { perSecond: 10, burst: 3 }, bytes: { perSecond: 1_000, burst: 5_000 } }
  const pair = linkPair({ clock, rates })
  echo(pair.b)
  const codes: string[] = []
  for (let i = 0; i < 5; i++) codes.push(codeOf(await settled(call(pair.a, new Uint8Array(1)))))
  assert.equal(codes, ['ok', 'ok', 'ok', 'PEER_RATE_LIMITED', 'PEER_RATE_LIMITED'])
  await clock.advance(1_000)
  assert.is(codeOf(await settled(call(pair.a, new Uint8Array(4_900)))), 'ok')
  assert.is(codeOf(await settled(call(pair.a, new Uint8Array(4_900)))), 'PEER_RATE_LIMITED')
  pair.a.link.close()
})

/** Each breaks the protocol after a good hello; the code it must end with. */
const breaches: readonly (readonly [string, Uint8Array, string])[] = [
  ['an unknown frame type', framed(77), 'LINK_FRAME'],
  ['a second hello', framed(frameTypes.hello, 1, 1), 'LINK_FRAME'],
  ['a part of no request', framed(frameTypes.requestMore, 1, 2, 3), 'LINK_FRAME'],
  ['a part of no reply', framed(frameTypes.replyMore, 1, 2, 3), 'LINK_FRAME'],
  ['a reply to no call', framed(frameTypes.reply, 9, 0, 0), 'LINK_FRAME'],
  ['a request inside another', concat(
    framed(frameTypes.request, 1, 10, 5, 10, new Uint8Array(3)),
    framed(frameTypes.request, 2, 10, 5, 10, new Uint8Array(3)),
  ), 'LINK_FRAME'],
  ['a body longer than announced', concat(
    framed(frameTypes.request, 1, 10, 5, 10, new Uint8Array(3)),
    framed(frameTypes.requestMore, new Uint8Array(8)),
  ), 'LINK_FRAME'],
  ['a body of more than the limit', framed(frameTypes.request, 1, 10, 5, varint(2 ** 29)), 'LINK_FRAME'],
  ['a byte too many', framed(frameTypes.ping, 1, 1), 'LINK_FRAME'],
  ['a cut-off field', framed(frameTypes.request, 1), 'LINK_FRAME'],
  ['more requests than credit', concat(...Array.from({ length: 40 }, (_, i) => concat(
    framed(frameTypes.request, i, 10, 5, varint(60_000), new Uint8Array(60_000)),
  ))), 'LINK_CREDIT'],
]

for (const [what, bytes, code] of breaches) {
  test(`is cut by ${what}`, async () => {
    gated(b)
    b.link.receive(bytes)
    await clock.settle()
    assert.is(b.down, code)
    assert.is(b.link.state, 'closed')
  })
}

test('is cut by a peer of another version, and by one that does not begin with a hello', () => {
  for (const [bytes, code] of [
    [framed(frameTypes.hello, 2, 1), 'LINK_VERSION'],
    [framed(frameTypes.ping, 1), 'LINK_FRAME'],
    [utf8('GET / HTTP/1.1\r\n\r\n'), 'LINK_FRAME'],
  ] as const) {
    const end = linkEnd({ clock }, { id: a.id, remote: b.id, opener: 'remote', pipe: new MemoryPipe() })
    end.link.receive(bytes)
    assert.is(end.down, code)
  }
})

test('answers any number of pings that it could not answer yet with one pong', async () => {
  b.pipe.freeze()
  for (let i = 0; i < 1_000; i++) b.link.receive(numbered(frameTypes.ping, i))
  await clock.settle()
  b.pipe.writes = []
  b.pipe.thaw()
  await clock.advance(300)
  assert.ok(b.pipe.writes.length <= 2)
})

test('survives any mutation of a real conversation: up, or down with a code', async () => {
  const chunks: Uint8Array[] = []
  const pair = linkPair({ clock })
  const deliver = pair.a.pipe.deliver
  pair.a.pipe.deliver = (bytes) => {
    chunks.push(bytes.slice())
    deliver(bytes)
  }
  echo(pair.b)
  for (const size of [0, 10, 500, 40_000]) await settled(call(pair.a, new Uint8Array(size)))
  pair.a.link.close()
  const stream = concat(...chunks)
  const random = seededRandom('mutations')
  const remote = nodeIdFromKey(new Uint8Array(32).fill(7))
  for (let i = 0; i < 3_000; i++) {
    const length = randomInteger(random, 3) === 0 ? randomInteger(random, stream.length) : stream.length
    const mutated = stream.slice(0, length)
    for (let k = 0; k < 1 + randomInteger(random, 4); k++) {
      // Most of the interesting bytes are at the front.
      const range = Math.min(randomInteger(random, 2) === 0 ? 700 : length, length)
      mutated[randomInteger(random, Math.max(1, range))] = randomInteger(random, 256)
    }
    const end = linkEnd({ clock }, { id: a.id, remote, opener: 'remote', pipe: new MemoryPipe() })
    echo(end)
    end.link.receive(mutated)
    if (end.down !== undefined) assert.match(end.down, /^[A-Z0-9_]+$/)
    end.link.close()
  }
  await clock.settle()
})

test('cuts frames out of its own writes', async () => {
  // The layout in the header of link-frames.ts, byte by byte.
  const bytes: number[] = []
  const pipe = new MemoryPipe()
  pipe.deliver = (chunk) => bytes.push(...chunk)
  const end = linkEnd({ clock }, { id: a.id, remote: b.id, opener: 'local', pipe })
  end.link.receive(framed(frameTypes.hello, 1, varint(2 ** 20)))
  void end.link.call(services.deposit, new Uint8Array([0xaa, 0xbb]), { timeoutMs: 100 })
  await clock.settle()
  assert.equal(bytes, [
    1, 5, 1, 0x80, 0x20, 0, 0, // hello, version 1, window 2 MiB
    2, 7, 1, 3, 0x40, 100, 2, 0xaa, 0xbb, // request 1, service 3, patience 100 ms, 2 bytes
  ])
  let frames = 0
  new FrameSplitter(() => ++frames > 0).push(new Uint8Array(bytes))
  assert.is(frames, 2)
  end.link.close()
})

test.run()

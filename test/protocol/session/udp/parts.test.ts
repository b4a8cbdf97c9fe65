/** The parts of a UDP connection against simple twins: sets of ranges, the replay window, keys, streams. */
import * as assert from 'uvu/assert'
import { NoiseCipher } from '../../../../crypto/noise.ts'
import { Writer } from '../../../../protocol/codec/writer.ts'
import { limits } from '../../../../protocol/limits.ts'
import { AckTracker } from '../../../../protocol/session/udp/ack-tracker.ts'
import { ackedRanges } from '../../../../protocol/session/udp/frames.ts'
import { IncomingStream } from '../../../../protocol/session/udp/incoming-stream.ts'
import { OutgoingStream } from '../../../../protocol/session/udp/outgoing-stream.ts'
import { PacketOpener, PacketSealer } from '../../../../protocol/session/udp/packet-keys.ts'
import { RangeSet } from '../../../../protocol/session/udp/range-set.ts'
import { ReplayWindow } from '../../../../protocol/session/udp/replay-window.ts'
import { suite } from '../../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../../helpers/seeded-random.ts'

const test = suite('protocol/session/udp/parts')
const random = seededRandom('udp parts')
const key = random.bytes(32)
const header = new Uint8Array(17)

function numbers({ start, end }: { start: number, end: number }): number[] {
  return Array.from({ length: end - start }, (_, n) => start + n)
}

test('a set of ranges holds the same numbers as a plain set', () => {
  const ranges = new RangeSet()
  const twin = new Set<number>()
  for (let i = 0; i < 5_000; i++) {
    const start = randomInteger(random, 200)
    const end = start + randomInteger(random, 12)
    const adds = randomInteger(random, 3) > 0
    if (adds) ranges.add(start, end)
    else ranges.remove(start, end)
    for (let n = start; n < end; n++) if (adds) twin.add(n)
    else twin.delete(n)
    const probe = randomInteger(random, 220)
    assert.is(ranges.has(probe), twin.has(probe))
    const missing = ranges.missing(start - 3, end + 3).flatMap(numbers)
    assert.equal(missing, numbers({ start: start - 3, end: end + 3 }).filter((n) => !twin.has(n)))
  }
  assert.equal(ranges.ranges.flatMap(numbers), [...twin].sort((a, b) => a - b))
  for (let i = 1; i < ranges.count; i++) assert.ok(ranges.ranges[i]!.start > ranges.ranges[i - 1]!.end)
})

test('the replay window knows what came among the last ones, across jumps of any size', () => {
  const window = new ReplayWindow()
  const seen = new Set<number>()
  let highest = -1
  for (let i = 0; i < 20_000; i++) {
    const far = randomInteger(random, 1_000) === 0 ? randomInteger(random, 3 * limits.udpReplayPackets) : 40
    const back = i % 3 === 0 ? randomInteger(random, 3_000) : 5
    const counter = Math.max(0, highest - back + randomInteger(random, far))
    const expected = !seen.has(counter) && counter > highest - limits.udpReplayPackets
    assert.is(window.isNew(counter), expected, `${counter} of ${highest}`)
    if (!expected) continue
    window.mark(counter)
    seen.add(counter)
    highest = Math.max(highest, counter)
    assert.is(window.highest, highest)
  }
})

test('keys change with the count, and a forged counter does not move them', () => {
  const sealer = new PacketSealer(new NoiseCipher(key.slice()))
  const opener = new PacketOpener(new NoiseCipher(key.slice()))
  const plaintext = new Uint8Array([1, 2, 3])
  const seal = (counter: number): [number, Uint8Array, Uint8Array] =>
    [counter, header, sealer.seal(counter, header, plaintext).subarray(header.length)]
  const period = limits.udpKeyPackets
  const first = seal(5)
  const lastOfFirst = seal(period - 1)
  const second = seal(period)
  const third = seal(2 * period + 7)
  assert.is(opener.open(second[0], header, first[2]), undefined)
  assert.is(opener.open(3 * period, header, third[2]), undefined)
  // Two epochs ahead is not even tried; one ahead opens and moves.
  assert.is(opener.open(...third), undefined)
  assert.equal(opener.open(...first), plaintext)
  assert.equal(opener.open(...second), plaintext)
  assert.equal(opener.open(...lastOfFirst), plaintext)
  assert.equal(opener.open(...third), plaintext)
  // The first key is gone now.
  assert.is(opener.open(...first), undefined)
  assert.equal(opener.open(...second), plaintext)
})

test('a stream in pieces that come in any order, doubled and overlapping, comes out whole', () => {
  let pauses = 0
  for (let round = 0; round < 50; round++) {
    const bytes = random.bytes(1 + randomInteger(random, 40_000))
    const out: number[] = []
    const stream: IncomingStream = new IncomingStream((chunk) => {
      out.push(...chunk)
      if (randomInteger(random, 10) === 0) {
        pauses++
        stream.pause()
      }
    })
    const pieces: [number, number][] = []
    for (let at = 0; at < bytes.length;) {
      const length = 1 + randomInteger(random, 1_100)
      pieces.push([at, Math.min(bytes.length, at + length)])
      at += randomInteger(random, length) + 1
    }
    while (pieces.length > 0) {
      const [piece] = pieces.splice(randomInteger(random, Math.min(pieces.length, 30)), 1)
      const [start, end] = piece!
      assert.is(stream.receive(start, bytes.slice(start, end)), 'ok')
      if (randomInteger(random, 4) === 0) assert.is(stream.receive(start, bytes.slice(start, end)), 'ok')
      assert.ok(stream.heldBytes <= limits.udpWindowInitialBytes)
      if (randomInteger(random, 3) === 0) stream.resume()
    }
    assert.is(stream.receiveEnd(bytes.length), 'ok')
    while (!stream.finished) stream.resume()
    assert.equal(new Uint8Array(out), bytes)
    assert.is(stream.heldBytes, 0)
  }
  assert.ok(pauses > 10)
})

test('the window follows a busy path to its bound, and stays small on an idle one', () => {
  for (const [roundTripMs, everyMs, expected] of [
    [100, 50, limits.udpWindowBytesMax],
    [100, 1_000, limits.udpWindowInitialBytes],
    [0, 0, limits.udpWindowInitialBytes],
  ] as const) {
    const stream = new IncomingStream(() => {})
    let nowMs = 1_000
    let at = 0
    for (let i = 0; i < 200; i++) {
      const bytes = stream.allowed - at
      stream.receive(at, new Uint8Array(bytes))
      at += bytes
      nowMs += everyMs
      stream.raise(nowMs, roundTripMs)
    }
    assert.is(stream.allowed - at, expected)
  }
})

test('what is written goes out once, goes again where it was lost, and is let go when acknowledged', () => {
  const stream = new OutgoingStream()
  const written = random.bytes(60_000)
  for (let at = 0; at < written.length;) {
    const length = 1 + randomInteger(random, 3_000)
    stream.write(written.subarray(at, at + length))
    at += length
  }
  stream.end()
  const got = new Uint8Array(written.length)
  const underWay: { start: number, end: number }[] = []
  let sentBytes = 0
  let endSaid = 0
  while (!stream.finished) {
    const range = stream.next(1 + randomInteger(random, 1_200))
    if (range !== undefined) {
      const writer = new Writer()
      stream.copyTo(writer, range)
      got.set(writer.finish(), range.start)
      sentBytes += range.end - range.start
      underWay.push(range)
    }
    const end = stream.takeEnd()
    if (end !== undefined) {
      assert.is(end, written.length)
      if (++endSaid < 3) stream.lost([], true)
      else stream.acknowledged([], true)
    }
    if (underWay.length > 20 || range === undefined) {
      const [one] = underWay.splice(randomInteger(random, underWay.length), 1)
      if (one !== undefined && randomInteger(random, 4) === 0) stream.lost([one], false)
      else if (one !== undefined) stream.acknowledged([one], false)
    }
  }
  assert.equal(got, written)
  assert.ok(sentBytes > written.length && sentBytes < 2 * written.length, `${sentBytes}`)
  assert.is(stream.unsentBytes, 0)
})

test('an acknowledgement says exactly which numbers came, the highest ranges when there are too many', () => {
  const tracker = new AckTracker()
  const numbersOf = (): number[] => {
    const ranges = ackedRanges(tracker.take(300))!
    assert.ok(ranges.length <= limits.udpAckRangesMax)
    return ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, n) => first + n))
      .sort((a, b) => a - b)
  }
  const came = new Set<number>()
  for (let i = 0; i < 100; i++) {
    const number = randomInteger(random, 2 * limits.udpAckRangesMax)
    came.add(number)
    tracker.received(number, 'soon', i)
  }
  assert.equal(numbersOf(), [...came].sort((a, b) => a - b))
  for (let i = 0; i < 500; i++) tracker.received(1_000 + 2 * i, 'soon', i)
  const top = 1_000 + 2 * 499
  assert.equal(numbersOf(), Array.from({ length: limits.udpAckRangesMax }, (_, i) => top - 2 * i).reverse())
})

test.run()

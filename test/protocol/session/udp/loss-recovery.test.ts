/** Loss detection, round trips and congestion control against the numbers of RFC 9002 and 9438. */
import * as assert from 'uvu/assert'
import { limits } from '../../../../protocol/limits.ts'
import { Cubic } from '../../../../protocol/session/udp/cubic.ts'
import type { AckFrame } from '../../../../protocol/session/udp/frames.ts'
import { LossRecovery } from '../../../../protocol/session/udp/loss-recovery.ts'
import { RoundTrip } from '../../../../protocol/session/udp/round-trip.ts'
import { suite } from '../../../helpers/harness.ts'
import { seededRandom } from '../../../helpers/seeded-random.ts'

const test = suite('protocol/session/udp/loss-recovery')
const bytes = limits.udpDatagramBytes

function sendAt(recovery: LossRecovery, sentMs: number): number {
  const number = recovery.takeNumber()
  const stream = [{ start: number, end: number + 1 }]
  recovery.sent({ number, sentMs, bytes, stream, end: false, maxData: false })
  return number
}

function ack(first: number, last: number, delayUs = 0): AckFrame {
  return { type: 'ack', largest: last, delayUs, first: last - first, ranges: [] }
}

test('estimates round trips as §5.3: first sample whole, then by eighths, the delay taken off', () => {
  const trip = new RoundTrip()
  assert.is(trip.smoothedMs, 333)
  trip.sample(100, 0, 0)
  assert.is(trip.smoothedMs, 100)
  assert.is(trip.probeMs(25), 100 + 4 * 50 + 25)
  trip.sample(140, 20, 1)
  assert.is(trip.smoothedMs, 100 * 0.875 + 120 * 0.125)
  // A delay that would push it below the smallest round trip is not believed.
  trip.sample(101, 20, 2)
  assert.is(trip.latestMs, 101)
  assert.is(trip.smoothedMs, 102.5 * 0.875 + 101 * 0.125)
})

test('a packet is lost when three later ones arrived, or it is 9/8 of a round trip older (§6.1)', () => {
  const recovery = new LossRecovery(seededRandom(1))
  for (let i = 0; i < 5; i++) sendAt(recovery, i)
  const outcome = recovery.acknowledged(ack(3, 3), 103)!
  assert.equal(outcome.acked.map(({ number }) => number), [3])
  assert.equal(outcome.lost.map(({ number }) => number), [0])
  // Packets 1 and 2 wait for the time threshold: 1 + 9/8 × 100.
  assert.is(recovery.deadlineMs, 113.5)
  assert.equal(recovery.due(113.5).lost.map(({ number }) => number), [1])
  assert.equal(recovery.due(114.5).lost.map(({ number }) => number), [2])
})

test('asks by a probe after a time-out that doubles, and stops doubling at four seconds (§6.2)', () => {
  const recovery = new LossRecovery(seededRandom(1))
  sendAt(recovery, 0)
  recovery.acknowledged(ack(0, 0), 100)
  sendAt(recovery, 1_000)
  assert.is(recovery.deadlineMs, 1_000 + 100 + 200 + 25)
  let nowMs = recovery.deadlineMs!
  const pauses: number[] = []
  for (let i = 0; i < 6; i++) {
    assert.ok(recovery.due(nowMs).probe)
    pauses.push(recovery.deadlineMs! - nowMs)
    nowMs = recovery.deadlineMs!
  }
  assert.equal(pauses, [650, 1_300, 2_600, 4_000, 4_000, 4_000])
  recovery.acknowledged(ack(1, 1), nowMs)
  assert.is(recovery.probes, 0)
  assert.is(recovery.deadlineMs, undefined)
})

function packets(cubic: Cubic): number {
  return cubic.windowBytes / bytes
}

function isBetween(value: number, low: number, high: number): boolean {
  return value > low && value < high
}

/** All packets of a window sent and acknowledged a round trip later, again and again. */
function runFor(cubic: Cubic, span: { fromMs: number, untilMs: number, roundTripMs: number }): void {
  const { fromMs, untilMs, roundTripMs } = span
  for (let sentMs = fromMs; sentMs + roundTripMs <= untilMs; sentMs += roundTripMs) {
    const path = { limited: true, nowMs: sentMs + roundTripMs, roundTripMs }
    for (let left = cubic.windowBytes; left >= bytes; left -= bytes) {
      cubic.acknowledged({ sentMs, bytes }, path)
    }
  }
}

/** Just after a loss at so many packets. */
function afterLossAt(count: number): Cubic {
  const cubic = new Cubic()
  const path = { limited: true, nowMs: 0, roundTripMs: 0 }
  for (let window = 10; window < count; window++) cubic.acknowledged({ sentMs: 0, bytes }, path)
  cubic.lost(0, 1)
  return cubic
}

test('the window opens, and falls to seven tenths once for each event (RFC 9438 §4.6)', () => {
  const cubic = new Cubic()
  assert.is(cubic.windowBytes, 12_000)
  const path = { limited: true, nowMs: 50, roundTripMs: 40 }
  for (let i = 0; i < 10; i++) cubic.acknowledged({ sentMs: i, bytes }, path)
  assert.is(cubic.windowBytes, 24_000)
  cubic.lost(9, 100)
  cubic.lost(8, 101)
  assert.is(cubic.windowBytes, 16_800)
  // Sent before the event: says nothing about the path now.
  cubic.acknowledged({ sentMs: 50, bytes }, { ...path, nowMs: 120 })
  assert.is(cubic.windowBytes, 16_800)
  cubic.lost(200, 300)
  cubic.collapse()
  assert.is(cubic.windowBytes, 2_400)
})

test('a long path comes back to where it failed at the time of the curve, then goes beyond (§4.2)', () => {
  const cubic = afterLossAt(1_000)
  assert.is(packets(cubic), 700)
  // K = ∛(300 / 0.4) s = 9.1 s.
  runFor(cubic, { fromMs: 1, untilMs: 4_500, roundTripMs: 100 })
  assert.ok(isBetween(packets(cubic), 930, 970), `${packets(cubic)}`)
  runFor(cubic, { fromMs: 4_501, untilMs: 9_086, roundTripMs: 100 })
  assert.ok(isBetween(packets(cubic), 999, 1_001), `${packets(cubic)}`)
  runFor(cubic, { fromMs: 9_087, untilMs: 18_172, roundTripMs: 100 })
  assert.ok(isBetween(packets(cubic), 1_250, 1_310), `${packets(cubic)}`)
})

test('the curve is the same in seconds on a path of other round trips', () => {
  const windows = [40, 160].map((roundTripMs) => {
    const cubic = afterLossAt(1_000)
    runFor(cubic, { fromMs: 1, untilMs: 15_000, roundTripMs })
    return packets(cubic)
  })
  assert.ok(Math.abs(windows[0]! - windows[1]!) < 0.02 * windows[0]!, `${windows}`)
})

test('on a short path it grows as Reno would on average: by 9/17 of a packet a round trip (§4.3)', () => {
  const cubic = afterLossAt(20)
  runFor(cubic, { fromMs: 1, untilMs: 101, roundTripMs: 10 })
  // Parts of a packet at the end of each window stay at home.
  assert.ok(Math.abs(packets(cubic) - (14 + 10 * 9 / 17)) < 1, `${packets(cubic)}`)
})

test('a loss below the last peak makes room for others (§4.7)', () => {
  const peaks = [false, true].map((twice) => {
    const cubic = afterLossAt(1_000)
    if (twice) cubic.lost(2, 3)
    else for (let i = 0; i < 3; i++) cubic.lost(0, 1)
    runFor(cubic, { fromMs: 4, untilMs: 10_000, roundTripMs: 100 })
    return packets(cubic)
  })
  // Flat at 1,000 after 9.1 s, and at 0.85 × 700 after 6.4 s.
  assert.ok(Math.abs(peaks[0]! - 1_000) < 2 && Math.abs(peaks[1]! - 613) < 3, `${peaks}`)
})

test('a window that the application leaves unused does not open, nor does time run for it (§5.8)', () => {
  const cubic = new Cubic()
  const path = { limited: false, nowMs: 40, roundTripMs: 40 }
  for (let i = 0; i < 100; i++) cubic.acknowledged({ sentMs: i, bytes }, path)
  assert.is(cubic.windowBytes, 12_000)

  const rested = afterLossAt(1_000)
  runFor(rested, { fromMs: 1, untilMs: 1_000, roundTripMs: 100 })
  const before = rested.windowBytes
  for (let nowMs = 1_000; nowMs <= 60_000; nowMs += 100) {
    rested.acknowledged({ sentMs: nowMs - 100, bytes }, { limited: false, nowMs, roundTripMs: 100 })
  }
  assert.is(rested.windowBytes, before)
  runFor(rested, { fromMs: 60_000, untilMs: 60_200, roundTripMs: 100 })
  assert.ok(rested.windowBytes < 1.05 * before, `${rested.windowBytes / before}`)
})

test('when everything was lost for long, it begins at two packets (§7.6)', () => {
  const recovery = new LossRecovery(seededRandom(1))
  sendAt(recovery, 0)
  recovery.acknowledged(ack(0, 0), 100)
  recovery.limited = true
  for (const atMs of [1_000, 1_500, 2_500]) sendAt(recovery, atMs)
  for (const atMs of [3_500, 3_501, 3_502]) sendAt(recovery, atMs)
  assert.is(recovery.acknowledged(ack(4, 6), 3_600)!.lost.length, 3)
  assert.is(recovery.windowBytes, 2 * bytes)
})

test('a burst of ten packets leaves at once, the rest at the pace of the window (§7.7)', () => {
  const cubic = new Cubic()
  const roundTripMs = 100
  let sent = 0
  while (cubic.waitMs(0, roundTripMs) === 0) {
    cubic.left(bytes)
    sent++
  }
  assert.is(sent, 10)
  // 1.25 × 12,000 bytes in 100 ms are a packet every 8 ms.
  assert.is(cubic.waitMs(0, roundTripMs), 8)
  assert.is(cubic.waitMs(8, roundTripMs), 0)
})

test('packets that were only late teach it to wait longer', () => {
  const recovery = new LossRecovery(seededRandom(1))
  let lost = 0
  for (let round = 0; round < 20; round++) {
    const first = sendAt(recovery, round * 200)
    for (let i = 1; i < 8; i++) sendAt(recovery, round * 200 + i)
    lost += recovery.acknowledged(ack(first + 1, first + 7), round * 200 + 50)!.lost.length
    recovery.acknowledged(ack(first, first + 7), round * 200 + 60)
  }
  assert.is(lost, 1)
})

test('another path begins anew, and what is on the old one counts as lost', () => {
  const recovery = new LossRecovery(seededRandom(1))
  sendAt(recovery, 0)
  recovery.acknowledged(ack(0, 0), 40)
  for (let i = 0; i < 5; i++) sendAt(recovery, 50)
  assert.is(recovery.restart().length, 5)
  assert.is(recovery.inFlightBytes, 0)
  assert.is(recovery.windowBytes, 12_000)
  assert.is(recovery.roundTrip.sampledAtMs, undefined)
  assert.equal(recovery.acknowledged(ack(1, 5), 100), { acked: [], lost: [] })
})

test('refuses acknowledgements of what was never sent', () => {
  const recovery = new LossRecovery(seededRandom(1))
  sendAt(recovery, 0)
  assert.is(recovery.acknowledged(ack(0, 1), 1), undefined)
  assert.is(recovery.acknowledged(ack(-1, 0), 1), undefined)
})

test.run()

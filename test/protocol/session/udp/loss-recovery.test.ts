/** Loss detection, round trips and congestion control against the numbers of RFC 9002. */
import * as assert from 'uvu/assert'
import { limits } from '../../../../protocol/limits.ts'
import type { AckFrame } from '../../../../protocol/session/udp/frames.ts'
import { LossRecovery } from '../../../../protocol/session/udp/loss-recovery.ts'
import { NewReno } from '../../../../protocol/session/udp/new-reno.ts'
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

test('the window opens, halves once for each event, then opens by a packet a round trip (§7)', () => {
  const reno = new NewReno()
  assert.is(reno.windowBytes, 12_000)
  for (let i = 0; i < 10; i++) reno.acknowledged({ sentMs: i, bytes }, true)
  assert.is(reno.windowBytes, 24_000)
  reno.lost(9, 100)
  reno.lost(8, 101)
  assert.is(reno.windowBytes, 12_000)
  // Sent before the event: says nothing about the path now.
  reno.acknowledged({ sentMs: 50, bytes }, true)
  assert.is(reno.windowBytes, 12_000)
  for (let i = 0; i < 10; i++) reno.acknowledged({ sentMs: 101 + i, bytes }, true)
  assert.ok(Math.abs(reno.windowBytes - 13_200) < 60, `${reno.windowBytes}`)
  reno.lost(200, 300)
  reno.collapse()
  assert.is(reno.windowBytes, 2_400)
})

test('a window that the application leaves unused does not open (§7.8)', () => {
  const reno = new NewReno()
  for (let i = 0; i < 100; i++) reno.acknowledged({ sentMs: i, bytes }, false)
  assert.is(reno.windowBytes, 12_000)
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
  const reno = new NewReno()
  const roundTripMs = 100
  let sent = 0
  while (reno.waitMs(0, roundTripMs) === 0) {
    reno.left(bytes)
    sent++
  }
  assert.is(sent, 10)
  // 1.25 × 12,000 bytes in 100 ms are a packet every 8 ms.
  assert.is(reno.waitMs(0, roundTripMs), 8)
  assert.is(reno.waitMs(8, roundTripMs), 0)
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

/**
 * One UDP connection: what others on the wire can and cannot do to it, addresses that change, and a
 * peer that breaks the rules. The node's end stands alone here; the test is its peer, frame by frame.
 */
import * as assert from 'uvu/assert'
import { concat } from '../../../../crypto/bytes.ts'
import { NoiseHandshake } from '../../../../crypto/noise.ts'
import { Writer } from '../../../../protocol/codec/writer.ts'
import { limits } from '../../../../protocol/limits.ts'
import { UdpCounters } from '../../../../protocol/session/udp/counters.ts'
import { decodeFrames, writeFrame } from '../../../../protocol/session/udp/frames.ts'
import type { UdpFrame } from '../../../../protocol/session/udp/frames.ts'
import { PacketOpener, PacketSealer } from '../../../../protocol/session/udp/packet-keys.ts'
import { counterOf, dataHeader, udpPrologue } from '../../../../protocol/session/udp/packets.ts'
import { UdpConnection } from '../../../../protocol/session/udp/udp-connection.ts'
import type { DoorAddress } from '../../../../protocol/session/udp/udp-door.ts'
import { suite } from '../../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../../helpers/seeded-random.ts'
import { udpAddress, udpKeys } from '../../../helpers/udp-world.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('protocol/session/udp/udp-connection', { timeoutMs: 60_000 })

const nodeId = new Uint8Array(8).fill(1)
const deviceId = new Uint8Array(8).fill(2)
const home = '192.0.2.1:1000'
const empty = new Uint8Array(0)

/** The node's end, and a device played by the test. */
class Stage {
  readonly clock = new VirtualClock()
  readonly counters = new UdpCounters()
  readonly connection: UdpConnection<DoorAddress>
  readonly sent: { readonly to: string, readonly bytes: number, readonly frames: readonly UdpFrame[] }[] = []
  readonly #sealer: PacketSealer
  readonly #opener: PacketOpener
  read = 0
  closed: boolean | undefined
  gone = false
  next = 0

  constructor() {
    const prologue = udpPrologue(deviceId)
    const [own, door] = [udpKeys('anna'), udpKeys('door')]
    const device = new NoiseHandshake({
      pattern: 'IK', role: 'initiator', prologue, own, remoteStaticKey: door.publicKey,
      random: seededRandom('device'),
    })
    const node = new NoiseHandshake({
      pattern: 'IK', role: 'responder', prologue, own: door, random: seededRandom('node'),
    })
    assert.ok(node.read(device.write(empty)).ok && device.read(node.write(empty)).ok)
    const keys = device.split()
    this.#sealer = new PacketSealer(keys.send)
    this.#opener = new PacketOpener(keys.receive)
    const random = seededRandom('connection')
    this.connection = new UdpConnection({ clock: this.clock, random, counters: this.counters }, {
      role: 'node', keys: node.split(), peerId: deviceId, address: udpAddress(home),
    }, {
      send: (datagram, to) => this.#heard(datagram, to.key),
      confirmed: () => {},
      stuck: () => {},
      gone: () => { this.gone = true },
    })
    this.connection.listen({
      bytes: (chunk) => { this.read += chunk.length },
      drain: () => {},
      closed: (orderly) => { this.closed = orderly },
    })
  }

  #heard(datagram: Uint8Array, to: string): void {
    const plaintext = this.#opener.open(counterOf(datagram)!, datagram.subarray(0, 17), datagram.subarray(17))
    const frames = decodeFrames(plaintext!)
    assert.ok(frames.ok)
    if (frames.ok) this.sent.push({ to, bytes: datagram.length, frames: frames.value })
  }

  seal(frames: readonly UdpFrame[], counter = this.next++): Uint8Array {
    const writer = new Writer()
    for (const frame of frames) writeFrame(writer, frame)
    while (writer.length < 15) writer.u8(0)
    const header = dataHeader(nodeId, counter)
    return this.#sealer.seal(counter, header, writer.finish())
  }

  /** A packet of the device. */
  send(frames: readonly UdpFrame[], from = home): ReturnType<UdpConnection<DoorAddress>['receive']> {
    return this.connection.receive(this.seal(frames), udpAddress(from))
  }

  /** Everything the node said since the last look, of one type. */
  said<T extends UdpFrame['type']>(type: T): Extract<UdpFrame, { type: T }>[] {
    return this.sent.flatMap(({ frames }) => frames).filter((frame) => frame.type === type) as never
  }
}

const ping: UdpFrame = { type: 'ping' }

test('says nothing before its device has shown that it has the keys', async () => {
  const stage = new Stage()
  stage.connection.write(new Uint8Array(5_000))
  await stage.clock.advance(10_000)
  assert.equal(stage.sent, [])
  stage.send([ping])
  assert.ok(stage.sent.length > 0)
})

test('takes each packet once, from the first to those far behind, and none older', () => {
  const stage = new Stage()
  const packets = Array.from({ length: 3_000 }, () => stage.seal([ping]))
  const from = udpAddress(home)
  assert.is(stage.connection.receive(packets[2_999]!, from), undefined)
  assert.is(stage.connection.receive(packets[2_999]!, from), 'replayed')
  assert.is(stage.connection.receive(packets[2_999 - limits.udpReplayPackets + 1]!, from), undefined)
  assert.is(stage.connection.receive(packets[2_999 - limits.udpReplayPackets]!, from), 'replayed')
  assert.is(stage.connection.receive(packets[0]!, from), 'replayed')
  assert.is(stage.connection.receive(packets[2_500]!, from), undefined)
  assert.is(stage.connection.receive(packets[2_500]!, from), 'replayed')
})

test('what anybody changed or made up changes nothing, and good packets still come through', () => {
  const stage = new Stage()
  const random = seededRandom('forgeries')
  stage.send([{ type: 'stream', offset: 0, data: new Uint8Array(100) }])
  const good = [
    stage.seal([{ type: 'stream', offset: 100, data: new Uint8Array(300) }]),
    stage.seal([{ type: 'close', reason: 0 }]),
    stage.seal([{ type: 'maxData', offset: 10 ** 9 }, ping]),
  ]
  const sent = stage.sent.length
  for (let i = 0; i < 5_000; i++) {
    const original = good[i % good.length]!
    let bytes: Uint8Array = original.slice()
    const what = randomInteger(random, 4)
    if (what === 0) bytes = concat(original.subarray(0, 17), random.bytes(31 + randomInteger(random, 1_000)))
    else if (what === 1) bytes = bytes.subarray(0, 17 + randomInteger(random, bytes.length - 17))
    else if (what === 2) bytes[randomInteger(random, 8) + 9]! ^= 1 << randomInteger(random, 8)
    else bytes[randomInteger(random, bytes.length - 9) + 9]! ^= 1 << randomInteger(random, 8)
    const from = udpAddress(i % 2 === 0 ? home : '203.0.113.66:6')
    const outcome = stage.connection.receive(bytes, from)
    assert.ok(outcome === 'forged' || outcome === 'replayed', `${what} ${outcome}`)
  }
  assert.is(stage.read, 100)
  assert.is(stage.sent.length, sent)
  assert.is(stage.closed, undefined)
  assert.is(stage.connection.address.key, home)
  assert.is(stage.connection.receive(good[0]!, udpAddress(home)), undefined)
  assert.is(stage.read, 400)
})

test('moves to a new address after its answer, and not before', async () => {
  const stage = new Stage()
  stage.send([ping])
  stage.sent.length = 0
  stage.send([ping], '198.51.100.1:1')
  const [challenge] = stage.said('challenge')
  assert.ok(challenge !== undefined)
  assert.equal(stage.sent.map(({ to, bytes }) => [to, bytes]), [['198.51.100.1:1', limits.udpPacketBytesMin]])
  stage.connection.write(new Uint8Array(100))
  assert.is(stage.sent.at(-1)!.to, home)
  for (const data of [new Uint8Array(8), challenge!.data.toReversed()]) {
    stage.send([{ type: 'answer', data }], '198.51.100.1:1')
  }
  // The right answer from somewhere else is as good as none.
  stage.send([{ type: 'answer', data: challenge!.data }], '203.0.113.5:5')
  assert.is(stage.connection.address.key, home)
  assert.is(stage.counters.migrations, 0)
  stage.send([ping], '198.51.100.1:1')
  stage.send([{ type: 'answer', data: stage.said('challenge').at(-1)!.data }], '198.51.100.1:1')
  assert.is(stage.connection.address.key, '198.51.100.1:1')
  assert.is(stage.counters.migrations, 1)
  assert.is(stage.sent.at(-1)!.to, '198.51.100.1:1')
  stage.connection.destroy()
})

test('packets of the old address that come late do not move it back', () => {
  const stage = new Stage()
  stage.send([ping])
  const late = [stage.seal([ping]), stage.seal([{ type: 'stream', offset: 0, data: new Uint8Array(10) }])]
  stage.send([ping], '198.51.100.1:1')
  stage.send([{ type: 'answer', data: stage.said('challenge')[0]!.data }], '198.51.100.1:1')
  stage.sent.length = 0
  for (const packet of late) assert.is(stage.connection.receive(packet, udpAddress(home)), undefined)
  assert.is(stage.read, 10)
  assert.is(stage.connection.address.key, '198.51.100.1:1')
  assert.equal(stage.said('challenge'), [])
})

test('an address that does not answer gets four challenges, and never more than it brought', async () => {
  const stage = new Stage()
  stage.send([ping])
  stage.sent.length = 0
  const victim = '203.0.113.1:53'
  let brought = 0
  const bring = (): void => {
    const packet = stage.seal([ping])
    brought += packet.length
    stage.connection.receive(packet, udpAddress(victim))
  }
  bring()
  await stage.clock.advance(5_000)
  const toVictim = (): number =>
    stage.sent.reduce((sum, { to, bytes }) => sum + (to === victim ? bytes : 0), 0)
  assert.is(toVictim(), limits.udpPacketBytesMin)
  for (let i = 0; i < 3; i++) bring()
  for (let i = 0; i < 10; i++) {
    await stage.clock.advance(1_000)
    assert.ok(toVictim() <= brought)
  }
  assert.is(stage.sent.filter(({ to }) => to === victim).length, 4)
  // The device goes on from where it was; nothing moved.
  stage.send([ping])
  assert.is(stage.connection.address.key, home)
})

test('somebody who forwards copies of packets from elsewhere moves nothing', async () => {
  const stage = new Stage()
  for (let i = 0; i < 200; i++) {
    const packet = stage.seal([{ type: 'stream', offset: i * 10, data: new Uint8Array(10) }])
    // His copy is first, the original comes after it.
    stage.connection.receive(packet.slice(), udpAddress('203.0.113.66:6'))
    stage.connection.receive(packet, udpAddress(home))
    await stage.clock.advance(20)
  }
  assert.is(stage.read, 2_000)
  assert.is(stage.connection.address.key, home)
  assert.is(stage.counters.migrations, 0)
})

test('a sender beyond the window, or beyond its end, is cut off', async () => {
  for (const frames of [
    [{ type: 'stream', offset: limits.udpWindowInitialBytes - 5, data: new Uint8Array(6) }],
    [{ type: 'end', offset: 10 }, { type: 'stream', offset: 10, data: new Uint8Array(1) }],
    [{ type: 'end', offset: 10 }, { type: 'end', offset: 11 }],
    [{ type: 'stream', offset: 5, data: new Uint8Array(10) }, { type: 'end', offset: 10 }],
    [{ type: 'ack', largest: 50, delayUs: 0, first: 0, ranges: [] }],
    [{ type: 'ack', largest: 0, delayUs: 0, first: 3, ranges: [] }],
  ] as UdpFrame[][]) {
    const stage = new Stage()
    stage.send([ping])
    stage.send(frames)
    await stage.clock.settle()
    assert.is(stage.closed, false, JSON.stringify(frames))
    assert.equal(stage.said('close'), [{ type: 'close', reason: 1 }])
    assert.ok(stage.gone)
  }
})

test('a peer that acknowledges a number that was left out is cut off', async () => {
  const stage = new Stage()
  stage.send([{ type: 'maxData', offset: 2 ** 30 }])
  let sent = 0
  for (; sent < 2_000 && stage.closed === undefined; sent++) {
    stage.connection.write(new Uint8Array(1_000))
    // It did not look which ones came; it claims everything that may have been sent by now.
    const largest = stage.sent.length - 1
    stage.send([{ type: 'ack', largest, delayUs: 0, first: largest, ranges: [] }])
    await stage.clock.settle()
  }
  assert.is(stage.closed, false)
  assert.ok(sent < 1_000, `${sent} packets before it was found out`)
})

test('holes beyond the bound are not acknowledged, and the stream still comes together', () => {
  const stage = new Stage()
  stage.send([ping])
  for (let i = 0; i < 2 * limits.udpGapsMax; i++) {
    stage.send([{ type: 'stream', offset: 2 * i + 1, data: new Uint8Array(1) }])
  }
  const acked = stage.said('ack').at(-1)!
  assert.ok(acked.largest < limits.udpGapsMax + 10, `${acked.largest}`)
  for (let i = 0; i < 2 * limits.udpGapsMax; i++) {
    stage.send([{ type: 'stream', offset: 2 * i, data: new Uint8Array(2) }])
  }
  assert.is(stage.read, 4 * limits.udpGapsMax)
})

test('a paused reader gets the window and no byte more; read, it says how far to go on', () => {
  const stage = new Stage()
  stage.send([ping])
  stage.connection.pause()
  for (let offset = 0; offset < limits.udpWindowInitialBytes; offset += 1_024) {
    stage.send([{ type: 'stream', offset, data: new Uint8Array(1_024) }])
  }
  assert.is(stage.read, 0)
  assert.equal(stage.said('maxData'), [])
  stage.connection.resume()
  assert.is(stage.read, limits.udpWindowInitialBytes)
  assert.ok(stage.said('maxData')[0]!.offset >= 2 * limits.udpWindowInitialBytes)
})

test('sends no more than the peer allows, whatever is written', async () => {
  const stage = new Stage()
  stage.send([ping])
  stage.connection.write(new Uint8Array(500_000))
  let acks = 0
  const reach = (): number =>
    Math.max(0, ...stage.said('stream').map(({ offset, data }) => offset + data.length))
  for (let i = 0; i < 50; i++) {
    for (const { frames } of stage.sent.slice(acks)) {
      const number = acks++
      if (frames.every(({ type }) => type === 'ack')) continue
      stage.send([{ type: 'ack', largest: number, delayUs: 0, first: 0, ranges: [] }])
    }
    await stage.clock.advance(10)
  }
  assert.is(reach(), limits.udpWindowInitialBytes)
  stage.send([{ type: 'maxData', offset: limits.udpWindowInitialBytes + 10 }])
  await stage.clock.advance(100)
  assert.is(reach(), limits.udpWindowInitialBytes + 10)
})

test('repeats what is not acknowledged, ever more slowly, and gives up after a silent minute', async () => {
  const stage = new Stage()
  stage.send([ping])
  stage.sent.length = 0
  stage.connection.write(new Uint8Array([1, 2, 3]))
  await stage.clock.advance(10_000)
  const repeats = stage.said('stream').length
  assert.ok(repeats >= 4 && repeats <= 20, `${repeats}`)
  assert.ok(stage.said('stream').every(({ offset, data }) => offset === 0 && data.length === 3))
  await stage.clock.advance(limits.udpIdleMs)
  assert.is(stage.closed, false)
  assert.is(stage.clock.pending, 0)
})

test('acknowledges at once when asked to or when a packet is missing, else after a while', async () => {
  const stage = new Stage()
  stage.send([ping])
  assert.equal(stage.said('ack'), [])
  await stage.clock.advance(limits.udpAckDelayMs)
  assert.is(stage.said('ack').length, 1)
  stage.send([ping, { type: 'ackNow' }])
  assert.is(stage.said('ack').length, 2)
  stage.next++
  stage.send([ping])
  assert.equal(stage.said('ack').at(-1)!.ranges, [{ gap: 0, length: 1 }])
  for (let i = 0; i < limits.udpAckPackets; i++) stage.send([ping])
  assert.is(stage.said('ack').length, 4)
  stage.connection.destroy()
})

test('closes in good order only when all was read, and not because somebody said close early', async () => {
  const early = new Stage()
  early.send([ping])
  early.send([{ type: 'stream', offset: 5, data: new Uint8Array(5) }, { type: 'close', reason: 0 }])
  await early.clock.settle()
  assert.is(early.closed, false)

  const whole = new Stage()
  whole.send([{ type: 'stream', offset: 5, data: new Uint8Array(5) }, { type: 'end', offset: 10 }])
  await whole.clock.settle()
  assert.is(whole.closed, undefined)
  whole.send([{ type: 'stream', offset: 0, data: new Uint8Array(5) }])
  await whole.clock.settle()
  assert.is(whole.read, 10)
  assert.is(whole.closed, true)
  assert.equal(whole.said('close'), [{ type: 'close', reason: 0 }])
})

test.run()

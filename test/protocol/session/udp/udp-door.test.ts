/**
 * The UDP door against strangers: forged addresses, repeated and broken handshakes, packets of
 * connections that are gone. What it sends to addresses that nobody has proven is counted exactly.
 */
import * as assert from 'uvu/assert'
import { concat, hex } from '../../../../crypto/bytes.ts'
import { decode } from '../../../../protocol/codec/struct.ts'
import { limits } from '../../../../protocol/limits.ts'
import {
  cookieReplyCodec, dataHeader, decodeInitiation, encodeInitiation, packetTypes, resetCodec,
} from '../../../../protocol/session/udp/packets.ts'
import { suite } from '../../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../../helpers/seeded-random.ts'
import { udpAddress, udpKeys, UdpWorld, WorldDevice, WorldDoor } from '../../../helpers/udp-world.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('protocol/session/udp/udp-door', { timeoutMs: 60_000 })

/** Bytes to and from each address, as a capture would count them. */
class Capture {
  readonly in = new Map<string, number>()
  readonly out = new Map<string, number>()

  static add(map: Map<string, number>, key: string, bytes: number): void {
    map.set(key, (map.get(key) ?? 0) + bytes)
  }

  get worstRatio(): number {
    return Math.max(0, ...[...this.out].map(([key, bytes]) => bytes / (this.in.get(key) ?? 0)))
  }
}

/** A door alone, and whatever anybody throws at it. */
class Siege {
  readonly clock = new VirtualClock()
  readonly capture = new Capture()
  readonly sent: { readonly datagram: Uint8Array, readonly to: string }[] = []
  readonly door: WorldDoor

  constructor() {
    this.door = new WorldDoor(this.clock, (datagram, to) => {
      Capture.add(this.capture.out, to.key, datagram.length)
      this.sent.push({ datagram: datagram.slice(), to: to.key })
    })
  }

  throw(datagram: Uint8Array, from: string): void {
    Capture.add(this.capture.in, from, datagram.length)
    this.door.door.receive(datagram.slice(), udpAddress(from))
  }

  /** So many handshakes that others need a cookie. */
  crowd(address: string): void {
    for (let i = 0; i < limits.udpCookieHandshakes; i++) {
      this.throw(this.initiation(`${address} ${i}`), `${address}:${i}`)
    }
  }

  /** A real first message of a made-up device. */
  initiation(name: string, nodeKey = udpKeys('door').publicKey): Uint8Array {
    let first: Uint8Array | undefined
    const device = new WorldDevice(this.clock, (datagram) => { first ??= datagram }, { seed: name, nodeKey })
    device.device.start()
    device.device.abandon('TEST_DONE', 'only the first datagram is wanted')
    return first!
  }
}

test('answers a first datagram of 1,200 bytes with 81, and the same again with the same', () => {
  const siege = new Siege()
  const initiation = siege.initiation('anna')
  assert.is(initiation.length, 1_200)
  for (let i = 0; i < 3; i++) siege.throw(initiation, '192.0.2.1:1')
  assert.equal(siege.sent.map(({ datagram }) => datagram.length), [81, 81, 81])
  assert.is(new Set(siege.sent.map(({ datagram }) => hex(datagram))).size, 1)
  assert.is(siege.door.door.pending, 1)
  assert.is(siege.door.handshakes.most, 1)
})

test('says nothing to what is not an initiation for it', () => {
  const siege = new Siege()
  const random = seededRandom('garbage')
  const good = siege.initiation('anna')
  const otherNode = siege.initiation('bert', udpKeys('another door').publicKey)
  const altered = good.slice()
  altered[60]! ^= 1
  const padded = good.slice()
  padded[1_199] = 1
  for (const datagram of [
    new Uint8Array(0), new Uint8Array([1]), new Uint8Array(1_200), good.subarray(0, 1_199),
    otherNode, altered, padded, random.bytes(1_200), random.bytes(47), new Uint8Array(2_000).fill(4),
  ]) siege.throw(datagram, '192.0.2.1:1')
  assert.equal(siege.sent, [])
  assert.equal(siege.door.accepted, [])
})

test('a mutated initiation is never more than a dropped datagram', () => {
  const siege = new Siege()
  const random = seededRandom('mutations')
  const good = siege.initiation('anna')
  for (let i = 0; i < 3_000; i++) {
    const bytes = good.slice(0, randomInteger(random, 8) === 0 ? randomInteger(random, 1_201) : 1_200)
    for (let flips = 0; flips <= randomInteger(random, 3) && bytes.length > 0; flips++) {
      bytes[randomInteger(random, Math.min(bytes.length, 126))]! ^= 1 << randomInteger(random, 8)
    }
    siege.throw(bytes, `192.0.2.${i % 200}:${i}`)
  }
  assert.ok(siege.capture.worstRatio <= 1, `${siege.capture.worstRatio}`)
  assert.ok(siege.door.door.pending <= limits.handshakesMax)
  assert.equal(siege.door.accepted, [])
})

test('100,000 forged initiations: bounded memory, hardly any answers, a device still gets in', async () => {
  const siege = new Siege()
  const forged = Array.from({ length: 200 }, (_, i) => siege.initiation(`forged ${i}`))
  const count = 100_000
  for (let i = 0; i < count; i++) {
    // 20 seconds of it.
    if (i % 500 === 0) await siege.clock.advance(100)
    siege.throw(forged[i % forged.length]!, `198.51.100.${i % 250}:${1_000 + (i % 60_000)}`)
    siege.sent.length = 0
  }
  const { door, handshakes } = siege.door
  assert.ok(siege.capture.worstRatio <= 1, `ratio ${siege.capture.worstRatio}`)
  assert.ok(door.counters.unprovenBytesOut <= door.counters.unprovenBytesIn)
  assert.ok(handshakes.most <= limits.udpCookieHandshakes, `${handshakes.most} handshakes at once`)
  assert.ok(door.counters.cookies > 0.99 * count)

  const device = new WorldDevice(siege.clock, (datagram, from) => siege.throw(datagram, from))
  device.device.start()
  assert.is(decode(cookieReplyCodec, siege.sent.at(-1)!.datagram).type, packetTypes.cookie)
  for (let i = 0; i < 3; i++) {
    for (const { datagram } of siege.sent.splice(0)) device.device.receive(datagram)
  }
  const settled = await siege.clock.until(device.settled, { withinMs: 1_000 })
  assert.ok(settled.ok)
  assert.is(siege.door.accepted.length, 1)
  assert.equal(siege.door.accepted[0]!.deviceKey, udpKeys('192.0.2.1:1000').publicKey)
  await siege.clock.advance(limits.handshakeMs)
  assert.is(door.pending, 0)
})

test('a cookie is good for its address and its device alone, and not for long', async () => {
  const siege = new Siege()
  siege.crowd('192.0.2.9')
  siege.sent.length = 0
  const initiation = decodeInitiation(siege.initiation('anna'))
  assert.ok(initiation.ok)
  if (!initiation.ok) return
  siege.throw(encodeInitiation(initiation.value), '192.0.2.1:1')
  const { cookie } = decode(cookieReplyCodec, siege.sent.pop()!.datagram)
  const withCookie = encodeInitiation({ ...initiation.value, cookie })
  const answered = (datagram: Uint8Array, from: string): number => {
    siege.throw(datagram, from)
    return siege.sent.pop()!.datagram[0]!
  }
  assert.is(answered(withCookie, '192.0.2.2:1'), packetTypes.cookie)
  assert.is(answered(withCookie, '192.0.2.1:2'), packetTypes.cookie)
  const other = decodeInitiation(siege.initiation('bert'))
  assert.ok(other.ok)
  if (!other.ok) return
  assert.is(answered(encodeInitiation({ ...other.value, cookie }), '192.0.2.1:1'), packetTypes.cookie)
  assert.is(answered(withCookie, '192.0.2.1:1'), packetTypes.response)
  const carol = decodeInitiation(siege.initiation('carol'))
  if (!carol.ok) return
  siege.throw(encodeInitiation(carol.value), '192.0.2.3:1')
  const old = decode(cookieReplyCodec, siege.sent.pop()!.datagram).cookie
  await siege.clock.advance(2 * limits.udpCookieMs)
  siege.crowd('192.0.2.8')
  siege.sent.length = 0
  assert.is(answered(encodeInitiation({ ...carol.value, cookie: old }), '192.0.2.3:1'), packetTypes.cookie)
})

test('handshakes that fail keep their place, so guessing keys is bounded', async () => {
  const clock = new VirtualClock()
  let places = 5
  const handshakes = { enter: () => places > 0 && places-- > 0, leave: () => { places++ } }
  const siege = new Siege()
  const door = new WorldDoor(clock, () => {}, { handshakes })
  for (let i = 0; i < 20; i++) {
    door.door.receive(siege.initiation(`x ${i}`, udpKeys('another').publicKey), udpAddress(`192.0.2.1:${i}`))
  }
  assert.is(places, 0)
  assert.is(door.door.counters.dropped.bound, 15)
  assert.is(door.connections.entered, 5)
  await clock.advance(limits.handshakeMs)
  assert.is(places, 5)
  assert.is(door.connections.entered, 0)
})

test('a recorded handshake replayed from elsewhere opens nothing', async () => {
  const world = new UdpWorld('replay')
  world.watched = true
  const { atDevice } = await world.link()
  atDevice.listen({ message() {}, drain() {}, closed() {} })
  atDevice.send(new Uint8Array([1]))
  await world.clock.advance(100)
  const recorded = world.seenUp.map(({ datagram }) => datagram)
  world.watched = false
  for (const datagram of recorded) world.toDoor(datagram, '203.0.113.9:9')
  await world.clock.advance(limits.handshakeMs + 100)
  assert.is(world.door.accepted.length, 0)
  assert.is(world.door.door.open, 1)
  assert.is(world.door.door.pending, 0)
})

test('packets of connections it does not know are answered with few, smaller resets', async () => {
  const siege = new Siege()
  const random = seededRandom('unknown')
  for (let i = 0; i < 1_000; i++) {
    const id = random.bytes(8)
    const packet = concat(dataHeader(id, i), random.bytes(limits.udpPacketBytesMin - 17))
    siege.throw(packet, `192.0.2.1:${i}`)
  }
  assert.is(siege.sent.length, limits.udpResetsPerSecond)
  for (const { datagram } of siege.sent) assert.is(decode(resetCodec, datagram).type, packetTypes.reset)
  assert.ok(siege.capture.worstRatio < 0.53)
  await siege.clock.advance(1_000)
  siege.throw(concat(dataHeader(random.bytes(8), 1), random.bytes(100)), '192.0.2.1:1')
  assert.is(siege.sent.length, limits.udpResetsPerSecond + 1)
})

test('a node that restarted tells its devices, and nobody else can', async () => {
  const world = new UdpWorld('restart')
  world.watched = true
  const { device, atDevice } = await world.link()
  let closed: string | undefined
  atDevice.listen({ message() {}, drain() {}, closed: (code) => { closed = code } })
  await world.clock.advance(100)
  const nodeId = world.seenUp.at(-1)!.datagram.subarray(1, 9)
  const random = seededRandom('forged resets')
  for (let i = 0; i < 1_000; i++) {
    device.device.receive(concat(new Uint8Array([packetTypes.reset]), nodeId, random.bytes(16)))
  }
  await world.clock.advance(100)
  assert.is(closed, undefined)
  assert.is(device.device.counters.dropped.forged, 1_000)
  // The same key, other memory.
  const send = (datagram: Uint8Array): void => device.device.receive(datagram)
  const restarted = new WorldDoor(world.clock, send, { seed: 'restarted' })
  atDevice.send(new Uint8Array([1]))
  await world.clock.advance(0)
  restarted.door.receive(world.seenUp.at(-1)!.datagram, udpAddress(device.address))
  await world.clock.advance(0)
  assert.is(closed, 'LINK_LOST')
  assert.ok(device.gone)
})

test('stops in good order: links say goodbye, handshakes are forgotten', async () => {
  const world = new UdpWorld('stop', { delayMs: 20 })
  const { atDevice } = await world.link()
  let closed: string | undefined
  atDevice.listen({ message() {}, drain() {}, closed: (code) => { closed = code } })
  world.device('192.0.2.7:7').device.start()
  await world.clock.advance(30)
  assert.is(world.door.door.pending, 1)
  await world.clock.until(world.door.door.stop(), { withinMs: 5_000 })
  await world.clock.advance(100)
  assert.is(closed, 'LINK_CLOSED')
  assert.is(world.door.connections.entered, 0)
  assert.is(world.door.handshakes.entered, 0)
})

test.run()

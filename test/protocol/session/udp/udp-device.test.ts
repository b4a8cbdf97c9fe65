/** A device's end of a UDP link: what it does when the handshake is disturbed, and when nothing comes. */
import * as assert from 'uvu/assert'
import { concat } from '../../../../crypto/bytes.ts'
import { limits } from '../../../../protocol/limits.ts'
import { packetTypes } from '../../../../protocol/session/udp/packets.ts'
import { suite } from '../../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../../helpers/seeded-random.ts'
import { udpKeys, UdpWorld, WorldDevice } from '../../../helpers/udp-world.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('protocol/session/udp/udp-device')

/** A device alone: what it sends, and when. */
function lonely(nodeKey = udpKeys('door').publicKey) {
  const clock = new VirtualClock()
  const sent: { readonly atMs: number, readonly datagram: Uint8Array }[] = []
  const send = (datagram: Uint8Array): void => { sent.push({ atMs: clock.monotonicMs(), datagram }) }
  const device = new WorldDevice(clock, send, { nodeKey })
  return { clock, sent, device }
}

test('says the same again, at doubling times, and gives up after ten seconds', async () => {
  const { clock, sent, device } = lonely()
  device.device.start()
  await clock.advance(limits.handshakeMs)
  assert.equal(sent.map(({ atMs }) => atMs), [0, 300, 900, 2_100, 4_500, 9_300])
  assert.ok(sent.every(({ datagram }) => Buffer.compare(datagram, sent[0]!.datagram) === 0))
  const settled = await device.settled
  assert.is(settled.ok ? '' : settled.code, 'CHANNEL_TIMEOUT')
  assert.ok(device.gone)
  assert.is(clock.pending, 0)
})

test('a forged response does not end the handshake, nor do many', async () => {
  const world = new UdpWorld('forged responses', { delayMs: 20 })
  const device = world.device()
  const random = seededRandom('forged')
  world.watched = true
  device.device.start()
  const deviceId = world.seenUp[0]!.datagram.subarray(2, 10)
  for (let i = 0; i < 10; i++) {
    device.device.receive(concat(new Uint8Array([packetTypes.response]), deviceId, random.bytes(72)))
    device.device.receive(concat(new Uint8Array([packetTypes.response]), random.bytes(80)))
    device.device.receive(random.bytes(randomInteger(random, 1_200)))
  }
  const settled = await world.clock.until(device.settled, { withinMs: 1_000 })
  assert.ok(settled.ok)
})

test('a cookie reply that comes twice is answered once, and one for somebody else not at all', () => {
  const { sent, device } = lonely()
  device.device.start()
  const deviceId = sent[0]!.datagram.subarray(2, 10)
  const reply = concat(new Uint8Array([packetTypes.cookie]), deviceId, new Uint8Array(16).fill(7))
  for (let i = 0; i < 5; i++) device.device.receive(reply)
  device.device.receive(concat(new Uint8Array([packetTypes.cookie]), new Uint8Array(24)))
  assert.is(sent.length, 2)
  assert.equal(sent[1]!.datagram.subarray(106, 122), new Uint8Array(16).fill(7))
  device.device.abandon('TEST_DONE', 'seen enough')
})

test('gets in over a path that loses half of everything', async () => {
  let opened = 0
  for (let i = 0; i < 20; i++) {
    const world = new UdpWorld(`half ${i}`, { delayMs: 30, lossRate: 0.5 })
    const device = world.device()
    device.device.start()
    const settled = await world.clock.until(device.settled, { withinMs: limits.handshakeMs + 1 })
    if (settled.ok) opened++
  }
  assert.ok(opened >= 14, `${opened} of 20`)
})

test('keeps the way through routers open, and asks for another socket when nothing comes back', async () => {
  const world = new UdpWorld('keep alive', { delayMs: 20 })
  const { device, atDevice } = await world.link()
  let closed: string | undefined
  atDevice.listen({ message() {}, drain() {}, closed: (code) => { closed = code } })
  await world.clock.advance(1_000)
  world.watched = true
  await world.clock.advance(4 * limits.udpKeepAliveMs + 1_000)
  assert.is(closed, undefined)
  assert.ok(world.seenUp.length >= 3 && world.seenUp.length <= 8, `${world.seenUp.length} packets`)
  assert.is(device.stuck, 0)
  // From now on nobody hears it.
  device.address = 'nowhere'
  const { up } = world
  up.carry = () => {}
  atDevice.send(new Uint8Array([1]))
  await world.clock.advance(5_000)
  assert.ok(device.stuck >= 1)
  await world.clock.advance(limits.udpIdleMs)
  assert.is(closed, 'LINK_LOST')
})

test('after a change of address that it was told of, it speaks up by itself', async () => {
  const world = new UdpWorld('rebound', { delayMs: 20 })
  const { device, atDevice, atNode } = await world.link()
  const got: number[] = []
  atDevice.listen({ message: (message) => got.push(message[0]!), drain() {}, closed() {} })
  atNode.listen({ message() {}, drain() {}, closed() {} })
  await world.clock.advance(1_000)
  device.address = '198.51.100.7:7'
  device.device.rebound()
  await world.clock.advance(200)
  assert.is(world.door.door.counters.migrations, 1)
  atNode.send(new Uint8Array([42]))
  await world.clock.advance(100)
  assert.equal(got, [42])
})

test.run()

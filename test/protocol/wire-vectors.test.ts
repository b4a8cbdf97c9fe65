/**
 * What goes over the wire between a device and its node, byte for byte as it was frozen, on every
 * backend; and the machines that the product runs say what the vectors say.
 */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import { decodeFrame, frameCodecs } from '../../protocol/frame/frame.ts'
import { controlCodecs, decodeControl } from '../../protocol/session/control-frames.ts'
import { decodeFrames, udpFrameCodecs } from '../../protocol/session/udp/frames.ts'
import { UdpDevice } from '../../protocol/session/udp/udp-device.ts'
import { backends } from '../crypto/support/backends.ts'
import { suite } from '../helpers/harness.ts'
import { udpAddress, WorldDoor } from '../helpers/udp-world.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'
import { documented, refusedBytes, refused } from '../vectors/wire-frames.ts'
import { generate, loadModules, vectorsFile } from '../vectors/wire.ts'
import type { WireVectors } from '../vectors/wire.ts'

const test = suite('protocol/wire vectors')

const frozen = JSON.parse(readFileSync(vectorsFile, 'utf8')) as WireVectors

for (const { name } of backends) {
  test(`the ${name} backend gives the frozen vectors`, async () => {
    const made = JSON.parse(JSON.stringify(await generate(await loadModules(name)))) as WireVectors
    for (const [part, value] of Object.entries(made)) {
      if (part !== 'sha256') assert.equal(value, frozen[part as keyof WireVectors], part)
    }
    assert.equal(made, frozen)
  })
}

test('the file is what its hash says', () => {
  const { sha256, ...rest } = frozen
  assert.is(crypto.sha256Hex(utf8(JSON.stringify(rest))), sha256)
})

/** What the vectors say of a decoded frame. */
function fieldsOf<F extends { readonly type: string }>(frame: F): unknown {
  const { type, ...fields } = frame
  return { type, fields: documented(fields) }
}

test('every frozen frame decodes to its fields, and there is one of each type', () => {
  for (const { bytes, ...expected } of frozen.control) {
    const decoded = decodeControl(hexDecode(bytes))
    assert.equal(decoded.ok && fieldsOf(decoded.value), expected)
  }
  for (const { bytes, ...expected } of frozen.frames) {
    const decoded = decodeFrame(hexDecode(bytes))
    assert.equal(decoded.ok && fieldsOf(decoded.value), expected)
  }
  for (const { bytes, ...expected } of frozen.udp.frames) {
    const decoded = decodeFrames(hexDecode(bytes))
    assert.equal(decoded.ok && decoded.value.map(fieldsOf), [expected])
  }
  const types = (list: readonly { readonly type: string }[]): string[] => {
    return [...new Set(list.map(({ type }) => type))].sort()
  }
  assert.equal(types(frozen.control), Object.keys(controlCodecs).sort())
  assert.equal(types(frozen.frames), Object.keys(frameCodecs).sort())
  assert.equal(types(frozen.udp.frames), Object.keys(udpFrameCodecs).sort())
})

test('what is to be refused is refused', () => {
  const decoders = { control: decodeControl, frames: decodeFrame, udpFrames: decodeFrames }
  for (const [name, list] of Object.entries(refused)) {
    for (const { what, bytes } of refusedBytes(list)) {
      assert.not(decoders[name as keyof typeof decoders](bytes).ok, `${name}: ${what}`)
    }
  }
})

/** Draws by length: 8 bytes are a connection id, 32 an ephemeral secret. */
function drawing(id: string, ephemeral: string): Random {
  const known = new Map([[8, hexDecode(id)], [32, hexDecode(ephemeral)]])
  return { bytes: (length) => known.get(length)?.slice() ?? new Uint8Array(length) }
}

const clock = new VirtualClock()
const { udp } = frozen
const keyPair = (secret: string) => crypto.dhKeyPair(hexDecode(secret))

test('a device says the frozen initiation, with the cookie too, and takes the frozen response', async () => {
  const sent: string[] = []
  let linked = false
  const device = new UdpDevice(
    { clock, random: drawing(udp.deviceId, udp.deviceEphemeralSecret) },
    { own: keyPair(udp.deviceSecret), nodeKey: hexDecode(udp.doorKey) },
    {
      send: (datagram) => { sent.push(hex(datagram)) },
      settled: ({ ok }) => { linked = ok },
      stuck: () => {},
      gone: () => {},
    },
  )
  device.start()
  device.receive(hexDecode(udp.cookieReply))
  device.receive(hexDecode(udp.response))
  assert.equal(sent.slice(0, 2), [udp.initiation, udp.initiationWithCookie])
  assert.ok(linked)
  assert.is(sent[2], udp.packets[0]!.datagram, 'its first packet is a ping')
  device.receive(hexDecode(udp.reset))
  await clock.settle()
  assert.is(device.counters.dropped.forged, 0, 'the reset is believed')
})

test('a node answers it with the frozen response and believes the frozen packet', async () => {
  const sent: string[] = []
  const door = new WorldDoor(clock, (datagram) => { sent.push(hex(datagram)) }, {
    random: drawing(udp.nodeId, udp.nodeEphemeralSecret), doorKey: keyPair(udp.doorSecret),
  })
  const from = udpAddress('192.0.2.1:1000')
  door.door.receive(hexDecode(udp.initiation), from)
  assert.equal(sent, [udp.response])
  assert.is(door.accepted.length, 0)
  door.door.receive(hexDecode(udp.packets[0]!.datagram), from)
  assert.equal(door.accepted.map(({ deviceKey }) => hex(deviceKey)), [udp.deviceKey])
  await clock.until(door.door.stop(), { withinMs: 60_000 })
})

test('a node that does not know a connection says the frozen reset', async () => {
  const sent: string[] = []
  const doorKey = keyPair(udp.doorSecret)
  const door = new WorldDoor(clock, (datagram) => { sent.push(hex(datagram)) }, { doorKey })
  door.door.receive(hexDecode(udp.packets[0]!.datagram), udpAddress('192.0.2.1:1000'))
  assert.equal(sent, [udp.reset])
  await door.door.stop()
})

test.run()

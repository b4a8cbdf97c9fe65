/** The channel's two ends joined by hand, byte by byte where it matters. */
import * as assert from 'uvu/assert'
import { concat, hex } from '../../../crypto/bytes.ts'
import { errorCode } from '../../../crypto/errors.ts'
import { crypto } from '../../../crypto/index.ts'
import { NoiseHandshake } from '../../../crypto/noise.ts'
import type { NoiseCipher } from '../../../crypto/noise.ts'
import { limits } from '../../../protocol/limits.ts'
import { NoiseChannel, prologue } from '../../../protocol/session/noise-channel.ts'
import { bytesOf, flipped } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'

const doorKey = crypto.dhKeyPair(bytesOf('door'))
const deviceKey = crypto.dhKeyPair(bytesOf('device'))

class End {
  readonly channel: NoiseChannel
  readonly messages: Uint8Array[] = []
  written: Uint8Array = new Uint8Array(0)
  peerKey: Uint8Array | undefined
  failure: string | undefined

  constructor(options: { nodeKey?: Uint8Array, transport?: string } = {}) {
    const { nodeKey, transport = 'tcp' } = options
    this.channel = new NoiseChannel({
      transport,
      framing: 'length',
      own: nodeKey === undefined ? doorKey : deviceKey,
      random: seededRandom(nodeKey === undefined ? 'node' : 'device'),
      ...(nodeKey === undefined ? {} : { nodeKey }),
    }, {
      write: (bytes) => { this.written = concat(this.written, bytes) },
      opened: (peerKey) => { this.peerKey = peerKey },
      message: (message) => this.messages.push(message.slice()),
      failed: (code) => { this.failure = code },
    })
    this.channel.start()
  }

  take(): Uint8Array {
    const bytes = this.written
    this.written = new Uint8Array(0)
    return bytes
  }
}

function open(): { device: End, node: End } {
  const device = new End({ nodeKey: doorKey.publicKey })
  const node = new End()
  node.channel.receive(device.take())
  device.channel.receive(node.take())
  return { device, node }
}

/** A node joined to a bare Noise handshake, which may then say what no channel of ours would. */
function openToStranger(): { node: End, cipher: NoiseCipher } {
  const node = new End()
  const stranger = new NoiseHandshake({
    pattern: 'IK',
    role: 'initiator',
    prologue: prologue('tcp'),
    own: deviceKey,
    remoteStaticKey: doorKey.publicKey,
    random: seededRandom('stranger'),
  })
  const hello = stranger.write(new Uint8Array(0))
  node.channel.receive(concat(new Uint8Array([0, hello.length]), hello))
  assert.ok(stranger.read(node.take().subarray(2)).ok)
  return { node, cipher: stranger.split().send }
}

const test = suite('protocol/session/noise-channel')

test('opens after one message each way, with 98 and 50 bytes', () => {
  const device = new End({ nodeKey: doorKey.publicKey })
  const node = new End()
  assert.is(device.written.length, 98)
  node.channel.receive(device.take())
  assert.is(node.written.length, 50)
  device.channel.receive(node.take())
  assert.equal(device.peerKey, doorKey.publicKey)
})

test('the node believes in the device only after its first message: a recorded hello proves nothing', () => {
  const { device, node } = open()
  assert.is(node.peerKey, undefined)
  assert.not.ok(node.channel.open)
  node.channel.receive(concat(...device.channel.seal([new Uint8Array([1])])))
  assert.equal(node.peerKey, deviceKey.publicKey)
  assert.equal(node.messages, [new Uint8Array([1])])
})

test('joins small messages into one Noise message and splits large ones', () => {
  const { device, node } = open()
  const small = Array.from({ length: 10 }, (_, i) => new Uint8Array([i]))
  const joined = concat(...device.channel.seal(small))
  assert.is(joined.length, 2 + 10 * 2 + 16)
  node.channel.receive(joined)
  const large = seededRandom(1).bytes(limits.frameBytesMax)
  const split = concat(...device.channel.seal([large]))
  assert.is(split.length, 4 + large.length + 5 * 18)
  node.channel.receive(split)
  assert.equal(node.messages.slice(0, 10), small)
  assert.is(hex(node.messages[10]!), hex(large))
})

test('reads a stream cut into pieces of any size, down to single bytes', () => {
  for (const seed of [1, 2, 3, 4]) {
    const random = seededRandom(seed)
    const messages = Array.from({ length: 40 }, () => random.bytes(1 + randomInteger(random, seed * 40_000)))
    const { device, node } = open()
    const stream = concat(...messages.flatMap((message) => device.channel.seal([message])))
    for (let at = 0; at < stream.length;) {
      const size = seed === 1 ? 1 : 1 + randomInteger(random, 3_000)
      node.channel.receive(stream.slice(at, at + size))
      at += size
    }
    assert.equal(node.messages.map(hex), messages.map(hex))
  }
})

test('fails for a device that knows another door key, at the node', () => {
  const device = new End({ nodeKey: crypto.dhKeyPair(bytesOf('another door')).publicKey })
  const node = new End()
  node.channel.receive(device.take())
  assert.is(node.failure, 'CHANNEL_HANDSHAKE')
  assert.is(node.written.length, 0)
})

test('fails when the ends disagree on the transport', () => {
  const device = new End({ nodeKey: doorKey.publicKey, transport: 'tcp' })
  const node = new End({ transport: 'http2' })
  node.channel.receive(device.take())
  assert.is(node.failure, 'CHANNEL_HANDSHAKE')
})

test('refuses a door key of small order before anything is sent', () => {
  const code = (() => {
    try {
      new End({ nodeKey: new Uint8Array(32) })
    } catch (error) {
      return errorCode(error)
    }
  })()
  assert.is(code, 'NOISE_KEY')
})

test('fails on one turned bit anywhere in the handshake', () => {
  const hello = new End({ nodeKey: doorKey.publicKey }).take()
  for (let at = 0; at < hello.length; at++) {
    const node = new End()
    node.channel.receive(flipped(hello, at))
    assert.match(node.failure ?? 'none', /^CHANNEL_(HANDSHAKE|LENGTH)$/, `byte ${at}`)
  }
  for (let at = 0; at < 50; at++) {
    const device = new End({ nodeKey: doorKey.publicKey })
    const node = new End()
    node.channel.receive(device.take())
    device.channel.receive(flipped(node.take(), at))
    assert.match(device.failure ?? 'none', /^CHANNEL_(HANDSHAKE|LENGTH)$/, `byte ${at}`)
  }
})

test('fails on a message turned, repeated or left out', () => {
  const first = open()
  const one = concat(...first.device.channel.seal([new Uint8Array([1])]))
  const two = concat(...first.device.channel.seal([new Uint8Array([2])]))
  for (const stream of [flipped(one, 5), flipped(one, -1), concat(one, one), two]) {
    const { node } = open()
    node.channel.receive(stream)
    assert.is(node.failure, 'CHANNEL_MESSAGE')
  }
})

test('refuses another length than the handshake\'s before reading any further', () => {
  for (const length of [0, 1, 95, 97, 65_535]) {
    const node = new End()
    node.channel.receive(new Uint8Array([length >> 8, length & 0xff]))
    assert.is(node.failure, 'CHANNEL_LENGTH')
  }
})

test('refuses an empty Noise message, and an inner message that is empty or too long', () => {
  const { device, node } = open()
  node.channel.receive(concat(...device.channel.seal([new Uint8Array(1)])))
  node.channel.receive(new Uint8Array([0, 16]))
  assert.is(node.failure, 'CHANNEL_LENGTH')

  for (const inner of [[0], [0x40, 0x01], [0x80, 0x04, 0x00, 0x01], [0xc0, 0, 0, 0, 0x40, 0, 0, 0]]) {
    const { node: strict, cipher } = openToStranger()
    const sealed = cipher.encrypt(new Uint8Array(inner))
    strict.channel.receive(concat(new Uint8Array([0, sealed.length]), sealed))
    assert.is(strict.failure, 'CHANNEL_FRAMING', String(inner))
  }
})

test('takes nothing after a failure', () => {
  const { device, node } = open()
  const sealed = concat(...device.channel.seal([new Uint8Array([1])]))
  node.channel.receive(flipped(sealed, 3))
  node.channel.receive(sealed)
  assert.is(node.failure, 'CHANNEL_MESSAGE')
  assert.equal(node.messages, [])
})

test('3,000 streams of random bytes and mutations never crash it', () => {
  const random = seededRandom('garbage')
  const hello = new End({ nodeKey: doorKey.publicKey }).take()
  for (let round = 0; round < 3_000; round++) {
    const bytes = round % 2 === 0
      ? random.bytes(1 + randomInteger(random, 200))
      : hello.slice(0, 1 + randomInteger(random, hello.length))
    bytes[randomInteger(random, bytes.length)]! ^= 1 + randomInteger(random, 255)
    const node = new End()
    node.channel.receive(bytes)
    assert.equal(node.messages, [])
    assert.is(node.peerKey, undefined)
  }
})

test.run()

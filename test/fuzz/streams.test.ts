/**
 * Fuzzes what holds state between inputs: end-to-end sessions, the channel between device and
 * node, and the frames of links between nodes. Each case starts from a fresh copy. Whatever
 * arrives, they refuse with a code, and a good message afterwards still gets through.
 */
import * as assert from 'uvu/assert'
import { concat } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { SecureSession } from '../../crypto/secure-session.ts'
import { FrameBuffer, FrameCursor, FrameSplitter, frameTypes } from '../../node/overlay/link-frames.ts'
import { decodeRefusal } from '../../node/overlay/link-service.ts'
import { NoiseChannel } from '../../protocol/session/noise-channel.ts'
import { ad, establish, read, TestDevice } from '../crypto/support/devices.ts'
import { bytesOf } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { fuzzDecoder } from './decoder-fuzz.ts'

const seed = 'streams 1'
const random = seededRandom(seed)
const test = suite('fuzz/streams', { timeoutMs: 60_000 })

// ── End-to-end sessions ─────────────────────────────────────────────────────────────────────

const alice = new TestDevice(random)
const bob = new TestDevice(random)
const [aliceSession, bobSession] = establish(alice, bob)
const state = bobSession.serialize()
const messages = ['one', 'two', 'three'].map((text) => alice.encrypt(aliceSession, text))

test('a session refuses what was changed, and is not changed by it', () => {
  const session = SecureSession.deserialize(state)
  fuzzDecoder({
    name: 'session message',
    valid: [messages[1]!],
    seed,
    cases: 1_500,
    decode(bytes) {
      const answer = session.clone().decrypt({ message: bytes, ad })
      if (!answer.ok) session.decrypt({ message: bytes, ad })
      return answer
    },
  })
  assert.is(read(session, messages[0]!), 'one')
  assert.is(read(session, messages[2]!), 'three')
})

test('a device refuses first messages that were changed, and uses up no prekey by them', () => {
  const carol = new TestDevice(random)
  const first = carol.encrypt(carol.initiate(bob.bundle()), 'hello')
  const respond = (message: Uint8Array) =>
    SecureSession.respond({ own: bob.own, message, ad, prekeys: bob.prekeys })
  fuzzDecoder({ name: 'first message', valid: [first], seed, cases: 500, decode: respond })
  assert.ok(respond(first).ok)
})

test('a stored session that was damaged is refused', () => {
  fuzzDecoder({
    name: 'stored session',
    valid: [state, aliceSession.serialize()],
    seed,
    cases: 2_000,
    decode: (bytes) => SecureSession.deserialize(bytes),
  })
})

// ── The channel between a device and its node ───────────────────────────────────────────────

const doorKeys = crypto.dhKeyPair(bytesOf('door'))
const deviceKeys = crypto.dhKeyPair(bytesOf('device'))

/** One end of a channel with what it says and how it failed. */
function channel(role: 'device' | 'node', randomSeed: string) {
  const written: Uint8Array[] = []
  const seen: { failed?: string, messages: number } = { messages: 0 }
  const end = new NoiseChannel({
    transport: 'fuzz',
    framing: 'length',
    own: role === 'device' ? deviceKeys : doorKeys,
    random: seededRandom(randomSeed),
    ...(role === 'device' ? { nodeKey: doorKeys.publicKey } : {}),
  }, {
    write: (bytes) => { written.push(bytes) },
    opened: () => {},
    message: () => { seen.messages++ },
    failed: (code) => { seen.failed = code },
  })
  return { end, written, seen }
}

test('a channel refuses streams that were changed, on both ends', () => {
  const device = channel('device', 'device')
  const node = channel('node', 'node')
  device.end.start()
  node.end.receive(concat(...device.written))
  const answer = concat(...node.written)
  device.end.receive(answer)
  const stream = concat(...device.written, ...device.end.seal([bytesOf('message', 900), bytesOf('next', 20)]))
  node.end.receive(stream.subarray(concat(...device.written).length))
  assert.equal(node.seen, { messages: 2 })

  const attempt = (role: 'device' | 'node', bytes: Uint8Array): unknown => {
    const { end, seen } = channel(role, role)
    if (role === 'device') end.start()
    end.receive(bytes)
    return seen.failed === undefined ? seen : { ok: false, code: seen.failed }
  }
  // A stream that was cut only waits for more.
  for (const [role, valid] of [['node', stream], ['device', answer]] as const) {
    const decode = (bytes: Uint8Array): unknown => attempt(role, bytes)
    fuzzDecoder({ name: `${role} end`, valid: [valid], decode, seed, cases: 1_500, selfDelimiting: false })
  }
})

// ── Links between nodes ─────────────────────────────────────────────────────────────────────

function linkStream(): Uint8Array {
  const { hello, request, ping, reply } = frameTypes
  const frames = [[hello, 5], [request, 300], [ping, 1], [reply, 9_000]] as const
  return concat(...frames.map(([type, length]) => {
    const buffer = new FrameBuffer(length + 8)
    buffer.head(type, length)
    buffer.raw(random.bytes(length))
    return buffer.finish()
  }))
}

test('link frames are cut or refused, in any pieces, and their fields never read past the end', () => {
  const cursor = new FrameCursor()
  fuzzDecoder({
    name: 'link frames',
    valid: [linkStream()],
    seed,
    cases: 3_000,
    selfDelimiting: false,
    decode(bytes) {
      const splitter = new FrameSplitter((_type, frame, start, end) => {
        cursor.reset(frame, start, end)
        try {
          while (cursor.remaining > 0) cursor.varint()
        } catch {
          // The rest of a body is no varint; only reading past the end would be wrong.
        }
        assert.ok(cursor.remaining >= 0)
        return true
      })
      const half = bytes.length >> 1
      splitter.push(bytes.subarray(0, half))
      splitter.push(bytes.subarray(half))
      return true
    },
  })
})

test('a refusal of another node always gives a code', () => {
  fuzzDecoder({
    name: 'refusal body',
    valid: [new Uint8Array([4, 0x42, 0x55, 0x53, 0x59, 0x68, 0x69])],
    seed,
    cases: 3_000,
    selfDelimiting: false,
    decode(bytes) {
      const { code } = decodeRefusal(bytes)
      assert.match(code, /^[A-Z][A-Z0-9_]*$/)
      return code
    },
  })
})

test.run()

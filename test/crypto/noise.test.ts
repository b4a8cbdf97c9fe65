/**
 * The Noise framework against the public vectors of its patterns, and what it must refuse.
 */
import * as assert from 'uvu/assert'
import { hex, hexDecode, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { NoiseCipher, NoiseHandshake } from '../../crypto/noise.ts'
import type { NoiseHandshakeOptions, NoisePattern, NoiseRole } from '../../crypto/noise.ts'
import type { CryptoProvider, DhKeyPair } from '../../crypto/provider.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { backends, importOn } from './support/backends.ts'
import { hasPublicVectors, readVectors, skipReason } from './support/public-vectors.ts'
import { hasCode, outcome, value } from './support/devices.ts'

const test = suite('crypto/noise')

const random = seededRandom('noise')
const device = crypto.dhKeyPair(random.bytes(32))
const door = crypto.dhKeyPair(random.bytes(32))
const prologue = utf8('test')
const empty = new Uint8Array(0)

function pair(changes: Partial<NoiseHandshakeOptions> = {}): [NoiseHandshake, NoiseHandshake] {
  const shared = { pattern: 'IK', prologue, random, ...changes } as const
  return [
    new NoiseHandshake({ ...shared, role: 'initiator', own: device, remoteStaticKey: door.publicKey }),
    new NoiseHandshake({ ...shared, role: 'responder', own: door }),
  ]
}

/** Both ends after IK. */
function established(): Record<NoiseRole, ReturnType<NoiseHandshake['split']>> {
  const [initiator, responder] = pair()
  value(responder.read(initiator.write(empty)))
  value(initiator.read(responder.write(empty)))
  return { initiator: initiator.split(), responder: responder.split() }
}

interface Vector {
  protocol_name: string
  init_prologue: string
  init_ephemeral: string
  init_static?: string
  init_remote_static?: string
  resp_prologue: string
  resp_ephemeral: string
  resp_static?: string
  handshake_hash: string
  messages: { payload: string, ciphertext: string }[]
}

type NoiseModule = typeof import('../../crypto/noise.ts')
const once = (bytes: string): { bytes: () => Uint8Array } => ({ bytes: () => hexDecode(bytes) })

for (const { name } of backends) {
  for (const pattern of ['NK', 'XX', 'IK'] satisfies NoisePattern[]) {
    const withVectors = test.skipUnless(hasPublicVectors, skipReason, { allowInCI: true })
    withVectors(`${name}: gives the bytes of the public vector of ${pattern}`, async () => {
      const { vectors } = readVectors<{ vectors: Vector[] }>('noise-25519-chachapoly-sha256.json')
      const vector = vectors.find((one) => one.protocol_name === `Noise_${pattern}_25519_ChaChaPoly_SHA256`)!
      // A copy of all of crypto/ has a provider of its own, and key pairs belong to one.
      const { crypto: backend } = await importOn<typeof import('../../crypto/index.ts')>(name, 'index.ts')
      playVector(await importOn<NoiseModule>(name, 'noise.ts'), { backend, pattern, vector })
    })
  }
}

function playVector(
  noise: NoiseModule,
  { backend, pattern, vector }: { backend: CryptoProvider, pattern: NoisePattern, vector: Vector },
): void {
  const key = (secret: string | undefined): { own?: DhKeyPair } =>
    (secret === undefined ? {} : { own: backend.dhKeyPair(hexDecode(secret)) })
  const initiator = new noise.NoiseHandshake({
    pattern,
    role: 'initiator',
    prologue: hexDecode(vector.init_prologue),
    random: once(vector.init_ephemeral),
    ...key(vector.init_static),
    ...(vector.init_remote_static && { remoteStaticKey: hexDecode(vector.init_remote_static) }),
  })
  const responder = new noise.NoiseHandshake({
    pattern,
    role: 'responder',
    prologue: hexDecode(vector.resp_prologue),
    random: once(vector.resp_ephemeral),
    ...key(vector.resp_static),
  })
  let ciphers: { send: NoiseCipher, receive: NoiseCipher }[] = []
  for (const [at, { payload, ciphertext }] of vector.messages.entries()) {
    const [writer, reader] = at % 2 === 0 ? [0, 1] : [1, 0]
    if (ciphers.length === 0) {
      const ends = [initiator, responder]
      assert.is(hex(ends[writer]!.write(hexDecode(payload))), ciphertext)
      assert.is(hex(value(ends[reader]!.read(hexDecode(ciphertext)))), payload)
      if (!initiator.done) continue
      const [first, second] = [initiator.split(), responder.split()]
      assert.is(hex(first.handshakeHash), vector.handshake_hash)
      assert.equal(second.handshakeHash, first.handshakeHash)
      ciphers = [first, second]
    } else {
      assert.is(hex(ciphers[writer]!.send.encrypt(hexDecode(payload))), ciphertext)
      assert.is(hex(ciphers[reader]!.receive.decrypt(hexDecode(ciphertext))!), payload)
    }
  }
  assert.is(ciphers.length, 2)
}

test('tells both ends the other\'s key and one handshake hash', () => {
  const [initiator, responder] = pair()
  assert.is(responder.remoteStaticKey, undefined)
  assert.equal(value(responder.read(initiator.write(utf8('early')))), utf8('early'))
  assert.equal(responder.remoteStaticKey, device.publicKey)
  assert.not(responder.done)
  assert.equal(value(initiator.read(responder.write(utf8('answer')))), utf8('answer'))
  assert.ok(initiator.done && responder.done)
  assert.equal(initiator.split().handshakeHash, responder.split().handshakeHash)
})

test('refuses another prologue, another key and every altered or cut byte of the first message', () => {
  const [initiator] = pair()
  const message = initiator.write(empty)
  const responder = (options: Partial<NoiseHandshakeOptions> = {}): NoiseHandshake =>
    new NoiseHandshake({ pattern: 'IK', role: 'responder', prologue, own: door, random, ...options })
  assert.is(outcome(responder().read(message)), 'read')
  assert.is(outcome(responder({ prologue: utf8('other') }).read(message)), 'NOISE_MESSAGE')
  assert.is(outcome(responder({ own: device }).read(message)), 'NOISE_MESSAGE')
  for (let at = 0; at < message.length; at++) {
    // The highest bit of an X25519 key does not count (RFC 7748 §5), but it is hashed.
    const altered = message.slice()
    altered[at]! ^= 0x80
    assert.is(outcome(responder().read(altered)), 'NOISE_MESSAGE')
    assert.is(outcome(responder().read(message.subarray(0, at))), 'NOISE_MESSAGE')
  }
  assert.is(outcome(responder().read(new Uint8Array(65_536))), 'NOISE_MESSAGE')
})

test('refuses keys of small order in every place', () => {
  const zero = new Uint8Array(32)
  const toZero = new NoiseHandshake({
    pattern: 'IK', role: 'initiator', prologue, own: device, remoteStaticKey: zero, random,
  })
  assert.throws(() => toZero.write(empty), hasCode('NOISE_KEY'))

  const [initiator, responder] = pair()
  const message = initiator.write(empty)
  message.set(zero)
  assert.is(outcome(responder.read(message)), 'NOISE_MESSAGE')

  const [other, end] = pair()
  value(end.read(other.write(empty)))
  const answer = end.write(empty)
  answer.set(zero)
  assert.is(outcome(other.read(answer)), 'NOISE_MESSAGE')
})

test('is dead after a refused message, and holds its turns', () => {
  const [initiator, responder] = pair()
  assert.throws(() => responder.write(empty), /out of turn/)
  assert.throws(() => initiator.split(), /before the end/)
  const message = initiator.write(empty)
  assert.throws(() => initiator.write(empty), /out of turn/)
  responder.read(message.subarray(1))
  assert.throws(() => responder.read(message), /end of the handshake/)
  assert.not(responder.done)
})

test('splits once', () => {
  const [initiator, responder] = pair()
  responder.read(initiator.write(empty))
  initiator.read(responder.write(empty))
  initiator.split()
  assert.throws(() => initiator.split(), /twice/)
})

test('refuses transport messages that are altered, repeated or out of order, and goes on after', () => {
  const { initiator, responder } = established()
  const [first, second] = [initiator.send.encrypt(utf8('1')), initiator.send.encrypt(utf8('2'))]
  assert.is(responder.receive.decrypt(second), undefined)
  const altered = first.slice()
  altered[0]! ^= 1
  assert.is(responder.receive.decrypt(altered), undefined)
  assert.equal(responder.receive.decrypt(first), utf8('1'))
  assert.is(responder.receive.decrypt(first), undefined)
  assert.equal(responder.receive.decrypt(second), utf8('2'))
  assert.is(responder.receive.decrypt(new Uint8Array(3)), undefined)
  assert.is(initiator.receive.decrypt(initiator.send.encrypt(utf8('own'))), undefined)
})

test('rekeys both ends alike', () => {
  const { initiator, responder } = established()
  initiator.send.rekey()
  const message = initiator.send.encrypt(utf8('after'))
  assert.is(responder.receive.decrypt(message), undefined)
  responder.receive.rekey()
  assert.equal(responder.receive.decrypt(message), utf8('after'))
})

test('counts messages in 64 bits, little-endian, after 32 zero bits', () => {
  const cipher = new NoiseCipher(new Uint8Array(32).fill(5))
  cipher.encrypt(empty)
  const second = cipher.encrypt(utf8('x'))
  const nonce = hexDecode('000000000100000000000000')
  const ad = empty
  assert.equal(crypto.open({ key: new Uint8Array(32).fill(5), nonce, ciphertext: second, ad }), utf8('x'))
})

test('sends no message above 65,535 bytes', () => {
  const cipher = new NoiseCipher(new Uint8Array(32))
  assert.is(cipher.encrypt(new Uint8Array(65_519)).length, 65_535)
  assert.throws(() => cipher.encrypt(new Uint8Array(65_520)), /one Noise message/)
})

test.run()

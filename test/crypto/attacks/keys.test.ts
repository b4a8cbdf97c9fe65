/**
 * Keys and signatures that nobody makes honestly (checklist.ts, 5 to 7), at every door that takes one.
 * The primitives themselves are held to Wycheproof in ../provider-vectors.test.ts.
 */
import * as assert from 'uvu/assert'
import { concat, equalBytes, utf8 } from '../../../crypto/bytes.ts'
import { u32Bytes } from '../../../crypto/fields.ts'
import type { PrekeyBundle } from '../../../crypto/handshake/types.ts'
import { crypto } from '../../../crypto/index.ts'
import { labels } from '../../../crypto/labels.ts'
import { blindPublicKey } from '../../../crypto/blinding.ts'
import { NoiseHandshake } from '../../../crypto/noise.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import {
  certifyDevice, compareDeviceLists, createDeviceList, verifyDeviceList,
} from '../../../protocol/account.ts'
import { formatAddress, parseAddress } from '../../../protocol/address.ts'
import { createEnvelope, parseEnvelope, verifyEnvelope } from '../../../protocol/envelope.ts'
import { formatInvite, parseInvite } from '../../../protocol/invite.ts'
import { bytesOf, deviceListOf, keysOf } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { badVerifyKeys, signAgain, smallOrderDhKeys } from '../support/attackers.ts'
import { backends } from '../support/backends.ts'
import { hasCode, outcome, TestDevice, value } from '../support/devices.ts'

const test = suite('crypto/attacks/keys')

const random = seededRandom('keys')
const alice = new TestDevice(random)
const bob = new TestDevice(random)
const mallory = new TestDevice(random)
const nothing = new Uint8Array(0)

/** A bundle that its owner signed with keys of her choice. */
function bundleOf(
  changes: { dhKey?: Uint8Array, signedKey?: Uint8Array, oneTimeKey?: Uint8Array },
): PrekeyBundle {
  const { identity, signedPrekey, kemPrekey, oneTimePrekey } = mallory.bundle()
  const dhKey = changes.dhKey ?? identity.dhKey
  const sign = (label: Uint8Array, { id, publicKey }: { id: number, publicKey: Uint8Array }): Uint8Array =>
    crypto.sign(mallory.own.signingKeys, concat(label, dhKey, u32Bytes(id), publicKey))
  const signed = { id: signedPrekey.id, publicKey: changes.signedKey ?? signedPrekey.publicKey }
  return {
    identity: { ...identity, dhKey },
    signedPrekey: { ...signed, signature: sign(labels.signedPrekey, signed) },
    kemPrekey: { ...kemPrekey, signature: sign(labels.oneTimeKemPrekey, kemPrekey) },
    oneTimePrekey: { id: oneTimePrekey!.id, publicKey: changes.oneTimeKey ?? oneTimePrekey!.publicKey },
  }
}

test('every backend gives no secret for an X25519 key of small order', () => {
  for (const backend of backends) {
    const own = backend.dhKeyPair(random.bytes(32))
    for (const key of smallOrderDhKeys) assert.is(backend.dh(own, key), undefined, backend.name)
  }
})

test('an X25519 key of small order is refused in every place of a bundle', () => {
  const initiate = (bundle: PrekeyBundle): string =>
    outcome(SecureSession.initiate({ own: alice.own, bundle, random }))
  assert.is(initiate(bundleOf({})), 'read')
  for (const key of smallOrderDhKeys) {
    for (const place of ['dhKey', 'signedKey', 'oneTimeKey']) {
      assert.is(initiate(bundleOf({ [place]: key })), 'HANDSHAKE_KEY', place)
    }
  }
})

test('an X25519 key of small order is refused in every place of a first message', () => {
  const [dhKeyAt, proofAt, baseKeyAt] = [34, 66, 130]
  for (const key of smallOrderDhKeys) {
    const message = mallory.encrypt(mallory.initiate(bob.bundle()), '')
    const withBase = message.slice()
    withBase.set(key, baseKeyAt)
    assert.is(outcome(bob.respond(withBase)), 'HANDSHAKE_KEY')
    const withIdentity = message.slice()
    withIdentity.set(key, dhKeyAt)
    withIdentity.set(crypto.sign(mallory.own.signingKeys, concat(labels.identityProof, key)), proofAt)
    assert.is(outcome(bob.respond(withIdentity)), 'HANDSHAKE_KEY')
  }
})

test('an X25519 key of small order is refused in every place of the channel', () => {
  const [door, device] = [crypto.dhKeyPair(random.bytes(32)), crypto.dhKeyPair(random.bytes(32))]
  const end = (role: 'initiator' | 'responder', remoteStaticKey?: Uint8Array): NoiseHandshake => {
    const own = role === 'initiator' ? device : door
    const known = remoteStaticKey && { remoteStaticKey }
    return new NoiseHandshake({ pattern: 'IK', role, prologue: nothing, random, own, ...known })
  }
  for (const key of smallOrderDhKeys) {
    assert.throws(() => end('initiator', key).write(nothing), hasCode('NOISE_KEY'))
    const [initiator, responder] = [end('initiator', door.publicKey), end('responder')]
    const first = initiator.write(nothing)
    const changed = first.slice()
    changed.set(key)
    assert.is(outcome(end('responder').read(changed)), 'NOISE_MESSAGE')
    value(responder.read(first))
    const answer = responder.write(nothing)
    answer.set(key)
    assert.is(outcome(initiator.read(answer)), 'NOISE_MESSAGE')
  }
})

test('an Ed25519 key that libraries disagree on is refused wherever one comes in', () => {
  const root = keysOf('mallory')
  for (const [name, key] of badVerifyKeys(root.publicKey)) {
    for (const backend of backends) assert.not(backend.isVerifyKey(key), `${backend.name}: ${name}`)
    assert.is(outcome(parseAddress(formatAddress(key))), 'ADDRESS_KEY', name)
    const [seed, introToken] = [bytesOf('seed', 15), bytesOf('token', 15)]
    const invite = formatInvite({ rootKey: key, seed, introToken, expiryHour: 1 })
    assert.is(outcome(parseInvite(invite, 0)), 'INVITE_FORMAT', name)
    const blind = (): unknown => blindPublicKey({ publicKey: key, factor: bytesOf('factor') })
    assert.throws(blind, hasCode('BLINDING_KEY'))
    const bundle = mallory.bundle()
    const identity = { ...bundle.identity, signingKey: key }
    const initiated = SecureSession.initiate({ own: alice.own, bundle: { ...bundle, identity }, random })
    assert.is(outcome(initiated), 'HANDSHAKE_SIGNATURE', name)
    const message = mallory.encrypt(mallory.initiate(bob.bundle()), '')
    message.set(key, 2)
    assert.is(outcome(bob.respond(message)), 'HANDSHAKE_IDENTITY', name)
    const certificate = certifyDevice({
      rootKey: root.publicKey, signingKeys: keysOf('mallory device'), dhKey: bytesOf('dh'), addedHour: 1,
    })
    const devices = [{ ...certificate, signingKey: key }]
    assert.throws(() => createDeviceList({ rootKeys: root, devices }), /not usable/, name)
  }
})

test('no signature verifies under a key or with a commitment of small order', () => {
  const message = utf8('anything')
  const keys = keysOf('alice')
  for (const [name, point] of badVerifyKeys(keys.publicKey).slice(0, 5)) {
    for (const backend of backends) {
      // S = 0 and R = the key: what lax libraries take for every message under some of these.
      const forged = { publicKey: point, message, signature: concat(point, new Uint8Array(32)) }
      assert.not(backend.verify(forged), `${backend.name}: ${name}`)
      const signature = Uint8Array.of(1, ...new Uint8Array(63))
      assert.not(backend.verify({ publicKey: point, message, signature }), `${backend.name}: ${name}`)
      const smallCommitment = concat(point, crypto.sign(keys, message).subarray(32))
      assert.not(backend.verify({ publicKey: keys.publicKey, message, signature: smallCommitment }))
    }
  }
})

test('a second valid signature makes no other envelope and no other device list', () => {
  const writeKeys = keysOf('write')
  const envelope = createEnvelope({
    writeKeys, readKey: keysOf('read').publicKey, expiryHour: 1, ciphertext: new Uint8Array(512),
  })
  const resign = (bytes: Uint8Array, label: string, keys = writeKeys): Uint8Array => {
    const content = bytes.subarray(0, -64)
    return concat(content, signAgain(keys, concat(utf8(label), content)))
  }
  const again = resign(envelope, 'openim envelope v1')
  assert.not(equalBytes(again, envelope))
  const [first, second] = [value(parseEnvelope(envelope)), value(parseEnvelope(again))]
  assert.ok(verifyEnvelope(again, second.envelope), 'the second signature is as good as the first')
  assert.is(second.id, first.id)

  const list = deviceListOf('alice', ['laptop'])
  const resigned = resign(list.bytes, 'openim device list v1', keysOf('alice'))
  const other = value(verifyDeviceList(resigned, list.list.rootKey))
  assert.not(equalBytes(other.bytes, list.bytes))
  assert.equal(compareDeviceLists({ known: list, offered: other }), { order: 'same' })
})

test('a signature with S + L is not taken for a second one', () => {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const keys = keysOf('alice')
  const message = utf8('once')
  const signature = crypto.sign(keys, message)
  let s = order
  for (let i = 31; i >= 0; i--) s += BigInt(signature[32 + i]!) << BigInt(8 * i)
  const other = signature.slice()
  for (let i = 0; i < 32; i++) other[32 + i] = Number((s >> BigInt(8 * i)) & 0xffn)
  for (const backend of backends) {
    assert.ok(backend.verify({ publicKey: keys.publicKey, message, signature }), backend.name)
    assert.not(backend.verify({ publicKey: keys.publicKey, message, signature: other }), backend.name)
  }
})

test.run()

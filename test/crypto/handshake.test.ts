/**
 * The handshake: what a bundle and a first message must be, and every way to bend them that we
 * know of (small-order keys, stripped prekeys, misbinding of identities, reflection, forgery).
 */
import * as assert from 'uvu/assert'
import { ed25519 } from '@noble/curves/ed25519.js'
import { concat, equalBytes, utf8 } from '../../crypto/bytes.ts'
import { u32Bytes } from '../../crypto/fields.ts'
import { crypto } from '../../crypto/index.ts'
import { labels } from '../../crypto/labels.ts'
import type { PrekeyBundle, RemoteIdentity } from '../../crypto/handshake/types.ts'
import { peekInitial, SecureSession } from '../../crypto/secure-session.ts'
import { limits } from '../../protocol/limits.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { withHeader } from './support/attackers.ts'
import { ad, outcome, TestDevice, value } from './support/devices.ts'

const test = suite('crypto/handshake', { timeoutMs: 60_000 })

const random = seededRandom('handshake')
const alice = new TestDevice(random)
const bob = new TestDevice(random)
const mallory = new TestDevice(random)
const smallOrder = Uint8Array.of(1, ...new Uint8Array(31))

/** Where things stand in an initial message, after kind and version. */
const offsets = {
  signingKey: 2, dhKey: 34, proof: 66, baseKey: 130, oneTimeFlag: 171, kemCiphertext: 176, body: 1_264,
}

function initiateWith(bundle: PrekeyBundle, from = alice): string {
  return outcome(SecureSession.initiate({ own: from.own, bundle, random }))
}

function firstMessage(bundle = bob.bundle(), from = alice): Uint8Array {
  return from.encrypt(from.initiate(bundle), 'first')
}

/** A first message to Bob whose writer says other things in the header, and binds those. */
function changedFirst(from: TestDevice, change: (message: Uint8Array) => void): Uint8Array {
  return from.encrypt(withHeader(from.initiate(bob.bundle()), change), 'first')
}

/** Mallory's word that a DH key belongs to her signing key. */
function proofOfMallory(dhKey: Uint8Array): Uint8Array {
  return crypto.sign(mallory.own.signingKeys, concat(labels.identityProof, dhKey))
}

/** A bundle of `device` with parts that the device itself signed. */
function signedAnew(
  device: TestDevice,
  changes: { dhKey?: Uint8Array, kem?: Uint8Array, signed?: Uint8Array },
): PrekeyBundle {
  const bundle = device.bundle()
  const dhKey = changes.dhKey ?? bundle.identity.dhKey
  const sign = (label: Uint8Array, id: number, key: Uint8Array): Uint8Array =>
    crypto.sign(device.own.signingKeys, concat(label, dhKey, u32Bytes(id), key))
  const signedKey = changes.signed ?? bundle.signedPrekey.publicKey
  const kemKey = changes.kem ?? bundle.kemPrekey.publicKey
  return {
    ...bundle,
    identity: { ...bundle.identity, dhKey },
    signedPrekey: {
      id: bundle.signedPrekey.id,
      publicKey: signedKey,
      signature: sign(labels.signedPrekey, bundle.signedPrekey.id, signedKey),
    },
    kemPrekey: {
      id: bundle.kemPrekey.id,
      oneTime: true,
      publicKey: kemKey,
      signature: sign(labels.oneTimeKemPrekey, bundle.kemPrekey.id, kemKey),
    },
  }
}

test('the first message is the handshake, and says which prekeys to delete', () => {
  const bundle = bob.bundle()
  const message = firstMessage(bundle)
  const expected = {
    signedPrekeyId: bundle.signedPrekey.id,
    kemPrekeyId: bundle.kemPrekey.id,
    kemOneTime: true,
    oneTimePrekeyId: bundle.oneTimePrekey!.id,
  }
  assert.equal(peekInitial(message), { ...expected, remote: alice.identity })
  const { session, plaintext, used } = value(bob.respond(message))
  assert.equal(plaintext, utf8('first'))
  assert.equal(used, expected)
  assert.equal(session.remote, alice.identity)
})

test('a first message with a content key fits where messages are wrapped for a device', () => {
  const session = alice.initiate(bob.bundle())
  const length = session.encrypt({ plaintext: new Uint8Array(64), ad, random }).length
  assert.is(length, 1_365 + 64)
  assert.ok(length <= limits.wrapBytesMax)
})

test('works with the last-resort prekeys alone, again and again', () => {
  for (let i = 0; i < 3; i++) {
    const { used } = value(bob.respond(firstMessage(bob.bundle('lastResort'))))
    assert.equal(used, { signedPrekeyId: 1, kemPrekeyId: 2, kemOneTime: false })
  }
})

test('refuses a bundle in which anything that is signed was changed', () => {
  const bundle = bob.bundle()
  const flip = (bytes: Uint8Array): Uint8Array => bytes.map((byte, at) => (at === 5 ? byte ^ 1 : byte))
  const { identity, signedPrekey, kemPrekey } = bundle
  const changed: PrekeyBundle[] = [
    { ...bundle, identity: { ...identity, dhKey: flip(identity.dhKey) } },
    { ...bundle, identity: { ...identity, signingKey: mallory.identity.signingKey } },
    { ...bundle, signedPrekey: { ...signedPrekey, id: 7 } },
    { ...bundle, signedPrekey: { ...signedPrekey, publicKey: flip(signedPrekey.publicKey) } },
    { ...bundle, signedPrekey: { ...signedPrekey, signature: flip(signedPrekey.signature) } },
    { ...bundle, kemPrekey: { ...kemPrekey, id: 7 } },
    { ...bundle, kemPrekey: { ...kemPrekey, oneTime: false } },
    { ...bundle, kemPrekey: { ...kemPrekey, publicKey: flip(kemPrekey.publicKey) } },
    { ...bundle, kemPrekey: { ...kemPrekey, signature: flip(kemPrekey.signature) } },
    { ...bundle, kemPrekey: { ...kemPrekey, publicKey: kemPrekey.publicKey.subarray(1) } },
    { ...bundle, signedPrekey: mallory.bundle().signedPrekey },
    { ...bundle, kemPrekey: mallory.bundle().kemPrekey },
  ]
  assert.equal(changed.map((one) => initiateWith(one)), changed.map(() => 'HANDSHAKE_SIGNATURE'))
  assert.is(initiateWith(bundle), 'read')
})

test('refuses somebody else\'s keys under another identity, and its own bundle', () => {
  assert.is(initiateWith({ ...bob.bundle(), identity: mallory.identity }), 'HANDSHAKE_SIGNATURE')
  assert.is(initiateWith(signedAnew(mallory, { dhKey: alice.identity.dhKey })), 'HANDSHAKE_IDENTITY')
  assert.is(initiateWith(alice.bundle()), 'HANDSHAKE_IDENTITY')
})

test('refuses keys of small order everywhere in a bundle, and a KEM key that is none', () => {
  const bundle = mallory.bundle()
  assert.is(initiateWith(signedAnew(mallory, { dhKey: smallOrder })), 'HANDSHAKE_KEY')
  assert.is(initiateWith(signedAnew(mallory, { signed: smallOrder })), 'HANDSHAKE_KEY')
  assert.is(initiateWith({ ...bundle, oneTimePrekey: { id: 1, publicKey: smallOrder } }), 'HANDSHAKE_KEY')
  assert.is(initiateWith(signedAnew(mallory, { kem: new Uint8Array(1_184).fill(0xff) })), 'HANDSHAKE_KEY')
  for (const signingKey of [smallOrder, torsionKey(mallory.identity.signingKey)]) {
    const identity = { ...bundle.identity, signingKey }
    assert.is(initiateWith({ ...bundle, identity }), 'HANDSHAKE_SIGNATURE')
  }
})

test('refuses a first message in which any byte was changed, or that was cut', () => {
  const message = firstMessage()
  const stride = (at: number): number => (at < 180 || at >= offsets.body ? 1 : 41)
  for (let at = 0; at < message.length; at += stride(at)) {
    const altered = message.slice()
    altered[at]! ^= 0x80
    const code = outcome(bob.respond(altered))
    assert.match(code, /^(HANDSHAKE_(IDENTITY|PREKEY)|SESSION_(FORMAT|UNDECRYPTABLE))$/, `byte ${at}`)
    assert.match(outcome(bob.respond(message.subarray(0, at))), /^SESSION_(FORMAT|UNDECRYPTABLE)$/)
  }
  assert.is(outcome(bob.respond(concat(message, smallOrder))), 'SESSION_UNDECRYPTABLE')
  assert.is(outcome(bob.respond(message)), 'read')
})

test('refuses a first message from which the one-time prekey was stripped', () => {
  const message = changedFirst(alice, (header) => header.fill(0, offsets.oneTimeFlag, offsets.kemCiphertext))
  assert.is(peekInitial(message)!.oneTimePrekeyId, undefined)
  assert.is(outcome(bob.respond(message)), 'SESSION_UNDECRYPTABLE')
})

test('refuses a ciphertext encapsulated to another KEM key', () => {
  const { ciphertext } = crypto.kemEncapsulate(bob.lastResortKem.keys.publicKey, random)!
  const message = changedFirst(alice, (header) => header.set(ciphertext, offsets.kemCiphertext))
  assert.is(outcome(bob.respond(message)), 'SESSION_UNDECRYPTABLE')
})

test('refuses small-order keys of an initiator', () => {
  const withBase = firstMessage()
  withBase.set(smallOrder, offsets.baseKey)
  assert.is(outcome(bob.respond(withBase)), 'HANDSHAKE_KEY')

  const withIdentity = firstMessage(bob.bundle(), mallory)
  withIdentity.set(smallOrder, offsets.dhKey)
  withIdentity.set(proofOfMallory(smallOrder), offsets.proof)
  assert.is(outcome(bob.respond(withIdentity)), 'HANDSHAKE_KEY')

  const withSigning = firstMessage(bob.bundle(), mallory)
  withSigning.set(smallOrder, offsets.signingKey)
  assert.is(outcome(bob.respond(withSigning)), 'HANDSHAKE_IDENTITY')
})

test('refuses a message that claims the identity of another device', () => {
  const real = firstMessage()
  const identity = real.subarray(offsets.signingKey, offsets.baseKey)

  const claimed = changedFirst(mallory, (header) => header.set(identity, offsets.signingKey))
  assert.equal(peekInitial(claimed)!.remote, alice.identity)
  assert.is(outcome(bob.respond(claimed)), 'SESSION_UNDECRYPTABLE')

  // Mallory's signing key for Alice's DH key: the proof holds, but Mallory cannot compute DH1.
  const adopted = changedFirst(mallory, (header) => {
    header.set(alice.identity.dhKey, offsets.dhKey)
    header.set(proofOfMallory(alice.identity.dhKey), offsets.proof)
  })
  assert.is(outcome(bob.respond(adopted)), 'SESSION_UNDECRYPTABLE')
})

test('who stole the responder\'s identity keys cannot pose as another to it', () => {
  // Key compromise: Mallory holds Bob's long-lived keys, but no secret of his prekeys.
  const withBobsKeys = { own: bob.own, prekeys: mallory.prekeys }
  const session = SecureSession.initiate({ own: mallory.own, bundle: bob.bundle('lastResort'), random })
  const identity = firstMessage().subarray(offsets.signingKey, offsets.baseKey)
  const posing = withHeader(value(session), (header) => header.set(identity, offsets.signingKey))
  const message = mallory.encrypt(posing, 'I am Alice')
  assert.is(outcome(bob.respond(message)), 'SESSION_UNDECRYPTABLE')
  // Nor read what others send to Bob.
  const read = SecureSession.respond({ ...withBobsKeys, message: firstMessage(), ad })
  assert.is(outcome(read), 'HANDSHAKE_PREKEY')
})

test('refuses a message meant for another device, or another than expected', () => {
  const message = firstMessage(bob.bundle('lastResort'))
  assert.is(outcome(mallory.respond(message)), 'SESSION_UNDECRYPTABLE')
  const { own, prekeys } = bob
  const expecting = (remote: RemoteIdentity): string =>
    outcome(SecureSession.respond({ own, message, ad, prekeys, remote }))
  assert.is(expecting(mallory.identity), 'HANDSHAKE_IDENTITY')
  assert.is(expecting({ ...alice.identity, dhKey: mallory.identity.dhKey }), 'HANDSHAKE_IDENTITY')
  const elsewhere = SecureSession.respond({ own, message, ad: utf8('other'), prekeys })
  assert.is(outcome(elsewhere), 'SESSION_UNDECRYPTABLE')
  assert.is(expecting(alice.identity), 'read')
})

test('refuses its own handshake when it is reflected', () => {
  assert.is(outcome(alice.respond(firstMessage())), 'HANDSHAKE_IDENTITY')
})

test('refuses prekeys that are unknown or were used', () => {
  const message = firstMessage()
  assert.is(outcome(bob.respond(message)), 'read')
  assert.is(outcome(bob.respond(message)), 'HANDSHAKE_PREKEY')
  const stale = firstMessage()
  bob.oneTimePrekeys.clear()
  assert.is(outcome(bob.respond(stale)), 'HANDSHAKE_PREKEY')
})

test('both ends agree on keys only when every byte of the bundle is the same', () => {
  // The one-time prekey is not signed: a holder may swap it for the key of another prekey.
  const bundle = bob.bundle()
  const oneTimePrekey = { id: bundle.oneTimePrekey!.id, publicKey: mallory.identity.dhKey }
  const swapped = { ...bundle, oneTimePrekey }
  assert.is(outcome(bob.respond(firstMessage(swapped))), 'SESSION_UNDECRYPTABLE')
})

test('two handshakes with one bundle share no keys', () => {
  const bundle = bob.bundle('lastResort')
  const [one, other] = [alice.initiate(bundle), alice.initiate(bundle)]
  // Stored: version, identity, count, base key, flag, flag and header, flag; then the ratchet.
  const ratchetOffset = 1 + 64 + 4 + 32 + 1 + 1 + 1_262 + 1
  const fields = [one, other].map((session) => session.serialize().subarray(ratchetOffset + 1))
  for (const at of [0, 32, 64, 96]) {
    assert.not(equalBytes(fields[0]!.subarray(at, at + 32), fields[1]!.subarray(at, at + 32)))
  }
})

function torsionKey(key: Uint8Array): Uint8Array {
  const torsion = ed25519.Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  return ed25519.Point.fromBytes(key).add(torsion).toBytes()
}

test.run()

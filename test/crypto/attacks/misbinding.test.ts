/**
 * Keys under a wrong name (checklist.ts, 4 and 9): bundles, handshakes, devices and lists that say
 * to be somebody else's, or less than they are.
 */
import * as assert from 'uvu/assert'
import { concat, utf8 } from '../../../crypto/bytes.ts'
import { u32Bytes } from '../../../crypto/fields.ts'
import type { KemPrekey, PrekeyBundle } from '../../../crypto/handshake/types.ts'
import { crypto } from '../../../crypto/index.ts'
import { labels } from '../../../crypto/labels.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import { compareDeviceLists, createDeviceList, verifyDeviceList } from '../../../protocol/account.ts'
import { bytesOf, deviceListOf, deviceOf, keysOf } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { withHeader } from '../support/attackers.ts'
import { establish, outcome, read, TestDevice, ad } from '../support/devices.ts'

const test = suite('crypto/attacks/misbinding')

const random = seededRandom('misbinding')
const alice = new TestDevice(random)
const bob = new TestDevice(random)
const mallory = new TestDevice(random)

const initiate = (bundle: PrekeyBundle): string =>
  outcome(SecureSession.initiate({ own: alice.own, bundle, random }))

/** Where the parts of an initial message stand. */
const at = { signingKey: 2, dhKey: 34, proof: 66, oneTimeFlag: 171, kemCiphertext: 176 }
const headerEnd = 1_264

test('a bundle under another identity is refused, whole or in part', () => {
  const [real, other] = [bob.bundle(), mallory.bundle()]
  const { signingKey, dhKey } = real.identity
  for (const identity of [other.identity, { signingKey, dhKey: other.identity.dhKey },
    { signingKey: other.identity.signingKey, dhKey }]) {
    assert.is(initiate({ ...real, identity }), 'HANDSHAKE_SIGNATURE')
  }
  assert.is(initiate({ ...real, signedPrekey: other.signedPrekey }), 'HANDSHAKE_SIGNATURE')
  assert.is(initiate({ ...real, kemPrekey: other.kemPrekey }), 'HANDSHAKE_SIGNATURE')
})

test('somebody who signs another\'s DH key as their own does not come to speak in that session', () => {
  // Unknown key share: Mallory's signing key over Bob's DH key and prekeys, so that Alice talks to
  // Bob and believes it is Mallory. Bob's transcript has another signing key.
  const sign = (label: Uint8Array, { id, publicKey }: { id: number, publicKey: Uint8Array }): Uint8Array =>
    crypto.sign(mallory.own.signingKeys, concat(label, bob.identity.dhKey, u32Bytes(id), publicKey))
  const { signedPrekey, kemPrekey, oneTimePrekey } = bob.bundle()
  const bundle: PrekeyBundle = {
    identity: { signingKey: mallory.identity.signingKey, dhKey: bob.identity.dhKey },
    signedPrekey: { ...signedPrekey, signature: sign(labels.signedPrekey, signedPrekey) },
    kemPrekey: { ...kemPrekey, signature: sign(labels.oneTimeKemPrekey, kemPrekey) },
    oneTimePrekey: oneTimePrekey!,
  }
  const session = alice.initiate(bundle)
  assert.is(outcome(bob.respond(alice.encrypt(session, 'to Mallory, I think'))), 'SESSION_UNDECRYPTABLE')
})

test('an initiator that takes over another\'s DH key, or its whole identity, is not believed', () => {
  const real = alice.encrypt(alice.initiate(bob.bundle()), 'from Alice')
  const claimed = withHeader(mallory.initiate(bob.bundle()), (message) =>
    message.set(real.subarray(at.signingKey, at.proof + 64), at.signingKey))
  assert.is(outcome(bob.respond(mallory.encrypt(claimed, 'from Mallory'))), 'SESSION_UNDECRYPTABLE')
  const proof = crypto.sign(mallory.own.signingKeys, concat(labels.identityProof, alice.identity.dhKey))
  const adopted = withHeader(mallory.initiate(bob.bundle()), (message) => {
    message.set(alice.identity.dhKey, at.dhKey)
    message.set(proof, at.proof)
  })
  assert.is(outcome(bob.respond(mallory.encrypt(adopted, 'from Mallory'))), 'SESSION_UNDECRYPTABLE')
  const unproven = real.slice()
  unproven.set(mallory.identity.signingKey, at.signingKey)
  assert.is(outcome(bob.respond(unproven)), 'HANDSHAKE_IDENTITY')
})

test('no byte of an initial header can be changed, of a known handshake neither', () => {
  const session = alice.initiate(bob.bundle('lastResort'))
  const first = bob.respond(alice.encrypt(session, 'first'))
  assert.ok(first.ok)
  const { session: other } = first.value
  const before = other.serialize()
  const message = alice.encrypt(session, 'second, under the same header')
  for (let i = 0; i < headerEnd; i++) {
    const altered = message.slice()
    altered[i]! ^= 1
    assert.is.not(outcome(bob.respond(altered, other)), 'read', `byte ${i}`)
    assert.is.not(outcome(other.decrypt({ message: altered, ad })), 'read', `byte ${i}`)
  }
  // Nor without the header: the kind counts too.
  const bare = concat(Uint8Array.of(2, 1), message.subarray(headerEnd))
  assert.is(outcome(other.decrypt({ message: bare, ad })), 'SESSION_UNDECRYPTABLE')
  assert.equal(other.serialize(), before)
  assert.is(read(other, message), 'second, under the same header')
})

test('a session stays with its device, whoever offers a bundle or a handshake for it', () => {
  const [one] = establish(alice, bob)
  const before = one.serialize()
  const reset = SecureSession.initiate({ own: alice.own, bundle: mallory.bundle(), existing: one, random })
  assert.is(outcome(reset), 'HANDSHAKE_IDENTITY')
  const message = mallory.encrypt(mallory.initiate(alice.bundle()), 'let me in')
  assert.is(outcome(alice.respond(message, one)), 'HANDSHAKE_IDENTITY')
  assert.equal(one.serialize(), before)
})

test('a device meets neither itself nor an identity that borrows a key of it', () => {
  assert.is(initiate(alice.bundle()), 'HANDSHAKE_IDENTITY')
  for (const part of ['signingKey', 'dhKey'] as const) {
    const bundle = bob.bundle()
    const identity = { ...bundle.identity, [part]: alice.identity[part] }
    assert.is(initiate({ ...bundle, identity }), 'HANDSHAKE_IDENTITY')
  }
})

test('a message that was made for another conversation is not read', () => {
  const [one, other] = establish(alice, bob)
  const message = alice.encrypt(one, 'in this conversation')
  assert.is(outcome(other.decrypt({ message, ad: utf8('another conversation') })), 'SESSION_UNDECRYPTABLE')
  assert.is(read(other, message), 'in this conversation')
})

test('nobody lists a device that did not agree, or agreed to another account or key', () => {
  const rootKeys = keysOf('mallory')
  const stolen = deviceOf('bob', 'laptop')
  const lists = [[stolen], [{ ...deviceOf('mallory', 'laptop'), dhKey: bytesOf('another') }]]
  for (const devices of lists) {
    assert.throws(() => createDeviceList({ rootKeys, devices }), /did not agree/)
  }
  // What a dishonest root signs all the same.
  const honest = deviceListOf('mallory', ['laptop'])
  const bytes = honest.bytes.slice(0, -64)
  bytes.set(stolen.signingKey, bytes.length - (64 + 'laptop'.length + 1 + 4 + 32 + 32))
  const resigned = concat(bytes, crypto.sign(rootKeys, concat(utf8('openim device list v1'), bytes)))
  assert.is(outcome(verifyDeviceList(resigned, rootKeys.publicKey)), 'DEVICE_LIST_INVALID')
})

test('an older device list is a rollback, and a second one of the same number an alarm', () => {
  const one = deviceListOf('alice', ['laptop'])
  const two = deviceListOf('alice', ['laptop', 'phone'], one)
  const rival = deviceListOf('alice', ['laptop', 'thief'], one)
  const order = (known: typeof one, offered: typeof one): string =>
    compareDeviceLists({ known, offered }).order
  assert.is(order(two, one), 'rollback')
  assert.is(order(two, rival), 'fork')
  assert.is(order(rival, deviceListOf('alice', ['phone'], two)), 'fork')
  assert.is(order(one, two), 'newer')
})

// ── Downgrade ───────────────────────────────────────────────────────────────────────────────

test('a last-resort prekey cannot be passed off as a one-time one, nor the other way round', () => {
  const swapped = (kemPrekey: KemPrekey): KemPrekey => ({ ...kemPrekey, oneTime: !kemPrekey.oneTime })
  for (const kind of ['oneTime', 'lastResort'] as const) {
    const bundle = bob.bundle(kind)
    assert.is(initiate({ ...bundle, kemPrekey: swapped(bundle.kemPrekey) }), 'HANDSHAKE_SIGNATURE')
  }
})

test('a bundle without a whole ML-KEM key, or with somebody else\'s, is refused', () => {
  const bundle = bob.bundle()
  for (const publicKey of [new Uint8Array(0), new Uint8Array(1_184), bundle.kemPrekey.publicKey.subarray(1),
    mallory.lastResortKem.keys.publicKey]) {
    assert.is(initiate({ ...bundle, kemPrekey: { ...bundle.kemPrekey, publicKey } }), 'HANDSHAKE_SIGNATURE')
  }
})

test('a prekey stripped or swapped on the way gives the two ends different keys', () => {
  // As if the change could be bound again: the keys differ all the same.
  const changed = (change: (message: Uint8Array) => void): Uint8Array =>
    alice.encrypt(withHeader(alice.initiate(bob.bundle()), change), 'first')
  const stripped = changed((message) => message.fill(0, at.oneTimeFlag, at.kemCiphertext))
  assert.is(outcome(bob.respond(stripped)), 'SESSION_UNDECRYPTABLE')
  const { ciphertext } = crypto.kemEncapsulate(bob.lastResortKem.keys.publicKey, random)!
  const reencapsulated = changed((message) => message.set(ciphertext, at.kemCiphertext))
  assert.is(outcome(bob.respond(reencapsulated)), 'SESSION_UNDECRYPTABLE')
  // The one-time prekey is not signed: who hands it out may swap it, and gains nothing.
  const bundle = bob.bundle()
  const oneTimePrekey = { id: bundle.oneTimePrekey!.id, publicKey: mallory.identity.dhKey }
  assert.is(outcome(bob.respond(alice.encrypt(alice.initiate({ ...bundle, oneTimePrekey }), 'first'))),
    'SESSION_UNDECRYPTABLE')
})

test('another version or kind of message, and another suite, opens nothing', () => {
  const [one, other] = establish(alice, bob)
  const initial = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'first')
  const later = alice.encrypt(one, 'later')
  const changes = [[initial, 1, 0], [initial, 1, 2], [later, 1, 2], [later, 0, 3], [initial, 0, 3]] as const
  for (const [message, position, byte] of changes) {
    const changed = message.slice()
    changed[position] = byte
    assert.is(outcome(bob.respond(changed)), 'SESSION_FORMAT')
    assert.is(outcome(other.decrypt({ message: changed, ad })), 'SESSION_FORMAT')
  }
  // An initial message without its handshake is one of no session.
  const bare = concat(Uint8Array.of(2, 1), initial.subarray(1_264))
  assert.is(outcome(other.decrypt({ message: bare, ad })), 'SESSION_UNDECRYPTABLE')
  for (const label of [labels.handshakeTranscript, labels.handshakeKeys]) {
    // The suite is in every derivation.
    assert.match(new TextDecoder().decode(label), / v1 x25519 mlkem768 sha256$/)
  }
  assert.is(outcome(bob.respond(initial)), 'read')
})

test.run()

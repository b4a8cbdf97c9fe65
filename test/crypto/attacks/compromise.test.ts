/**
 * Stolen keys (checklist.ts, 3): what a thief can do who has some of them, and that each secret of
 * the handshake counts. A thief below claims the right public key for every secret that is missing,
 * so that nothing but the secret itself stands in the way.
 */
import * as assert from 'uvu/assert'
import { createSignedPrekey } from '../../../crypto/handshake/prekeys.ts'
import type { OwnIdentity, PrekeyLookup } from '../../../crypto/handshake/types.ts'
import { crypto } from '../../../crypto/index.ts'
import type { DhKeyPair } from '../../../crypto/provider.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { claiming, withHeader } from '../support/attackers.ts'
import { ad, establish, outcome, read, TestDevice, value } from '../support/devices.ts'

const test = suite('crypto/attacks/compromise')

const random = seededRandom('compromise')
const alice = new TestDevice(random)
const bob = new TestDevice(random)

/** Signing key, DH key and proof, after kind and version: what an initiator says of itself. */
const identityAt = { start: 2, end: 130 }

/** Bob's keys but one, and the right public key for that one. */
function bobWithout(
  missing: 'identity' | 'signed' | 'kem' | 'oneTime',
): { own: OwnIdentity, prekeys: PrekeyLookup } {
  const { own, prekeys } = bob
  const otherDh = (publicKey: Uint8Array) => claiming(crypto.dhKeyPair(random.bytes(32)), publicKey)
  return {
    own: missing === 'identity' ? { ...own, dhKeys: otherDh(own.dhKeys.publicKey) } : own,
    prekeys: {
      signedPrekey(id) {
        const real = prekeys.signedPrekey(id)!
        return missing === 'signed' ? otherDh(real.publicKey) : real
      },
      kemPrekey(id, oneTime) {
        const real = prekeys.kemPrekey(id, oneTime)!
        return missing === 'kem' ? claiming(crypto.kemKeyPair(random.bytes(64)), real.publicKey) : real
      },
      oneTimePrekey(id) {
        const real = prekeys.oneTimePrekey(id)!
        return missing === 'oneTime' ? otherDh(real.publicKey) : real
      },
    },
  }
}

for (const missing of ['identity', 'signed', 'kem', 'oneTime'] as const) {
  test(`who has all of a device's keys but the ${missing} one cannot read a first message`, () => {
    const message = alice.encrypt(alice.initiate(bob.bundle()), 'for Bob alone')
    const read = SecureSession.respond({ ...bobWithout(missing), message, ad })
    assert.is(outcome(read), 'SESSION_UNDECRYPTABLE')
    assert.is(outcome(bob.respond(message)), 'read')
  })
}

/** A first message to Bob of somebody who says to be Alice, with whatever DH key pair. */
function posingAsAlice(dhKeys: DhKeyPair): Uint8Array {
  const signingKeys = claiming(crypto.signingKeyPair(random.bytes(32)), alice.identity.signingKey)
  const bundle = bob.bundle('lastResort')
  const session = value(SecureSession.initiate({ own: { signingKeys, dhKeys }, bundle, random }))
  // The proof says nothing but that the keys belong together; anybody has seen it.
  const seen = alice.encrypt(alice.initiate(bundle), '').subarray(identityAt.start, identityAt.end)
  const posing = withHeader(session, (message) => message.set(seen, identityAt.start))
  return posing.encrypt({ plaintext: new Uint8Array(4), ad, random })
}

test('who lacks a device\'s DH key cannot pose as it, even with the victim\'s own identity keys', () => {
  // DH1 = Alice's DH key × Bob's signed prekey: neither of them is an identity key of Bob.
  for (const secret of [random.bytes(32), bob.own.dhKeys.exportSecret()]) {
    const message = posingAsAlice(claiming(crypto.dhKeyPair(secret), alice.identity.dhKey))
    assert.is(outcome(bob.respond(message)), 'SESSION_UNDECRYPTABLE')
  }
})

test('a stolen signed prekey lets its thief pose as others to its owner until it is rotated', () => {
  // Known of X3DH and PQXDH (key compromise impersonation): DH1 can be computed from either side.
  const stolen = crypto.dhKeyPair(bob.signedPrekey.keys.exportSecret())
  const posing = claiming(crypto.dhKeyPair(random.bytes(32)), alice.identity.dhKey)
  const { dh } = crypto
  crypto.dh = (own, remote) => own === posing ? dh(stolen, alice.identity.dhKey) : dh(own, remote)
  let message: Uint8Array
  try {
    message = posingAsAlice(posing)
  } finally {
    crypto.dh = dh
  }
  const { own, prekeys } = bob
  assert.is(outcome(SecureSession.respond({ own, message, ad, prekeys })), 'read', 'as docs/threats.md says')
  const fresh = createSignedPrekey({ own, id: 2, random })
  const rotated: PrekeyLookup = { ...prekeys, signedPrekey: (id) => (id === 2 ? fresh.keys : undefined) }
  assert.is(outcome(SecureSession.respond({ own, message, ad, prekeys: rotated })), 'HANDSHAKE_PREKEY')
})

test('a stolen session state reads nothing older, and nothing after one exchange', () => {
  const [one, other] = establish(alice, bob)
  const older = alice.encrypt(one, 'older')
  read(other, older)
  const thief = SecureSession.deserialize(other.serialize())
  assert.is(outcome(thief.decrypt({ message: older, ad })), 'SESSION_DUPLICATE')
  const soon = alice.encrypt(one, 'soon')
  assert.is(outcome(thief.decrypt({ message: soon, ad })), 'read', 'until it heals')
  read(other, soon)
  read(one, bob.encrypt(other, 'with a key that the thief does not know'))
  const later = alice.encrypt(one, 'later')
  assert.is(outcome(thief.decrypt({ message: later, ad })), 'SESSION_UNDECRYPTABLE')
  assert.is(read(other, later), 'later')
})

test('who answered with a stolen state is found out by the next message of the real device', () => {
  const [one, other] = establish(alice, bob)
  const thief = SecureSession.deserialize(other.serialize())
  assert.is(read(one, bob.encrypt(thief, 'from the thief')), 'from the thief')
  const real = one.decrypt({ message: bob.encrypt(other, 'from Bob'), ad })
  assert.not.ok(real.ok, 'two ends of one session cannot both go on')
})

test.run()

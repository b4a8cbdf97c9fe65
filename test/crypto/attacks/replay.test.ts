/** Messages that were recorded and come again (checklist.ts, 1): read once, and no second session. */
import * as assert from 'uvu/assert'
import { ratchetLimits } from '../../../crypto/ratchet/limits.ts'
import { peekInitial, SecureSession } from '../../../crypto/secure-session.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { ad, establish, outcome, read, TestDevice, value } from '../support/devices.ts'

const test = suite('crypto/attacks/replay')

const random = seededRandom('replay')
const alice = new TestDevice(random)
const bob = new TestDevice(random)

const tried = (session: SecureSession, message: Uint8Array): string =>
  outcome(session.decrypt({ message, ad }))
const stored = (session: SecureSession): SecureSession => SecureSession.deserialize(session.serialize())

test('a recorded message is a duplicate in its chain, in later chains and after a restart', () => {
  const [one, other] = establish(alice, bob)
  const message = alice.encrypt(one, 'once')
  read(other, message)
  for (let turn = 0; turn < ratchetLimits.recentChainsMax; turn++) {
    const before = other.serialize()
    assert.is(tried(other, message), 'SESSION_DUPLICATE')
    assert.is(tried(stored(other), message), 'SESSION_DUPLICATE')
    assert.equal(other.serialize(), before)
    read(one, bob.encrypt(other, 'turn'))
    read(other, alice.encrypt(one, 'turn'))
  }
})

test('a recorded message of a chain that is long forgotten is not read either', () => {
  const [one, other] = establish(alice, bob)
  const message = alice.encrypt(one, 'once')
  read(other, message)
  for (let turn = 0; turn < 2 * ratchetLimits.recentChainsMax; turn++) {
    read(one, bob.encrypt(other, 'turn'))
    read(other, alice.encrypt(one, 'turn'))
  }
  assert.is(tried(other, message), 'SESSION_UNDECRYPTABLE')
})

test('a first message that comes again at any later time begins no second session', () => {
  const first = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'first')
  let { session: other } = value(bob.respond(first))
  const again = (): string => outcome(bob.respond(first, other))
  assert.is(again(), 'SESSION_DUPLICATE')
  other = stored(other)
  assert.is(again(), 'SESSION_DUPLICATE')
  // Pushed out by later handshakes of the same device, and still known.
  for (let i = 0; i <= ratchetLimits.archivedSessionsMax; i++) {
    const later = alice.encrypt(alice.initiate(bob.bundle('lastResort')), `${i}`)
    other = value(bob.respond(later, other)).session
    assert.is(again(), 'SESSION_DUPLICATE')
  }
  const before = other.serialize()
  assert.is(tried(other, first), 'SESSION_DUPLICATE')
  assert.equal(other.serialize(), before)
})

test('a first message that comes again does not take the place of the session it began', () => {
  const session = alice.initiate(bob.bundle('lastResort'))
  const first = alice.encrypt(session, 'first')
  const { session: other } = value(bob.respond(first))
  read(session, bob.encrypt(other, 'answer'))
  bob.respond(first, other)
  const message = alice.encrypt(session, 'goes on')
  assert.is(peekInitial(message), undefined)
  assert.is(read(other, message), 'goes on')
})

test('a device that lost its session takes no first message whose one-time prekeys were used', () => {
  const first = alice.encrypt(alice.initiate(bob.bundle()), 'first')
  value(bob.respond(first))
  assert.is(outcome(bob.respond(first)), 'HANDSHAKE_PREKEY')
})

test('a message that comes back to its sender, or to another device, is not read', () => {
  const [one, other] = establish(alice, bob)
  const carol = new TestDevice(random)
  const [, carols] = establish(alice, carol)
  const message = alice.encrypt(one, 'to Bob')
  assert.is(tried(one, message), 'SESSION_UNDECRYPTABLE')
  assert.is(tried(carols, message), 'SESSION_UNDECRYPTABLE')
  const initial = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'to Bob')
  assert.is(outcome(alice.respond(initial)), 'HANDSHAKE_IDENTITY')
  assert.is(outcome(carol.respond(initial, carols)), 'SESSION_UNDECRYPTABLE')
  assert.is(read(other, message), 'to Bob')
})

test.run()

/**
 * States that go back (checklist.ts, 12 and 13): restored backups, cloned devices, crashes before a
 * batch is durable. The client's side of it is in clients-crash.test.ts.
 */
import * as assert from 'uvu/assert'
import { equalBytes, utf8 } from '../../../crypto/bytes.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'
import { limits } from '../../../protocol/limits.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { ad, establish, outcome, read, TestDevice, value } from '../support/devices.ts'

const test = suite('crypto/attacks/rollback')

const random = seededRandom('rollback')
const alice = new TestDevice(random)
const bob = new TestDevice(random)

const tried = (session: SecureSession, message: Uint8Array): string =>
  outcome(session.decrypt({ message, ad }))
const stored = (session: SecureSession): SecureSession => SecureSession.deserialize(session.serialize())

test('a restored state that sends again gives no two-time pad', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins a chain'))
  const snapshot = one.serialize()
  const [text, clash] = ['attack at dawn!!', 'attack at night!']
  const pads = [text, clash].map((words) => {
    const message = alice.encrypt(SecureSession.deserialize(snapshot), words)
    // The body ends with its tag; before it stands the ciphertext of the words.
    return message.subarray(-16 - words.length, -16).map((byte, at) => byte ^ utf8(words)[at]!)
  })
  assert.not(equalBytes(pads[0]!, pads[1]!), 'one key stream for two messages')
})

test('two states from one snapshot share no body key and no header nonce', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins a chain'))
  const snapshot = one.serialize()
  const words = 'the same words'
  const messages = Array.from({ length: 20 }, () =>
    alice.encrypt(SecureSession.deserialize(snapshot), words))
  const distinct = (part: (message: Uint8Array) => Uint8Array): number =>
    new Set(messages.map((message) => part(message).join())).size
  assert.is(distinct((message) => message.subarray(-16 - words.length, -16)), messages.length)
  assert.is(distinct((message) => message.subarray(2, 14)), messages.length)
})

test('a cloned device shows by counters that come twice, and a new session shuts it out', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins a chain'))
  const clone = stored(one)
  assert.is(read(other, alice.encrypt(one, 'from the device')), 'from the device')
  assert.is(tried(other, alice.encrypt(clone, 'from its clone')), 'SESSION_DUPLICATE')
  alice.initiate(bob.bundle(), one)
  assert.is(outcome(bob.respond(alice.encrypt(one, 'anew'), other)), 'read')
  // A late message of the old session is still read, and does not bring that session back.
  tried(other, alice.encrypt(clone, 'late'))
  const answer = bob.encrypt(other, 'for the device alone')
  assert.not.ok(clone.decrypt({ message: answer, ad }).ok)
  assert.is(read(one, answer), 'for the device alone')
})

test('a device that goes back behind a ratchet step is refused, reported, and healed by a reset', () => {
  const [one, other] = establish(alice, bob)
  const restored = stored(one)
  read(other, alice.encrypt(one, 'steps, then is lost'))
  assert.is(tried(other, alice.encrypt(restored, 'steps too')), 'SESSION_DUPLICATE')
  assert.is(tried(other, alice.encrypt(restored, 'in a fork')), 'SESSION_UNDECRYPTABLE')
  bob.initiate(alice.bundle(), other)
  assert.is(outcome(alice.respond(bob.encrypt(other, 'anew'), restored)), 'read')
  assert.is(read(other, alice.encrypt(restored, 'there we are')), 'there we are')
  assert.is(read(restored, bob.encrypt(other, 'indeed')), 'indeed')
})

test('a message whose batch was lost in a crash is read again, once', () => {
  const [one, other] = establish(alice, bob)
  const durable = other.serialize()
  const message = alice.encrypt(one, 'twice delivered')
  assert.is(read(other, message), 'twice delivered')
  const restarted = SecureSession.deserialize(durable)
  assert.is(read(restarted, message), 'twice delivered')
  assert.is(tried(stored(restarted), message), 'SESSION_DUPLICATE')
})

test('a first message whose batch was lost in a crash is read again, with its prekeys', () => {
  const message = alice.encrypt(alice.initiate(bob.bundle()), 'first')
  const { own, prekeys } = bob
  value(SecureSession.respond({ own, message, ad, prekeys }))
  const { session } = value(bob.respond(message))
  assert.is(outcome(bob.respond(message, session)), 'SESSION_DUPLICATE')
  assert.is(outcome(bob.respond(message)), 'HANDSHAKE_PREKEY')
})

test('a new session of the other side shuts a clone out as well, once the device answered', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins a chain'))
  const clone = stored(one)
  bob.initiate(alice.bundle(), other)
  assert.is(outcome(alice.respond(bob.encrypt(other, 'anew'), one)), 'read')
  assert.is(read(other, alice.encrypt(one, 'answer')), 'answer')
  tried(other, alice.encrypt(clone, 'late'))
  const next = bob.encrypt(other, 'for the device alone')
  assert.not.ok(clone.decrypt({ message: next, ad }).ok)
  assert.is(read(one, next), 'for the device alone')
})

/** A new session of `one`'s device with the other's; both ends are in it afterwards. */
function beginAnew(one: SecureSession, other: SecureSession): void {
  alice.initiate(bob.bundle(), one)
  assert.is(outcome(bob.respond(alice.encrypt(one, 'anew'), other)), 'read')
  assert.is(read(one, bob.encrypt(other, 'welcome')), 'welcome')
}

const keptMs = limits.supersededSessionMs
const dayMs = 86_400_000

test('a stolen state of before writes late mail for the life of a letter, and never after', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins a chain'))
  const thief = stored(one)
  const honest = alice.encrypt(one, 'late, and honest')
  beginAnew(one, other)
  const nowMs = 1_800_000_000_000
  other.expire({ nowMs, keptMs })
  let receiver = stored(other)
  const bytes = receiver.serialize().length
  receiver.expire({ nowMs: nowMs + keptMs, keptMs })
  assert.is(read(receiver, honest), 'late, and honest')
  alice.encrypt(thief, 'a place that the device used')
  const fromThief = alice.encrypt(thief, 'while late mail is read')
  assert.is(tried(receiver, fromThief), 'read', 'as docs/threats.md says')
  receiver = stored(receiver)
  receiver.expire({ nowMs: nowMs + keptMs + 1, keptMs })
  assert.is(tried(receiver, alice.encrypt(thief, 'later')), 'SESSION_UNDECRYPTABLE')
  assert.ok(receiver.serialize().length < bytes - 200, 'its keys are gone from what is stored')
  assert.is(read(receiver, alice.encrypt(one, 'in the new session')), 'in the new session')
})

test('a clock that was ahead for a while keeps no superseded session longer', () => {
  const [one, other] = establish(alice, bob)
  const thief = stored(one)
  beginAnew(one, other)
  const nowMs = 1_800_000_000_000
  other.expire({ nowMs: nowMs + 1_000 * dayMs, keptMs })
  other.expire({ nowMs, keptMs })
  other.expire({ nowMs: nowMs + keptMs + 1, keptMs })
  assert.is(tried(other, alice.encrypt(thief, 'late')), 'SESSION_UNDECRYPTABLE')
})

test('of two sessions begun at once both last through any silence, and one ends once left', () => {
  const mine = alice.initiate(bob.bundle())
  const theirs = bob.initiate(alice.bundle())
  const [fromAlice, fromBob] = [alice.encrypt(mine, 'at once'), bob.encrypt(theirs, 'at once')]
  const thief = stored(theirs)
  assert.is(outcome(alice.respond(fromBob, mine)), 'read')
  assert.is(outcome(bob.respond(fromAlice, theirs)), 'read')
  // Each is now in the session of the other. Years later Bob writes, in Alice's.
  const nowMs = 1_800_000_000_000
  for (const session of [mine, theirs]) session.expire({ nowMs, keptMs })
  const muchLater = nowMs + 2_000 * dayMs
  mine.expire({ nowMs: muchLater, keptMs })
  assert.is(read(mine, bob.encrypt(theirs, 'still there?')), 'still there?')
  assert.is(read(theirs, alice.encrypt(mine, 'yes')), 'yes')
  // Both go on in that one; Bob's own was left so long ago that nothing leads there any more.
  for (const at of [muchLater, muchLater + 2 * keptMs + 1]) {
    mine.expire({ nowMs: at, keptMs })
    assert.is(read(mine, bob.encrypt(theirs, 'go on')), 'go on')
    mine.expire({ nowMs: at, keptMs })
  }
  const bytes = mine.serialize().length
  assert.is(tried(mine.clone(), bob.encrypt(thief, 'from a state of then')), 'read')
  mine.expire({ nowMs: muchLater + 4 * keptMs, keptMs })
  assert.ok(mine.serialize().length < bytes - 200, 'its keys are gone')
  assert.is(tried(mine, bob.encrypt(thief, 'from a state of then')), 'SESSION_DUPLICATE')
})

test.run()

/**
 * A session of two devices as the client uses it: until the first answer, both starting at once,
 * resets, replays, crashes between any two steps, and the stored form.
 */
import { inspect } from 'node:util'
import * as assert from 'uvu/assert'
import { concat, equalBytes, hex, utf8 } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { ratchetLimits } from '../../crypto/ratchet/limits.ts'
import { peekInitial, SecureSession } from '../../crypto/secure-session.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { ad, establish, hasCode, outcome, read, TestDevice, value } from './support/devices.ts'

const test = suite('crypto/secure-session', { timeoutMs: 60_000 })

const random = seededRandom('secure session')
const alice = new TestDevice(random)
const bob = new TestDevice(random)

const tried = (session: SecureSession, message: Uint8Array): string =>
  outcome(session.decrypt({ message, ad }))
const stored = (session: SecureSession): SecureSession => SecureSession.deserialize(session.serialize())

test('every message carries the handshake until the first answer, and none after', () => {
  const session = alice.initiate(bob.bundle())
  const messages = ['one', 'two', 'three'].map((text) => alice.encrypt(session, text))
  for (const message of messages) assert.ok(peekInitial(message))
  const { session: other } = value(bob.respond(messages[0]!))
  assert.equal(messages.slice(1).map((message) => read(other, message)), ['two', 'three'])
  assert.is(read(session, bob.encrypt(other, 'answer')), 'answer')
  const later = alice.encrypt(session, 'later')
  assert.is(peekInitial(later), undefined)
  // This turn carries an ML-KEM key instead (ratchet/kem-step.ts).
  assert.is(later.length, 5 + 103 + 1_184)
  assert.is(read(other, later), 'later')
})

test('the messages before the first answer may come in any order, and some never', () => {
  const session = alice.initiate(bob.bundle())
  const messages = ['0', '1', '2', '3'].map((text) => alice.encrypt(session, text))
  const { session: other, plaintext } = value(bob.respond(messages[2]!))
  assert.equal(plaintext, utf8('2'))
  const late = value(bob.respond(messages[0]!, other))
  assert.equal(late.plaintext, utf8('0'))
  assert.is(late.used, undefined)
  assert.is(late.session, other)
  assert.is(read(other, messages[3]!), '3')
})

test('a first message that comes twice makes no second session', () => {
  const session = alice.initiate(bob.bundle('lastResort'))
  const message = alice.encrypt(session, 'once')
  const { session: other } = value(bob.respond(message))
  const before = other.serialize()
  assert.is(outcome(bob.respond(message, other)), 'SESSION_DUPLICATE')
  assert.is(tried(other, message), 'SESSION_DUPLICATE')
  assert.is(tried(stored(other), message), 'SESSION_DUPLICATE')
  assert.equal(other.serialize(), before)
})

test('a replayed first message is refused even after its session was pushed out', () => {
  const old = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'old')
  let { session: other } = value(bob.respond(old))
  for (let i = 0; i < ratchetLimits.archivedSessionsMax + 2; i++) {
    const message = alice.encrypt(alice.initiate(bob.bundle('lastResort')), `${i}`)
    other = value(bob.respond(message, stored(other))).session
  }
  assert.is(outcome(bob.respond(old, other)), 'SESSION_DUPLICATE')
})

test('a session from last-resort prekeys says so until both sides have made a step', () => {
  const weak = alice.initiate(bob.bundle('lastResort'))
  const { session: other } = value(bob.respond(alice.encrypt(weak, 'first')))
  assert.ok(weak.weakForwardSecrecy && other.weakForwardSecrecy)
  assert.ok(stored(weak).weakForwardSecrecy && stored(other).weakForwardSecrecy)
  const answer = bob.encrypt(other, 'answer')
  assert.ok(other.weakForwardSecrecy, 'his answer may be lost')
  read(weak, answer)
  read(other, alice.encrypt(weak, 'healed'))
  assert.not.ok(weak.weakForwardSecrecy || other.weakForwardSecrecy || stored(other).weakForwardSecrecy)

  const strong = alice.initiate(bob.bundle())
  assert.not.ok(strong.weakForwardSecrecy)
  assert.not.ok(value(bob.respond(alice.encrypt(strong, 'first'))).session.weakForwardSecrecy)
})

test('counts the steps since the last KEM secret, also when stored', () => {
  const [one, other] = establish(alice, bob)
  const ages: number[] = []
  for (let turn = 0; turn < 40; turn++) {
    read(other, alice.encrypt(one, 'ping'))
    read(one, bob.encrypt(other, 'pong'))
    assert.is(one.pqAgeSteps, other.pqAgeSteps)
    assert.is(stored(one).pqAgeSteps, one.pqAgeSteps)
    ages.push(one.pqAgeSteps)
  }
  assert.is(ages[0], 0)
  assert.ok(Math.max(...ages) < 2 * ratchetLimits.kemPeriodTurns)
  assert.ok(ages.filter((age) => age === 0).length >= 3)
})

test('no last-resort handshake runs twice, however many came after it', () => {
  const old = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'old')
  let { session: other } = value(bob.respond(old))
  const more = ratchetLimits.seenHandshakesMax - 1
  for (let i = 0; i < more; i++) {
    other = value(bob.respond(alice.encrypt(alice.initiate(bob.bundle('lastResort')), `${i}`), other)).session
  }
  // Those with one-time prekeys are forgotten first: their prekeys are gone with their first use.
  for (let i = 0; i < 5; i++) {
    other = value(bob.respond(alice.encrypt(alice.initiate(bob.bundle()), `${i}`), other)).session
  }
  assert.is(outcome(bob.respond(old, stored(other))), 'SESSION_DUPLICATE')
  // One more than can be remembered: it is taken, and after it only with a one-time prekey.
  const oneMore = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'one more')
  other = value(bob.respond(oneMore, other)).session
  other = stored(other)
  const before = other.serialize()
  assert.is(outcome(bob.respond(old, other)), 'HANDSHAKE_PREKEY')
  const another = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'another')
  assert.is(outcome(bob.respond(another, other)), 'HANDSHAKE_PREKEY')
  assert.equal(other.serialize(), before)
  assert.is(outcome(bob.respond(alice.encrypt(alice.initiate(bob.bundle()), 'one-time'), other)), 'read')
  bob.rotate()
  const rotated = alice.encrypt(alice.initiate(bob.bundle('lastResort')), 'after the rotation')
  assert.is(outcome(bob.respond(rotated, other)), 'read')
})

test('hands an initial message of a new handshake back to respond', () => {
  const [, other] = establish(alice, bob)
  const message = alice.encrypt(alice.initiate(bob.bundle()), 'anew')
  assert.is(tried(other, message), 'SESSION_HANDSHAKE')
  assert.is(outcome(bob.respond(message, other)), 'read')
})

test('both may start at once: everything is read and both end in one session', () => {
  const one = alice.initiate(bob.bundle())
  const other = bob.initiate(alice.bundle())
  const fromAlice = ['a1', 'a2'].map((text) => alice.encrypt(one, text))
  const fromBob = ['b1', 'b2'].map((text) => bob.encrypt(other, text))
  assert.equal(fromBob.map((message) => text(alice.respond(message, one))), ['b1', 'b2'])
  assert.equal(fromAlice.map((message) => text(bob.respond(message, other))), ['a1', 'a2'])

  for (let i = 0; i < 3; i++) {
    assert.is(read(other, alice.encrypt(one, `ping ${i}`)), `ping ${i}`)
    assert.is(read(one, bob.encrypt(other, `pong ${i}`)), `pong ${i}`)
  }
  assert.is(peekInitial(alice.encrypt(one, '')), undefined)
  assert.equal(currentSession(one), currentSession(other))
})

test('both may start at once and cross all the way', () => {
  const one = alice.initiate(bob.bundle())
  const other = bob.initiate(alice.bundle())
  for (let round = 0; round < 4; round++) {
    const [a, b] = [alice.encrypt(one, `a${round}`), bob.encrypt(other, `b${round}`)]
    assert.is(text(peekInitial(b) ? alice.respond(b, one) : one.decrypt({ message: b, ad })), `b${round}`)
    assert.is(text(peekInitial(a) ? bob.respond(a, other) : other.decrypt({ message: a, ad })), `a${round}`)
  }
})

test('after a reset old messages are still read, and new ones use the new session', () => {
  const [one, lost] = establish(alice, bob)
  const underway = alice.encrypt(one, 'under way')
  lost.wipe()
  // Bob lost his state, starts anew and still gets what he cannot read.
  const other = bob.initiate(alice.bundle())
  assert.is(tried(other, underway), 'SESSION_UNDECRYPTABLE')
  assert.is(text(alice.respond(bob.encrypt(other, 'I lost my state'), one)), 'I lost my state')
  assert.is(read(other, alice.encrypt(one, 'again')), 'again')
  assert.is(read(one, bob.encrypt(other, 'fine')), 'fine')
})

test('a reset from one side keeps the old session for messages under way', () => {
  const [one, other] = establish(alice, bob)
  const underway = bob.encrypt(other, 'under way')
  alice.initiate(bob.bundle(), one)
  assert.is(text(bob.respond(alice.encrypt(one, 'reset'), other)), 'reset')
  assert.is(read(one, underway), 'under way')
  assert.is(read(one, bob.encrypt(other, 'answer')), 'answer')
  assert.is(read(other, alice.encrypt(one, 'on')), 'on')
})

test('a late message of the session before a reset is read, and does not bring it back', () => {
  const [one, lost] = establish(alice, bob)
  const late = ['late 1', 'late 2'].map((words) => bob.encrypt(lost, words))
  lost.wipe()
  const other = bob.initiate(alice.bundle())
  assert.is(text(alice.respond(bob.encrypt(other, 'I lost my state'), one)), 'I lost my state')
  assert.is(read(one, late[0]!), 'late 1')
  assert.is(read(stored(one), late[1]!), 'late 2')
  assert.is(read(other, alice.encrypt(one, 'you can read this')), 'you can read this')
})

test('a reset that never arrives does not keep the two apart', () => {
  const [one, other] = establish(alice, bob)
  alice.initiate(bob.bundle(), one)
  alice.encrypt(one, 'lost, with the handshake')
  assert.is(read(one, bob.encrypt(other, 'in the old session')), 'in the old session')
  assert.is(read(other, alice.encrypt(one, 'there too')), 'there too')
})

test('archives no more sessions than the limit, the oldest go first', () => {
  const session = alice.initiate(bob.bundle('lastResort'))
  const first = bob.respond(alice.encrypt(session, 'first'))
  const answer = bob.encrypt(value(first).session, 'too late')
  const sizes = new Set<number>()
  for (let i = 0; i < ratchetLimits.archivedSessionsMax + 5; i++) {
    alice.initiate(bob.bundle('lastResort'), session)
    sizes.add(session.serialize().length)
  }
  assert.is(sizes.size, ratchetLimits.archivedSessionsMax)
  assert.is(tried(session, answer), 'SESSION_UNDECRYPTABLE')
})

test('a session stays with its device', () => {
  const mallory = new TestDevice(random)
  const [one] = establish(alice, bob)
  const before = one.serialize()
  const { own } = alice
  const other = SecureSession.initiate({ own, bundle: mallory.bundle(), existing: one, random })
  assert.is(outcome(other), 'HANDSHAKE_IDENTITY')
  const message = mallory.encrypt(mallory.initiate(alice.bundle()), 'let me in')
  assert.is(outcome(alice.respond(message, one)), 'HANDSHAKE_IDENTITY')
  assert.equal(one.serialize(), before)
})

test('a refused handshake leaves the existing session as it was', () => {
  const [one, other] = establish(alice, bob)
  const before = other.serialize()
  const message = alice.encrypt(alice.initiate(bob.bundle(), stored(one)), 'reset')
  message[message.length - 1]! ^= 1
  assert.is(outcome(bob.respond(message, other)), 'SESSION_UNDECRYPTABLE')
  assert.equal(other.serialize(), before)
})

test('a crash before the state is stored loses nothing: the message is read again', () => {
  const [one, other] = establish(alice, bob)
  const durable = other.serialize()
  const message = alice.encrypt(one, 'twice delivered')
  assert.is(read(other, message), 'twice delivered')
  const restarted = SecureSession.deserialize(durable)
  assert.is(read(restarted, message), 'twice delivered')
  assert.is(tried(stored(restarted), message), 'SESSION_DUPLICATE')
})

test('a crash after a first message was read, before it was stored, loses nothing', () => {
  const message = alice.encrypt(alice.initiate(bob.bundle()), 'first')
  const { own, prekeys } = bob
  // The batch with the session and the used prekeys never got to disk.
  assert.is(outcome(SecureSession.respond({ own, message, ad, prekeys })), 'read')
  const { session } = value(bob.respond(message))
  assert.is(outcome(bob.respond(message, session)), 'SESSION_DUPLICATE')
})

test('a device restored from a backup sends nothing under an old key, and goes on', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins a chain'))
  const backup = one.serialize()
  assert.is(read(other, alice.encrypt(one, 'before the loss')), 'before the loss')
  const restored = SecureSession.deserialize(backup)
  const clash = alice.encrypt(restored, 'same number, other key')
  assert.is(tried(other, clash), 'SESSION_DUPLICATE')
  assert.is(read(other, alice.encrypt(restored, 'next number')), 'next number')
  assert.is(read(restored, bob.encrypt(other, 'welcome back')), 'welcome back')
})

test('a device restored to before a ratchet step is not understood, and a reset mends it', () => {
  const [one, other] = establish(alice, bob)
  const restored = stored(one)
  read(other, alice.encrypt(one, 'steps, then is lost'))
  assert.is(tried(other, alice.encrypt(restored, 'steps too')), 'SESSION_DUPLICATE')
  assert.is(tried(other, alice.encrypt(restored, 'in a fork')), 'SESSION_UNDECRYPTABLE')
  assert.is(tried(restored, bob.encrypt(other, 'to the lost one')), 'SESSION_UNDECRYPTABLE')
  bob.initiate(alice.bundle(), other)
  assert.is(text(alice.respond(bob.encrypt(other, 'anew'), restored)), 'anew')
  assert.is(read(other, alice.encrypt(restored, 'there we are')), 'there we are')
})

test('a working copy leaves the original alone until it is kept', () => {
  const [one, other] = establish(alice, bob)
  const before = other.serialize()
  const copy = other.clone()
  const message = alice.encrypt(one, 'tried on a copy')
  assert.is(read(copy, message), 'tried on a copy')
  bob.encrypt(copy, 'and answered')
  copy.wipe()
  assert.equal(other.serialize(), before)
  assert.is(read(other, message), 'tried on a copy')
})

test('refuses what is no message: other kinds, versions and lengths', () => {
  const [one, other] = establish(alice, bob)
  const message = alice.encrypt(one, 'x')
  const initial = alice.encrypt(alice.initiate(bob.bundle()), 'x')
  for (const bad of [
    new Uint8Array(0), Uint8Array.of(2), Uint8Array.of(2, 1), concat(Uint8Array.of(3), message.subarray(1)),
    concat(Uint8Array.of(2, 2), message.subarray(2)), concat(Uint8Array.of(1, 2), initial.subarray(2)),
    initial.subarray(0, 1_263),
  ]) {
    assert.is(tried(other, bad), 'SESSION_FORMAT')
    assert.is(outcome(bob.respond(bad)), 'SESSION_FORMAT')
    assert.is(peekInitial(bad), undefined)
  }
  assert.is(outcome(bob.respond(message)), 'SESSION_FORMAT')
  assert.is(tried(other, message), 'read')
})

test('its stored form brings all of it back, and no other bytes do', () => {
  const [one, other] = establish(alice, bob)
  alice.initiate(bob.bundle(), one)
  alice.encrypt(other, 'late')
  const bytes = one.serialize()
  assert.equal(stored(one).serialize(), bytes)
  const corrupt = (bad: Uint8Array): void =>
    assert.throws(() => SecureSession.deserialize(bad), hasCode('SESSION_CORRUPT'))
  for (let at = 0; at < bytes.length; at++) corrupt(bytes.subarray(0, at))
  corrupt(concat(bytes, new Uint8Array(1)))
  corrupt(concat(Uint8Array.of(2), bytes.subarray(1)))
  const fresh = alice.encrypt(stored(one), 'from the stored one')
  assert.is(text(bob.respond(fresh, other)), 'from the stored one')
})

test('damaged stored bytes give a code or a session that refuses, never a crash', () => {
  const [one] = establish(alice, bob)
  const bytes = one.serialize()
  for (let round = 0; round < 300; round++) {
    const mutated = bytes.slice()
    for (let i = 0; i < 3; i++) mutated[randomInteger(random, mutated.length)] = randomInteger(random, 256)
    try {
      SecureSession.deserialize(mutated).decrypt({ message: bytes, ad })
    } catch (error) {
      assert.is((error as { code: string }).code, 'SESSION_CORRUPT')
    }
  }
})

test('shows nothing secret in inspect and JSON', () => {
  const [one] = establish(alice, bob)
  const printed = inspect(one, { depth: 10, showHidden: true }) + String(one)
  assert.not.match(printed, /\d{2}, +\d|[0-9a-f]{16}/)
  assert.equal(JSON.parse(JSON.stringify(one)), { remote: hex(bob.identity.signingKey) })
})

/** The text of a result of `respond` or `decrypt`. */
function text(result: Result<Uint8Array | { plaintext: Uint8Array }>): string {
  const got = value(result)
  return new TextDecoder().decode(got instanceof Uint8Array ? got : got.plaintext)
}

/** Base key of the session that is used to send. */
function currentSession(session: SecureSession): Uint8Array {
  const bytes = session.serialize()
  const baseKey = bytes.subarray(69, 101)
  assert.not(equalBytes(baseKey, new Uint8Array(32)))
  return baseKey
}

test.run()

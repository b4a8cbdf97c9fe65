/**
 * Floods out of order (checklist.ts, 2): what a dishonest device may make ours compute and keep.
 * The largest number in a header is in ../ratchet.test.ts, which can forge headers.
 */
import * as assert from 'uvu/assert'
import { ratchetLimits } from '../../../crypto/ratchet/limits.ts'
import type { SecureSession } from '../../../crypto/secure-session.ts'
import { suite } from '../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { countPrimitives } from '../support/attackers.ts'
import { ad, establish, outcome, read, TestDevice } from '../support/devices.ts'

const test = suite('crypto/attacks/floods')

const random = seededRandom('floods')
const alice = new TestDevice(random)
const bob = new TestDevice(random)

const tried = (session: SecureSession, message: Uint8Array): string =>
  outcome(session.decrypt({ message, ad }))

/** Moves a sender on as if it had sent `count` messages. */
function skip(session: SecureSession, count: number): void {
  for (let i = 0; i < count; i++) alice.encrypt(session, '')
}

test('a gap above the limit costs a few primitives and leaves no trace', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins the chain'))
  skip(one, ratchetLimits.chainJumpMax + 1)
  const tooFar = alice.encrypt(one, 'too far')
  read(one, bob.encrypt(other, 'answer'))
  const next = alice.encrypt(one, 'next chain, after too long a one')
  const before = other.serialize()
  for (const message of [tooFar, next]) {
    const count = countPrimitives(() => assert.is(tried(other, message), 'SESSION_TOO_FAR'))
    assert.ok(count <= 10, `${count} primitives`)
    assert.equal(other.serialize(), before)
  }
})

test('chain after chain with many messages left out fills no more than the limit', () => {
  const [one, other] = establish(alice, bob)
  const sizes: number[] = []
  for (let chain = 0; chain < 8; chain++) {
    skip(one, 1_001)
    assert.is(read(other, alice.encrypt(one, 'last')), 'last')
    read(one, bob.encrypt(other, 'turn'))
    sizes.push(other.serialize().length)
  }
  const keysMax = 36 * ratchetLimits.skippedKeysMax
  assert.ok(Math.max(...sizes) <= keysMax + 8_000, `${Math.max(...sizes)} bytes`)
  assert.ok(sizes.at(-1)! >= keysMax, 'the limit was reached')
})

test('no more chains are kept than the limit, however many miss a message', () => {
  const [one, other] = establish(alice, bob)
  const missing: Uint8Array[] = []
  for (let chain = 0; chain < ratchetLimits.pastChainsMax + 20; chain++) {
    missing.push(alice.encrypt(one, 'late'))
    read(other, alice.encrypt(one, 'on time'))
    read(one, bob.encrypt(other, 'turn'))
  }
  const bytes = other.serialize().length
  assert.ok(bytes <= ratchetLimits.pastChainsMax * (41 + 36 + 40) + 8_000, `${bytes} bytes`)
  assert.is(tried(other, missing[0]!), 'SESSION_UNDECRYPTABLE')
  assert.is(read(other, missing.at(-1)!), 'late')
})

test('an altered message that would step, skip or end a chain moves nothing', () => {
  const [one, other] = establish(alice, bob)
  skip(one, 30)
  read(other, alice.encrypt(one, 'in the chain'))
  skip(one, 30)
  const skipping = alice.encrypt(one, 'skips')
  read(one, bob.encrypt(other, 'turn'))
  skip(one, 30)
  const stepping = alice.encrypt(one, 'steps, ends and skips')
  for (const message of [skipping, stepping]) {
    const before = other.serialize()
    for (let at = 2; at < message.length; at++) {
      const altered = message.slice()
      altered[at]! ^= 0x10
      assert.is(tried(other, altered), 'SESSION_UNDECRYPTABLE')
    }
    assert.equal(other.serialize(), before)
  }
  assert.is(read(other, stepping), 'steps, ends and skips')
  assert.is(read(other, skipping), 'skips')
})

test('random bytes cost the same few primitives each and move nothing', () => {
  const [one, other] = establish(alice, bob)
  read(other, alice.encrypt(one, 'begins the chain'))
  const before = other.serialize()
  for (let i = 0; i < 300; i++) {
    const message = random.bytes(randomInteger(random, 3_000))
    message.set([2, 1].slice(0, message.length))
    const count = countPrimitives(() => {
      assert.match(tried(other, message), /^SESSION_(FORMAT|UNDECRYPTABLE)$/)
    })
    assert.ok(count <= 10, `${count} primitives`)
  }
  assert.equal(other.serialize(), before)
})

test.run()

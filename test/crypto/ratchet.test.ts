/**
 * The Double Ratchet by itself: order, loss and repetition, what it forgets, its bounds, and that
 * a refused message leaves no trace. Forged messages are made with the keys of a dishonest peer.
 */
import { inspect } from 'node:util'
import * as assert from 'uvu/assert'
import { concat, equalBytes, hex, utf8 } from '../../crypto/bytes.ts'
import { u32Bytes } from '../../crypto/fields.ts'
import { crypto } from '../../crypto/index.ts'
import { drawNonceAndSalt, sealMessage } from '../../crypto/ratchet/header.ts'
import type { Header } from '../../crypto/ratchet/header.ts'
import { stepRoot } from '../../crypto/ratchet/key-schedule.ts'
import { ratchetLimits } from '../../crypto/ratchet/limits.ts'
import type { Ratchet } from '../../crypto/ratchet/ratchet.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { ad, bytesOf, fromBytes, RatchetBench, read, refusedWithoutTrace, tried } from './support/ratchets.ts'

const test = suite('crypto/ratchet', { timeoutMs: 60_000 })

const random = seededRandom('ratchet')
const bench = new RatchetBench(random)
const { prekey, secrets, binding } = bench
const pair = (): { alice: Ratchet, bob: Ratchet } => bench.pair()
const write = (ratchet: Ratchet, text: string): Uint8Array => bench.write(ratchet, text)
const pingPong = (one: Ratchet, other: Ratchet, count: number): void => bench.pingPong(one, other, count)
const forged = (changes: Partial<Header>, secret?: Uint8Array): Uint8Array => bench.forged(changes, secret)

test('carries messages both ways through many changes of direction', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 20)
  const burst = Array.from({ length: 10 }, (_, i) => write(bob, `${i}`))
  assert.equal(burst.map((message) => read(alice, message)), burst.map((_, i) => `${i}`))
})

test('adds 101 bytes, and no two messages of one text look alike', () => {
  const { alice } = pair()
  const [one, other] = [write(alice, 'same'), write(alice, 'same')]
  assert.is(one.length, 4 + 101)
  for (const [from, to] of [[0, 12], [12, 85], [85, 105]] as const) {
    assert.not(equalBytes(one.subarray(from, to), other.subarray(from, to)))
  }
})

test('reads messages in any order, within a chain and across chains', () => {
  const { alice, bob } = pair()
  const first = Array.from({ length: 5 }, (_, i) => write(alice, `first ${i}`))
  assert.is(read(bob, first[2]!), 'first 2')
  read(alice, write(bob, 'answer'))
  const second = Array.from({ length: 5 }, (_, i) => write(alice, `second ${i}`))
  assert.is(read(bob, second[4]!), 'second 4')
  for (const at of [3, 0, 4, 1]) assert.is(read(bob, first[at]!), `first ${at}`)
  for (const at of [1, 3, 0, 2]) assert.is(read(bob, second[at]!), `second ${at}`)
})

test('reads each message once; a second time it is a duplicate and nothing changes', () => {
  const { alice, bob } = pair()
  const messages = ['a', 'b', 'c'].map((text) => write(alice, text))
  for (const at of [2, 0]) read(bob, messages[at]!)
  read(alice, write(bob, 'answer'))
  read(bob, write(alice, 'next chain'))
  for (const at of [0, 2]) refusedWithoutTrace(bob, messages[at]!, 'SESSION_DUPLICATE')
  assert.is(read(bob, messages[1]!), 'b')
  refusedWithoutTrace(bob, messages[1]!, 'SESSION_DUPLICATE')
})

test('refuses every altered byte, every cut and another context without a trace', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 2)
  const inChain = write(alice, 'in the chain')
  read(alice, write(bob, 'x'))
  for (const message of [inChain, write(alice, 'of a new chain')]) {
    const before = bytesOf(bob)
    for (let at = 0; at < message.length; at++) {
      const altered = message.slice()
      altered[at]! ^= 0x10
      assert.is(tried(bob, altered), 'SESSION_UNDECRYPTABLE')
      assert.is(tried(bob, message.subarray(0, at)), at < 101 ? 'SESSION_FORMAT' : 'SESSION_UNDECRYPTABLE')
    }
    assert.is(tried(bob, message, utf8('other')), 'SESSION_UNDECRYPTABLE')
    assert.is(tried(bob, concat(message, new Uint8Array(1))), 'SESSION_UNDECRYPTABLE')
    assert.equal(bytesOf(bob), before)
    assert.is(tried(bob, message), 'read')
  }
})

test('refuses its own messages when they are reflected', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 1)
  refusedWithoutTrace(alice, write(alice, 'mirror'), 'SESSION_UNDECRYPTABLE')
})

test('refuses a header with the largest number or count of the chain before, at once', () => {
  const { bob } = pair()
  for (const number of [2 ** 32 - 1, 2 ** 31]) {
    refusedWithoutTrace(bob, forged({ number }), 'SESSION_TOO_FAR')
    const other = pair()
    read(other.bob, write(other.alice, 'x'))
    read(other.alice, write(other.bob, 'y'))
    refusedWithoutTrace(other.bob, nextChain(other.alice, number), 'SESSION_TOO_FAR')
  }
  refusedWithoutTrace(bob, forged({ number: ratchetLimits.chainJumpMax + 1 }), 'SESSION_TOO_FAR')
  assert.is(tried(bob, forged({})), 'read')
})

test('bridges the longest allowed gap, keeps the newest keys of it, and refuses one more', () => {
  const { alice, bob } = pair()
  const messages = Array.from({ length: ratchetLimits.chainJumpMax + 2 }, () => write(alice, ''))
  refusedWithoutTrace(bob, messages.at(-1)!, 'SESSION_TOO_FAR')
  assert.is(tried(bob, messages.at(-2)!), 'read')
  const keptFrom = ratchetLimits.chainJumpMax - ratchetLimits.skippedKeysPerChainMax
  assert.is(tried(bob, messages[keptFrom]!), 'read')
  assert.is(tried(bob, messages[keptFrom - 1]!), 'SESSION_DUPLICATE')
  assert.is(tried(bob, messages.at(-1)!), 'read')
  assert.ok(bytesOf(bob).length < 36 * ratchetLimits.skippedKeysPerChainMax + 600)
})

test('bounds kept keys over all chains, and how many chains are kept', () => {
  const { alice, bob } = pair()
  const early: Uint8Array[] = []
  for (let chain = 0; chain < 8; chain++) {
    early.push(write(alice, `early ${chain}`))
    for (let i = 0; i < 1_500; i++) write(alice, '')
    read(bob, write(alice, 'last of the chain'))
    read(alice, write(bob, 'answer'))
    assert.ok(bytesOf(bob).length <= 36 * ratchetLimits.skippedKeysMax + 7 * 110 + 300)
  }
  // Two whole chains of 1,501 fit into the limit, and the newer part of a third.
  assert.equal(early.map((message) => tried(bob, message)), [
    // Chain 0 and 1 were pushed out; of 2 to 5 the header keys are left.
    'SESSION_UNDECRYPTABLE', 'SESSION_UNDECRYPTABLE',
    'SESSION_DUPLICATE', 'SESSION_DUPLICATE', 'SESSION_DUPLICATE', 'SESSION_DUPLICATE',
    'read', 'read',
  ])
})

/** The first message of the next chain, with a lie about how long the one before was. */
function nextChain(from: Ratchet, previousCount: number): Uint8Array {
  const state = bytesOf(from)
  // Where it stands in the state of one that has read and not yet answered (ratchet-state.ts).
  state.set(u32Bytes(previousCount), 1 + 4 * 32 + 4 + 1 + 33 + 1)
  return write(fromBytes(state)!, 'lie')
}

test('refuses a ratchet key of small order in a header', () => {
  const { bob } = pair()
  for (const firstByte of [0, 1]) {
    const ratchetKey = new Uint8Array(32)
    ratchetKey[0] = firstByte
    refusedWithoutTrace(bob, forged({ ratchetKey }), 'SESSION_UNDECRYPTABLE')
  }
})

test('refuses a mode that it does not know', () => {
  const { bob } = pair()
  refusedWithoutTrace(bob, forged({ mode: 1 }), 'SESSION_FORMAT')
})

test('refuses a second step of the other side before its own answer', () => {
  const { bob } = pair()
  const secret = random.bytes(32)
  assert.is(tried(bob, forged({}, secret)), 'read')
  const own = crypto.dhKeyPair(secret)
  const dhOutput = crypto.dh(own, prekey.publicKey)!
  const { nextHeaderKey } = stepRoot(secrets.rootKey, { dhOutput, mode: 0 })
  const { nonce, salt } = drawNonceAndSalt(random)
  const header: Header = {
    mode: 0, ratchetKey: crypto.dhKeyPair(random.bytes(32)).publicKey, previousCount: 1, number: 0, salt,
    kem: new Uint8Array(0),
  }
  const keys = { headerKey: nextHeaderKey, messageKey: random.bytes(32), binding }
  const message = sealMessage(keys, { header, nonce, plaintext: utf8('x'), ad, prefix: new Uint8Array(0) })
  refusedWithoutTrace(bob, message, 'SESSION_UNDECRYPTABLE')
})

test('refuses a message after the end that its sender gave a chain', () => {
  const { alice, bob } = pair()
  read(bob, write(alice, '0'))
  const fork = alice.clone()
  read(alice, write(bob, 'answer'))
  read(bob, write(alice, 'next chain'))
  refusedWithoutTrace(bob, write(fork, 'the ended chain goes on'), 'SESSION_UNDECRYPTABLE')
})

test('forgets the keys of what was read: a stolen state opens nothing of before', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 1)
  const messages = ['one', 'two'].map((text) => write(alice, text))
  for (const message of messages) read(bob, message)
  const thief = fromBytes(bytesOf(bob))!
  for (const message of messages) assert.is(tried(thief, message), 'SESSION_DUPLICATE')
})

test('heals: a stolen state opens nothing more after one exchange', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 1)
  const thief = bob.clone()
  const soon = write(alice, 'still readable by the thief')
  assert.is(tried(thief, soon), 'read')
  read(bob, soon)
  read(alice, write(bob, 'with a key that the thief does not know'))
  const later = write(alice, 'healed')
  assert.is(tried(thief, later), 'SESSION_UNDECRYPTABLE')
  assert.is(read(bob, later), 'healed')
})

test('a restored state never uses a message key twice', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 1)
  const backup = bytesOf(alice)
  const restored = fromBytes(backup)!
  const [text, other] = ['attack at dawn!!', 'attack at night!']
  const [first, second] = [write(alice, text), write(restored, other)]
  const difference = first.subarray(85, 85 + text.length).map((byte, at) => byte ^ second[85 + at]!)
  assert.not(equalBytes(difference, utf8(text).map((byte, at) => byte ^ utf8(other)[at]!)))
  assert.is(read(bob, first), text)
  refusedWithoutTrace(bob, second, 'SESSION_DUPLICATE')
})

test('a restored receiver reads again what it had read, and goes on', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 1)
  const backup = bytesOf(bob)
  const messages = ['one', 'two'].map((text) => write(alice, text))
  for (const message of messages) read(bob, message)
  const restored = fromBytes(backup)!
  assert.equal(messages.map((message) => read(restored, message)), ['one', 'two'])
  assert.is(read(alice, write(restored, 'answer')), 'answer')
})

test('its stored form brings all of it back, and no other bytes do', () => {
  const { alice, bob } = pair()
  const stored = (ratchet: Ratchet): Ratchet => {
    const bytes = bytesOf(ratchet)
    const back = fromBytes(bytes)!
    assert.equal(bytesOf(back), bytes)
    return back
  }
  let [one, other] = [alice, bob]
  const late: Uint8Array[] = []
  for (let round = 0; round < 8; round++) {
    late.push(write(one, `late ${round}`))
    assert.is(read(other, write(one, `${round}`)), `${round}`)
    ;[one, other] = [stored(other), stored(one)]
  }
  assert.is(read(one, late[7]!), 'late 7')

  const bytes = bytesOf(one)
  for (let at = 0; at < bytes.length; at++) assert.is(fromBytes(bytes.subarray(0, at)), undefined)
  assert.is(fromBytes(concat(bytes, new Uint8Array(1))), undefined)
  assert.is(fromBytes(concat(Uint8Array.of(2), bytes.subarray(1))), undefined)
})

test('a clone and its original do not know of each other', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 2)
  const skipped = write(alice, 'skipped')
  read(bob, write(alice, 'x'))
  const copy = bob.clone()
  const before = bytesOf(copy)
  read(bob, skipped)
  write(bob, 'moves on')
  bob.wipe()
  assert.equal(bytesOf(copy), before)
  assert.is(read(copy, skipped), 'skipped')
})

test('wipes every key', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 2)
  write(alice, 'skipped')
  read(bob, write(alice, 'x'))
  const before = hex(bytesOf(bob).subarray(33, 129))
  bob.wipe()
  const after = bytesOf(bob)
  assert.not.ok(hex(after).includes(before.slice(0, 64)))
  assert.equal(after.subarray(33, 129), new Uint8Array(96))
  assert.is(tried(bob, write(alice, 'y')), 'SESSION_UNDECRYPTABLE')
})

test('shows nothing in inspect and JSON', () => {
  const { alice, bob } = pair()
  pingPong(alice, bob, 1)
  const printed = inspect(bob, { depth: 10, showHidden: true }) + JSON.stringify({ bob }) + String(bob)
  assert.not.match(printed, /\d{2}, +\d|[0-9a-f]{16}|rootKey|chainKey/)
})

test.run()

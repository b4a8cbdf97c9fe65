/**
 * The post-quantum step of the ratchet: when it comes, that both ends make it through loss, reorder,
 * restart and repetition, that nobody can leave it out, and what it heals.
 */
import * as assert from 'uvu/assert'
import { concat, equalBytes } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { provider as noble } from '../../crypto/provider-noble.ts'
import { isKemPublicKey, modeOfStep, stepsSinceKem } from '../../crypto/ratchet/kem-step.ts'
import { ratchetLimits } from '../../crypto/ratchet/limits.ts'
import { Ratchet } from '../../crypto/ratchet/ratchet.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { bytesOf, fromBytes, RatchetBench, read, refusedWithoutTrace, tried } from './support/ratchets.ts'

const test = suite('crypto/ratchet KEM step', { timeoutMs: 60_000 })

const random = seededRandom('ratchet kem')
const plainBytes = 101
const offerBytes = plainBytes + 1_184
const answerBytes = plainBytes + 1_088
const period = ratchetLimits.kemPeriodTurns

/** Alice has read Bob's first answer: her next chain offers, his next one answers. */
function beforeOffer(turn = 5): { alice: Ratchet, bob: Ratchet, bench: RatchetBench } {
  const bench = new RatchetBench(random, turn)
  const { alice, bob } = bench.pair()
  bench.pingPong(alice, bob, 1)
  return { alice, bob, bench }
}

/** As `beforeOffer`, and Bob has read the offer. */
function beforeAnswer(): { alice: Ratchet, bob: Ratchet, bench: RatchetBench } {
  const { alice, bob, bench } = beforeOffer()
  read(bob, bench.write(alice, 'offer'))
  return { alice, bob, bench }
}

test('comes in the first turn after the answer, then every 16th, at a turn that the binding says', () => {
  for (const turn of [0, 1, 2, 9, 15]) {
    const bench = new RatchetBench(random, turn)
    const { alice, bob } = bench.pair()
    const kemTurns: number[] = []
    for (let t = 0; t < 50; t++) {
      const ping = bench.write(alice, '')
      read(bob, ping)
      const answer = bench.write(bob, '')
      read(alice, answer)
      const isKem = ping.length === offerBytes && answer.length === answerBytes
      assert.ok(isKem || (ping.length === plainBytes && answer.length === plainBytes), `turn ${t}`)
      if (isKem) kemTurns.push(t)
      assert.is(alice.pqAgeSteps, bob.pqAgeSteps)
      assert.ok(alice.pqAgeSteps <= 2 * period - 1, `age ${alice.pqAgeSteps}`)
      if (isKem) assert.is(alice.pqAgeSteps, 0)
    }
    const all = Array.from({ length: 50 }, (_, t) => t)
    assert.equal(kemTurns, all.filter((t) => t === 1 || (t > 1 && t % period === turn)), `binding ${turn}`)
  }
})

test('every message of the chains carries it, so any of them may be the first to arrive', () => {
  for (let arrives = 0; arrives < 4; arrives++) {
    const { alice, bob, bench } = beforeOffer()
    const offers = Array.from({ length: 4 }, (_, i) => bench.write(alice, `offer ${i}`))
    assert.equal(offers.map(({ length }) => length), offers.map(() => offerBytes + 7))
    assert.is(read(bob, offers[arrives]!), `offer ${arrives}`)
    const answers = Array.from({ length: 4 }, (_, i) => bench.write(bob, `answer ${i}`))
    assert.equal(answers.map(({ length }) => length), answers.map(() => answerBytes + 8))
    assert.is(read(alice, answers[3 - arrives]!), `answer ${3 - arrives}`)
    bench.pingPong(alice, bob, 2)
    // Late ones of both chains, whose header keys are kept with their lengths.
    for (let i = 0; i < 4; i++) {
      if (i !== arrives) assert.is(read(bob, offers[i]!), `offer ${i}`)
      if (i !== 3 - arrives) assert.is(read(alice, answers[i]!), `answer ${i}`)
      refusedWithoutTrace(bob, offers[i]!, 'SESSION_DUPLICATE')
      refusedWithoutTrace(alice, answers[i]!, 'SESSION_DUPLICATE')
    }
  }
})

test('survives a restart between every two steps', () => {
  const stored = (ratchet: Ratchet): Ratchet => {
    const bytes = bytesOf(ratchet)
    const back = fromBytes(bytes)!
    assert.equal(bytesOf(back), bytes)
    return back
  }
  const bench = new RatchetBench(random, 3)
  let { alice, bob } = bench.pair()
  for (let t = 0; t < 2 * period; t++) {
    const ping = bench.write(alice, `ping ${t}`)
    ;[alice, bob] = [stored(alice), stored(bob)]
    assert.is(read(bob, ping), `ping ${t}`)
    ;[alice, bob] = [stored(alice), stored(bob)]
    const lost = bench.write(bob, 'lost with the crash that follows')
    bob = stored(bob)
    const pong = bench.write(bob, `pong ${t}`)
    ;[alice, bob] = [stored(alice), stored(bob)]
    assert.is(read(alice, pong), `pong ${t}`)
    if (t % 2 === 0) assert.is(read(alice, lost), 'lost with the crash that follows')
  }
})

test('a crash after an offer or an answer was read, before it was stored, loses nothing', () => {
  const { alice, bob, bench } = beforeOffer()
  const before = { alice: bytesOf(alice), bob: bytesOf(bob) }
  const offer = bench.write(alice, 'offer')
  const offered = bytesOf(alice)
  read(bob, offer)
  const again = fromBytes(before.bob)!
  assert.is(read(again, offer), 'offer')
  const answer = bench.write(again, 'answer')
  read(alice, answer)
  assert.is(read(fromBytes(offered)!, answer), 'answer')
  // Restored to before its offer, Alice does not have the key: she reads nothing, and stays as she is.
  refusedWithoutTrace(fromBytes(before.alice)!, answer, 'SESSION_UNDECRYPTABLE')
})

test('refuses every altered byte and every cut of a step without a trace', () => {
  const offering = beforeOffer()
  const answering = beforeAnswer()
  for (const [reader, message] of [
    [offering.bob, offering.bench.write(offering.alice, 'offer')],
    [answering.alice, answering.bench.write(answering.bob, 'answer')],
  ] as const) {
    const before = bytesOf(reader)
    for (let at = 0; at < message.length; at++) {
      const altered = message.slice()
      altered[at]! ^= 0x10
      assert.is(tried(reader, altered), 'SESSION_UNDECRYPTABLE')
      if (at % 7 === 0) {
        const code = at < plainBytes ? 'SESSION_FORMAT' : 'SESSION_UNDECRYPTABLE'
        assert.is(tried(reader, message.subarray(0, at)), code)
      }
    }
    assert.equal(bytesOf(reader), before)
    assert.is(tried(reader, message), 'read')
  }
})

test('a peer that leaves the offer out, or does not answer one, is not read', () => {
  // Both carry out the step honestly except that one of them counts its steps wrongly.
  const offering = beforeOffer()
  const without = tampered(offering.alice, { steps: 4 })
  assert.is(offering.bench.write(without, '').length, plainBytes)
  refusedWithoutTrace(offering.bob, offering.bench.write(without, 'no offer'), 'SESSION_UNDECRYPTABLE')
  assert.is(read(offering.bob, offering.bench.write(offering.alice, 'offer')), 'offer')

  const answering = beforeAnswer()
  const silent = tampered(answering.bob, { steps: 5, dropKem: true })
  assert.is(answering.bench.write(silent, '').length, plainBytes)
  refusedWithoutTrace(answering.alice, answering.bench.write(silent, 'no answer'), 'SESSION_UNDECRYPTABLE')
  assert.is(read(answering.alice, answering.bench.write(answering.bob, 'answer')), 'answer')
})

test('a peer that offers or answers out of turn is not read', () => {
  const { alice, bob, bench } = beforeOffer()
  bench.pingPong(alice, bob, 1)
  const early = tampered(alice, { steps: 2 })
  assert.is(bench.write(early, '').length, offerBytes)
  refusedWithoutTrace(bob, bench.write(early, 'an offer'), 'SESSION_UNDECRYPTABLE')
  assert.is(read(bob, bench.write(alice, 'plain')), 'plain')
})

test('an answer to another offer, or with another key beside the same DH, is not read', () => {
  const { alice, bob, bench } = beforeAnswer()
  const other = crypto.kemKeyPair(random.bytes(64)).publicKey
  const swapped = tampered(bob, { offer: other })
  refusedWithoutTrace(alice, bench.write(swapped, 'to another key'), 'SESSION_UNDECRYPTABLE')
  assert.is(read(alice, bench.write(bob, 'answer')), 'answer')
})

test('refuses an offer that is no ML-KEM-768 key, and says so as the encapsulation would', () => {
  const key = crypto.kemKeyPair(random.bytes(64)).publicKey
  assert.ok(isKemPublicKey(key))
  assert.not.ok(isKemPublicKey(key.subarray(1)))
  for (let i = 0; i < 40; i++) {
    const bad = key.slice()
    const at = 3 * randomInteger(random, 384)
    // 3,329 to 4,095 in the lower or the upper coefficient of three bytes.
    const coefficient = i < 2 ? 3_329 - i : 3_328 + randomInteger(random, 768)
    if (i % 2 === 0) bad.set([coefficient & 255, (bad[at + 1]! & 0xf0) | coefficient >> 8], at)
    else bad.set([(bad[at + 1]! & 15) | (coefficient & 15) << 4, coefficient >> 4], at + 1)
    const isTaken = noble.kemEncapsulate(bad, random) !== undefined
    assert.is(isKemPublicKey(bad), isTaken, `coefficient ${coefficient}`)
  }
  const { alice, bob, bench } = beforeOffer()
  const bad = tampered(sent(alice, bench), { ownKemKey: new Uint8Array(1_184).fill(0xff) })
  refusedWithoutTrace(bob, bench.write(bad, 'a bad offer'), 'SESSION_UNDECRYPTABLE')
})

test('heals against who can compute every DH: a stolen state opens nothing after the answer', () => {
  const { alice, bob, bench } = beforeOffer()
  // The thief has all of Bob's state, and breaks X25519: it learns each fresh ratchet secret of both.
  const quantum = new LeakyRandom()
  const thief = bob.clone()
  const offer = bench.write(alice, 'offer')
  assert.is(read(thief, offer), 'offer')
  read(bob, offer)
  const answer = bob.encrypt({ plaintext: new Uint8Array(3), ad: new Uint8Array(0), random: quantum })
  const [dhSecret] = quantum.draws
  // With the DH secret alone the thief makes the same step, and another KEM secret.
  let drawn = 0
  thief.encrypt({
    plaintext: new Uint8Array(3),
    ad: new Uint8Array(0),
    random: { bytes: (length) => (drawn++ === 0 ? dhSecret!.slice() : random.bytes(length)) },
  })
  assert.ok(alice.decrypt({ message: answer, ad: new Uint8Array(0) }).ok)
  const later = bench.write(alice, 'healed')
  assert.is(tried(thief, later), 'SESSION_UNDECRYPTABLE')
  assert.is(read(bob, later), 'healed')
})

test('a plain step does not heal against such a thief: the test above sees the difference', () => {
  const { alice, bob, bench } = beforeOffer()
  bench.pingPong(alice, bob, 1)
  const quantum = new LeakyRandom()
  const thief = bob.clone()
  const ping = bench.write(alice, 'ping')
  read(thief, ping)
  read(bob, ping)
  const answer = bob.encrypt({ plaintext: new Uint8Array(3), ad: new Uint8Array(0), random: quantum })
  let drawn = 0
  thief.encrypt({
    plaintext: new Uint8Array(3),
    ad: new Uint8Array(0),
    random: { bytes: (length) => (drawn++ === 0 ? quantum.draws[0]!.slice() : random.bytes(length)) },
  })
  assert.ok(alice.decrypt({ message: answer, ad: new Uint8Array(0) }).ok)
  assert.is(tried(thief, bench.write(alice, 'still read')), 'read')
})

test('forgets the secrets of a step once it is over', () => {
  const { alice, bob, bench } = beforeOffer()
  const offer = bench.write(alice, 'offer')
  const seed = bytesOf(alice).subarray(1 + 4 * 32 + 4 + 33 + 33 + 1).slice(0, 64)
  assert.ok(holds(bytesOf(alice), seed))
  read(bob, offer)
  read(alice, bench.write(bob, 'answer'))
  assert.not.ok(holds(bytesOf(alice), seed))
  bench.pingPong(alice, bob, 1)
  assert.ok(bytesOf(alice).length < 900 && bytesOf(bob).length < 900)
})

test('its stored form must fit the number of steps', () => {
  const { alice, bob } = beforeAnswer()
  for (const ratchet of [alice, bob]) {
    assert.ok(fromBytes(bytesOf(ratchet)))
    for (const steps of [0, 1, 2, 4, 5]) assert.is(decoded(ratchet, { steps }), undefined, `steps ${steps}`)
  }
})

test('says how old the last KEM secret is', () => {
  const binding = concat(Uint8Array.of(4), new Uint8Array(31))
  assert.equal([0, 1, 2, 3].map((steps) => stepsSinceKem(steps, binding)), [0, 1, 2, 3])
  assert.is(modeOfStep(3, binding), 2)
  assert.equal([4, 5, 9, 10, 11].map((steps) => stepsSinceKem(steps, binding)), [0, 1, 5, 0, 1])
  assert.is(stepsSinceKem(10 + 2 * period - 1, binding), 2 * period - 1)
})

/** Keeps what it draws. */
class LeakyRandom {
  readonly draws: Uint8Array[] = []

  bytes(length: number): Uint8Array {
    const bytes = random.bytes(length)
    this.draws.push(bytes.slice())
    return bytes
  }
}

interface Tampering {
  readonly steps?: number
  readonly dropKem?: boolean
  readonly offer?: Uint8Array
  readonly ownKemKey?: Uint8Array
}

/** Alice with her offering chain begun. */
function sent(alice: Ratchet, bench: RatchetBench): Ratchet {
  bench.write(alice, 'on its way')
  return alice
}

/** A dishonest copy: its state changed where ratchet-state.ts says. */
function tampered(ratchet: Ratchet, how: Tampering): Ratchet {
  if (how.ownKemKey === undefined) return decoded(ratchet, how)!
  // Its headers carry what the KEM key pair says is its public key.
  const { ownKemKey } = how
  const { kemKeyPair } = crypto
  const lying = crypto as { kemKeyPair: typeof kemKeyPair }
  lying.kemKeyPair = (seed) => ({ ...kemKeyPair(seed), publicKey: ownKemKey, exportSecret: () => seed })
  try {
    return fromBytes(bytesOf(ratchet))!
  } finally {
    lying.kemKeyPair = kemKeyPair
  }
}

function decoded(ratchet: Ratchet, { steps, dropKem, offer }: Tampering): Ratchet | undefined {
  const bytes = bytesOf(ratchet)
  const stepsAt = 1 + 4 * 32
  if (steps !== undefined) bytes.set([0, 0, 0, steps], stepsAt)
  // After a message was read: no own key, a remote one, then what is under way of a KEM step.
  const kemAt = stepsAt + 4 + 1 + 33
  if (offer !== undefined) bytes.set(offer, kemAt + 1)
  if (!dropKem) return fromBytes(bytes)
  return fromBytes(concat(bytes.subarray(0, kemAt), Uint8Array.of(0), bytes.subarray(kemAt + 1 + 1_184)))
}

function holds(bytes: Uint8Array, part: Uint8Array): boolean {
  for (let at = 0; at + part.length <= bytes.length; at++) {
    if (equalBytes(bytes.subarray(at, at + part.length), part)) return true
  }
  return false
}

test.run()

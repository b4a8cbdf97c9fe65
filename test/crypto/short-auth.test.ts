/** The codes of two honest ends are the same; nobody between them can make two that are. */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { ShortAuth, pictures } from '../../crypto/short-auth.ts'
import type { ShortAuthStep, ShortCode } from '../../crypto/short-auth.ts'
import type { Random } from '../../crypto/random.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('crypto/short auth')

/** What a step that must go well gives. */
function went(result: ReturnType<ShortAuth['receive']>): ShortAuthStep {
  if (!result.ok) throw new Error(`refused with ${result.code}`)
  return result.value
}

function refusal(result: ReturnType<ShortAuth['receive']> | ReturnType<ShortAuth['confirm']>): string {
  return result.ok ? 'taken' : result.code
}

interface Run {
  readonly initiator: ShortAuth
  readonly responder: ShortAuth
  readonly codes: readonly [ShortCode, ShortCode]
}

function honestRun(random: Random, binding = random.bytes(32)): Run {
  const { auth: initiator, message } = ShortAuth.initiate({ binding, random })
  const responder = ShortAuth.respond({ binding, random })
  const reveal = went(initiator.receive(went(responder.receive(message)).send!))
  const end = went(responder.receive(reveal.send!))
  assert.is(end.send, undefined)
  return { initiator, responder, codes: [reveal.code!, end.code!] }
}

/** Somebody between two ends, who runs the exchange with each; only the codes tell. */
function middleRun(random: Random): { readonly codes: readonly [ShortCode, ShortCode] } {
  const [towardsInitiator, towardsResponder] = [random.bytes(32), random.bytes(32)]
  const { auth: initiator, message } = ShortAuth.initiate({ binding: towardsInitiator, random })
  const responder = ShortAuth.respond({ binding: towardsResponder, random })
  const middle = ShortAuth.initiate({ binding: towardsResponder, random })
  const other = ShortAuth.respond({ binding: towardsInitiator, random })
  const answer = went(responder.receive(middle.message)).send!
  const reveal = went(initiator.receive(went(other.receive(message)).send!))
  const end = went(responder.receive(went(middle.auth.receive(answer)).send!))
  return { codes: [reveal.code!, end.code!] }
}

test('both ends of an honest run show the same six digits and five pictures', () => {
  const random = seededRandom('honest')
  const seen = new Set<string>()
  for (let i = 0; i < 200; i++) {
    const { codes: [one, other], initiator, responder } = honestRun(random)
    assert.equal(one, other)
    assert.match(one.digits, /^\d{6}$/)
    assert.is(one.pictures.length, 5)
    seen.add(one.digits)
    assert.is(initiator.state, 'comparing')
    assert.is(responder.state, 'comparing')
  }
  assert.ok(seen.size > 195, 'no digits come often')
})

test('two runs of one binding show different codes', () => {
  const random = seededRandom('again')
  const binding = random.bytes(32)
  assert.is.not(honestRun(random, binding).codes[0].digits, honestRun(random, binding).codes[0].digits)
})

test('somebody in the middle who relays every message gives two codes', () => {
  // Two exchanges with different keys have different bindings: relaying the rest does not help.
  const random = seededRandom('relay')
  for (let i = 0; i < 200; i++) {
    const { auth: initiator, message } = ShortAuth.initiate({ binding: random.bytes(32), random })
    const responder = ShortAuth.respond({ binding: random.bytes(32), random })
    const reveal = went(initiator.receive(went(responder.receive(message)).send!))
    const end = went(responder.receive(reveal.send!))
    assert.is.not(reveal.code!.digits, end.code!.digits)
    assert.not.equal(reveal.code!.pictures, end.code!.pictures)
  }
})

test('somebody in the middle who runs two exchanges of its own gives two codes', () => {
  const random = seededRandom('middle')
  for (let i = 0; i < 200; i++) {
    const { codes: [one, other] } = middleRun(random)
    assert.is.not(one.digits, other.digits)
    assert.not.equal(one.pictures, other.pictures)
  }
})

test('codes of two runs agree in their last digits as often as chance has it', () => {
  // The last two of six digits, so that a few thousand runs say something: one in a hundred.
  const random = seededRandom('chance')
  const runs = 4_000
  let same = 0
  for (let i = 0; i < runs; i++) {
    const { codes: [one, other] } = middleRun(random)
    if (one.digits.slice(4) === other.digits.slice(4)) same++
  }
  assert.ok(same > 15 && same < 75, `${same} of ${runs}, expected about ${runs / 100}`)
})

test('somebody who picks the nonce after seeing the answer is refused', () => {
  const random = seededRandom('late choice')
  const binding = random.bytes(32)
  const responder = ShortAuth.respond({ binding, random })
  const { message } = ShortAuth.initiate({ binding, random })
  went(responder.receive(message))
  const reveal = new Uint8Array([1, 3, ...random.bytes(32)])
  assert.is(refusal(responder.receive(reveal)), 'SHORT_AUTH_COMMITMENT')
  assert.is(responder.state, 'failed')
  assert.is(refusal(responder.receive(reveal)), 'SHORT_AUTH_OVER')
  assert.is(refusal(responder.confirm(true)), 'SHORT_AUTH_OVER')
})

test('a flipped bit in any message is refused or gives another code', () => {
  const random = seededRandom('bits')
  for (let at = 0; at < 3; at++) {
    for (let bit = 0; bit < 34 * 8; bit += 11) {
      const binding = random.bytes(32)
      const flipped = (message: Uint8Array, index: number): Uint8Array => {
        const copy = message.slice()
        if (index === at) copy[bit >> 3]! ^= 1 << (bit & 7)
        return copy
      }
      const { auth: initiator, message } = ShortAuth.initiate({ binding, random })
      const responder = ShortAuth.respond({ binding, random })
      const answer = responder.receive(flipped(message, 0))
      const reveal = answer.ok ? initiator.receive(flipped(answer.value.send!, 1)) : answer
      const end = reveal.ok ? responder.receive(flipped(reveal.value.send!, 2)) : reveal
      const isFound = !end.ok
        || (reveal.ok && end.value.code!.digits !== reveal.value.code!.digits)
      assert.ok(isFound, `bit ${bit} of message ${at + 1}`)
    }
  }
})

test('messages of the wrong step, length or version end the run', () => {
  const random = seededRandom('steps')
  const input = { binding: random.bytes(32), random }
  const message = (step: number, length = 32, version = 1): Uint8Array =>
    new Uint8Array([version, step, ...random.bytes(length)])
  const wrongForInitiator = [message(1), message(3), message(2, 31), message(2, 33), message(2, 32, 2)]
  for (const bytes of [...wrongForInitiator, new Uint8Array(0)]) {
    const { auth } = ShortAuth.initiate(input)
    assert.is(refusal(auth.receive(bytes)), 'SHORT_AUTH_MESSAGE')
    assert.is(auth.state, 'failed')
    assert.is(refusal(auth.receive(message(2))), 'SHORT_AUTH_OVER')
  }
  for (const bytes of [message(2), message(3), message(1, 0)]) {
    const auth = ShortAuth.respond(input)
    assert.is(refusal(auth.receive(bytes)), 'SHORT_AUTH_MESSAGE')
    assert.is(auth.state, 'failed')
  }
})

test('a second message of the same step ends the run before anybody confirmed', () => {
  const random = seededRandom('twice')
  const { initiator, responder } = honestRun(random)
  assert.is(refusal(initiator.receive(new Uint8Array([1, 2, ...random.bytes(32)]))), 'SHORT_AUTH_MESSAGE')
  assert.is(initiator.state, 'failed')
  assert.is(refusal(responder.receive(new Uint8Array([1, 3, ...random.bytes(32)]))), 'SHORT_AUTH_MESSAGE')
  assert.is(responder.state, 'failed')
})

test('nothing is confirmed before there is a code, nor after it was denied', () => {
  const random = seededRandom('confirm')
  const early = ShortAuth.respond({ binding: random.bytes(32), random })
  assert.is(refusal(early.confirm(true)), 'SHORT_AUTH_MESSAGE')
  assert.is(early.state, 'failed')
  const { initiator, responder } = honestRun(random)
  assert.is(refusal(initiator.confirm(true)), 'taken')
  assert.is(initiator.state, 'confirmed')
  initiator.abort()
  assert.is(initiator.state, 'confirmed', 'what was confirmed stays so')
  responder.confirm(false)
  assert.is(responder.state, 'failed')
  assert.is(refusal(responder.confirm(true)), 'SHORT_AUTH_OVER')
})

test('a run that was given up stays so', () => {
  const random = seededRandom('abort')
  const { auth } = ShortAuth.initiate({ binding: random.bytes(32), random })
  auth.abort()
  assert.is(auth.state, 'failed')
  assert.is(refusal(auth.receive(new Uint8Array([1, 2, ...random.bytes(32)]))), 'SHORT_AUTH_OVER')
})

test('has 64 pictures, all different, in the order of the specification', () => {
  assert.is(new Set(pictures.map(([symbol]) => symbol)).size, 64)
  assert.is(new Set(pictures.map(([, name]) => name)).size, 64)
  const spec = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  assert.ok(spec.replaceAll(/\s+/g, ' ').includes(pictures.map(([, name]) => name).join(', ')))
})

test('shows nothing of its nonce in inspect or JSON', () => {
  const nonce = seededRandom('secret').bytes(32)
  const { auth } = ShortAuth.initiate({ binding: new Uint8Array(32), random: { bytes: () => nonce.slice() } })
  assert.is(JSON.stringify(auth), '{}')
})

test.run()

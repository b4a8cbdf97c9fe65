/** The fuzzer finds what it is for: each kind of bad decoder is planted and must be caught. */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../crypto/errors.ts'
import { decode, opaque, struct, u8 } from '../../protocol/codec/struct.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { fuzzDecoder } from './decoder-fuzz.ts'
import type { FuzzedDecoder } from './decoder-fuzz.ts'
import { invent } from './invent.ts'

const test = suite('fuzz/decoder-fuzz')

const codec = struct<{ kind: number, body: Uint8Array }>({ kind: u8, body: opaque(100_000) })
const small = invent(codec, seededRandom('small'), { large: false })
const large = new Uint8Array([1, 0x80, 0, 0x40, 0, ...new Uint8Array(16_384)])
const good: FuzzedDecoder = (bytes) => decode(codec, bytes)

function fuzz(decoder: FuzzedDecoder, valid: readonly Uint8Array[] = [small]) {
  return fuzzDecoder({ name: 'planted', valid, decode: decoder, seed: 1, cases: 400 })
}

test('passes a decoder that answers with values and codes, and counts both', () => {
  const outcome = fuzz(good, [small, large])
  assert.ok(outcome.accepted > 2)
  assert.ok(outcome.refusals.has('CODEC_TRUNCATED'))
  assert.ok(outcome.cases > 400 + small.length)
})

test('runs the same cases for the same seed', () => {
  assert.equal(fuzz(good), fuzz(good))
})

test('catches a decoder that throws something else, naming the seed and the input', () => {
  assert.throws(() => fuzz((bytes) => {
    const value = decode(codec, bytes)
    if (value.kind > 100) throw new TypeError('cannot read undefined')
    return value
  }), /planted: threw TypeError: cannot read undefined \(seed 1, .*input [0-9a-f]+/)
})

test('catches a broken assertion', () => {
  assert.throws(() => fuzz(() => { throw new OpenIMError('BUG_ASSERTION', 'no') }), /broke an assertion/)
})

test('catches a decoder that refuses what is valid', () => {
  assert.throws(() => fuzz(() => ({ ok: false, code: 'NO' })), /refused a valid input with NO/)
})

test('catches a decoder that takes less than all, or more than there is', () => {
  assert.throws(() => fuzz((bytes) => bytes[0]), /too short or too long/)
  assert.throws(() => fuzz((bytes) => good(bytes.subarray(0, small.length))), /too short or too long/)
})

test('catches a decoder that believes a length before it has the bytes', () => {
  const kept: Uint8Array[] = []
  assert.throws(() => fuzz((bytes) => {
    kept.push(new Uint8Array(1_000_000))
    return good(bytes)
  }, [large]), /took \d+ bytes and kept \d+/)
  assert.throws(() => fuzz((bytes) => {
    new Uint8Array(2_000_000).fill(1)
    return good(bytes)
  }, [large]), /took \d+ bytes/)
})

test.run()

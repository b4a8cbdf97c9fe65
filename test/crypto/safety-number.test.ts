/** What people compare: frozen, the same from both sides, different for every other pair. */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { hex } from '../../crypto/bytes.ts'
import * as safetyNumber from '../../crypto/safety-number.ts'
import * as shortAuth from '../../crypto/short-auth.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { generate, loadNobleModules, vectorsFile } from '../vectors/verification.ts'
import type { VerificationVectors } from '../vectors/verification.ts'

const test = suite('crypto/safety number')

const { compareScannable, fingerprint, safetyDigits, scannableNumber } = safetyNumber
const frozen = JSON.parse(readFileSync(vectorsFile, 'utf8')) as VerificationVectors

test('both backends give the frozen vectors', async () => {
  assert.equal(generate(await loadNobleModules()), frozen)
  assert.equal(generate({ safetyNumber, shortAuth }), frozen)
})

function sides(seed: string): { own: Uint8Array, their: Uint8Array } {
  const random = seededRandom(seed)
  const side = (): Uint8Array => fingerprint({ rootKey: random.bytes(32), stableId: random.bytes(63) })
  return { own: side(), their: side() }
}

test('both sides read the same 60 digits', () => {
  const { own, their } = sides('digits')
  assert.match(safetyDigits(own, their), /^\d{60}$/)
  assert.is(safetyDigits(own, their), safetyDigits(their, own))
})

test('a fingerprint depends on every bit of key and id', () => {
  const random = seededRandom('bits')
  const [rootKey, stableId] = [random.bytes(32), random.bytes(63)]
  const before = hex(fingerprint({ rootKey, stableId }))
  const flipped = (bytes: Uint8Array, at: number): Uint8Array => {
    const copy = bytes.slice()
    copy[at]! ^= 1
    return copy
  }
  for (const at of [0, 15, 31]) {
    assert.is.not(hex(fingerprint({ rootKey: flipped(rootKey, at), stableId })), before)
    assert.is.not(hex(fingerprint({ rootKey, stableId: flipped(stableId, at) })), before)
  }
})

test('what one side shows is what the other expects to scan', () => {
  const { own, their } = sides('scan')
  const scanned = scannableNumber({ own: their, their: own })
  assert.is(compareScannable({ own, their, scanned }), 'match')
})

test('a number of another pair, our own code and damaged ones do not match', () => {
  const { own, their } = sides('scan')
  const other = sides('somebody else').own
  const compare = (scanned: Uint8Array): string => compareScannable({ own, their, scanned })
  assert.is(compare(scannableNumber({ own: other, their: own })), 'mismatch')
  assert.is(compare(scannableNumber({ own: their, their: other })), 'mismatch')
  assert.is(compare(scannableNumber({ own, their })), 'mismatch', 'our own, held up to us')
  const good = scannableNumber({ own: their, their: own })
  assert.is(compare(good.subarray(0, 64)), 'mismatch')
  assert.is(compare(new Uint8Array([...good, 0])), 'mismatch')
  assert.is(compare(new Uint8Array(0)), 'mismatch')
  for (let bit = 8; bit < 8 * good.length; bit += 37) {
    const flipped = good.slice()
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    assert.is(compare(flipped), 'mismatch')
  }
})

test('a number of another version says so instead of raising an alarm', () => {
  const { own, their } = sides('scan')
  const scanned = scannableNumber({ own: their, their: own })
  scanned[0] = 2
  assert.is(compareScannable({ own, their, scanned }), 'other version')
})

test('an account has no safety number with itself', () => {
  const { own } = sides('self')
  assert.throws(() => scannableNumber({ own, their: own }), /nobody verifies themselves/)
})

test.run()

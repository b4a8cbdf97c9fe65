/** A safety number survives how people pass it on, and damage is told from a difference. */
import * as assert from 'uvu/assert'
import { formatSafetyCode, parseSafetyCode } from '../../protocol/safety-code.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('protocol/safety code')

const scannable = new Uint8Array([1, ...seededRandom('safety code').bytes(64)])
const digits = '1234567890'.repeat(6)

function refusal(text: string): string {
  const parsed = parseSafetyCode(text)
  return parsed.ok ? 'taken' : parsed.code
}

test('fits a QR code of version 5 and comes back', () => {
  const text = formatSafetyCode(scannable)
  assert.ok(text.length <= 106)
  assert.equal(parseSafetyCode(text), { ok: true, value: { scanned: scannable } })
  assert.equal(parseSafetyCode(` ${text.slice(0, 40)}\n  ${text.slice(40)}\n`), {
    ok: true, value: { scanned: scannable },
  })
})

test('takes digits in groups, lines and with hyphens', () => {
  const value = { ok: true, value: { digits } }
  assert.equal(parseSafetyCode(digits), value)
  assert.equal(parseSafetyCode(`${digits.match(/\d{5}/g)!.join(' ')}\n`), value)
  assert.equal(parseSafetyCode(digits.match(/\d{5}/g)!.join('-\n')), value)
})

test('refuses what is cut, damaged or something else', () => {
  const text = formatSafetyCode(scannable)
  const rubbish = [
    '', digits.slice(1), `${digits}1`, 'openim-verify:', text.slice(0, -1), text.slice(0, 60), `${text}A`,
    `${text.slice(0, 30)}*${text.slice(31)}`, 'oim1qqqq', 'x'.repeat(600), digits.replace('1', '١'),
  ]
  for (const one of rubbish) assert.is(refusal(one), 'SAFETY_NUMBER_FORMAT', one)
})

test('takes a code of another version, whatever its length', () => {
  const parsed = parseSafetyCode(formatSafetyCode(new Uint8Array([9, 1, 2, 3])))
  assert.equal(parsed, { ok: true, value: { scanned: new Uint8Array([9, 1, 2, 3]) } })
})

test.run()

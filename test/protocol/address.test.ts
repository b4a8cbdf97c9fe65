/** protocol/address.ts: what is accepted, and what each wrong input is told. */
import * as assert from 'uvu/assert'
import { bech32m } from '@scure/base'
import { concat, hex, hexDecode } from '../../crypto/bytes.ts'
import { formatAddress, parseAddress } from '../../protocol/address.ts'
import { keysOf } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('protocol/address')
const key = keysOf('alice').publicKey
const address = formatAddress(key)

function codeOf(text: string): string {
  const result = parseAddress(text)
  return result.ok ? 'ok' : result.code
}

function encodePayload(payload: Uint8Array): string {
  return bech32m.encode('oim', bech32m.toWords(payload))
}

test('has 63 characters and gives the key back', () => {
  assert.is(address.length, 63)
  assert.match(address, /^oim1/)
  const parsed = parseAddress(address)
  assert.ok(parsed.ok)
  assert.is(hex(parsed.value), hex(key))
})

test('reads upper case and surrounding space, but not mixed case', () => {
  assert.is(codeOf(address.toUpperCase()), 'ok')
  assert.is(codeOf(`  ${address}\n`), 'ok')
  assert.is(codeOf(`Oim1${address.slice(4)}`), 'ADDRESS_FORMAT')
})

test('finds every single wrong character', () => {
  for (let i = 4; i < address.length; i++) {
    const other = address[i] === 'q' ? 'p' : 'q'
    assert.is(codeOf(address.slice(0, i) + other + address.slice(i + 1)), 'ADDRESS_CHECKSUM', `position ${i}`)
  }
})

test('says what else was pasted', () => {
  for (const [text, hint] of [
    ['', /oim1 and 59/],
    ['alice@example.org', /oim1 and 59/],
    ['openim:AAAA', /invite/],
    [address.slice(0, 40), /63 characters, this has 40/],
  ] as const) {
    const result = parseAddress(text)
    assert.not(result.ok)
    assert.is(!result.ok && result.code, 'ADDRESS_FORMAT')
    assert.match((!result.ok && result.detail) || '', hint)
  }
})

test('refuses an address of a newer version', () => {
  assert.is(codeOf(encodePayload(concat(new Uint8Array([2]), key))), 'ADDRESS_VERSION')
})

test('refuses keys that are small, have torsion or are no point', () => {
  const identity = hexDecode('01' + '00'.repeat(31))
  const orderTwo = hexDecode('ec' + 'ff'.repeat(30) + '7f')
  const orderEight = hexDecode('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  const noPoint = hexDecode('02' + '00'.repeat(31))
  const notCanonical = hexDecode('ff'.repeat(31) + '7f')
  for (const bad of [identity, orderTwo, orderEight, noPoint, notCanonical]) {
    assert.is(codeOf(formatAddress(bad)), 'ADDRESS_KEY', hex(bad))
  }
})

test.run()

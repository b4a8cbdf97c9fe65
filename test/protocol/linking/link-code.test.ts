/** Link codes as text (protocol/linking/link-code.ts). */
import * as assert from 'uvu/assert'
import { formatLinkCode, linkKeys, parseLinkCode } from '../../../protocol/linking/link-code.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('protocol/linking/link-code')
const random = seededRandom('link code')
const doorKey = random.bytes(32)
const token = random.bytes(16)

test('comes back as it was, with two hints in 100 characters: one QR code of version 5', () => {
  const hints = ['tcp://192.0.2.7:4482', 'wss://203.0.113.9:443']
  const uri = formatLinkCode({ doorKey, token, hints })
  assert.is(uri.length, 100)
  assert.equal(parseLinkCode(` ${uri}\n`), { ok: true, value: { doorKey, token, hints } })
})

test('leaves out hints that have no short form, and those above two', () => {
  const hints = ['tcp://[::1]:1', 'tcp://node.example:2', 'udp://192.0.2.300:1', 'tls://192.0.2.1:1',
    'http://192.0.2.2:2', 'udp://192.0.2.3:3']
  const parsed = parseLinkCode(formatLinkCode({ doorKey, token, hints }))
  assert.equal(parsed.ok && parsed.value.hints, ['tls://192.0.2.1:1', 'http://192.0.2.2:2'])
})

test('a letter that is wrong, missing or too much is told, and so is a newer version', () => {
  const uri = formatLinkCode({ doorKey, token, hints: [] })
  for (let at = 0; at < uri.length; at++) {
    const other = uri[at] === 'A' ? 'B' : 'A'
    const parsed = parseLinkCode(uri.slice(0, at) + other + uri.slice(at + 1))
    assert.ok(!parsed.ok, `character ${at}`)
  }
  const others = ['', 'openim-link:', uri.slice(0, -1), `${uri}A`, uri.replace('openim-link:', 'openim:')]
  for (const text of others) {
    const parsed = parseLinkCode(text)
    assert.is(parsed.ok ? '' : parsed.code, 'LINK_CODE_FORM', text)
  }
})

test('the token gives a guest key and a proof key, other ones for another node', () => {
  const keys = linkKeys({ token, doorKey })
  const same = linkKeys({ token, doorKey })
  const other = linkKeys({ token, doorKey: random.bytes(32) })
  assert.equal(keys.guestKeys.publicKey, same.guestKeys.publicKey)
  assert.equal(keys.proofKey, same.proofKey)
  assert.not.equal(keys.guestKeys.publicKey, other.guestKeys.publicKey)
  assert.not.equal(keys.proofKey, other.proofKey)
})

test.run()

/** protocol/invite.ts: sizes, what people paste, and what each damage is called. */
import * as assert from 'uvu/assert'
import { base64urlnopad } from '@scure/base'
import { concat, hex, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { formatAddress } from '../../protocol/address.ts'
import { formatInvite, introKeys, inviteUriBytesMax, parseInvite } from '../../protocol/invite.ts'
import type { InviteContent } from '../../protocol/invite.ts'
import { bytesOf, keysOf, testHour, testNowMs } from '../helpers/actors.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('protocol/invite')

const plain: InviteContent = {
  rootKey: keysOf('alice').publicKey,
  seed: bytesOf('alice seed', 15),
  introToken: bytesOf('token', 15),
  expiryHour: testHour + 168,
}
const hinted: InviteContent = { ...plain, hint: { ipv4: [192, 0, 2, 17], port: 41_641 } }

function codeOf(text: string, nowMs = testNowMs): string {
  const result = parseInvite(text, nowMs)
  return result.ok ? 'ok' : result.code
}
function detailOf(text: string): string {
  const result = parseInvite(text, testNowMs)
  return (!result.ok && result.detail) || ''
}
function payloadOf(uri: string): Uint8Array {
  return base64urlnopad.decode(uri.slice('openim:'.length))
}
/** A URI around any body, with a checksum that fits. */
function withChecksum(body: Uint8Array): string {
  const checksum = crypto.sha256(concat(utf8('openim invite v1'), body)).subarray(0, 2)
  return `openim:${base64urlnopad.encode(concat(body, checksum))}`
}

test('takes 98 bytes without a hint and 106 with one', () => {
  assert.is(formatInvite(plain).length, 98)
  assert.is(formatInvite(hinted).length, 106)
  assert.is(inviteUriBytesMax, 106)
  assert.is(payloadOf(formatInvite(plain)).length, 68)
  assert.is(payloadOf(formatInvite(hinted)).length, 74)
})

test('gives back what was put in', () => {
  for (const content of [plain, hinted]) {
    const parsed = parseInvite(formatInvite(content), testNowMs)
    assert.ok(parsed.ok)
    assert.equal(parsed.value, content)
  }
})

test('puts up with what copying adds around it', () => {
  const uri = formatInvite(hinted)
  for (const pasted of [
    `  ${uri}\n`, `<${uri}>`, `"${uri}"`, `'${uri}'`, `“${uri}”`, `«${uri}»`, `\`${uri}\``,
    uri.replace('openim:', 'OpenIM:'), `${uri.slice(0, 60)}\n  ${uri.slice(60)}`,
  ]) assert.is(codeOf(pasted), 'ok', pasted)
})

test('tells other text what is wrong with it', () => {
  const uri = formatInvite(plain)
  for (const [text, hint] of [
    ['', /starts with openim:/],
    ['hello', /starts with openim:/],
    [formatAddress(plain.rootKey), /this is an address/],
    [`Here is my invite: ${uri}`, /other text stands before/],
    [`openim:${'ä'.repeat(91)}`, /copy the whole line/],
    [uri.slice(0, -8), /copy the whole line/],
    ['openim:', /copy the whole line/],
    ['x'.repeat(100_000), /too long/],
  ] as const) {
    assert.is(codeOf(text), 'INVITE_FORMAT', text.slice(0, 40))
    assert.match(detailOf(text), hint)
  }
})

test('finds a wrong bit anywhere', () => {
  const bytes = payloadOf(formatInvite(hinted))
  for (let i = 0; i < bytes.length; i++) {
    const damaged = bytes.slice()
    damaged[i]! ^= 0x10
    assert.is(codeOf(`openim:${base64urlnopad.encode(damaged)}`), 'INVITE_CHECKSUM', `byte ${i}`)
  }
})

test('refuses spare bits at the end of the text', () => {
  const uri = formatInvite(plain)
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(uri.at(-1)!)
  assert.is(codeOf(uri.slice(0, -1) + alphabet[last + 1]), 'INVITE_FORMAT')
})

test('names an invite of a newer version or with unknown flags as newer, whatever its length', () => {
  const body = payloadOf(formatInvite(plain)).slice(0, -2)
  for (const first of [0x20, 0x12, 0x00, 0xf1]) {
    body[0] = first
    assert.is(codeOf(withChecksum(body)), 'INVITE_VERSION', first.toString(16))
    assert.is(codeOf(withChecksum(concat(body, new Uint8Array(9)))), 'INVITE_VERSION')
  }
  body[0] = 0x11
  assert.is(codeOf(withChecksum(body)), 'INVITE_FORMAT', 'hint flag without a hint')
})

test('is good until its hour and not after', () => {
  const uri = formatInvite(plain)
  const end = (testHour + 168) * 3_600_000
  assert.is(codeOf(uri, end - 1), 'ok')
  assert.is(codeOf(uri, end), 'INVITE_EXPIRED')
  const late = parseInvite(uri, end)
  assert.match((!late.ok && late.detail) || '', /2026-01-08: ask for a new one/)
})

test('refuses a root key that cannot be blinded', () => {
  const body = payloadOf(formatInvite(plain)).slice(0, -2)
  body.set([1, ...new Uint8Array(31)], 1)
  assert.is(codeOf(withChecksum(body)), 'INVITE_FORMAT')
})

test('derives the same request box on both sides, and another for every token', () => {
  const parsed = parseInvite(formatInvite(plain), testNowMs)
  assert.ok(parsed.ok)
  const mine = introKeys(plain)
  const theirs = introKeys(parsed.value)
  assert.is(hex(theirs.writeKeys.publicKey), hex(mine.writeKeys.publicKey))
  assert.is(hex(theirs.sealKey), hex(mine.sealKey))
  assert.is.not(hex(mine.writeSeed), hex(mine.sealKey))
  const other = introKeys({ ...plain, introToken: bytesOf('another token', 15) })
  assert.is.not(hex(other.writeSeed), hex(mine.writeSeed))
})

test.run()

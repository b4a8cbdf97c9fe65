/** Addresses: the examples of RFC 7622 §3.5, preparation, bounds, and XEP-0106. */
import * as assert from 'uvu/assert'
import { escapeLocal, Jid, unescapeLocal } from '../../../bridges/xmpp/jid.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('bridges/xmpp/jid')

/** RFC 7622 table 1. */
const good = [
  'juliet@example.com', 'juliet@example.com/foo', 'juliet@example.com/foo bar', 'juliet@example.com/foo@bar',
  'foo\\20bar@example.com', 'fussball@example.com', 'fu\u00dfball@example.com', '\u03c0@example.com',
  '\u03c3@example.com/foo', '\u03c2@example.com/foo', 'king@example.com/\u265a',
  'example.com', 'example.com/foobar',
  'a.example.com/b@example.net',
]
/** RFC 7622 table 2. */
const bad = [
  '"juliet"@example.com', 'foo bar@example.com', 'juliet@example.com/', '@example.com/',
  'henry\u2163@example.com',
  '\u265a@example.com', 'juliet@', '/foobar',
]

test('takes the good examples of RFC 7622 as they are', () => {
  for (const text of good) {
    assert.is(Jid.parseStrict(text)?.toString(), text)
    assert.is(Jid.parse(text)?.toString(), text)
  }
})

test('refuses the bad examples of RFC 7622', () => {
  for (const text of bad) assert.is(Jid.parseStrict(text), undefined, text)
})

test('takes from other servers what stringprep allowed', () => {
  assert.is(Jid.parse('\u265a@example.com')?.local, '\u265a')
  const malformed = bad.filter((one) => !/[\u265a\u2163]/.test(one))
  for (const text of malformed) assert.is(Jid.parse(text), undefined, text)
})

/** Given, and prepared; `undefined`: malformed for everybody. */
const prepared: readonly (readonly [string, string | undefined])[] = [
  ['Juliet@Example.COM/Balcony', 'juliet@example.com/Balcony'],
  ['juliet@example.com.', 'juliet@example.com'],
  ['\uff4auliet@example.com', 'juliet@example.com'],
  ['e\u0301@example.com/e\u0301', '\u00e9@example.com/\u00e9'],
  ['a@example.com/b\u00a0c', 'a@example.com/b c'],
  ['a@B\u00dcCHER.example', 'a@b\u00fccher.example'],
  ['a@xn--bcher-kva.example', 'a@b\u00fccher.example'],
  ['a@127.0.0.1', 'a@127.0.0.1'],
  ['a@[::1]/b', 'a@[::1]/b'],
  ['a@[::g]', undefined],
  ['a@%61.example', undefined],
  ['a@b@c', undefined],
  ['a@b c', undefined],
  ['a@b..c', undefined],
  ['a@\uff11.\uff12', undefined],
  ['a@b:5222', undefined],
  ['a@xn--\u00fc', undefined],
  ['\uff20@example.com', undefined],
  ['a\u0000@b', undefined],
  ['a@b/\u0007', undefined],
  ['', undefined],
  ['@', undefined],
  ['/', undefined],
]

test('prepares each part by its own rules', () => {
  for (const [given, expected] of prepared) assert.is(Jid.parse(given)?.toString(), expected, given)
})

test('gives the same for what it gave', () => {
  for (const [given] of prepared) {
    const once = Jid.parse(given)?.toString()
    if (once !== undefined) assert.is(Jid.parse(once)?.toString(), once)
  }
})

test('takes 1,023 bytes of each part and no more', () => {
  const part = (bytes: number): string => '\u00fc'.repeat(Math.floor(bytes / 2)) + 'x'.repeat(bytes % 2)
  assert.ok(Jid.parse(`${part(1_023)}@b/${part(1_023)}`))
  assert.is(Jid.parse(`${part(1_024)}@b`), undefined)
  assert.is(Jid.parse(`a@b/${part(1_024)}`), undefined)
  const label = 'c'.repeat(63)
  assert.ok(Jid.parse(Array.from({ length: 15 }, () => label).join('.')))
  assert.is(Jid.parse(Array.from({ length: 17 }, () => label).join('.')), undefined)
})

test('escapes what a local part cannot hold, and nothing else (XEP-0106)', () => {
  const pairs = [
    ['space cadet', 'space\\20cadet'], ['call me "ishmael"', 'call\\20me\\20\\22ishmael\\22'],
    ['at&t guy', 'at\\26t\\20guy'], ['d\'artagnan', 'd\\27artagnan'], ['/.fanboy', '\\2f.fanboy'],
    ['::foo::', '\\3a\\3afoo\\3a\\3a'], ['<foo>', '\\3cfoo\\3e'], ['user@host', 'user\\40host'],
    ['c:\\net', 'c\\3a\\net'], ['c:\\cool stuff', 'c\\3a\\cool\\20stuff'],
    ['c:\\5commas', 'c\\3a\\5c5commas'],
  ] as const
  for (const [plain, local] of pairs) {
    assert.is(escapeLocal(plain), local)
    assert.is(unescapeLocal(local), plain)
    assert.ok(Jid.parseStrict(`${local}@example.com`))
  }
  assert.is(escapeLocal(' a'), undefined)
  assert.is(escapeLocal('a '), undefined)
})

test.run()

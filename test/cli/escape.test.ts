/** Text of others on a terminal: what is escaped, what is kept, and that JSON loses nothing. */
import * as assert from 'uvu/assert'
import { escapedJson, escapeLines, escapeText, shellWord } from '../../cli/escape.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('cli/escape')
const char = (...codes: number[]): string => String.fromCodePoint(...codes)

const escaped: readonly (readonly [string, string, string])[] = [
  ['an escape sequence that clears the screen', `a${char(0x1b)}[2Jb`, 'a\\u001b[2Jb'],
  ['a bell, a backspace and a carriage return', char(7, 8, 13), '\\u0007\\u0008\\u000d'],
  ['a line feed inside a name', 'a\nb', 'a\\u000ab'],
  ['a C1 control sequence introducer', `${char(0x9b)}31m`, '\\u009b31m'],
  ['an override that turns the order round', `${char(0x202e)}txt.exe`, '\\u202etxt.exe'],
  ['bidirectional isolates', char(0x2066, 0x2069), '\\u2066\\u2069'],
  ['a zero-width space inside a word', `pay${char(0x200b)}pal`, 'pay\\u200bpal'],
  ['a joiner between Latin letters', `a${char(0x200d)}b`, 'a\\u200db'],
  ['a byte order mark and a soft hyphen', char(0xfeff, 0xad), '\\ufeff\\u00ad'],
  ['tag characters, which nobody sees', char(0xe0041), '\\u{e0041}'],
  ['line and paragraph separators', char(0x2028, 0x2029), '\\u2028\\u2029'],
  ['a lone surrogate', '\ud83d', '\\ud83d'],
  ['the Hangul filler, a letter without a shape', char(0x3164), '\\u3164'],
]
for (const [what, text, shown] of escaped) {
  test(`escapes ${what}`, () => assert.is(escapeText(text), shown))
}

const kept: readonly (readonly [string, string])[] = [
  ['plain text and a backslash', 'C:\\u001b is only text'],
  ['umlauts, Greek, Cyrillic, Han', 'ä ö ü ß αβγ привет 你好'],
  ['Hebrew and Arabic, without overrides', 'שלום مرحبا'],
  ['the non-joiner that Persian needs', `می${char(0x200c)}خواهم`],
  ['the joiner that Devanagari needs', `क${char(0x94d)}${char(0x200d)}ष`],
  ['a family of four', '👨‍👩‍👧‍👦'],
  ['skin tones, flags and variation selectors', '👍🏽 🇩🇪 ❤️ 🧑🏽‍🚀'],
  ['combining accents', `e${char(0x301)}`],
]
for (const [what, text] of kept) {
  test(`keeps ${what}`, () => assert.is(escapeText(text), text))
}

test('leaves nothing unsafe of any single character', () => {
  for (let code = 0; code <= 0x10ffff; code++) {
    const shown = escapeText(char(code))
    if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/u.test(shown)) {
      // Format characters that stand for something visible: Arabic number signs, Egyptian joiners, …
      const visible = /\p{Script=Arabic}|\p{Script=Syriac}|\p{Script=Kaithi}|\p{Script=Egyptian_Hieroglyphs}/u
      const other = code === 0x8e2 || code === 0x6dd || (code >= 0x600 && code <= 0x605)
      const notation = (code >= 0x1bca0 && code <= 0x1bca3) || (code >= 0x1d173 && code <= 0x1d17a)
      if (!visible.test(shown) && !other && !notation) throw new Error(`U+${code.toString(16)} gets through`)
    }
  }
})

test('splits lines and widens tabs', () => {
  assert.equal(escapeLines('a\tb\r\nc\n'), ['a  b', 'c', ''])
})

test('escapes JSON without losing anything', () => {
  const value = { text: `a${char(0x1b, 0x9b, 0x202e, 0xe0041)}\n"\\ 👨‍👩‍👧‍👦` }
  const json = escapedJson(value)
  assert.equal(JSON.parse(json), value)
  assert.match(json, /^[\x20-\x7e\u{a0}-\u{1faff}]*$/u)
  assert.not.match(json, char(0x202e))
})

test('quotes for a shell', () => {
  assert.is(shellWord('alice'), 'alice')
  assert.is(shellWord('Alice B'), '\'Alice B\'')
  assert.is(shellWord('O\'Neil; rm -rf'), '\'O\'\\\'\'Neil; rm -rf\'')
})

test.run()

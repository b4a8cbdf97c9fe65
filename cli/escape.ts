/**
 * Makes text from other people safe to show: nothing in it can move the cursor, colour the
 * screen, answer for the person (terminal queries), hide letters or turn their order round.
 *
 * Escaped, as `\u001b`: C0 and C1 controls, line and paragraph separators, bidirectional controls
 * (UAX #9; "Trojan Source", CVE-2021-42574), invisible letters (zero width, soft hyphen, fillers),
 * tag characters, noncharacters, lone surrogates and private use. Kept, because whole languages and emoji
 * need them: joiners (ZWJ, ZWNJ) between letters of scripts that join, and ZWJ between pictographs.
 */

/**
 * One character class, built from ranges so that no invisible character stands in this file.
 * Bounds in hexadecimal, both inclusive.
 */
const unsafeRanges = [
  '0-1f', '7f-9f', // C0, DEL, C1
  'ad', '34f', '61c', '115f-1160', '17b4-17b5', '180b-180f', // soft hyphen, fillers, Mongolian selectors
  '200b-200f', '2028-202e', '2060-206f', '3164', 'ffa0', // zero width, bidi, separators, invisible operators
  'd800-dfff', 'e000-f8ff', 'fdd0-fdef', 'feff', 'fff0-fffb', 'fffe-ffff',
  'e0000-e0fff', 'f0000-10ffff', // tags and selectors, private planes
]
const range = (bounds: string): string => bounds.split('-').map((code) => `\\u{${code}}`).join('-')
const unsafe = new RegExp(`[${unsafeRanges.map(range).join('')}]`, 'gu')

const joiner = /[\u200c\u200d]/u
const joiningScripts = [
  'Arabic', 'Syriac', 'Mongolian', 'Devanagari', 'Bengali', 'Gurmukhi', 'Gujarati', 'Oriya', 'Tamil',
  'Telugu', 'Kannada', 'Malayalam', 'Sinhala',
]
const joiningClass = joiningScripts.map((name) => `\\p{Script=${name}}`).join('')
const joiningLetter = new RegExp(`[${joiningClass}]\\p{M}*$`, 'u')
const pictographBefore = /\p{Extended_Pictographic}[\ufe0f\u{1f3fb}-\u{1f3ff}]*$/u
const pictographAfter = /^\p{Extended_Pictographic}/u

/** How far a joiner looks back for its letter: a letter and its marks. */
const lookBack = 16

/** One line, safe for a terminal. Line feeds and tabs are escaped too. */
export function escapeText(text: string): string {
  return text.replace(unsafe, (char, at: number) => (isWanted(text, char, at) ? char : escaped(char)))
}

/** The lines of a text, each safe; the caller indents those after the first. */
export function escapeLines(text: string): string[] {
  return text.split(/\r?\n/).map((line) => escapeText(line.replaceAll('\t', '  ')))
}

/**
 * JSON on one line whose strings hold nothing unsafe either: `\u202e` in JSON *is* the character,
 * so no information is lost.
 */
export function escapedJson(value: unknown): string {
  return JSON.stringify(value).replace(unsafe, utf16Escaped)
}

/** As one would have to type it in a shell. */
export function shellWord(text: string): string {
  return /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

function isWanted(text: string, char: string, at: number): boolean {
  if (!joiner.test(char)) return false
  const before = text.slice(Math.max(0, at - lookBack), at)
  const after = text.slice(at + 1, at + 3)
  if (joiningLetter.test(before)) return /^[\p{L}\p{M}]/u.test(after)
  return char === '\u200d' && pictographBefore.test(before) && pictographAfter.test(after)
}

function escaped(char: string): string {
  const code = char.codePointAt(0)!
  return code > 0xffff ? `\\u{${code.toString(16)}}` : utf16Escaped(char)
}

function utf16Escaped(char: string): string {
  let out = ''
  for (let i = 0; i < char.length; i++) out += `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`
  return out
}

/**
 * Petnames: what contacts are called here. A name from outside is text of a stranger: it loses
 * everything that does not print (controls, bidirectional marks, line breaks, private use), so it
 * cannot rewrite the line it stands in, and never looks like an address.
 */
import { utf8 } from '../../crypto/bytes.ts'
import { limits } from '../limits.ts'

/** Room for a suffix such as `-2`, so that a unique name can be made of every name. */
const suffixBytesMax = 6
const namesMax = 100_000

/** Fit to show and to type; `undefined` when nothing of it is left. */
export function normaliseName(raw: string): string | undefined {
  const visible = raw
    .normalize('NFC')
    .replace(/[\t\n\r\p{Z}]+/gu, ' ')
    .replace(/\p{C}/gu, '')
    .trim()
  const name = cut(visible, limits.nameBytesMax).trim()
  return name === '' || /^oim1|^openim:/iu.test(name) ? undefined : name
}

/** Two names that fold to the same text are the same name to a person. */
export function foldName(name: string): string {
  return name.normalize('NFKC').toLowerCase()
}

/** `base`, or `base-2`, `base-3` … : the first that is not taken. */
export function uniqueName(base: string, isTaken: (name: string) => boolean): string {
  if (!isTaken(base)) return base
  const stem = cut(base, limits.nameBytesMax - suffixBytesMax)
  for (let i = 2; i < namesMax; i++) {
    const name = `${stem}-${i}`
    if (!isTaken(name)) return name
  }
  return base
}

/** A name for somebody who did not tell one: of `oim1q…`, characters that differ between people. */
export function shortAddress(address: string): string {
  return address.slice(6, 14)
}

/** At most `bytesMax` bytes of UTF-8, never half a character. */
function cut(text: string, bytesMax: number): string {
  if (utf8(text).length <= bytesMax) return text
  let out = ''
  let length = 0
  for (const character of text) {
    length += utf8(character).length
    if (length > bytesMax) break
    out += character
  }
  return out
}

/**
 * Names of received files. A name from outside is text of a stranger: what is left of it can be
 * shown, is one plain name in one folder on any system, is not hidden, and turns no text round.
 */
import { utf8 } from '../crypto/bytes.ts'

/** Room for what a person or a program adds, below the 255 bytes that file systems take. */
const nameBytesMax = 200
const extensionBytesMax = 32
/** Devices of Windows, whatever stands behind the dot. */
const reserved = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i

/** Fit to be the name of a file; `file` when nothing of it is left. */
export function safeFileName(raw: string): string {
  const name = raw
    .normalize('NFC')
    .replace(/^.*[/\\]/su, '')
    .replace(/[\t\n\r\p{Z}]+/gu, ' ')
    .replace(/[\p{C}\p{Default_Ignorable_Code_Point}<>:"|?*]/gu, '')
    .replace(/^[. ]+|[. ]+$/gu, '')
  const whole = reserved.test(name) ? `_${name}` : name
  return shortened(whole) || 'file'
}

/** Cut in front of the extension, never in the middle of a character. */
function shortened(name: string): string {
  if (utf8(name).length <= nameBytesMax) return name
  const dot = name.lastIndexOf('.')
  const extension = dot > 0 && utf8(name.slice(dot)).length <= extensionBytesMax ? name.slice(dot) : ''
  let stem = ''
  let bytes = utf8(extension).length
  for (const character of name.slice(0, name.length - extension.length)) {
    bytes += utf8(character).length
    if (bytes > nameBytesMax) break
    stem += character
  }
  return stem.trimEnd() + extension
}

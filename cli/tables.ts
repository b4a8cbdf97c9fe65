/** Columns for people, and the words of states. Text of others is escaped here. */
import type { HistoryEntry, HistoryFile, MessageStatus, Trust, Unreadable } from '../protocol/client/api.ts'
import { escapeLines, escapeText } from './escape.ts'
import { shortId } from './file-id.ts'
import { formatDuration, formatSize } from './units.ts'

/** Left-aligned columns two blanks apart; cells are escaped. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows.map((row) => row.map(escapeText))]
  const widths = head.map((_, column) => Math.max(...all.map((row) => displayWidth(row[column] ?? ''))))
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => cell + ' '.repeat(Math.max(0, widths[i]! - displayWidth(cell)))).join('  ').trimEnd()
  return all.map(line).join('\n')
}

const wide = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}]/u
const segmenter = new Intl.Segmenter()

/** Cells that text takes; near enough for a table (UAX #11 leaves it to the terminal anyway). */
function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let width = 0
  for (const { segment } of segmenter.segment(text)) width += wide.test(segment) ? 2 : 1
  return width
}

/** Less than a minute counts as now. */
export function seenText(lastSeenAtMs: number | undefined, nowMs: number): string {
  if (lastSeenAtMs === undefined) return 'never'
  const agoMs = nowMs - lastSeenAtMs
  return agoMs < 60_000 ? 'now' : formatDuration(agoMs).split(' ')[0]!
}

export function trustText(trust: Trust): string {
  return { invite: 'from invite', verified: 'verified', changed: 'CHANGED' }[trust]
}

/** How sure we are of a contact's key; `!` when there is something to know about it. */
export function keyText({ trust, alarm }: { readonly trust: Trust, readonly alarm?: string }): string {
  return alarm === undefined || trust === 'changed' ? trustText(trust) : `${trustText(trust)} !`
}

/** A message that could not be read, for the one who waits for it. */
export function unreadableText({ contact, code, state }: Omit<Unreadable, 'id' | 'atMs'>): string {
  const whose = contact === '' ? 'a request of somebody unknown' : `a message of ${escapeText(contact)}`
  switch (state) {
    case 'asked': return `${whose} could not be read (${code}); it is asked for again`
    case 'recovered': return `${whose} that could not be read is here now, or said in another way`
    case 'lost': return `${whose} could not be read (${code}) and is lost`
  }
}

/** In the place of the text of a file's message, with what to type to have it. */
export function fileText({ id, direction, file }: HistoryEntry & { readonly file: HistoryFile }): string {
  const what = `file ${escapeText(file.name)}, ${formatSize(file.size)}`
  if (file.state === 'saved') return `${what}  saved as ${escapeText(file.savedAs ?? '')}`
  if (direction === 'in' && file.state === 'offered') return `${what}  openim save ${shortId(id)}`
  return `${what}  ${file.state}`
}

/** What a message says, line by line. */
export function entryLines(entry: HistoryEntry): string[] {
  const { text, unreadable, file } = entry
  if (unreadable !== undefined) return [lostText(unreadable)]
  return file === undefined ? escapeLines(text) : [fileText({ ...entry, file })]
}

/** In the place of a message that is lost. */
export function lostText(code: string): string {
  return `(a message that could not be read and is lost: ${code})`
}

/** What is wrong with a contact's key, in words. */
export function alarmText(code: string): string {
  switch (code) {
    case 'DEVICE_LIST_FORK': return 'two different device lists are signed with their key: ask them in person'
    case 'CONTACT_NAMESAKE': return 'they call themselves like another contact, but it is another key'
    case 'DEVICE_LIST_ROLLBACK': return 'one of their devices went back to an older device list'
    default: return 'their key is in doubt: ask them in person'
  }
}

/** `✓ delivered  direct  38 ms`, as far as it is proven. */
export function stateText(status: MessageStatus): string {
  const { state, stored, code } = status
  switch (state) {
    case 'queued': return code === undefined ? '… queued' : `… queued (${code})`
    case 'stored': return `✓ stored ${stored.have}/${stored.want}`
    case 'delivered': return '✓✓ delivered'
    case 'read': return '✓✓ read'
    case 'failed': return `✗ failed (${code ?? 'no reason given'})`
  }
}

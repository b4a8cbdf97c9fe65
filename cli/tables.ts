/** Columns for people, and the words of states. Text of others is escaped here. */
import type { MessageStatus, Trust } from '../protocol/client/api.ts'
import { escapeText } from './escape.ts'
import { formatDuration } from './units.ts'

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

/** `openim files`: what was sent and offered, and how far it is. */
import type { FileStatus } from '../../protocol/client/api.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { shortId } from '../file-id.ts'
import { fileShape } from '../json-shapes.ts'
import { table } from '../tables.ts'
import { formatDuration, formatSize } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const files = await withNode(context, (node) => node.call('files', {}))
  if (terminal.json) {
    await terminal.value({ files: files.map(fileShape) })
    return
  }
  if (files.length === 0) {
    terminal.say(`No files yet.  Send one: ${context.openim} send CONTACT --file PATH`)
    return
  }
  const rows = files.map((file) => [
    shortId(file.id),
    `${file.direction === 'in' ? 'from' : 'to'} ${file.contact}`,
    file.name,
    formatSize(file.size),
    stateOf(file, clock.now()),
  ])
  await terminal.data(table(['ID', 'WHO', 'NAME', 'SIZE', 'STATE'], rows))
}

function stateOf(file: FileStatus, nowMs: number): string {
  const { state, done, size, savedAs, expiresAtMs, stored, code } = file
  const left = formatDuration(Math.max(0, expiresAtMs - nowMs)).split(' ')[0]!
  const why = code === undefined ? '' : ` (${code})`
  switch (state) {
    case 'sending':
    case 'fetching': return `${state} ${size === 0 ? 100 : Math.floor(100 * done / size)} %${why}`
    case 'sent': return stored?.want === 0
      ? `sent; only this node holds it, ${left} left`
      : `sent; at ${stored?.have ?? 0} other nodes, ${left} left`
    case 'offered': return `offered, ${left} left${why}`
    case 'saved': return `saved as ${savedAs ?? ''}`
    default: return `${state}${why}`
  }
}

/** `openim ping`: is their node there, and by which way. */
import { OpenIMError } from '../../crypto/errors.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { escapeText } from '../escape.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const target = context.args[0]!
  const result = await withNode(context, (node) => node.call('ping', { target }))
  if (terminal.json) await terminal.value(result)
  if (!result.ok) {
    const why = result.code ?? 'no reason given'
    throw new OpenIMError('PING_FAILED', `${escapeText(target)} does not answer (${why})`)
  }
  if (terminal.json) return
  const where = result.address === undefined ? '' : ` ${result.address}`
  const time = result.rttMs === undefined ? '' : ` in ${result.rttMs.toFixed(result.rttMs < 10 ? 1 : 0)} ms`
  await terminal.data(`${escapeText(target)} ${result.route}${where}${time}`)
}

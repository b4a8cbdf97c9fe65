/** `openim xmpp export`: what accounts of the domain keep, for another XMPP server. */
import { resolve } from 'node:path'
import type { CommandContext, CommandResult } from '../context.ts'
import { formatSize } from '../units.ts'
import { callXmpp } from '../xmpp-call.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const file = resolve(context.args[0]!)
  const { bytes } = await callXmpp<{ bytes: number }>(context, 'export', { file })
  if (terminal.json) await terminal.value({ file, bytes })
  else terminal.say(`✓ ${file}: ${formatSize(bytes)}, readable by anybody who has it`)
}

/** `openim contacts remove`: they can no longer reach us; what was said stays. */
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { escapeText } from '../escape.ts'

export async function run(context: CommandContext): CommandResult {
  const contact = context.args[0]!
  await withNode(context, (node) => node.call('remove', { contact }))
  if (context.terminal.json) await context.terminal.value({ removed: contact })
  else context.terminal.say(`✓ ${escapeText(contact)} removed`)
}

/** `openim contacts rename`: another name for a contact; only we see it. */
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { escapeText } from '../escape.ts'
import { checkName } from '../identity.ts'
import { contactShape } from '../json-shapes.ts'

export async function run(context: CommandContext): CommandResult {
  const [contact, name] = context.args as [string, string]
  const renamed = await withNode(context, (node) => node.call('rename', { contact, name: checkName(name) }))
  if (context.terminal.json) await context.terminal.value(contactShape(renamed))
  else context.terminal.say(`✓ ${escapeText(contact)} is now ${escapeText(renamed.name)}`)
}

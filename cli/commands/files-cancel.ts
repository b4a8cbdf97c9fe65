/** `openim files cancel`: ends a transfer; an outgoing file cannot be fetched any more. */
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { escapeText } from '../escape.ts'
import { findFile } from '../file-id.ts'
import { fileShape } from '../json-shapes.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const file = await withNode(context, async (node) => {
    const { id } = await findFile(node, context.args[0]!)
    return await node.call('cancelFile', { id })
  })
  if (terminal.json) await terminal.value(fileShape(file))
  else terminal.say(`${escapeText(file.name)}: ${file.state}`)
}

/** `openim add`: accepts an invite. The contact is there at once and answers when their node does. */
import { OpenIMError } from '../../crypto/errors.ts'
import { parseInvite } from '../../protocol/invite.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option, withNode } from '../context.ts'
import { escapeText, shellWord } from '../escape.ts'
import { checkName } from '../identity.ts'
import { contactShape } from '../json-shapes.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const uri = context.args[0]!
  // A bad invite is told from a node that is off: the person at the keyboard can mend the first.
  const parsed = parseInvite(uri, context.clock.now())
  if (!parsed.ok) throw new OpenIMError(parsed.code, parsed.detail ?? 'this is no invite')
  const wanted = option(context, 'name')
  const name = wanted === undefined ? {} : { name: checkName(wanted) }
  const contact = await withNode(context, (node) => node.call('add', { uri, ...name }))
  if (terminal.json) {
    await terminal.value(contactShape(contact))
    return
  }
  const shown = escapeText(contact.name)
  const waiting = contact.state === 'active' ? '' : '  Their node is asked; messages wait until it answers.'
  terminal.say(`✓ ${shown} added; the key came with the invite.${waiting}`)
  terminal.say(`Next: ${context.openim} chat ${shellWord(shown)}`)
}

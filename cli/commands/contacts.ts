/** `openim contacts`: everybody, with how sure we are of their key. */
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { contactShape } from '../json-shapes.ts'
import { keyText, seenText, table } from '../tables.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const contacts = await withNode(context, (node) => node.call('contacts', {}))
  if (terminal.json) {
    await terminal.value({ contacts: contacts.map(contactShape) })
    return
  }
  if (contacts.length === 0) {
    terminal.say(`Nobody yet.  Invite somebody: ${context.openim} invite`)
    return
  }
  const rows = contacts.map((contact) => [
    contact.name,
    seenText(contact.lastSeenAtMs, clock.now()),
    contact.state === 'active' ? keyText(contact) : 'asked, no answer yet',
    contact.address,
  ])
  await terminal.data(table(['CONTACT', 'SEEN', 'KEY', 'ADDRESS'], rows))
}

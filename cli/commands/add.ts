/** `openim add`: accepts an invite. The contact is there at once and answers when their node does. */
import { OpenIMError } from '../../crypto/errors.ts'
import { parseInvite } from '../../protocol/invite.ts'
import type { Contact } from '../../protocol/client/api.ts'
import { sleep } from '../../protocol/timers.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option, withNode } from '../context.ts'
import type { ControlClient } from '../control-client.ts'
import { escapeText, shellWord } from '../escape.ts'
import { checkName } from '../identity.ts'
import { contactShape } from '../json-shapes.ts'

/** Somebody who is there answers well within this; nobody should wait longer for somebody who is not. */
const answerPatienceMs = 4_000
const pollMs = 100

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const uri = context.args[0]!
  // A bad invite is told from a node that is off: the person at the keyboard can mend the first.
  const parsed = parseInvite(uri, context.clock.now())
  if (!parsed.ok) throw new OpenIMError(parsed.code, parsed.detail ?? 'this is no invite')
  const wanted = option(context, 'name')
  const name = wanted === undefined ? {} : { name: checkName(wanted) }
  const contact = await withNode(context, async (node) => {
    const added = await node.call('add', { uri, ...name })
    // Their name comes with their answer; a name that we were given stays.
    return terminal.json && wanted !== undefined ? added : await answered(context, node, added)
  })
  if (terminal.json) {
    await terminal.value(contactShape(contact))
    return
  }
  const shown = escapeText(contact.name)
  const waiting = contact.state === 'active' ? '' : '  Their node is asked; messages wait until it answers.'
  terminal.say(`✓ ${shown} added; the key came with the invite.${waiting}`)
  terminal.say(`Next: ${context.openim} chat ${shellWord(shown)}`)
}

/** The contact as it is when their node has answered, or after a short while without. */
async function answered(context: CommandContext, node: ControlClient, added: Contact): Promise<Contact> {
  const { clock } = context
  const endMs = clock.monotonicMs() + answerPatienceMs
  let contact = added
  while (contact.state !== 'active' && clock.monotonicMs() < endMs) {
    await sleep(clock, pollMs)
    contact = await node.call('contact', { contact: added.address })
  }
  return contact
}

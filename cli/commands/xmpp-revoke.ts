/** `openim xmpp revoke`: a client that shall not come in any more. */
import type { CommandContext, CommandResult } from '../context.ts'
import { callXmpp } from '../xmpp-call.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const name = context.args[0]!
  const done = await callXmpp<{ revoked: string }>(context, 'revoke', { name })
  if (terminal.json) await terminal.value(done)
  else terminal.say(`✓ ${name} cannot log in any more, and its sessions have ended`)
}

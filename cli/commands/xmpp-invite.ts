/** `openim xmpp invite`: a link that makes an account at the domain, once. */
import type { CommandContext, CommandResult } from '../context.ts'
import { iso } from '../json-shapes.ts'
import { formatDuration } from '../units.ts'
import { callXmpp } from '../xmpp-call.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const name = context.args[0]
  const made = await callXmpp<{ uri: string, expiresAtMs: number }>(
    context, 'invite', name === undefined ? {} : { name },
  )
  if (terminal.json) {
    await terminal.value({ uri: made.uri, expiresAt: iso(made.expiresAtMs) })
    return
  }
  const left = formatDuration(made.expiresAtMs - clock.now())
  terminal.say(`For one person, within ${left}; who opens it first has the address.`)
  await terminal.data(made.uri)
}

/** `openim xmpp passwd`: a password for one client, shown once and kept nowhere. */
import type { CommandContext, CommandResult } from '../context.ts'
import { callXmpp } from '../xmpp-call.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const name = context.args[0]!
  const made = await callXmpp<{ address: string, password: string }>(context, 'passwd', { name })
  if (terminal.json) {
    await terminal.value(made)
    return
  }
  terminal.say(`Log in as ${made.address} with this password. It is shown this once.`)
  await terminal.data(made.password)
  terminal.say(`If the device is lost: ${context.openim} xmpp revoke ${name}`)
}

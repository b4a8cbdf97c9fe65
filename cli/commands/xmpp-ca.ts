/** `openim xmpp ca`: the authority of the house, for devices that are to trust this node. */
import type { CommandContext, CommandResult } from '../context.ts'
import { iso } from '../json-shapes.ts'
import { callXmpp } from '../xmpp-call.ts'
import type { XmppCa } from '../xmpp-call.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const { authority, certificate } = await callXmpp<XmppCa>(context, 'ca', {})
  if (terminal.json) {
    const shape = ({ pem, fingerprint, untilMs }: XmppCa['authority']): object =>
      ({ pem, sha256: fingerprint, until: iso(untilMs) })
    await terminal.value({ authority: shape(authority), certificate: shape(certificate) })
    return
  }
  await terminal.data(authority.pem.trimEnd())
  for (const [what, { fingerprint, untilMs }] of Object.entries({ authority, certificate })) {
    terminal.say(`${what.padEnd(11)}  until ${iso(untilMs).slice(0, 10)}, SHA-256 ${fingerprint}`)
  }
  terminal.say('It can speak for this domain alone. Compare the fingerprint where you install it.')
}

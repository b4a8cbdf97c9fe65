/** `openim xmpp doctor`: the domain as others see it, or the way to another domain. */
import type { DoctorCheck } from '../../node/status.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { exits } from '../exits.ts'
import { showFindings } from '../findings.ts'
import { callXmpp } from '../xmpp-call.ts'

export async function run(context: CommandContext): CommandResult {
  const domain = context.args[0]
  const checks = await callXmpp<DoctorCheck[]>(context, 'doctor', domain === undefined ? {} : { domain })
  const ok = checks.every((check) => check.ok)
  await showFindings(context, { ok, checks })
  return ok ? exits.ok : exits.unhealthy
}

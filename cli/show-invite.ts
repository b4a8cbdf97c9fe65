/** Shows an invite to a person: QR code as talk, the URI as data. Fits 80 × 24. */
import type { Invite } from '../protocol/client/api.ts'
import type { CommandContext } from './context.ts'
import { formatDuration } from './units.ts'

/** White on black whatever the theme: readers want dark modules on a light ground. */
const paint = (line: string): string => `\u001b[97;40m${line}\u001b[0m`

export async function showInvite(context: CommandContext, invite: Invite): Promise<void> {
  const { terminal, clock } = context
  if (terminal.watched) {
    const { qrLines } = await import('./qr.ts')
    const beside = [
      'One person can use this, once,',
      // An hour of slack: "7d", not "6d 23h".
      `within ${formatDuration(invite.expiresAtMs - clock.now() + 3_599_000).split(' ')[0]}.`,
      'They type:',
      `${context.openim} add 'openim:…'`,
    ]
    const lines = qrLines(invite.uri, terminal.colours('stderr') ? paint : undefined)
    lines.forEach((line, i) => terminal.say(beside[i - 2] === undefined ? line : `${line}  ${beside[i - 2]}`))
  }
  await terminal.data(invite.uri)
}

/** Shows an invite to a person: QR code as talk, the URI as data. Fits 80 × 24. */
import type { Invite } from '../protocol/client/api.ts'
import type { CommandContext } from './context.ts'
import { showQr } from './show-qr.ts'
import { formatDuration } from './units.ts'

export async function showInvite(context: CommandContext, invite: Invite): Promise<void> {
  const { terminal, clock } = context
  await showQr(context, invite.uri, [
    'One person can use this, once,',
    // An hour of slack: "7d", not "6d 23h".
    `within ${formatDuration(invite.expiresAtMs - clock.now() + 3_599_000).split(' ')[0]}.`,
    'They type:',
    `${context.openim} add 'openim:…'`,
  ])
  await terminal.data(invite.uri)
}

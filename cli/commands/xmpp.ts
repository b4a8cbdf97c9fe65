/** `openim xmpp`: what the bridge to XMPP does. */
import type { CommandContext, CommandResult } from '../context.ts'
import { escapeText } from '../escape.ts'
import { callXmpp } from '../xmpp-call.ts'

interface XmppStatus {
  readonly domain: string
  readonly owner: string
  readonly listen: Readonly<Record<string, string>>
  readonly accounts: number
  readonly sessions: number
  readonly servers: readonly {
    readonly direction: 'in' | 'out', readonly theirs: string, readonly by: string, readonly queued: number
  }[]
  readonly queued: number
}

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const status = await callXmpp<XmppStatus>(context, 'status', {})
  if (terminal.json) {
    await terminal.value(status)
    return
  }
  const doors = Object.entries(status.listen).map(([door, place]) => `${door} ${place}`)
  const servers = status.servers.map(({ direction, theirs, by }) =>
    `${direction === 'in' ? 'from' : 'to'} ${escapeText(theirs)} (${by})`)
  const lines = [
    `address   ${escapeText(status.owner)}`,
    `listens   ${doors.join(', ') || 'nowhere'}`,
    `clients   ${status.sessions}`,
    `servers   ${servers.join(', ') || 'none'}`,
    ...status.queued === 0 ? [] : [`waiting   ${status.queued} for other servers`],
  ]
  for (const line of lines) await terminal.data(line)
}

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
  /** Other domains that run openIM, and how each is reached. */
  readonly shield: readonly {
    readonly domain: string, readonly by: 'sealed' | 's2s' | 'wait' | 'refuse', readonly waiting: number
    readonly sealedSinceMs?: number, readonly problem?: string
  }[]
  readonly queued: number
}

interface Person {
  readonly address: string
  /** Absent: the node hosts no more accounts. */
  readonly openim?: string
}

/** `b.example sealed over openIM since 2026-01-31` */
function shieldLine({ domain, by, waiting, sealedSinceMs, problem }: XmppStatus['shield'][number]): string {
  const day = sealedSinceMs === undefined ? '' : new Date(sealedSinceMs).toISOString().slice(0, 10)
  const since = day === '' ? '' : ` since ${day}`
  const ways = { sealed: `sealed over openIM${since}`, s2s: 's2s, TLS', wait: 'waits', refuse: 'not reached' }
  const why = problem === undefined || by === 'sealed' ? '' : ` (${escapeText(problem)})`
  const left = waiting === 0 ? '' : `, ${waiting} on their way`
  return `${escapeText(domain)} ${ways[by]}${why}${left}`
}

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const status = await callXmpp<XmppStatus>(context, 'status', {})
  const people = await callXmpp<Person[]>(context, 'accounts', {})
  if (terminal.json) {
    await terminal.value({ ...status, people })
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
    ...people.map(({ address, openim = 'not on openIM' }) => `account   ${escapeText(address)} ${openim}`),
    ...status.shield.map((one) => `domain    ${shieldLine(one)}`),
    ...status.queued === 0 ? [] : [`waiting   ${status.queued} for other servers`],
  ]
  for (const line of lines) await terminal.data(line)
}

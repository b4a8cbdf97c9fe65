/** `openim peers`: the nodes this one is linked to. */
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { iso } from '../json-shapes.ts'
import { table } from '../tables.ts'
import { formatDuration } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const peers = await withNode(context, (node) => node.call('peers', {}))
  if (terminal.json) {
    const shapes = peers.map(({ connectedAtMs, ...peer }) => ({ ...peer, connectedAt: iso(connectedAtMs) }))
    await terminal.value({ peers: shapes })
    return
  }
  if (peers.length === 0) {
    terminal.say(`No links to other nodes.  ${context.openim} doctor says why`)
    return
  }
  const rows = peers.map((peer) => [
    peer.nodeId,
    peer.direction,
    peer.rttMs === undefined ? '–' : `${peer.rttMs.toFixed(peer.rttMs < 10 ? 1 : 0)} ms`,
    formatDuration(clock.now() - peer.connectedAtMs),
    peer.address,
  ])
  await terminal.data(table(['NODE', 'DIRECTION', 'RTT', 'SINCE', 'ADDRESS'], rows))
}

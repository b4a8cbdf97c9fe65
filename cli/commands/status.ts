/** `openim status`: what the node does and is true at this moment. */
import type { AccountStatus, DeviceStatus, NodeStatus } from '../../node/status.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { escapeText } from '../escape.ts'
import { keyText, seenText, table } from '../tables.ts'
import { formatDuration, formatSize } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const status = await withNode(context, (node) => node.call('status', {}))
  if (terminal.json) {
    await terminal.value(status)
    return
  }
  await terminal.data(status.role === 'node' ? nodeText(status) : deviceText(status))
  if (status.alarms.length > 0) {
    terminal.warn(`! Somebody shows other people a list of your devices: see ${context.openim} verify`)
  }
  if (status.contacts.length === 0) return
  const hasRoutes = status.role === 'node'
  const rows = status.contacts.map((contact) => [
    contact.name,
    seenText(contact.lastSeenAtMs, clock.now()),
    ...hasRoutes ? [contact.route === 'none' ? '–' : contact.route ?? '–'] : [],
    contact.state === 'active' ? keyText(contact) : 'asked, no answer yet',
  ])
  await terminal.data(table(['CONTACT', 'SEEN', ...hasRoutes ? ['ROUTE'] : [], 'KEY'], rows))
}

const seenAs = { yes: 'reachable', no: 'not reachable from outside', unknown: 'reachable: not known yet' }

function nodeText(status: NodeStatus): string {
  const { peers, dht, queue, location, replicas, listen } = status
  const { held } = queue
  const offline = accountState(status)
  const lines = [
    `${escapeText(status.name)}  ${status.address}`,
    `  up      ${formatDuration(status.uptimeMs)}   openim ${status.version}   pid ${status.pid}${offline}`,
    `  p2p     ${seenAs[status.reachable]}   ${peers.now} of ${peers.max} peers`,
    `          DHT ${dht.mode}, ${dht.known} nodes known`,
    ...status.p2p.map((address) => `          ${address}`),
    ...Object.entries(listen).map(([door, place]) => `  ${door.padEnd(8)}${place}`),
    `  queue   ${queue.out} out   ${formatSize(held.bytes)} of ${formatSize(held.bytesMax)} held for others`,
    `  record  at ${location.holders} nodes   replicas ${replicas.have} of ${replicas.want}`,
  ]
  return [...lines, ...householdLines(status)].join('\n')
}

/** Members, the longest silent last, and who does what; nothing for a node alone on its database. */
function householdLines({ household, nodeId }: NodeStatus): string[] {
  if (household === undefined) return []
  const { members, leases, hostsAccount } = household
  const others = members.filter((member) => member.nodeId !== nodeId)
  const lines = [
    `  house   ${members.length} ${members.length === 1 ? 'process' : 'processes'}`
      + `   account ${hostsAccount ? 'hosted here' : 'HOSTED ELSEWHERE'}`,
    ...[...others].sort((a, b) => a.silentMs - b.silentMs)
      .map((member) => `          ${member.nodeId}   heard of ${formatDuration(member.silentMs)} ago`),
  ]
  const works = Object.entries(leases).map(([name, holder]) =>
    `          ${name.split('/')[0]} ${holder === undefined ? '–' : holder === nodeId ? 'here' : holder}`)
  return [...lines, ...works]
}

function deviceText(status: DeviceStatus): string {
  const { home, sync, queue, replicas } = status
  const way = home.address ?? `not reached (${home.code ?? 'trying'})`
  const others = home.addresses.filter((address) => address !== home.address)
  const lines = [
    `${escapeText(status.name)}  ${status.address}`,
    `  up      ${formatDuration(status.uptimeMs)}   openim ${status.version}   pid ${status.pid}`
      + `   linked device${accountState(status)}`,
    `  node    ${way}`,
    ...others.map((address) => `          or at ${address}`),
    ...sync === undefined ? [] : [`  sync    ${sync.have} of ${sync.want} older messages are here`],
    `  queue   ${queue.out} out   replicas ${replicas.have} of ${replicas.want}`,
  ]
  return lines.join('\n')
}

/** Nothing to say when all is well. */
function accountState({ online, standing, isRenewing }: AccountStatus): string {
  if (standing === 'cloned') return '   account CLONED, see openim doctor'
  if (standing === 'retired') return '   account RETIRED, see openim doctor'
  if (standing === 'revoked') return '   account REMOVED THIS DEVICE, see openim doctor'
  if (isRenewing) return '   account being renewed'
  return online ? '' : '   account offline'
}

/** `openim devices`: the devices of the account. */
import type { Device } from '../../protocol/client/api.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { iso } from '../json-shapes.ts'
import { seenText, table } from '../tables.ts'
import { formatTime } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const devices = await withNode(context, (node) => node.call('devices', {}))
  if (terminal.json) {
    await terminal.value({ devices: devices.map(deviceShape) })
    return
  }
  const rows = devices.map((device) => [
    device.name === '' ? '–' : device.name,
    formatTime(device.addedAtMs, clock.now()),
    device.isThis ? 'this one' : seenText(device.lastSeenAtMs, clock.now()),
    device.isPrimary ? 'has the root key' : 'linked',
    device.id,
  ])
  await terminal.data(table(['DEVICE', 'ADDED', 'SEEN', 'ROLE', 'ID'], rows))
}

function deviceShape({ id, name, addedAtMs, lastSeenAtMs, isThis, isPrimary }: Device): object {
  const seen = lastSeenAtMs === undefined ? {} : { lastSeenAt: iso(lastSeenAtMs) }
  return { id, name, addedAt: iso(addedAtMs), ...seen, this: isThis, primary: isPrimary }
}

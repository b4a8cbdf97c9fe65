/** `openim unlink`: puts a device out of the account, and makes all that it knew worthless. */
import { OpenIMError } from '../../crypto/errors.ts'
import type { Device } from '../../protocol/client/api.ts'
import { ask } from '../ask.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { flag, withNode } from '../context.ts'
import { escapeText } from '../escape.ts'

const idPrefixMin = 4

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  await withNode(context, async (node) => {
    const device = find(await node.call('devices', {}), context.args[0]!)
    const name = device.name === '' ? device.id : escapeText(device.name)
    if (!flag(context, 'yes') && !await isSure(context, name)) {
      terminal.say('Nothing was done.')
      return
    }
    const { invitesEnded } = await node.call('removeDevice', { device: device.id })
    if (terminal.json) {
      await terminal.value({ id: device.id, name: device.name, invitesEnded })
      return
    }
    terminal.say(`✓ ${name} is out. Your inboxes move, and contacts learn of it by themselves.`)
    if (invitesEnded > 0) {
      const invites = invitesEnded === 1 ? '1 open invite has' : `${invitesEnded} open invites have`
      terminal.say(`  ${invites} ended: make new ones with ${context.openim} invite`)
    }
  })
}

/** By id, the first letters of it, or name. @throws DEVICE_UNKNOWN, USAGE_ARGUMENT */
function find(devices: readonly Device[], wanted: string): Device {
  const isId = /^[0-9a-f]+$/.test(wanted) && wanted.length >= idPrefixMin
  const found = devices.filter(({ id, name }) => name === wanted || (isId && id.startsWith(wanted)))
  if (found.length === 1) return found[0]!
  const shown = escapeText(wanted)
  if (found.length > 1) {
    throw new OpenIMError('USAGE_ARGUMENT', `${found.length} devices are called ${shown}: name one by its id`)
  }
  throw new OpenIMError('DEVICE_UNKNOWN', `no device of yours is called ${shown}`)
}

/** @throws USAGE_ARGUMENT where nobody can answer */
async function isSure({ terminal }: CommandContext, name: string): Promise<boolean> {
  if (!terminal.interactive || terminal.json) {
    throw new OpenIMError('USAGE_ARGUMENT', `to put ${name} out without being asked, say --yes`)
  }
  terminal.say(`${name} will not receive or send any more. What it has stays on it.`)
  terminal.say('All your inboxes move, and every open invite ends.')
  return /^y(es)?$/i.test(await ask(terminal, `Put ${name} out? [y/N] `))
}

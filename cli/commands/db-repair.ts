/** `openim db repair`: mends the embedded database on a copy; the damaged one is kept. */
import { OpenIMError } from '../../crypto/errors.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { configuredPlace } from '../database.ts'
import { withStoppedNode } from '../db-work.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, openim } = context
  const { address, directory } = await configuredPlace(context)
  if (address !== undefined) {
    throw new OpenIMError('USAGE_ARGUMENT',
      'a database server mends its own files; damaged rows go when they are read: openim db check')
  }
  const { repairLevelStore } = await import('../../node/storage/level-repair.ts')
  const { keptAt, items, itemsLost } = await withStoppedNode(context, () => {
    terminal.progress('Repairing …')
    return repairLevelStore(directory)
  })
  if (terminal.json) await terminal.value({ messages: items, messagesLost: itemsLost, keptAt })
  terminal.say(`✓ ${items} messages kept, ${itemsLost} lost here: replicas offer them again`)
  terminal.say(`  The damaged database is kept at ${keptAt}`)
  terminal.say(`Next: ${openim} db check`)
}

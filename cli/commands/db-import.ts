/** `openim db import`: fills an empty database from a file of `db export`. */
import { importArchive } from '../../node/store-archive.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { countsText, storeProgress, withDatabase } from '../db-work.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const summary = await withDatabase(context, (store) => importArchive(store, context.args[0]!, {
    onCheck: storeProgress(context, 'Checking'),
    onWrite: storeProgress(context, 'Writing'),
  }))
  if (terminal.json) await terminal.value({ ...summary })
  terminal.say(`✓ ${countsText(summary)}`)
  terminal.say(`  digest ${summary.digest}`)
}

/** `openim db export`: the whole database in one file, as it lies there. */
import { resolve } from 'node:path'
import { writeArchive } from '../../node/store-archive.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { countsText, storeProgress, withDatabase } from '../db-work.ts'
import { formatSize } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const path = resolve(context.args[0]!)
  const summary = await withDatabase(context, (store) =>
    writeArchive(store, path, storeProgress(context, 'Writing')))
  if (terminal.json) await terminal.value({ file: path, ...summary })
  terminal.say(`✓ ${path}: ${countsText(summary)}, ${formatSize(summary.bytes)}`)
  terminal.say(`  digest ${summary.digest}`)
}

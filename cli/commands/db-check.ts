/** `openim db check`: reads all of the database. Damaged mail is dropped by that: its replicas have it. */
import { checkStore } from '../../node/store-check.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { countsText, storeProgress, withDatabase } from '../db-work.ts'
import { exits } from '../exits.ts'

const shownMax = 20

export async function run(context: CommandContext): CommandResult {
  const { terminal, openim } = context
  const { digest, damaged, dropped, ...counts } = await withDatabase(context, (store) =>
    checkStore(store, storeProgress(context, 'Reading')))
  if (terminal.json) await terminal.value({ ...counts, digest, damaged, dropped })
  const isWhole = damaged.length + dropped === 0
  terminal.say(`${isWhole ? '✓' : '!'} ${countsText(counts)}`)
  terminal.say(`  digest ${digest}`)
  if (isWhole) return
  if (dropped > 0) terminal.say(`  ${dropped} damaged messages were dropped: replicas offer them again`)
  for (const name of damaged.slice(0, shownMax)) terminal.say(`  damaged: ${name}`)
  if (damaged.length > shownMax) terminal.say(`  and ${damaged.length - shownMax} more`)
  if (damaged.length === 0) return exits.unhealthy
  terminal.say(`Start the node: it sets damaged records aside, and ${openim} doctor tells what they were.`)
  return exits.unhealthy
}

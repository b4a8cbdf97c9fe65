/** `openim db migrate`: the layout of this version, and with `--to` everything into another database. */
import { silentLog } from '../../node/ports.ts'
import { parseStoreAddress } from '../../node/storage/store-address.ts'
import { copyStore } from '../../node/store-archive.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option } from '../context.ts'
import { configuredPlace, databasePlace } from '../database.ts'
import { countsText, storeProgress, withDatabase } from '../db-work.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const url = option(context, 'to')
  if (url === undefined) {
    // Opening it is all that it takes.
    await withDatabase(context, async () => {})
    if (terminal.json) await terminal.value({ migrated: true })
    terminal.say('✓ The database is as this version wants it')
    return
  }
  parseStoreAddress(url)
  const place = await databasePlace(context, { url, passwordFile: option(context, 'toPasswordFile') })
  const { openStore } = await import('../../node/storage/open-store.ts')
  const copied = await withDatabase(context, async (from) => {
    const to = await openStore({ clock, log: silentLog }, place)
    try {
      return await copyStore(from, to, storeProgress(context, 'Moving'))
    } finally {
      await to.close()
    }
  })
  if (terminal.json) await terminal.value({ ...copied })
  terminal.say(`✓ ${countsText(copied)}`)
  terminal.say(`  digest ${copied.digest}`)
  const { address, directory } = await configuredPlace(context)
  const old = address === undefined ? `; the old one stays in ${directory}` : ''
  terminal.say(`Now name it in config.toml${old}:`)
  terminal.say(`  [database]\n  url = ${JSON.stringify(url)}`)
}

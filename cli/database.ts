/** The node's database, for commands that open it themselves: by `--db`, else by the settings. */
import { join } from 'node:path'
import { utf8Decode, wipe } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { environmentSettings, mergeSettings, parseConfig } from '../node/config.ts'
import type { DatabaseSettings } from '../node/config.ts'
import { dataFiles } from '../node/data-dir.ts'
import { silentLog } from '../node/ports.ts'
import type { Store } from '../node/ports.ts'
import { parseStoreAddress } from '../node/storage/store-address.ts'
import type { StorePlace } from '../node/storage/open-store.ts'
import type { CommandContext } from './context.ts'
import { flag, option } from './context.ts'
import { readConfigText } from './identity.ts'
import { askPassphrase, passphraseFromFile } from './passphrase.ts'

/** What the flags say of it. @throws USAGE_ARGUMENT */
export function databaseFlags(context: CommandContext): DatabaseSettings | undefined {
  const url = option(context, 'db')
  const passwordFile = option(context, 'dbPasswordFile')
  if (url !== undefined) return { url, passwordFile }
  if (passwordFile === undefined) return undefined
  throw new OpenIMError('USAGE_ARGUMENT', '--db-password-file goes with --db')
}

/** @throws STORE_ADDRESS, USAGE_*, INTERRUPTED */
export async function databasePlace(
  context: CommandContext,
  database: DatabaseSettings | undefined,
): Promise<StorePlace> {
  const directory = join(context.paths.dataDir, dataFiles.store)
  if (database === undefined) return { directory, address: undefined }
  const address = parseStoreAddress(database.url)
  const password = await passwordOf(context, database)
  return { directory, address, ...password === undefined ? {} : { password } }
}

/** By `--db`, else by the settings. @throws STORE_ADDRESS, CONFIG_*, USAGE_* */
export async function configuredPlace(context: CommandContext): Promise<StorePlace> {
  const { paths: { configFile }, env } = context
  const file = parseConfig(await readConfigText(configFile), configFile)
  const { database } = mergeSettings({ database: databaseFlags(context) }, environmentSettings(env), file)
  return await databasePlace(context, database)
}

/** For a stopped node. @throws STORE_*, CONFIG_*, USAGE_* */
export async function openDatabase(context: CommandContext): Promise<Store> {
  const place = await configuredPlace(context)
  const { openStore } = await import('../node/storage/open-store.ts')
  return await openStore({ clock: context.clock, log: silentLog }, place)
}

/** A driver wants a string, which cannot be wiped; the bytes it came in are. */
async function passwordOf(
  context: CommandContext,
  { passwordFile }: DatabaseSettings,
): Promise<string | undefined> {
  const isAsked = flag(context, 'dbPassword')
  if (passwordFile === undefined && !isAsked) return undefined
  const bytes = passwordFile !== undefined
    ? await passphraseFromFile(passwordFile)
    : await askPassphrase(context, { what: 'of the database', confirm: false, option: 'dbPasswordFile' })
  const password = utf8Decode(bytes)
  wipe(bytes)
  return password
}

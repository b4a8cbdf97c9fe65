/**
 * `openim backup restore`: into an empty data directory, as a new device of the same account.
 *
 * ```text
 *   the whole file is read and checked            nothing has been touched
 *   DIR/restoring/store                           filled, and made a new device's
 *   DIR/restoring/store ─► DIR/store, config.toml
 *   DIR/keys.bin                                  last: without it nothing can be started
 * ```
 *
 * A restore that was cut off leaves `restoring` behind, and the next one begins by removing it.
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { wipe } from '../../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { BackupReader } from '../../node/backup.ts'
import { dataFiles, ensureDataDir, fileError, lockDataDir } from '../../node/data-dir.ts'
import { decodeKeysFile, encodeKeysFile, hasKeys, saveKeys } from '../../node/keys-file.ts'
import type { NodeKeys } from '../../node/keys-file.ts'
import { silentLog } from '../../node/ports.ts'
import { renewedKeys, renewStore } from '../../node/renewal.ts'
import { StoreFiller } from '../../node/storage/store-parts.ts'
import { backupProgress } from '../backup-progress.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option } from '../context.ts'
import { writeNewFile } from '../identity.ts'
import { iso } from '../json-shapes.ts'
import { askPassphrase } from '../passphrase.ts'

/** Keys of the backup as they will be here, and what seals them. */
interface Unlocked {
  readonly keys: NodeKeys
  readonly passphrase: Uint8Array | undefined
}

export async function run(context: CommandContext): CommandResult {
  const { paths: { dataDir }, terminal } = context
  await refuseUsed(dataDir)
  const passphrase = await askPassphrase(context, { what: 'of the backup', confirm: false })
  const backup = await BackupReader.open(context.args[0]!, passphrase)
  try {
    const unlocked = await unlockBackup(context, backup.head.keysFile, passphrase)
    await backup.verify(backupProgress(context, 'Checking'))
    await ensureDataDir(dataDir)
    const lock = await lockDataDir(dataDir)
    try {
      const { records, address } = await restore(context, backup, unlocked)
      terminal.progress('')
      await tell(context, { createdAtMs: backup.head.createdAtMs, records, address })
    } finally {
      await lock.release()
    }
  } finally {
    terminal.progress('')
    wipe(passphrase)
    await backup.close()
  }
}

async function tell(
  { paths: { dataDir }, terminal, openim }: CommandContext,
  done: { createdAtMs: number, records: number, address: string },
): Promise<void> {
  const createdAt = iso(done.createdAtMs)
  if (terminal.json) {
    await terminal.value({ dataDir, createdAt, records: done.records, address: done.address })
    return
  }
  terminal.say(`✓ Restored the state of ${createdAt} into ${dataDir}`)
  terminal.say(`  This is a new device of ${done.address}: contacts learn of it by themselves.`)
  terminal.say('  The old one, should it still run, finds out and stops; what came since is only there.')
  terminal.say(`Next: ${openim} start`)
}

/** Most people have one passphrase for both. */
async function unlockBackup(
  context: CommandContext,
  keysFile: Uint8Array,
  passphrase: Uint8Array,
): Promise<Unlocked> {
  const attempt = (tried?: Uint8Array): Unlocked | string => {
    try {
      return { keys: decodeKeysFile(keysFile, tried), passphrase: tried }
    } catch (error) {
      const code = errorCode(error)
      if (code === 'KEYS_SEALED' || code === 'KEYS_PASSPHRASE') return code
      throw error
    }
  }
  const open = attempt()
  if (typeof open !== 'string') return open
  const same = option(context, 'keysPassphraseFile') === undefined ? attempt(passphrase) : open
  if (typeof same !== 'string') return same
  const asked = await askPassphrase(context, {
    what: 'of the keys in it', confirm: false, option: 'keysPassphraseFile',
  })
  return { keys: decodeKeysFile(keysFile, asked), passphrase: asked }
}

async function restore(
  context: CommandContext,
  backup: BackupReader,
  { keys, passphrase }: Unlocked,
): Promise<{ records: number, address: string }> {
  const { paths: { dataDir, configFile } } = context
  const staging = join(dataDir, dataFiles.restoring)
  try {
    await rm(staging, { recursive: true, force: true })
    await rm(join(dataDir, dataFiles.store), { recursive: true, force: true })
    await mkdir(staging, { mode: 0o700 })
    const renewed = renewedKeys(keys, systemRandom)
    const filled = await fill(context, backup, { directory: join(staging, dataFiles.store), keys: renewed })
    await rename(join(staging, dataFiles.store), join(dataDir, dataFiles.store))
    await restoreConfig(configFile, backup.head.config)
    await saveKeys(dataDir, encodeKeysFile(renewed, systemRandom, passphrase))
    await rm(staging, { recursive: true, force: true })
    renewed.wipe()
    return filled
  } catch (error) {
    // The directory held nothing before: leave nothing half-done behind.
    if (!await hasKeys(dataDir)) {
      for (const name of [dataFiles.store, dataFiles.restoring]) {
        await rm(join(dataDir, name), { recursive: true, force: true })
      }
    }
    throw error
  } finally {
    keys.wipe()
  }
}

async function fill(
  context: CommandContext,
  backup: BackupReader,
  { directory, keys }: { directory: string, keys: NodeKeys },
): Promise<{ records: number, address: string }> {
  const { clock } = context
  const { openLevelStore } = await import('../../node/storage/level-store.ts')
  const store = await openLevelStore({ directory, clock, log: silentLog })
  try {
    const progress = backupProgress(context, 'Restoring')
    const filler = new StoreFiller(store)
    let [records, mail] = [0, 0]
    for await (const part of backup.parts()) {
      await filler.add(part)
      records += part.records.length
      mail += part.mail.length
      progress({ records, mail, bytes: backup.position })
    }
    await filler.finish()
    const { address } = await renewStore({ store, keys, clock, random: systemRandom, log: silentLog })
    return { records, address }
  } finally {
    await store.close()
  }
}

async function restoreConfig(path: string, config: string): Promise<void> {
  if (config === '') return
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeNewFile(path, config, 0o644)
  } catch (error) {
    if (errorCode(error) !== 'USAGE_EXISTS') throw error
  }
}

/** Empty, or what a restore left that was cut off: that has no keys, so nobody has lived there. */
async function refuseUsed(dataDir: string): Promise<void> {
  const entries = await readdir(dataDir).catch((cause: unknown): string[] => {
    if (errorCode(cause) === 'ENOENT') return []
    throw fileError(cause, dataDir)
  })
  const isCutOff = entries.includes(dataFiles.restoring) && !entries.includes(dataFiles.keys)
  const ours: readonly string[] = [dataFiles.restoring, dataFiles.store, dataFiles.lock, dataFiles.config]
  const used = entries.filter((entry) => entry !== 'lost+found' && !(isCutOff && ours.includes(entry)))
  if (used.length > 0) {
    throw new OpenIMError('DATA_DIR_FOREIGN', `${dataDir} is not empty (${used[0]})`)
  }
}

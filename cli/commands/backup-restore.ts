/**
 * `openim backup restore`: into an empty data directory. The keys are written last, so a restore
 * that was cut off cannot be started by mistake.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { BackupReader, restorePart } from '../../node/backup.ts'
import { dataFiles, ensureDataDir, fileError, lockDataDir } from '../../node/data-dir.ts'
import { saveKeys } from '../../node/keys-file.ts'
import { silentLog } from '../../node/ports.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { writeNewFile } from '../identity.ts'
import { iso } from '../json-shapes.ts'
import { askPassphrase } from '../passphrase.ts'

export async function run(context: CommandContext): CommandResult {
  const { paths: { dataDir }, terminal } = context
  await refuseUsed(dataDir)
  const passphrase = await askPassphrase(context, { what: 'of the backup', confirm: false })
  const backup = await BackupReader.open(context.args[0]!, passphrase)
  try {
    await ensureDataDir(dataDir)
    const lock = await lockDataDir(dataDir)
    try {
      const records = await fill(context, backup)
      const createdAt = iso(backup.head.createdAtMs)
      if (terminal.json) await terminal.value({ dataDir, createdAt, records })
      terminal.say(`✓ Restored the state of ${createdAt} into ${dataDir}`)
      terminal.say('! Run it in one place only: two nodes with one identity lose messages.')
      terminal.say(`Next: ${context.openim} start`)
    } finally {
      await lock.release()
    }
  } finally {
    await backup.close()
  }
}

async function fill(context: CommandContext, backup: BackupReader): Promise<number> {
  const { paths: { dataDir, configFile }, clock } = context
  const directory = join(dataDir, dataFiles.store)
  const { openLevelStore } = await import('../../node/storage/level-store.ts')
  let records = 0
  try {
    const store = await openLevelStore({ directory, clock, log: silentLog })
    try {
      for await (const part of backup.parts()) {
        await restorePart(store, part)
        records += part.records.length
      }
    } finally {
      await store.close()
    }
    await saveKeys(dataDir, backup.head.keysFile)
  } catch (error) {
    // The directory held nothing before: leave nothing half-done behind.
    await rm(directory, { recursive: true, force: true })
    throw error
  }
  await restoreConfig(configFile, backup.head.config)
  return records
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

async function refuseUsed(dataDir: string): Promise<void> {
  const entries = await readdir(dataDir).catch((cause: unknown) => {
    if (errorCode(cause) === 'ENOENT') return []
    throw fileError(cause, dataDir)
  })
  const used = entries.filter((entry) => entry !== 'lost+found')
  if (used.length > 0) {
    throw new OpenIMError('DATA_DIR_FOREIGN', `${dataDir} is not empty (${used[0]})`)
  }
}

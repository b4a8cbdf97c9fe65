/** `openim backup create`: everything of our own in one encrypted file, also while the node runs. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { hex, wipe } from '../../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { writeBackup } from '../../node/backup.ts'
import type { BackupSummary } from '../../node/backup.ts'
import { dataFiles, lockDataDir } from '../../node/data-dir.ts'
import { keysAreSealed, keysRole } from '../../node/keys-file.ts'
import { backupProgress } from '../backup-progress.ts'
import { withNode } from '../context.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { openDatabase } from '../database.ts'
import { readConfigText } from '../identity.ts'
import { askPassphrase } from '../passphrase.ts'
import { formatSize } from '../units.ts'

interface Wanted {
  readonly path: string
  readonly passphrase: Uint8Array
  /** `config.toml` as it stands. */
  readonly config: string
}

export async function run(context: CommandContext): CommandResult {
  const { paths: { dataDir, configFile }, terminal } = context
  const path = resolve(context.args[0]!)
  // Also says so when there is no identity, or a damaged one: that is not worth a backup.
  const sealed = await keysAreSealed(dataDir)
  if (await keysRole(dataDir) === 'device') {
    throw new OpenIMError('ACCOUNT_LINKED', 'a linked device is not backed up: link a new one in its place')
  }
  const passphrase = await askPassphrase(context, { what: 'for the backup', confirm: true })
  try {
    const wanted = { path, passphrase, config: await readConfigText(configFile) }
    const summary = await byRunningNode(context, wanted) ?? await byOurselves(context, wanted)
    terminal.progress('')
    if (terminal.json) await terminal.value({ file: path, ...summary })
    const { records, mail, bytes } = summary
    terminal.say(`✓ ${path}: ${records} records, ${mail} waiting messages, ${formatSize(bytes)}`)
    if (sealed) terminal.say('  The keys in it stay sealed with their own passphrase: keep both.')
  } finally {
    terminal.progress('')
    wipe(passphrase)
  }
}

/** Undefined when none runs. */
async function byRunningNode(
  context: CommandContext,
  { path, passphrase, config }: Wanted,
): Promise<BackupSummary | undefined> {
  try {
    return await withNode(context, (node) => {
      context.terminal.progress('Writing …')
      return node.call('backup', { path, passphrase: hex(passphrase), config })
    })
  } catch (error) {
    if (errorCode(error) === 'NODE_NOT_RUNNING') return undefined
    throw error
  }
}

async function byOurselves(
  context: CommandContext,
  { path, passphrase, config }: Wanted,
): Promise<BackupSummary> {
  const { paths: { dataDir }, clock } = context
  const lock = await lockDataDir(dataDir)
  try {
    const keysFile = new Uint8Array(await readFile(join(dataDir, dataFiles.keys)))
    const store = await openDatabase(context)
    try {
      const head = { createdAtMs: clock.now(), keysFile, config }
      const onProgress = backupProgress(context, 'Writing')
      return await writeBackup({ path, passphrase, head, store, random: systemRandom, onProgress })
    } finally {
      await store.close()
      wipe(keysFile)
    }
  } finally {
    await lock.release()
  }
}

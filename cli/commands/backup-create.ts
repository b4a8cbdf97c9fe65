/** `openim backup create`: everything of our own in one encrypted file, from a stopped node. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { wipe } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { writeBackup } from '../../node/backup.ts'
import { dataFiles, lockDataDir } from '../../node/data-dir.ts'
import { keysAreSealed, keysRole } from '../../node/keys-file.ts'
import { silentLog } from '../../node/ports.ts'
import { backupProgress } from '../backup-progress.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { readConfigText } from '../identity.ts'
import { askPassphrase } from '../passphrase.ts'
import { formatSize } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const { paths: { dataDir, configFile }, terminal, clock } = context
  const path = resolve(context.args[0]!)
  // Also says so when there is no identity, or a damaged one: that is not worth a backup.
  const sealed = await keysAreSealed(dataDir)
  if (await keysRole(dataDir) === 'device') {
    throw new OpenIMError('ACCOUNT_LINKED', 'a linked device is not backed up: link a new one in its place')
  }
  const lock = await lockDataDir(dataDir)
  try {
    const passphrase = await askPassphrase(context, { what: 'for the backup', confirm: true })
    const keysFile = new Uint8Array(await readFile(join(dataDir, dataFiles.keys)))
    const config = await readConfigText(configFile)
    const { openLevelStore } = await import('../../node/storage/level-store.ts')
    const store = await openLevelStore({ directory: join(dataDir, dataFiles.store), clock, log: silentLog })
    try {
      const head = { createdAtMs: clock.now(), keysFile, config }
      const onProgress = backupProgress(context, 'Writing')
      const summary = await writeBackup({ path, passphrase, head, store, random: systemRandom, onProgress })
      terminal.progress('')
      if (terminal.json) await terminal.value({ file: path, ...summary })
      const { records, mail, bytes } = summary
      terminal.say(`✓ ${path}: ${records} records, ${mail} waiting messages, ${formatSize(bytes)}`)
      if (sealed) terminal.say('  The keys in it stay sealed with their own passphrase: keep both.')
    } finally {
      terminal.progress('')
      await store.close()
      wipe(passphrase, keysFile)
    }
  } finally {
    await lock.release()
  }
}

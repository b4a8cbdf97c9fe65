/**
 * `openim devices renew`: after the same keys were at work in two places, or an older state of the
 * disk came back, this place becomes a device of its own. The node must be stopped.
 */
import { wipe } from '../../crypto/bytes.ts'
import { systemRandom } from '../../crypto/random.ts'
import { lockDataDir } from '../../node/data-dir.ts'
import { encodeKeysFile, keysAreSealed, saveKeys } from '../../node/keys-file.ts'
import { silentLog } from '../../node/ports.ts'
import { renewedKeys, renewStore } from '../../node/renewal.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { openDatabase } from '../database.ts'
import { unlockToSeal } from '../passphrase.ts'

export async function run(context: CommandContext): CommandResult {
  const { paths: { dataDir }, terminal, clock } = context
  // Also says so when there is no identity, or a damaged one.
  await keysAreSealed(dataDir)
  const lock = await lockDataDir(dataDir)
  try {
    const { keys, passphrase } = await unlockToSeal(context)
    const renewed = renewedKeys(keys, systemRandom)
    const store = await openDatabase(context)
    try {
      // Keys first: cut off in between, the next start says again what this one was for.
      await saveKeys(dataDir, encodeKeysFile(renewed, systemRandom, passphrase))
      const { address } = await renewStore({
        store, keys: renewed, clock, random: systemRandom, log: silentLog,
      })
      if (terminal.json) await terminal.value({ dataDir, address })
    } finally {
      await store.close()
      for (const secrets of [keys, renewed]) secrets.wipe()
      if (passphrase !== undefined) wipe(passphrase)
    }
  } finally {
    await lock.release()
  }
  terminal.say('✓ This is a new device of the account; contacts, messages and settings are as before.')
  terminal.say('  What was not delivered is sent again. The other place finds out and stops.')
  terminal.say(`Next: ${context.openim} start`)
}

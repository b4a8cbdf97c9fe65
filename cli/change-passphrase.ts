/**
 * What `openim passphrase set`, `change` and `remove` share: the keys are opened and written anew.
 *
 * Written whole or not at all, and the old file does not stay behind (node/keys-file.ts). The node
 * must be stopped: it holds the keys open in memory, and who has just locked them believes them
 * locked. The lock also keeps two commands from writing over each other.
 */
import { wipe } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { systemRandom } from '../crypto/random.ts'
import { lockDataDir } from '../node/data-dir.ts'
import { encodeKeysFile, keysAreSealed, saveKeys } from '../node/keys-file.ts'
import type { CommandContext } from './context.ts'
import { askPassphrase, unlock } from './passphrase.ts'

export interface PassphraseChange {
  /** How the keys must be now. */
  readonly from: 'open' | 'sealed'
  readonly to: 'open' | 'sealed'
}

/** @throws KEYS_*, PASSPHRASE_SET, PASSPHRASE_NONE, DATA_DIR_*, STORE_FULL, USAGE_* */
export async function changePassphrase(context: CommandContext, change: PassphraseChange): Promise<void> {
  const { paths: { dataDir }, terminal } = context
  await expectState(dataDir, change.from)
  const lock = await lockDataDir(dataDir)
  try {
    const keys = await unlock(context)
    let passphrase: Uint8Array | undefined
    try {
      if (change.to === 'sealed') passphrase = await newPassphrase(context, change)
      await saveKeys(dataDir, encodeKeysFile(keys, systemRandom, passphrase))
    } finally {
      keys.wipe()
      if (passphrase !== undefined) wipe(passphrase)
    }
  } finally {
    await lock.release()
  }
  if (terminal.json) await terminal.value({ dataDir, sealed: change.to === 'sealed' })
}

/** Before anything is asked for. */
async function expectState(dataDir: string, state: 'open' | 'sealed'): Promise<void> {
  const isSealed = await keysAreSealed(dataDir)
  if (isSealed === (state === 'sealed')) return
  if (isSealed) throw new OpenIMError('PASSPHRASE_SET', 'the keys have a passphrase already')
  throw new OpenIMError('PASSPHRASE_NONE', 'the keys have no passphrase')
}

async function newPassphrase(context: CommandContext, { from }: PassphraseChange): Promise<Uint8Array> {
  return await askPassphrase(context, from === 'open'
    ? { what: 'for the keys', confirm: true }
    : { what: 'from now on', confirm: true, option: 'newPassphraseFile' })
}

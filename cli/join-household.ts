/** `openim init --household`: one more process of a household, from the file of its invite. */
import { readFile } from 'node:fs/promises'
import { wipe } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { systemRandom } from '../crypto/random.ts'
import { decodeKeysFile, memberKeys } from '../node/keys-file.ts'
import type { CommandContext, CommandResult } from './context.ts'
import { identityOf, saveIdentity } from './identity.ts'
import { askPassphrase } from './passphrase.ts'

/**
 * The keys stay sealed with the passphrase of the file.
 * @throws USAGE_*, KEYS_*, IDENTITY_EXISTS, DATA_DIR_*
 */
export async function joinHousehold(
  context: CommandContext,
  { file, name }: { readonly file: string, readonly name: string },
): CommandResult {
  const { paths, terminal } = context
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new OpenIMError('USAGE_FILE', `cannot read the household file ${file}`, { cause })
  })
  const passphrase = await askPassphrase(context, { what: 'of the household file', confirm: false })
  const shared = decodeKeysFile(new Uint8Array(bytes), passphrase)
  const identity = identityOf(name, memberKeys(systemRandom, shared))
  shared.wipe()
  await saveIdentity(paths, identity, passphrase)
  wipe(passphrase)
  terminal.say(`✓ Household  ${identity.address}`)
  terminal.say(`✓ Keys       ${paths.dataDir}   sealed with the passphrase of the file`)
  terminal.say(`✓ Config     ${paths.configFile}`)
  terminal.say('Before you start it, name the household\'s database there: [database] url = …')
  if (!terminal.json) return
  const { address, nodeId } = identity
  const { dataDir, configFile: config } = paths
  await terminal.value({ address, dataDir, name, nodeId, config, sealed: true })
}

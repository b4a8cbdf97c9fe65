/** `openim household invite`: the keys that another process of the household needs, in a sealed file. */
import { resolve } from 'node:path'
import { wipe } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { encodeKeysFile, memberKeys } from '../../node/keys-file.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { option } from '../context.ts'
import { writeNewFile } from '../identity.ts'
import { askPassphrase, unlockToSeal } from '../passphrase.ts'

export async function run(context: CommandContext): CommandResult {
  const { terminal } = context
  const to = option(context, 'to')
  if (to === undefined) throw new OpenIMError('USAGE_ARGUMENT', 'say where to write the invite: --to FILE')
  const file = resolve(to)
  const { keys, passphrase: ofKeys } = await unlockToSeal(context)
  const passphrase = ofKeys ?? await askPassphrase(context, { what: 'for the household file', confirm: true })
  const member = memberKeys(systemRandom, keys)
  try {
    await writeNewFile(file, encodeKeysFile(member, systemRandom, passphrase), 0o600)
  } finally {
    keys.wipe()
    member.wipe()
    wipe(passphrase)
  }
  const which = ofKeys === undefined ? 'its passphrase' : 'the passphrase of these keys'
  terminal.say(`✓ ${file}: sealed with ${which}. Whoever opens it is you.`)
  terminal.say(`There: ${context.openim} init --household FILE, then delete the file`)
  if (terminal.json) await terminal.value({ file })
}

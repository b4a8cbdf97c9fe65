/** `openim passphrase remove`: sealed keys lie open from now on. */
import { changePassphrase } from '../change-passphrase.ts'
import type { CommandContext, CommandResult } from '../context.ts'

export async function run(context: CommandContext): CommandResult {
  await changePassphrase(context, { from: 'sealed', to: 'open' })
  context.terminal.say('✓ The keys lie open in the data directory, for you alone (mode 0600).')
  context.terminal.say('  Whoever reads the disk is you: use disk encryption.')
}

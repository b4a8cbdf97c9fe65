/** `openim passphrase change`: another passphrase for sealed keys. */
import { changePassphrase } from '../change-passphrase.ts'
import type { CommandContext, CommandResult } from '../context.ts'

export async function run(context: CommandContext): CommandResult {
  await changePassphrase(context, { from: 'sealed', to: 'sealed' })
  context.terminal.say('✓ The new passphrase opens the keys.')
  context.terminal.say('  Old copies of keys.bin and older backups still open with the old one.')
}

/** `openim passphrase set`: seals keys that lay open. */
import { changePassphrase } from '../change-passphrase.ts'
import type { CommandContext, CommandResult } from '../context.ts'

export async function run(context: CommandContext): CommandResult {
  await changePassphrase(context, { from: 'open', to: 'sealed' })
  context.terminal.say('✓ The keys are sealed; the passphrase is asked for at every start.')
  context.terminal.say('  Who copied keys.bin or a backup before has them open: delete old copies.')
}

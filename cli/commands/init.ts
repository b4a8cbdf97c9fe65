/**
 * `openim init`: makes an identity (or takes the one of a recovery phrase), sealed by a passphrase
 * when asked for, and hands out the 24 recovery words once.
 */
import { readFile } from 'node:fs/promises'
import { OpenIMError } from '../../crypto/errors.ts'
import { recoveryEntropy, recoveryPhrase } from '../../crypto/recovery.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { flag, option } from '../context.ts'
import { checkName, createIdentity, defaultName, writeNewFile } from '../identity.ts'
import type { Identity } from '../identity.ts'
import { askPassphrase } from '../passphrase.ts'

export async function run(context: CommandContext): CommandResult {
  const { paths, terminal } = context
  const name = checkName(option(context, 'name') ?? defaultName())
  const rootEntropy = await wordsOf(option(context, 'recover'))
  const sealed = flag(context, 'passphrase') || option(context, 'passphraseFile') !== undefined
  const question = { what: 'for the keys', confirm: true }
  const passphrase = sealed ? await askPassphrase(context, question) : undefined

  const identity = await createIdentity(paths, { name, passphrase, rootEntropy })
  terminal.say(`✓ Identity   ${name}   ${identity.address}`)
  const recoveryFile = await handOutRecovery(context, identity, rootEntropy !== undefined)
  const guard = sealed ? 'sealed with your passphrase' : 'readable by you alone'
  terminal.say(`✓ Keys       ${paths.dataDir}   ${guard}`)
  terminal.say(`✓ Config     ${paths.configFile}`)
  terminal.say(`Next: ${context.openim} start`)
  if (!terminal.json) return
  await terminal.value({
    address: identity.address,
    dataDir: paths.dataDir,
    name,
    nodeId: identity.nodeId,
    config: paths.configFile,
    sealed,
    ...(recoveryFile === undefined ? {} : { recoveryFile }),
  })
}

/** @throws USAGE_FILE, RECOVERY_PHRASE */
async function wordsOf(path: string | undefined): Promise<Uint8Array | undefined> {
  if (path === undefined) return undefined
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new OpenIMError('USAGE_FILE', `cannot read the recovery words from ${path}`, { cause })
  })
  const words = text.split('\n').filter((line) => !line.startsWith('#')).join(' ')
  const entropy = recoveryEntropy(words)
  if (entropy.ok) return entropy.value
  throw new OpenIMError(entropy.code, `${path}: ${entropy.detail ?? 'these are not 24 recovery words'}`)
}

/** Words go to a file or before a person's eyes, never into a pipe or a log. Returns the file. */
async function handOutRecovery(
  context: CommandContext,
  identity: Identity,
  recovered: boolean,
): Promise<string | undefined> {
  const { terminal } = context
  const file = option(context, 'recoveryFile')
  const phrase = recoveryPhrase(identity.keys.rootEntropy)
  if (file !== undefined) {
    await writeNewFile(file, recoveryText(identity.address, phrase), 0o600)
    terminal.say(`✓ Recovery   24 words written to ${file}. Keep it off this machine.`)
  } else if (terminal.watched && !terminal.json && !recovered) {
    terminal.say('✓ Recovery   write these 24 words down; whoever has them is you. Shown only now:')
    for (const line of inRows(phrase.split(' '), 6)) terminal.say(`    ${line}`)
  }
  return file
}

function recoveryText(address: string, phrase: string): string {
  return `# Recovery words of the openIM identity ${address}
# Whoever has them is this person. Keep them off this machine.
${phrase}
`
}

function inRows(words: readonly string[], perRow: number): string[] {
  const rows: string[] = []
  for (let i = 0; i < words.length; i += perRow) {
    const row = words.slice(i, i + perRow)
    rows.push(row.map((word, j) => `${String(i + j + 1).padStart(2)} ${word}`.padEnd(12)).join(' ').trimEnd())
  }
  return rows
}

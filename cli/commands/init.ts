/**
 * `openim init`: makes an identity (or takes the one of a recovery phrase), sealed by a passphrase
 * when asked for, and hands out the 24 recovery words once.
 */
import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { wipe } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { recoveryEntropy, recoveryPhrase } from '../../crypto/recovery.ts'
import { dataFiles } from '../../node/data-dir.ts'
import { silentLog } from '../../node/ports.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { flag, option } from '../context.ts'
import {
  checkName, defaultName, newIdentity, prepareDataDir, saveIdentity, writeNewFile,
} from '../identity.ts'
import type { Identity } from '../identity.ts'
import { joinHousehold } from '../join-household.ts'
import { askPassphrase } from '../passphrase.ts'

export async function run(context: CommandContext): CommandResult {
  const { paths, terminal } = context
  const name = checkName(option(context, 'name') ?? defaultName())
  const household = option(context, 'household')
  if (household !== undefined) return await joinHousehold(context, { file: household, name })
  const rootEntropy = await wordsOf(option(context, 'recover'))
  const sealed = flag(context, 'passphrase') || option(context, 'passphraseFile') !== undefined
  const question = { what: 'for the keys', confirm: true }
  const passphrase = sealed ? await askPassphrase(context, question) : undefined

  const identity = newIdentity(name, rootEntropy)
  // Words first: an identity whose words could not be written down must not come to be.
  const recoveryFile = await writeRecovery(context, identity)
  if (rootEntropy !== undefined) await recoverAccount(context, identity)
  await saveIdentity(paths, identity, passphrase).catch(async (error: unknown) => {
    if (recoveryFile !== undefined) await rm(recoveryFile, { force: true })
    throw error
  })
  if (passphrase !== undefined) wipe(passphrase)
  terminal.say(`✓ Identity   ${name}   ${identity.address}`)
  if (rootEntropy === undefined) showRecovery(context, identity, recoveryFile)
  if (rootEntropy !== undefined) {
    terminal.say('  The words bring back who you are, not whom you know: swap invites again.')
    terminal.say('  Who knew you sees a new device of the same person; an old one that still runs stops.')
  }
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

/**
 * The account is made at once, marked as one that may have been before. Keys come after it: what is
 * cut off has no keys, and was nothing yet.
 */
async function recoverAccount(context: CommandContext, { keys, name }: Identity): Promise<void> {
  const { paths: { dataDir }, clock } = context
  await prepareDataDir(dataDir)
  const directory = join(dataDir, dataFiles.store)
  if (await stat(directory).then(() => true, () => false)) {
    throw new OpenIMError('DATA_DIR_FOREIGN', `${dataDir} holds a store without its keys; move it away`)
  }
  const { openLevelStore } = await import('../../node/storage/level-store.ts')
  const { recoverStore } = await import('../../node/renewal.ts')
  const store = await openLevelStore({ directory, clock, log: silentLog })
  try {
    await recoverStore({ store, keys, name, clock, random: systemRandom, log: silentLog })
  } finally {
    await store.close()
  }
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

/** Returns the file, if one was asked for. @throws USAGE_EXISTS, DATA_DIR_*, STORE_FULL */
async function writeRecovery(context: CommandContext, identity: Identity): Promise<string | undefined> {
  const file = option(context, 'recoveryFile')
  if (file === undefined) return undefined
  await prepareDataDir(context.paths.dataDir)
  const text = `# Recovery words of the openIM identity ${identity.address}
# Whoever has them is this person. Keep them off this machine.
${recoveryPhrase(identity.keys.rootEntropy)}
`
  await writeNewFile(file, text, 0o600)
  return file
}

/** Words come before a person's eyes, never into a pipe or a log. */
function showRecovery({ terminal }: CommandContext, identity: Identity, file: string | undefined): void {
  if (file !== undefined) {
    terminal.say(`✓ Recovery   24 words written to ${file}. Keep it off this machine.`)
  } else if (terminal.watched && !terminal.json) {
    terminal.say('✓ Recovery   write these 24 words down; whoever has them is you. Shown only now:')
    const words = recoveryPhrase(identity.keys.rootEntropy).split(' ')
    for (const line of inRows(words, 6)) terminal.say(`    ${line}`)
  }
}

function inRows(words: readonly string[], perRow: number): string[] {
  const rows: string[] = []
  for (let i = 0; i < words.length; i += perRow) {
    const row = words.slice(i, i + perRow)
    rows.push(row.map((word, j) => `${String(i + j + 1).padStart(2)} ${word}`.padEnd(12)).join(' ').trimEnd())
  }
  return rows
}

/**
 * Making and describing identities: shared by `init`, `start --first-run` and `backup`.
 */
import { mkdir, open, readFile, stat, unlink } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import { systemRandom } from '../crypto/random.ts'
import { dataFiles, ensureDataDir, fileError } from '../node/data-dir.ts'
import { createNodeKeys, encodeKeysFile, hasKeys, saveKeys } from '../node/keys-file.ts'
import type { NodeKeys } from '../node/keys-file.ts'
import { rootSeed } from '../protocol/account.ts'
import { formatAddress } from '../protocol/address.ts'
import { nodeIdFromKey } from '../protocol/ids.ts'
import type { NodeId } from '../protocol/ids.ts'
import { utf8 } from '../crypto/bytes.ts'
import { limits } from '../protocol/limits.ts'
import type { Paths } from './paths.ts'

export interface Identity {
  readonly name: string
  readonly address: string
  readonly nodeId: NodeId
  readonly keys: NodeKeys
}

/** In memory only. @param rootEntropy from a recovery phrase; fresh otherwise */
export function newIdentity(name: string, rootEntropy?: Uint8Array): Identity {
  return identityOf(name, createNodeKeys(systemRandom, rootEntropy))
}

export function identityOf(name: string, keys: NodeKeys): Identity {
  const root = crypto.signingKeyPair(rootSeed(keys.rootEntropy))
  const node = crypto.signingKeyPair(keys.nodeSeed)
  return { name, address: formatAddress(root.publicKey), nodeId: nodeIdFromKey(node.publicKey), keys }
}

/** Makes the data directory ready for an identity. @throws IDENTITY_EXISTS, DATA_DIR_*, STORE_FULL */
export async function prepareDataDir(dataDir: string): Promise<void> {
  await ensureDataDir(dataDir)
  if (await exists(join(dataDir, dataFiles.restoring))) {
    throw new OpenIMError('DATA_DIR_FOREIGN', `a restore into ${dataDir} was cut off; do it again`)
  }
  if (await exists(join(dataDir, dataFiles.joining)) && !await hasKeys(dataDir)) {
    throw new OpenIMError('DATA_DIR_FOREIGN', `a linking into ${dataDir} was cut off; do it again`)
  }
  if (!await hasKeys(dataDir)) return
  throw new OpenIMError('IDENTITY_EXISTS', `there is already an identity in ${dataDir}`)
}

/**
 * Writes the keys and, if there is none, a `config.toml` with the name.
 * @throws IDENTITY_EXISTS, DATA_DIR_*, STORE_FULL
 */
export async function saveIdentity(paths: Paths, identity: Identity, passphrase?: Uint8Array): Promise<void> {
  await prepareDataDir(paths.dataDir)
  await writeConfig(paths.configFile, identity.name)
  await saveKeys(paths.dataDir, encodeKeysFile(identity.keys, systemRandom, passphrase))
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false)
}

/** @throws USAGE_ARGUMENT */
export function checkName(name: string): string {
  const trimmed = name.trim()
  if (trimmed === '' || /\p{C}/u.test(trimmed) || utf8(trimmed).length > limits.nameBytesMax) {
    const rule = `1 to ${limits.nameBytesMax} bytes and no control characters`
    throw new OpenIMError('USAGE_ARGUMENT', `a name has ${rule}`)
  }
  return trimmed
}

/** The login name, for people who did not choose one. */
export function defaultName(): string {
  try {
    return checkName(userInfo().username)
  } catch {
    return 'me'
  }
}

function configText(name: string): string {
  return `# openIM settings: every key is optional. docs/operate.md explains each.
name = ${JSON.stringify(name)}
# profile = "home"               # home | server | relay
# [listen]
# p2p = 4481                     # a port, or multiaddrs
# [p2p]
# bootstrap = []                 # nodes to meet first
# [limits]
# held_for_others = "512MB"      # mail kept for other people
`
}

/** Leaves a file that is there alone: it is the person's. */
async function writeConfig(path: string, name: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeNewFile(path, configText(name), 0o644)
  } catch (cause) {
    if (cause instanceof OpenIMError && cause.code === 'USAGE_EXISTS') return
    throw fileError(cause, path)
  }
}

/** Creates a file that must not exist yet. @throws USAGE_EXISTS, DATA_DIR_*, STORE_FULL */
export async function writeNewFile(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode).catch((cause: unknown) => {
    if (errorCode(cause) !== 'EEXIST') throw fileError(cause, path)
    throw new OpenIMError('USAGE_EXISTS', `${path} exists already`, { cause })
  })
  try {
    await file.writeFile(content)
    await file.sync()
  } catch (cause) {
    await unlink(path).catch(() => {})
    throw fileError(cause, path)
  } finally {
    await file.close()
  }
}

/** The text of `config.toml`; empty when there is none. @throws CONFIG_SIZE, DATA_DIR_* */
export async function readConfigText(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size > limits.configBytesMax) {
      const limit = limits.configBytesMax
      throw new OpenIMError('CONFIG_SIZE', `${path} has ${size} bytes, a config.toml at most ${limit}`)
    }
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT' || errorCode(cause) === 'ENOTDIR') return ''
    throw fileError(cause, path)
  }
}

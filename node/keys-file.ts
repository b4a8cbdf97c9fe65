/**
 * `keys.bin`: the secrets of a node and of the account it hosts, mode 0600, written whole or not
 * at all, sealed by a passphrase when its owner wants one (crypto/vault.ts). A linked device has no
 * more than the key of its store, in which everything else of it lies.
 *
 * ```text
 *   opaque magic[8]       "openim-k" of a node, "openim-d" of a linked device
 *   u8     version = 1
 *   bool   sealed
 *   opaque body<V>        NodeKeys or DeviceKeys, or the vault around them
 *   opaque checksum[8]    first bytes of SHA-256(label ‖ everything above)
 *
 *   NodeKeys:   opaque nodeSeed[32], doorSecret[32], dataKey[32], rootEntropy[32]
 *   DeviceKeys: opaque dataKey[32]
 * ```
 *
 * The checksum tells a damaged file from a wrong passphrase, and keeps a flipped bit from turning
 * an identity silently into another one. It needs no secret: who can write here has won anyway.
 *
 * Alternative weighed: JSON with hex. Refused: secrets would be text that editors, backups and
 * `grep` show, and a shape that people are tempted to change by hand.
 */
import { chmod, open, readFile, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { concat, equalBytes, utf8, wipe } from '../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { Random } from '../crypto/random.ts'
import { openVault, sealVault } from '../crypto/vault.ts'
import { bool, encode, fixed, oneOf, opaque, struct, tryDecode } from '../protocol/codec/struct.ts'
import { dataFiles, fileError, writeFileAtomic } from './data-dir.ts'

export interface NodeSecrets {
  readonly nodeSeed: Uint8Array
  readonly doorSecret: Uint8Array
  readonly dataKey: Uint8Array
  readonly rootEntropy: Uint8Array
}

/** 32 bytes each, its own copies. Shows nothing in logs, `inspect` and JSON; `wipe` forgets them. */
export class NodeKeys implements NodeSecrets {
  /** Ed25519 seed of the node's peer key. */
  readonly nodeSeed: Uint8Array
  /** X25519 secret with which devices know this node. */
  readonly doorSecret: Uint8Array
  /** Encrypts what the account keeps in the store. */
  readonly dataKey: Uint8Array
  /** Entropy of the 24-word recovery phrase, from which the account's root key comes. */
  readonly rootEntropy: Uint8Array

  constructor(secrets: NodeSecrets) {
    this.nodeSeed = secrets.nodeSeed.slice()
    this.doorSecret = secrets.doorSecret.slice()
    this.dataKey = secrets.dataKey.slice()
    this.rootEntropy = secrets.rootEntropy.slice()
  }

  /** Locks: what was made from them (key objects, open databases) is its maker's to drop. */
  wipe(): void {
    wipe(this.nodeSeed, this.doorSecret, this.dataKey, this.rootEntropy)
  }

  toJSON(): string {
    return '[NodeKeys]'
  }

  [inspect.custom](): string {
    return '[NodeKeys]'
  }
}

/** Of a linked device; as silent as `NodeKeys`. */
export class DeviceKeys {
  /** 32 bytes, its own copy: encrypts what the account keeps in the store. */
  readonly dataKey: Uint8Array

  constructor(secrets: { readonly dataKey: Uint8Array }) {
    this.dataKey = secrets.dataKey.slice()
  }

  wipe(): void {
    wipe(this.dataKey)
  }

  toJSON(): string {
    return '[DeviceKeys]'
  }

  [inspect.custom](): string {
    return '[DeviceKeys]'
  }
}

/** Fresh keys; with `rootEntropy` the account of a recovery phrase on a new node. */
export function createNodeKeys(random: Random, rootEntropy?: Uint8Array): NodeKeys {
  const drawn = Array.from({ length: 4 }, () => random.bytes(32))
  const [nodeSeed, doorSecret, dataKey, entropy] = drawn as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  const keys = new NodeKeys({ nodeSeed, doorSecret, dataKey, rootEntropy: rootEntropy ?? entropy })
  wipe(...drawn)
  return keys
}

/**
 * For another process of the same household: its own place in the network, and the account, the
 * data key and the door key of ours (devices know the household by its door key). Both to be wiped.
 */
export function memberKeys(random: Random, { doorSecret, dataKey, rootEntropy }: NodeKeys): NodeKeys {
  const nodeSeed = random.bytes(32)
  const keys = new NodeKeys({ nodeSeed, doorSecret, dataKey, rootEntropy })
  wipe(nodeSeed)
  return keys
}

const magics = { node: utf8('openim-k'), device: utf8('openim-d') } as const
const magicBytes = 8
const checksumLabel = utf8('openim keys file v1')
const checksumBytes = 8
/** Far above a sealed body; a larger file is not ours. */
const fileBytesMax = 4_096

const keysCodec = struct<NodeSecrets>({
  nodeSeed: fixed(32),
  doorSecret: fixed(32),
  dataKey: fixed(32),
  rootEntropy: fixed(32),
})

const deviceKeysCodec = struct<{ readonly dataKey: Uint8Array }>({ dataKey: fixed(32) })

interface KeysFile {
  readonly magic: Uint8Array
  readonly version: 1
  readonly sealed: boolean
  readonly body: Uint8Array
}
const fileCodec = struct<KeysFile>({
  magic: fixed(magicBytes),
  version: oneOf([1], 'keys file version'),
  sealed: bool,
  body: opaque(fileBytesMax),
})

/** @param passphrase UTF-8 bytes; without it the body is in the clear */
export function encodeKeysFile(
  keys: NodeKeys | DeviceKeys,
  random: Random,
  passphrase?: Uint8Array,
): Uint8Array {
  const isNode = keys instanceof NodeKeys
  const plain = isNode ? encode(keysCodec, keys) : encode(deviceKeysCodec, keys)
  const magic = isNode ? magics.node : magics.device
  const body = passphrase === undefined ? plain : sealVault({ passphrase, plaintext: plain, random })
  const content = encode(fileCodec, { magic, version: 1, sealed: passphrase !== undefined, body })
  wipe(plain)
  const file = concat(content, checksum(content))
  wipe(content)
  return file
}

/**
 * Those of a node. @throws KEYS_CORRUPT, KEYS_SEALED (a passphrase is needed), KEYS_PASSPHRASE (it is
 * wrong), ACCOUNT_LINKED (they are a linked device's)
 */
export function decodeKeysFile(bytes: Uint8Array, passphrase?: Uint8Array): NodeKeys {
  return ofNode(decodeAnyKeys(bytes, passphrase))
}

function decodeAnyKeys(bytes: Uint8Array, passphrase?: Uint8Array): NodeKeys | DeviceKeys {
  const file = checkedFile(bytes)
  if (!file.sealed) return decodeKeys(file, file.body)
  if (passphrase === undefined) throw new OpenIMError('KEYS_SEALED', 'the keys are sealed with a passphrase')
  const opened = openVault({ passphrase, vault: file.body })
  if (!opened.ok) throw new OpenIMError('KEYS_PASSPHRASE', 'the passphrase does not open the keys')
  try {
    return decodeKeys(file, opened.value)
  } finally {
    wipe(opened.value)
  }
}

function ofNode(keys: NodeKeys | DeviceKeys): NodeKeys {
  if (keys instanceof NodeKeys) return keys
  keys.wipe()
  throw new OpenIMError('ACCOUNT_LINKED', 'this is a linked device: it has no root key')
}

function decodeKeys({ magic }: KeysFile, body: Uint8Array): NodeKeys | DeviceKeys {
  const isNode = equalBytes(magic, magics.node)
  const decoded = isNode ? tryDecode(keysCodec, body) : tryDecode(deviceKeysCodec, body)
  if (!decoded.ok) {
    throw new OpenIMError('KEYS_CORRUPT', `the keys file holds something else (${decoded.code})`)
  }
  return isNode ? new NodeKeys(decoded.value as NodeSecrets) : new DeviceKeys(decoded.value)
}

function checkedFile(bytes: Uint8Array): KeysFile {
  const content = bytes.subarray(0, Math.max(0, bytes.length - checksumBytes))
  const intact = equalBytes(checksum(content), bytes.subarray(content.length))
  const decoded = tryDecode(fileCodec, content)
  const isOurs = decoded.ok && Object.values(magics).some((magic) => equalBytes(decoded.value.magic, magic))
  if (!intact || !isOurs) {
    const why = `${bytes.length} bytes, the checksum ${intact ? 'fits' : 'does not fit'}`
    throw new OpenIMError('KEYS_CORRUPT', `the keys file is damaged (${why})`)
  }
  return decoded.value
}

function checksum(content: Uint8Array): Uint8Array {
  const labelled = concat(checksumLabel, content)
  const sum = crypto.sha256(labelled).subarray(0, checksumBytes)
  wipe(labelled)
  return sum
}

// ── On disk ─────────────────────────────────────────────────────────────────────────────────

export async function hasKeys(dataDir: string): Promise<boolean> {
  try {
    await stat(join(dataDir, dataFiles.keys))
    return true
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT' || errorCode(cause) === 'ENOTDIR') return false
    throw fileError(cause, dataDir)
  }
}

/** Whose keys these are: a node's or a linked device's. @throws KEYS_MISSING, KEYS_CORRUPT, DATA_DIR_* */
export async function keysRole(dataDir: string): Promise<'node' | 'device'> {
  return equalBytes(checkedFile(await readKeysFile(dataDir)).magic, magics.node) ? 'node' : 'device'
}

/** Whether a passphrase is needed. @throws KEYS_MISSING, KEYS_CORRUPT, DATA_DIR_ACCESS, DATA_DIR_IO */
export async function keysAreSealed(dataDir: string): Promise<boolean> {
  return checkedFile(await readKeysFile(dataDir)).sealed
}

/** Those of a node. @throws as `loadAnyKeys`, and ACCOUNT_LINKED */
export async function loadKeys(dataDir: string, passphrase?: Uint8Array): Promise<NodeKeys> {
  return ofNode(await loadAnyKeys(dataDir, passphrase))
}

/** @throws KEYS_MISSING, KEYS_CORRUPT, KEYS_SEALED, KEYS_PASSPHRASE, DATA_DIR_ACCESS, DATA_DIR_IO */
export async function loadAnyKeys(dataDir: string, passphrase?: Uint8Array): Promise<NodeKeys | DeviceKeys> {
  const bytes = await readKeysFile(dataDir)
  // A copy from another machine may have come with the wrong mode.
  await chmod(join(dataDir, dataFiles.keys), 0o600).catch(() => {})
  try {
    return decodeAnyKeys(bytes, passphrase)
  } finally {
    wipe(bytes)
  }
}

/**
 * The old file, if there was one, is overwritten before it is given up: it may be open to everybody
 * while the new one is sealed. A disk that writes elsewhere (SSD, copy on write) keeps it all the
 * same for a while. @throws STORE_FULL, DATA_DIR_ACCESS, DATA_DIR_IO
 */
export async function saveKeys(dataDir: string, keysFile: Uint8Array): Promise<void> {
  const path = join(dataDir, dataFiles.keys)
  const old = await open(path, 'r+').catch(() => undefined)
  try {
    await writeFileAtomic(path, keysFile, 0o600)
    // The new file is in place: what fails from here on is not worth failing for.
    if (old !== undefined) await blank(old).catch(() => {})
  } finally {
    await old?.close()
  }
}

async function blank(old: FileHandle): Promise<void> {
  const { size, nlink } = await old.stat()
  // Somebody keeps it under another name: then it is theirs.
  if (nlink > 0) return
  await old.write(new Uint8Array(Math.min(size, fileBytesMax)), 0)
  await old.sync()
}

async function readKeysFile(dataDir: string): Promise<Uint8Array> {
  const path = join(dataDir, dataFiles.keys)
  try {
    const buffer = await readFile(path)
    const bytes = new Uint8Array(buffer)
    wipe(buffer)
    return bytes
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT' || errorCode(cause) === 'ENOTDIR') {
      throw new OpenIMError('KEYS_MISSING', `there is no identity in ${dataDir}`)
    }
    throw fileError(cause, path)
  }
}

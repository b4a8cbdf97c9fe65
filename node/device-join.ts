/**
 * The data directory of a device that is being linked.
 *
 * ```text
 *   DIR/joining/store                  filled from the other device's package
 *   DIR/joining/store ─► DIR/store, home.json
 *   DIR/keys.bin                       last: without it nothing can be started
 * ```
 *
 * What was cut off has no keys, so it was nothing yet; the next try removes it.
 */
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { OpenIMError } from '../crypto/errors.ts'
import type { Random } from '../crypto/random.ts'
import type { DeviceSecrets } from '../protocol/client/account-state.ts'
import { Client } from '../protocol/client/client.ts'
import type { Clock } from '../protocol/ports.ts'
import { dataFiles } from './data-dir.ts'
import { writeHome } from './home-file.ts'
import type { Home } from './home-file.ts'
import { DeviceKeys, encodeKeysFile, hasKeys, saveKeys } from './keys-file.ts'
import { openNodeStore } from './node-store.ts'
import { silentLog } from './ports.ts'
import { openLevelStore } from './storage/level-store.ts'

export interface NewLinkedDevice {
  /** Made, without keys, and locked by the caller. */
  readonly dataDir: string
  readonly clock: Clock
  readonly random: Random
  readonly home: Home
  /** Of the linking: this device's own secrets, and the package of the other device. */
  readonly account: { readonly secrets: DeviceSecrets, readonly package: Uint8Array }
  readonly passphrase: Uint8Array | undefined
}

/** Refuses what a join may not touch. @throws IDENTITY_EXISTS, DATA_DIR_FOREIGN, DATA_DIR_* */
export async function checkJoinDir(dataDir: string): Promise<void> {
  if (await hasKeys(dataDir)) {
    throw new OpenIMError('IDENTITY_EXISTS', `there is already an identity in ${dataDir}`)
  }
  const isCutOff = await exists(join(dataDir, dataFiles.joining))
  if (!isCutOff && await exists(join(dataDir, dataFiles.store))) {
    throw new OpenIMError('DATA_DIR_FOREIGN', `${dataDir} holds a store without its keys; move it away`)
  }
}

/** Durable when it settles; when it fails nothing is left. @throws LINK_PACKAGE, STORE_*, DATA_DIR_* */
export async function writeLinkedDevice(input: NewLinkedDevice): Promise<void> {
  const { dataDir, random, passphrase } = input
  const keys = new DeviceKeys({ dataKey: random.bytes(32) })
  const staging = join(dataDir, dataFiles.joining)
  const store = join(dataDir, dataFiles.store)
  try {
    await sweep(dataDir)
    await mkdir(staging, { mode: 0o700 })
    await fill(input, { directory: join(staging, dataFiles.store), keys })
    await writeHome(dataDir, input.home)
    await rename(join(staging, dataFiles.store), store)
    await saveKeys(dataDir, encodeKeysFile(keys, random, passphrase))
    await rm(staging, { recursive: true, force: true })
  } catch (error) {
    if (!await hasKeys(dataDir)) await sweep(dataDir)
    throw error
  } finally {
    keys.wipe()
  }
}

async function fill(
  { account, clock, random }: NewLinkedDevice,
  { directory, keys }: { directory: string, keys: DeviceKeys },
): Promise<void> {
  const store = await openLevelStore({ directory, clock, log: silentLog })
  try {
    const { dataKey } = keys
    const { account: kv } = await openNodeStore({ store, dataKey, clock, random, log: silentLog })
    await Client.createLinked({ kv, clock, random, ...account })
  } finally {
    await store.close()
  }
}

async function sweep(dataDir: string): Promise<void> {
  for (const name of [dataFiles.store, dataFiles.home, dataFiles.joining]) {
    await rm(join(dataDir, name), { recursive: true, force: true })
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false)
}

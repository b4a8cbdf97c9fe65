/**
 * `home.json` in the data directory of a linked device: which node is its account's, and where it
 * is. No secrets. The device adds what the node says of its doors; the addresses are the person's to
 * change, too, when the node moved while the device was off:
 *
 * ```json
 * {
 *   "doorKey": "base64url, 32 bytes: the node is known by it, wherever it is",
 *   "addresses": ["tcp://192.168.1.7:4482", "wss://home.example:443"]
 * }
 * ```
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import { limits } from '../protocol/limits.ts'
import { parseDoorAddress } from './connectors/door-address.ts'
import { dataFiles, fileError, writeFileAtomic } from './data-dir.ts'

export interface Home {
  /** X25519, 32 bytes. */
  readonly doorKey: Uint8Array
  /** `tcp://HOST:PORT`, the ones to prefer first; at least one. */
  readonly addresses: readonly string[]
}

const homeSchema = v.strictObject({
  doorKey: v.pipe(v.string(), v.regex(/^[\w-]{43}$/)),
  addresses: v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(limits.homeAddressesMax)),
})

/** Each once, in order, as many as are kept. */
export function homeAddresses(addresses: readonly string[]): string[] {
  return [...new Set(addresses)].slice(0, limits.homeAddressesMax)
}

/** @throws DATA_DIR_*, STORE_FULL */
export async function writeHome(dataDir: string, home: Home): Promise<void> {
  const content = { doorKey: Buffer.from(home.doorKey).toString('base64url'), addresses: home.addresses }
  const text = `${JSON.stringify(content, undefined, 2)}\n`
  await writeFileAtomic(join(dataDir, dataFiles.home), new TextEncoder().encode(text), 0o600)
}

/** @throws HOME_FILE, DOOR_ADDRESS, DATA_DIR_* */
export async function readHome(dataDir: string): Promise<Home> {
  const path = join(dataDir, dataFiles.home)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if (errorCode(cause) === 'ENOENT') throw new OpenIMError('HOME_FILE', `${path} is missing`, { cause })
    throw fileError(cause, path)
  })
  const parsed = v.safeParse(homeSchema, parseJson(text))
  if (!parsed.success) {
    const where = v.getDotPath(parsed.issues[0]) ?? 'the whole file'
    throw new OpenIMError('HOME_FILE', `${path}: ${where}: ${parsed.issues[0].message}`)
  }
  const { doorKey, addresses } = parsed.output
  addresses.forEach(parseDoorAddress)
  return { doorKey: new Uint8Array(Buffer.from(doorKey, 'base64url')), addresses }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

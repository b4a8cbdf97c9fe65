/** The keys file: round trip, sealing, damage at every byte, and silence about what is in it. */
import { link, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import * as assert from 'uvu/assert'
import { hex, utf8 } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import {
  createNodeKeys, decodeKeysFile, DeviceKeys, encodeKeysFile, hasKeys, keysAreSealed, keysRole, loadAnyKeys,
  loadKeys, saveKeys,
} from '../../node/keys-file.ts'
import type { NodeKeys } from '../../node/keys-file.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('node/keys-file')
const random = seededRandom(7)
let dir = ''
test.before.each(async () => { dir = await mkdtemp(join(tmpdir(), 'openim-keys-')) })
test.after.each(async () => await rm(dir, { recursive: true, force: true }))

function secrets(keys: NodeKeys): string[] {
  return [keys.nodeSeed, keys.doorSecret, keys.dataKey, keys.rootEntropy].map(hex)
}

function refusal(bytes: Uint8Array, passphrase?: Uint8Array): string | undefined {
  try {
    decodeKeysFile(bytes, passphrase)
    return undefined
  } catch (error) {
    return errorCode(error)
  }
}

test('comes back as it was, with mode 0600', async () => {
  const keys = createNodeKeys(random)
  assert.is(await hasKeys(dir), false)
  await saveKeys(dir, encodeKeysFile(keys, random))
  assert.is(await hasKeys(dir), true)
  assert.is(await keysAreSealed(dir), false)
  assert.equal(secrets(await loadKeys(dir)), secrets(keys))
  assert.is((await stat(join(dir, 'keys.bin'))).mode & 0o777, 0o600)
})

test('opens with its passphrase, and with no other', () => {
  const keys = createNodeKeys(random)
  const file = encodeKeysFile(keys, random, utf8('correct horse'))
  assert.equal(secrets(decodeKeysFile(file, utf8('correct horse'))), secrets(keys))
  assert.is(refusal(file), 'KEYS_SEALED')
  assert.is(refusal(file, utf8('correct house')), 'KEYS_PASSPHRASE')
  assert.not.ok(Buffer.from(file).includes(Buffer.from(keys.nodeSeed)))
})

test('tells damage at every byte and every length', () => {
  const file = encodeKeysFile(createNodeKeys(random), random)
  for (let i = 0; i < file.length; i++) {
    const damaged = file.slice()
    damaged[i]! ^= 1
    assert.is(refusal(damaged), 'KEYS_CORRUPT', `byte ${i}`)
    assert.is(refusal(file.subarray(0, i)), 'KEYS_CORRUPT', `length ${i}`)
  }
  assert.is(refusal(new Uint8Array([...file, 0])), 'KEYS_CORRUPT')
})

test('tells a missing file from a damaged one', async () => {
  assert.is(await loadKeys(dir).catch(errorCode), 'KEYS_MISSING')
  await writeFile(join(dir, 'keys.bin'), 'hello')
  assert.is(await loadKeys(dir).catch(errorCode), 'KEYS_CORRUPT')
})

test('leaves nothing of the old file behind, unless somebody keeps it under another name', async () => {
  const keys = createNodeKeys(random)
  const path = join(dir, 'keys.bin')
  await saveKeys(dir, encodeKeysFile(keys, random))
  const old = await open(path, 'r')
  await saveKeys(dir, encodeKeysFile(keys, random, utf8('correct horse')))
  const { buffer, bytesRead } = await old.read({ buffer: Buffer.alloc(1_000), position: 0 })
  await old.close()
  assert.ok(bytesRead > 0 && buffer.subarray(0, bytesRead).every((byte) => byte === 0))
  assert.equal(await readdir(dir), ['keys.bin'])
  const sealed = await readFile(path)
  await link(path, join(dir, 'mine'))
  await saveKeys(dir, encodeKeysFile(keys, random))
  assert.equal(await readFile(join(dir, 'mine')), sealed)
})

test('forgets its keys when it is wiped', () => {
  const keys = decodeKeysFile(encodeKeysFile(createNodeKeys(random), random))
  keys.wipe()
  assert.equal(new Set(secrets(keys)), new Set(['00'.repeat(32)]))
})

test('shows no secret when printed or put into JSON', () => {
  const keys = createNodeKeys(random)
  const shown = `${inspect(keys, { depth: 9 })} ${JSON.stringify({ keys })} ${String(keys)}`
  for (const secret of secrets(keys)) assert.not.match(shown, secret)
  assert.not.match(shown, /\d+, \d+/)
})

test('a linked device keeps one key, and nobody takes it for a node', async () => {
  const keys = new DeviceKeys({ dataKey: random.bytes(32) })
  const file = encodeKeysFile(keys, random, utf8('correct horse'))
  await saveKeys(dir, file)
  assert.is(await keysRole(dir), 'device')
  const loaded = await loadAnyKeys(dir, utf8('correct horse'))
  assert.instance(loaded, DeviceKeys)
  assert.equal(loaded.dataKey, keys.dataKey)
  assert.is(refusal(file, utf8('correct horse')), 'ACCOUNT_LINKED')
  assert.is(refusal(file), 'KEYS_SEALED')
  assert.is(inspect(loaded), '[DeviceKeys]')
  await saveKeys(dir, encodeKeysFile(createNodeKeys(random), random))
  assert.is(await keysRole(dir), 'node')
})

test.run()

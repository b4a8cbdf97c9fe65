/**
 * A flipped bit in what a node keeps: twenty cases of the campaign in test/simulation/damage.test.ts,
 * and the files beside the store (keys, settings, backups), bit by bit at random.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { utf8, utf8Decode } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import { BackupReader, writeBackup } from '../../node/backup.ts'
import { parseConfig } from '../../node/config.ts'
import { createNodeKeys, decodeKeysFile, encodeKeysFile } from '../../node/keys-file.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'
import { runDamage } from '../simulation/damage.ts'

const test = suite('node/damage', { timeoutMs: 120_000 })
const random = seededRandom('damage to files')

function flipped(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice()
  changed[randomInteger(random, changed.length)]! ^= 1 << randomInteger(random, 8)
  return changed
}

test('a damaged record of the store costs what stood there', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { name, problems } = await runDamage(seed)
    assert.equal(problems, [], `seed ${seed}, ${name}`)
  }
})

test('damaged keys are refused, open or sealed, and never other keys', () => {
  const keys = createNodeKeys(random)
  for (const passphrase of [undefined, utf8('right')]) {
    const file = encodeKeysFile(keys, random, passphrase)
    for (let i = 0; i < 100; i++) {
      assert.throws(() => decodeKeysFile(flipped(file), passphrase), (error: unknown) =>
        errorCode(error) === 'KEYS_CORRUPT')
    }
  }
})

test('damaged settings are refused with a code, or are other settings', () => {
  const text = utf8('name = "alice"\nprofile = "home"\n[listen]\np2p = 4481\n[p2p]\nmdns = true\n')
  const codes = new Set<string>()
  for (let i = 0; i < 500; i++) {
    try {
      parseConfig(utf8Decode(flipped(text)), 'config.toml')
    } catch (error) {
      codes.add(errorCode(error) ?? String(error))
    }
  }
  const expected = ['BYTES_UTF8', 'CONFIG_KEY_UNKNOWN', 'CONFIG_SYNTAX', 'CONFIG_VALUE']
  assert.equal([...codes].filter((code) => !expected.includes(code)), [])
})

test('a damaged backup is refused before anything of it is used', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'openim-damage-'))
  try {
    const path = join(dir, 'backup')
    const passphrase = utf8('right')
    const store = new MemoryStore({ clock: new VirtualClock() })
    for (let i = 0; i < 50; i++) {
      await store.kv.write([{ type: 'put', key: `k${i}`, value: random.bytes(300) }])
    }
    const head = { createdAtMs: 1, keysFile: random.bytes(100), config: '' }
    await writeBackup({ path, passphrase, head, store, random })
    const good = new Uint8Array(await readFile(path))
    const verify = async (bytes: Uint8Array): Promise<string> => {
      await writeFile(path, bytes)
      const reader = await BackupReader.open(path, passphrase).catch(errorCode)
      if (!(reader instanceof BackupReader)) return reader ?? 'no code'
      try {
        return await reader.verify().then(() => 'whole', (error: unknown) => errorCode(error) ?? 'no code')
      } finally {
        await reader.close()
      }
    }
    assert.is(await verify(good), 'whole')
    // Each look costs a second of Argon2id on a slow machine.
    for (let i = 0; i < 8; i++) {
      const code = await verify(flipped(good))
      assert.ok(code === 'BACKUP_CORRUPT' || code === 'BACKUP_PASSPHRASE', code)
      assert.is(await verify(good.subarray(0, randomInteger(random, good.length))), 'BACKUP_CORRUPT')
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})

test.run()

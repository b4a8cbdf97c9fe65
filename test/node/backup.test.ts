/** A backup: everything of our own comes back, nothing of others goes along, damage is told. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { errorCode } from '../../crypto/errors.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { BackupReader, writeBackup } from '../../node/backup.ts'
import type { BackupSummary } from '../../node/backup.ts'
import type { Store } from '../../node/ports.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { StoreFiller } from '../../node/storage/store-parts.ts'
import { boxId, createEnvelope, envelopeId, expiryHour } from '../../protocol/envelope.ts'
import type { BoxId } from '../../protocol/ids.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { VirtualClock } from '../helpers/virtual-clock.ts'

const test = suite('node/backup')
const random = seededRandom('backup')
const passphrase = utf8('correct horse')
const clock = new VirtualClock()
const head = { createdAtMs: 1_700_000_000_000, keysFile: random.bytes(148), config: 'name = "alice"\n' }
const signingKeys = (): SigningKeyPair => crypto.signingKeyPair(random.bytes(32))
const ownKeys = { write: signingKeys(), read: signingKeys() }
const lentKeys = { write: signingKeys(), read: signingKeys() }
const boxLimits = { itemsMax: 100, bytesMax: 1_000_000, expiresAtMs: Infinity }

let dir = ''
let path = ''
test.before.each(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-backup-'))
  path = join(dir, 'alice.backup')
})
test.after.each(async () => await rm(dir, { recursive: true, force: true }))

async function putMail(store: Store, keys: typeof ownKeys, count: number): Promise<BoxId> {
  const box = boxId({ writeKey: keys.write.publicKey, readKey: keys.read.publicKey })
  await store.mailbox.setBox(box, boxLimits)
  for (let i = 0; i < count; i++) {
    const hour = expiryHour(clock.now() + 3_600_000 * (i + 2))
    const content = { readKey: keys.read.publicKey, expiryHour: hour, ciphertext: random.bytes(512) }
    const body = createEnvelope({ writeKeys: keys.write, ...content })
    await store.mailbox.put([{ box, id: envelopeId(body), expiresAtMs: hour * 3_600_000, body }])
  }
  return box
}

async function fullStore(): Promise<{ store: MemoryStore, own: BoxId, lent: BoxId }> {
  const store = new MemoryStore({ clock })
  for (let i = 0; i < 700; i++) {
    const key = `client/${String(i).padStart(4, '0')}`
    await store.kv.write([{ type: 'put', key, value: random.bytes(i) }])
  }
  const own = await putMail(store, ownKeys, 5)
  const lent = await putMail(store, lentKeys, 3)
  for (const key of [`lent/${lent}`, 'shelf/x', 'location/held/x', 'directory/x']) {
    await store.kv.write([{ type: 'put', key, value: random.bytes(10) }])
  }
  return { store, own, lent }
}

async function restored(): Promise<MemoryStore> {
  const store = new MemoryStore({ clock })
  const reader = await BackupReader.open(path, passphrase)
  try {
    const filler = new StoreFiller(store)
    for await (const part of reader.parts()) await filler.add(part)
    await filler.finish()
  } finally {
    await reader.close()
  }
  return store
}

test('leaves what each process of a household holds for others, and keeps what it has to send', async () => {
  const store = new MemoryStore({ clock })
  const own = await putMail(store, ownKeys, 1)
  const lent = await putMail(store, lentKeys, 1)
  const names = [`process/n1/lent/${lent}`, 'process/n1/directory/x', 'process/n2/location/held/x']
  for (const key of [...names, 'process/n2/out/x', 'client/x']) {
    await store.kv.write([{ type: 'put', key, value: random.bytes(10) }])
  }
  await writeBackup({ path, passphrase, head, store, random })
  const again = await restored()
  assert.equal((await again.kv.list({ prefix: '' })).map(({ key }) => key), ['client/x', 'process/n2/out/x'])
  assert.equal((await again.mailbox.boxes()).map(({ box }) => box), [own])
})

test('brings everything of our own back, and leaves what is held for others', async () => {
  const { store, own, lent } = await fullStore()
  const summary = await writeBackup({ path, passphrase, head, store, random })
  assert.is(summary.records, 700)
  assert.is(summary.mail, 5)
  assert.is((await stat(path)).mode & 0o777, 0o600)
  const again = await restored()
  const entries = async (of: MemoryStore): Promise<[string, Uint8Array][]> =>
    (await of.kv.list({ prefix: 'client/' })).map(({ key, value }) => [key, value])
  assert.equal(await entries(again), await entries(store))
  assert.equal((await again.kv.list({ prefix: '' })).length, 700)
  const page = { after: 0, itemsMax: 100, bytesMax: 1_000_000 }
  const mail = async (of: MemoryStore): Promise<string[]> =>
    (await of.mailbox.list(own, page)).entries.map((entry) => entry.id)
  assert.equal(await mail(again), await mail(store))
  assert.equal((await again.mailbox.boxes()).map(({ box, limits }) => [box, limits]), [[own, boxLimits]])
  assert.not.ok((await again.mailbox.boxes()).some(({ box }) => box === lent))
})

test('brings back accounts that the node hosts for others than its owner', async () => {
  const store = new MemoryStore({ clock })
  const names = ['hosted-account/xmpp.anna', 'hosted/00/account', 'hosted/00/own/x', 'hosted/01/account']
  for (const key of names) await store.kv.write([{ type: 'put', key, value: random.bytes(10) }])
  await writeBackup({ path, passphrase, head, store, random })
  assert.equal((await (await restored()).kv.list({ prefix: '' })).map(({ key }) => key), names)
})

test('gives keys and settings back as they stood', async () => {
  await writeBackup({ path, passphrase, head, store: new MemoryStore({ clock }), random })
  const reader = await BackupReader.open(path, passphrase)
  assert.equal(reader.head, head)
  await reader.close()
})

test('can be checked as a whole before it is used, and tells how far it is', async () => {
  const { store } = await fullStore()
  const written: BackupSummary[] = []
  const summary = await writeBackup({
    path, passphrase, head, store, random, onProgress: (done) => { written.push({ ...done }) },
  })
  const reader = await BackupReader.open(path, passphrase)
  const checked: BackupSummary[] = []
  const whole = await reader.verify((done) => { checked.push({ ...done }) })
  assert.equal([whole.records, whole.mail, whole.bytes], [summary.records, summary.mail, summary.bytes])
  for (const steps of [written, checked]) {
    assert.ok(steps.length > 1)
    assert.ok(steps.every(({ bytes }, i) => i === 0 || bytes > steps[i - 1]!.bytes), 'it grows')
  }
  let parts = 0
  for await (const part of reader.parts()) parts += part.records.length
  assert.is(parts, 700, 'from the first again')
  await reader.close()
})

test('opens with no other passphrase', async () => {
  await writeBackup({ path, passphrase, head, store: new MemoryStore({ clock }), random })
  assert.is(await BackupReader.open(path, utf8('correct house')).catch(errorCode), 'BACKUP_PASSPHRASE')
})

test('never overwrites a file', async () => {
  await writeFile(path, 'precious')
  const writing = writeBackup({ path, passphrase, head, store: new MemoryStore({ clock }), random })
  assert.is(await writing.catch(errorCode), 'USAGE_EXISTS')
  assert.is(await readFile(path, 'utf8'), 'precious')
})

test('leaves nothing behind when the store cannot be read', async () => {
  const { store } = await fullStore()
  await store.close()
  assert.is(await writeBackup({ path, passphrase, head, store, random }).catch(errorCode), 'STORE_CLOSED')
  assert.equal(await readdir(dir), [])
})

test('tells damage, a missing end, a swapped chunk and something added', async () => {
  const { store } = await fullStore()
  await writeBackup({ path, passphrase, head, store, random })
  const good = new Uint8Array(await readFile(path))
  const vaultEnd = 9 + 4 + new DataView(good.buffer).getUint32(9)
  const code = async (bytes: Uint8Array): Promise<unknown> => {
    await writeFile(path, bytes)
    return await restored().then(() => 'fine', errorCode)
  }
  assert.is(await code(good), 'fine')
  // One byte in each region behind the vault, and every short length around the seams.
  for (const at of [0, 8, 10, vaultEnd, vaultEnd + 3, vaultEnd + 40, good.length >> 1, good.length - 1]) {
    const damaged = good.slice()
    damaged[at]! ^= 1
    assert.is(await code(damaged), 'BACKUP_CORRUPT', `byte ${at}`)
  }
  for (const length of [0, 8, 9, 12, vaultEnd, vaultEnd + 2, vaultEnd + 60, good.length - 1]) {
    assert.is(await code(good.subarray(0, length)), 'BACKUP_CORRUPT', `length ${length}`)
  }
  const lastChunk = good.length - lastChunkBytes(good, vaultEnd)
  assert.is(await code(good.subarray(0, lastChunk)), 'BACKUP_CORRUPT')
  assert.is(await code(new Uint8Array([...good, ...good.subarray(lastChunk)])), 'BACKUP_CORRUPT')
})

function lastChunkBytes(bytes: Uint8Array, from: number): number {
  const view = new DataView(bytes.buffer)
  let at = from
  let size = 0
  while (at < bytes.length) {
    size = 4 + view.getUint32(at)
    at += size
  }
  return size
}

test.run()

/**
 * A node with a passphrase, after real traffic, as a thief of its disk finds it: no file under its
 * data directory, no row of a database, and no line of its log holds a secret, a message or a
 * contact's name. The same search over an unsealed node finds them, or it would show nothing.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import { systemRandom } from '../../crypto/random.ts'
import { recoveryPhrase } from '../../crypto/recovery.ts'
import { loadKeys } from '../../node/keys-file.ts'
import type { NodeKeys } from '../../node/keys-file.ts'
import { openNodeStore } from '../../node/node-store.ts'
import { silentLog } from '../../node/ports.ts'
import { LevelDatabase } from '../../node/storage/level-database.ts'
import { openLevelStore } from '../../node/storage/level-store.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('scenes/sealed at rest', { timeoutMs: 180_000 })

const passphrase = 'correct horse battery staple'
const contactName = 'Bartholomew Quarterstaff'
const texts = ['the treasure lies below the third oak', 'and this one waits for a node that is off']
const answer = 'somebody else may dig it up'
/** Shorter values are counters and marks. */
const recordBytesMin = 24

let dir = ''
const nodes: CliNode[] = []
test.before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'openim-at-rest-'))
  await writeFile(join(dir, 'passphrase'), `${passphrase}\n`)
})
test.after(async () => {
  await Promise.all(nodes.map((node) => node.remove()))
  await rm(dir, { recursive: true, force: true })
})

function must<R extends { code: number | null, stderr: string }>(result: R): R {
  assert.is(result.code, 0, result.stderr)
  return result
}

/** What the disk must not show, by what it is. */
type Secrets = Map<string, Buffer>

function addForms(secrets: Secrets, name: string, bytes: Uint8Array): void {
  const raw = Buffer.from(bytes)
  secrets.set(name, raw)
  secrets.set(`${name} as hex`, Buffer.from(raw.toString('hex')))
  const whole = raw.toString('base64').slice(0, Math.floor(raw.length / 3) * 4)
  secrets.set(`${name} as base64`, Buffer.from(whole))
}

async function secretsOf(keys: NodeKeys, dataDir: string): Promise<Secrets> {
  const secrets: Secrets = new Map()
  const { nodeSeed, doorSecret, dataKey, rootEntropy } = keys
  for (const [name, bytes] of Object.entries({ nodeSeed, doorSecret, dataKey, rootEntropy })) {
    addForms(secrets, name, bytes)
  }
  for (const text of [...texts, answer, contactName, passphrase]) secrets.set(text, Buffer.from(utf8(text)))
  secrets.set('recovery words', Buffer.from(recoveryPhrase(rootEntropy).split(' ').slice(0, 4).join(' ')))
  await withStore(dataDir, async (store) => {
    const system = { clock: systemClock, random: systemRandom, log: silentLog }
    const opened = await openNodeStore({ ...system, store, dataKey })
    for (const [where, kv] of [['account', opened.account], ['room', opened.store.kv]] as const) {
      const prefixes = where === 'account' ? [''] : ['home/', 'out/', 'account/', 'own-shelf/']
      for (const prefix of prefixes) {
        for await (const { key, value } of kvEntries(kv, prefix)) {
          // Envelopes are sealed for their receivers, and lie at their replicas, too.
          if (value.length < recordBytesMin || key.startsWith('body/')) continue
          secrets.set(`${where} ${key}`, Buffer.from(value))
        }
      }
    }
  })
  return secrets
}

type LevelStore = Awaited<ReturnType<typeof openLevelStore>>

async function withStore<T>(dataDir: string, work: (store: LevelStore) => Promise<T>): Promise<T> {
  const directory = join(dataDir, 'store')
  const store = await openLevelStore({ directory, clock: systemClock, log: silentLog })
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

/** Names of the secrets that some file, or some row of a database (files may be packed), holds. */
async function foundIn(dataDir: string, secrets: Secrets): Promise<string[]> {
  const found = new Set<string>()
  const look = (haystack: Buffer): void => {
    for (const [name, secret] of secrets) if (haystack.includes(secret)) found.add(name)
  }
  const files = await readdir(dataDir, { recursive: true, withFileTypes: true })
  for (const file of files) {
    // Zeros that hold a place on the disk.
    if (!file.isFile() || file.name === 'ballast') continue
    look(await readFile(join(file.parentPath, file.name)))
  }
  for (const location of [join(dataDir, 'store', 'level'), join(dataDir, 'peers')]) {
    const writeBufferBytes = 4 * 1024 * 1024
    const database = await LevelDatabase.open({ location, createIfMissing: false, writeBufferBytes })
    const rows = await database.read((handle) => handle.iterator({ keyEncoding: 'view' }).all())
    for (const [key, value] of rows) look(Buffer.concat([key as unknown as Uint8Array, value as Uint8Array]))
    await database.close()
  }
  return [...found]
}

/** Two who talk, and one text that still waits; the first is stopped at the end. */
async function talk(alice: CliNode, start: readonly string[]): Promise<void> {
  const bob = await CliNode.init('bob')
  nodes.push(alice, bob)
  const { p2p } = await bob.start()
  await alice.start([p2p[0]!], [...start, '--log-level', 'debug'])
  const { json: { uri } } = must(await bob.run(['invite']))
  must(await alice.run(['add', String(uri), '--name', contactName]))
  const isActive = async (node: CliNode): Promise<true | undefined> => {
    const { contacts } = must(await node.run(['contacts'])).json as { contacts: { state: string }[] }
    return contacts.length === 1 && contacts[0]!.state === 'active' ? true : undefined
  }
  await eventually(() => isActive(alice), { withinMs: 60_000, what: 'the invite is answered' })
  must(await alice.run(['send', contactName, texts[0]!, '--wait', 'delivered', '--timeout', '60s']))
  must(await bob.run(['send', alice.name, answer, '--wait', 'delivered', '--timeout', '60s']))
  await bob.stop()
  must(await alice.run(['send', contactName, texts[1]!, '--wait', 'queued']))
  assert.is(await alice.stop(), 0)
}

test('a sealed node shows no secret in its files, its databases and its log', async () => {
  const file = join(dir, 'passphrase')
  const alice = await CliNode.init('alice', ['--passphrase-file', file])
  await talk(alice, ['--passphrase-file', file])
  const secrets = await secretsOf(await loadKeys(alice.dataDir, utf8(passphrase)), alice.dataDir)
  assert.ok([...secrets.keys()].some((name) => name.startsWith('account session/')))
  assert.ok([...secrets.keys()].some((name) => name.startsWith('room home/')))
  assert.equal(await foundIn(alice.dataDir, secrets), [])
  const log = Buffer.from(alice.stderr)
  assert.ok(log.length > 100, 'the log says something')
  assert.equal([...secrets].filter(([, secret]) => log.includes(secret)).map(([name]) => name), [])
})

test('the same search finds the keys of a node without a passphrase', async () => {
  const carol = await CliNode.init('carol')
  await talk(carol, [])
  const secrets = await secretsOf(await loadKeys(carol.dataDir), carol.dataDir)
  const found = await foundIn(carol.dataDir, secrets)
  assert.equal(found.sort(), ['dataKey', 'doorSecret', 'nodeSeed', 'rootEntropy'])
})

test.run()

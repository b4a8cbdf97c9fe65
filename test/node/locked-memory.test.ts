/**
 * Locked keys leave nothing behind: neither a heap snapshot nor the memory of the process, read
 * from outside, holds a secret any more, in bytes, hex or base64. While the keys are open the same
 * search finds them, or it would show nothing.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { createNodeKeys, encodeKeysFile, saveKeys } from '../../node/keys-file.ts'
import { suite } from '../helpers/harness.ts'
import { systemRandom } from '../../crypto/random.ts'

const test = suite('node/locked-memory', { timeoutMs: 120_000 })
const childPath = new URL('./locked-child.ts', import.meta.url).pathname
const passphrase = 'correct horse battery staple, seventeen times'
/** magic, version, sealed, length of the body (2 bytes), then the vault's own header. */
const vaultAt = 8 + 1 + 1 + 2
const saltAt = vaultAt + 1 + 4 + 1 + 1

let dir = ''
test.before.each(async () => { dir = await mkdtemp(join(tmpdir(), 'openim-locked-')) })
test.after.each(async () => await rm(dir, { recursive: true, force: true }))

/** Each secret in each form that it might lie in. */
function forms(secrets: Readonly<Record<string, Uint8Array>>): Map<string, Buffer> {
  const needles = new Map<string, Buffer>()
  for (const [name, secret] of Object.entries(secrets)) {
    const bytes = Buffer.from(secret)
    needles.set(`${name} raw`, bytes)
    needles.set(`${name} hex`, Buffer.from(bytes.toString('hex')))
    // Whatever stands around it: a third of the alignments would be another text.
    needles.set(`${name} base64`, Buffer.from(bytes.toString('base64').slice(0, 40)))
    needles.set(`${name} UTF-16`, Buffer.from(bytes.toString('hex'), 'utf16le'))
  }
  return needles
}

function found(haystack: Buffer, needles: ReadonlyMap<string, Buffer>): string[] {
  return [...needles].flatMap(([name, needle]) => (haystack.includes(needle) ? [name] : []))
}

/** Everything a process can write to, as proc(5) shows it. */
function searchMemory(pid: number, needles: ReadonlyMap<string, Buffer>): string[] {
  const hits = new Set<string>()
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const region = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line)
      if (region === null) continue
      const [start, end] = [BigInt(`0x${region[1]}`), BigInt(`0x${region[2]}`)]
      for (const hit of searchRegion(memory, { start, end }, needles)) hits.add(hit)
    }
  } finally {
    closeSync(memory)
  }
  return [...hits]
}

const stepBytes = 8 * 1024 * 1024
const overlapBytes = 256

function searchRegion(
  memory: number,
  { start, end }: { start: bigint, end: bigint },
  needles: ReadonlyMap<string, Buffer>,
): string[] {
  const hits: string[] = []
  const buffer = Buffer.alloc(stepBytes + overlapBytes)
  for (let at = start; at < end; at += BigInt(stepBytes)) {
    const length = Number(end - at < BigInt(buffer.length) ? end - at : BigInt(buffer.length))
    try {
      const bytes = readSync(memory, buffer, 0, length, at)
      hits.push(...found(buffer.subarray(0, bytes), needles))
    } catch {
      // Pages that the kernel does not give out hold nothing of ours.
    }
  }
  return hits
}

function canReadMemory(): boolean {
  try {
    closeSync(openSync(`/proc/${process.pid}/mem`, 'r'))
    return true
  } catch {
    return false
  }
}

async function start(): Promise<{ child: ChildProcess, said(word: string): Promise<void>, next(): void }> {
  const child = spawn(process.execPath, ['--expose-gc', childPath, dir, join(dir, 'passphrase')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return {
    child,
    async said(word) {
      assert.is((await lines.next()).value, word)
    },
    next: () => { child.stdin!.write('go on\n') },
  }
}

test.skipUnless(process.platform === 'linux' && canReadMemory(), 'needs /proc/PID/mem')(
  'holds no secret in heap or memory once the keys are locked',
  async () => {
    const keys = createNodeKeys(systemRandom)
    const file = encodeKeysFile(keys, systemRandom, utf8(passphrase))
    await saveKeys(dir, file)
    await writeFile(join(dir, 'passphrase'), `${passphrase}\n`)
    const salt = file.subarray(saltAt, saltAt + 16)
    const kek = crypto.argon2id({ password: utf8(passphrase), salt, memoryKiB: 65_536, passes: 3, lanes: 1 })
    const { nodeSeed, doorSecret, dataKey, rootEntropy } = keys
    const own = { nodeSeed, doorSecret, dataKey, rootEntropy }
    const needles = forms({ ...own, passphrase: utf8(passphrase), kek })

    const { child, said, next } = await start()
    try {
      await said('open')
      const open = searchMemory(child.pid!, needles)
      for (const name of [...Object.keys(own), 'passphrase']) assert.ok(open.includes(`${name} raw`), name)
      next()
      await said('locked')
      assert.equal(searchMemory(child.pid!, needles), [], 'in the memory of the process')
      assert.equal(found(await readFile(join(dir, 'heap')), needles), [], 'in the heap snapshot')
      next()
      await once(child, 'close')
    } finally {
      child.kill('SIGKILL')
    }
  },
)

test.run()

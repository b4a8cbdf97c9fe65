/**
 * A file of 100 MB between real nodes: its sender's node is killed in the middle and goes on by
 * itself, then goes off for good; the receiver fetches it from the nodes that lend room, is killed
 * in the middle, too, and has every byte in the end. Memory stays bounded on both sides.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { FileStatus } from '../../protocol/client/api.ts'
import { CliNode, eventually } from '../helpers/cli-node.ts'
import { suite } from '../helpers/harness.ts'
import { seededRandom } from '../helpers/seeded-random.ts'

const test = suite('scenes/large file', { timeoutMs: 600_000 })
const fileBytes = 100_000_000
const chunkBytes = 1_000_000
const lenders = 5
const growthMax = 64 * 1024 * 1024

let nodes: CliNode[] = []

test.after(async () => {
  await Promise.all(nodes.map((node) => node.remove()))
})

/** Seeded, written a chunk at a time; gives its SHA-256. */
async function makeFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  const chunk = seededRandom('large file').bytes(chunkBytes)
  const out = createWriteStream(path)
  for (let at = 0; at < fileBytes; at += chunkBytes) {
    new DataView(chunk.buffer).setUint32(0, at)
    hash.update(chunk)
    if (!out.write(Buffer.from(chunk))) await once(out, 'drain')
  }
  out.end()
  await once(out, 'close')
  return hash.digest('hex')
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** How far the memory of a node rises above what it has now, at rest; also across its restarts. */
class MemoryWatch {
  readonly #node: CliNode
  readonly #timer
  #restBytes: number
  #isPaused = false
  growth = 0

  constructor(node: CliNode) {
    this.#node = node
    this.#restBytes = residentBytes(node)!
    this.#timer = setInterval(() => {
      if (this.#isPaused) return
      this.growth = Math.max(this.growth, (residentBytes(node) ?? 0) - this.#restBytes)
    }, 50)
  }

  /** While no process is there, or one only begins. */
  pause(): void {
    this.#isPaused = true
  }

  /** A process that has just begun is larger than one that has rested. */
  restarted(): void {
    this.#isPaused = false
    this.#restBytes = Math.max(this.#restBytes, residentBytes(this.#node)!)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

function residentBytes(node: CliNode): number | undefined {
  try {
    const status = readFileSync(`/proc/${node.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1_024
  } catch {
    return undefined
  }
}

async function fileOf(node: CliNode): Promise<FileStatus | undefined> {
  const control = await node.control().catch(() => undefined)
  try {
    return (await control?.call('files', {}))?.[0]
  } finally {
    control?.close()
  }
}

async function until(
  node: CliNode,
  wanted: (file: FileStatus) => boolean,
  what: string,
): Promise<FileStatus> {
  return await eventually(async () => {
    const file = await fileOf(node)
    return file !== undefined && wanted(file) ? file : undefined
  }, { withinMs: 300_000, what })
}

test.skipUnless(process.platform === 'linux', 'memory is read from /proc')(
  '100 MB come through with both sides killed in the middle', async () => {
    const names = ['alice', 'bob', ...Array.from({ length: lenders }, (_, i) => `lender${i}`)]
    nodes = await Promise.all(names.map((name) => CliNode.init(name)))
    const [alice, bob, ...others] = nodes as [CliNode, CliNode, ...CliNode[]]
    const bootstrap: string[] = []
    for (const node of [...others, alice, bob]) {
      const ready = await node.start(bootstrap)
      if (bootstrap.length < 2) bootstrap.push(ready.p2p[0]!)
    }
    const path = join(alice.dataDir, '../large.bin')
    const digest = await makeFile(path)
    const invite = await alice.run(['invite'])
    assert.is((await bob.run(['add', invite.json['uri'] as string, '--name', 'alice'])).code, 0)
    const hello = await bob.run(['send', 'alice', 'hello', '--wait', 'delivered', '--timeout', '60s'])
    assert.is(hello.code, 0, hello.stderr)

    // Up: killed in the middle, goes on by itself.
    const sending = new MemoryWatch(alice)
    const control = await alice.control()
    const begunMs = performance.now()
    const { id } = await control.call('sendFile', { contact: 'bob', path })
    control.close()
    await until(alice, ({ done }) => done > fileBytes / 3, 'a third is at enough holders')
    await alice.kill()
    sending.pause()
    await alice.start(bootstrap)
    sending.restarted()
    const sent = await until(alice, ({ state }) => state === 'sent', 'it is sent')
    const sentMs = performance.now() - begunMs
    assert.ok(sent.stored!.have >= 3, JSON.stringify(sent.stored))
    sending.stop()
    await until(bob, ({ state }) => state === 'offered', 'it is offered')
    assert.is(await alice.stop(), 0, alice.stderr)

    // Down: from the lenders, killed in the middle.
    const target = join(bob.dataDir, '../received.bin')
    const receiving = new MemoryWatch(bob)
    const savedFromMs = performance.now()
    const again = await bob.control()
    await again.call('saveFile', { id, path: target })
    again.close()
    await until(bob, ({ done }) => done > fileBytes / 3, 'a third is here')
    await bob.kill()
    receiving.pause()
    await bob.start(bootstrap)
    receiving.restarted()
    await until(bob, ({ state }) => state === 'saved', 'it is saved')
    const savedMs = performance.now() - savedFromMs
    receiving.stop()
    assert.is(await hashOf(target), digest)
    assert.is((await stat(target)).mode & 0o777, 0o600)

    const rate = (ms: number): string => `${(fileBytes / 1_000 / ms).toFixed(1)} MB/s`
    const grown = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(0)} MiB`
    console.log(`up ${rate(sentMs)} to 3 of ${lenders} and home, memory +${grown(sending.growth)}; ` +
      `down ${rate(savedMs)}, memory +${grown(receiving.growth)}; both with a restart`)
    assert.ok(sending.growth < growthMax, `the sender grew by ${grown(sending.growth)}`)
    assert.ok(receiving.growth < growthMax, `the receiver grew by ${grown(receiving.growth)}`)
  },
)

test.run()

/**
 * A disk without room: the commands say so in one line and leave nothing half-done. The disk is a
 * small tmpfs, so it needs root on Linux; elsewhere the same code is reached by the store's tests.
 */
import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { runCli } from '../helpers/cli-node.ts'

const mayMount = process.platform === 'linux' && process.getuid?.() === 0 && canMount()
const test = suite('cli/full-disk', { timeoutMs: 60_000 })
const withDisk = test.skipUnless(mayMount, 'mounting a tmpfs needs root', { allowInCI: true })

function canMount(): boolean {
  const { status } = spawnSync('unshare', ['--mount', 'true'])
  return status === 0
}

let disk = ''
test.before.each(async () => {
  disk = await mkdtemp(join(tmpdir(), 'openim-disk-'))
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk])
})
test.after.each(async () => {
  spawnSync('umount', [disk])
  await rm(disk, { recursive: true, force: true })
})

/** Takes all room that is left, to the last block. */
async function fill(): Promise<void> {
  await writeFile(join(disk, 'lost+found'), Buffer.alloc(1024 * 1024)).catch(() => {})
}

function isOneLineAndHint(stderr: string): void {
  assert.match(stderr, /^openim: no room left on the disk of [^\n]+\nMake room on that disk[^\n]+\n$/)
}

withDisk('init says so and leaves no identity behind', async () => {
  await fill()
  const { code, stderr, stdout } = await runCli(['init', '--name', 'alice', '--data', disk])
  assert.is(code, 3)
  assert.is(stdout, '')
  isOneLineAndHint(stderr)
  const left = (await readdir(disk)).filter((name) => name !== 'lost+found')
  assert.equal(left, [])
})

withDisk('init works once there is room', async () => {
  await fill()
  await runCli(['init', '--name', 'alice', '--data', disk])
  await rm(join(disk, 'lost+found'))
  assert.is((await runCli(['init', '--name', 'alice', '--data', disk])).code, 0)
})

withDisk('start says so, and starts once there is room', async () => {
  assert.is((await runCli(['init', '--name', 'alice', '--data', disk])).code, 0)
  await fill()
  const { code, stderr } = await runCli(['start', '--data', disk, '--p2p-listen', '/ip4/127.0.0.1/tcp/0'])
  assert.is(code, 3, stderr)
  assert.match(stderr, /^openim: .*\n[^\n]+\n$/)
  assert.match(stderr, /room|full|disk/)
})

withDisk('a backup onto it leaves no half file', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'openim-disk-src-'))
  try {
    const data = join(dir, 'data')
    await runCli(['init', '--name', 'alice', '--data', data])
    await writeFile(join(dir, 'pass'), 'secret\n')
    await fill()
    const target = join(disk, 'alice.backup')
    const args = ['--data', data, '--passphrase-file', join(dir, 'pass')]
    const { code, stderr } = await runCli(['backup', 'create', target, ...args])
    assert.is(code, 3)
    isOneLineAndHint(stderr)
    assert.not.ok((await readdir(disk)).includes('alice.backup'))
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})

test.run()

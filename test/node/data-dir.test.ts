/** The data directory: closed to others, used by one node, written whole or not at all. */
import { spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { errorCode } from '../../crypto/errors.ts'
import { dataFiles, ensureDataDir, lockDataDir, runningPid, writeFileAtomic } from '../../node/data-dir.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('node/data-dir')
let dir = ''
test.before.each(async () => { dir = await mkdtemp(join(tmpdir(), 'openim-data-')) })
test.after.each(async () => await rm(dir, { recursive: true, force: true }))

async function codeOf(work: () => Promise<unknown>): Promise<string | undefined> {
  return await work().then(() => undefined, errorCode)
}

test('makes the directory with all its parents, closed to others', async () => {
  const path = join(dir, 'a', 'b')
  await ensureDataDir(path)
  assert.is((await stat(path)).mode & 0o777, 0o700)
})

test('closes a directory that was open', async () => {
  await chmod(dir, 0o755)
  await ensureDataDir(dir)
  assert.is((await stat(dir)).mode & 0o777, 0o700)
})

test('refuses a directory with files of somebody else, and leaves its mode alone', async () => {
  await chmod(dir, 0o755)
  await writeFile(join(dir, 'thesis.doc'), '')
  assert.is(await codeOf(() => ensureDataDir(dir)), 'DATA_DIR_FOREIGN')
  assert.is((await stat(dir)).mode & 0o777, 0o755)
})

test('refuses a path that is a file', async () => {
  const path = join(dir, 'file')
  await writeFile(path, '')
  assert.is(await codeOf(() => ensureDataDir(path)), 'DATA_DIR_IO')
})

test('is locked by one node at a time', async () => {
  const lock = await lockDataDir(dir)
  assert.is(await codeOf(() => lockDataDir(dir)), 'DATA_DIR_IN_USE')
  assert.is(await runningPid(dir), process.pid)
  await lock.release()
  await lock.release()
  assert.is(await runningPid(dir), undefined)
  await (await lockDataDir(dir)).release()
  assert.equal(await readdir(dir), [])
})

test('takes over from a process that is gone', async () => {
  const { pid } = spawnSync(process.execPath, ['-e', '0'])
  await writeFile(join(dir, dataFiles.lock), JSON.stringify({ pid, startedTicks: '1' }))
  await (await lockDataDir(dir)).release()
})

test('takes over when the pid was given to another process since', async () => {
  await writeFile(join(dir, dataFiles.lock), JSON.stringify({ pid: process.pid, startedTicks: '1' }))
  await (await lockDataDir(dir)).release()
})

test('takes over from a lock that is damaged', async () => {
  for (const text of ['', '{', 'null', '[]', '{"pid":-1}', '{"pid":"x"}']) {
    await writeFile(join(dir, dataFiles.lock), text)
    await (await lockDataDir(dir)).release()
  }
})

test('lets exactly one of many win', async () => {
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockDataDir(dir)))
  const won = results.filter((result) => result.status === 'fulfilled')
  assert.is(won.length, 1)
  await won[0]!.value.release()
})

test('removes keys that a cut-off write left lying about, once it is locked', async () => {
  const names = ['keys.bin', 'keys.bin.tmp-0a1b', 'config.toml.tmp-0a1b']
  for (const name of names) await writeFile(join(dir, name), '')
  const lock = await lockDataDir(dir)
  assert.equal((await readdir(dir)).sort(), ['config.toml.tmp-0a1b', 'keys.bin', 'node.lock'])
  await lock.release()
})

test('replaces a file whole and leaves nothing beside it', async () => {
  const path = join(dir, 'file')
  await writeFileAtomic(path, Buffer.from('one'), 0o600)
  await writeFileAtomic(path, Buffer.from('two'), 0o600)
  assert.is(await readFile(path, 'utf8'), 'two')
  assert.is((await stat(path)).mode & 0o777, 0o600)
  assert.equal(await readdir(dir), ['file'])
})

test('leaves the old file when the new one cannot be put in place', async () => {
  await mkdir(join(dir, 'taken', 'by'), { recursive: true })
  assert.is(await codeOf(() => writeFileAtomic(join(dir, 'taken'), Buffer.from('x'), 0o600)), 'DATA_DIR_IO')
  assert.equal(await readdir(dir), ['taken'])
})

test.run()

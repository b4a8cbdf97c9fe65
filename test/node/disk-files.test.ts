/** Files on the disk as sources and sinks of transfers: what is refused, and what is never done. */
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { utf8 } from '../../crypto/bytes.ts'
import type { MessageId } from '../../protocol/ids.ts'
import { diskFiles, openSink, openSource, sinkPlace } from '../../node/disk-files.ts'
import { rejection } from '../compliance/store-subject.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('node/disk files')
const id = 'ab'.repeat(16) as MessageId
const isRoot = process.getuid?.() === 0
let folder = ''

test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'openim-files-'))
})

test.after.each(async () => {
  await rm(folder, { recursive: true })
})

const at = (name: string): string => join(folder, name)
const place = (name: string, overwrite = false) => sinkPlace(at(name), { id, overwrite })

test('reads a file from anywhere, and less at its end', async () => {
  await writeFile(at('a'), 'hello world')
  const source = await openSource(at('a'))
  assert.is(source.size, 11)
  assert.equal(await source.read(6, 5), utf8('world'))
  assert.equal(await source.read(6, 50), utf8('world'))
  assert.equal(await source.read(50, 5), utf8(''))
  await source.close()
})

test('refuses what is no file before anything starts', async () => {
  await mkdir(at('folder'))
  assert.is(await rejection(openSource(at('missing'))), 'FILE_PATH')
  assert.is(await rejection(openSource(at('folder'))), 'FILE_KIND')
  assert.is(await rejection(openSource('/dev/null')), 'FILE_KIND')
  assert.is(await rejection(openSource('relative')), 'FILE_PATH')
  assert.is(await rejection(openSink(place('folder'))), 'FILE_KIND')
  assert.is(await rejection(openSink(place('missing/a'))), 'FILE_PATH')
  assert.is(await rejection(openSink(place('a'), Number.MAX_SAFE_INTEGER)), 'STORE_FULL')
  assert.equal(await readdir(folder), ['folder'])
})

const asPerson = test.skipUnless(!isRoot, 'root may read everything', { allowInCI: true })
asPerson('says when it may not', async () => {
  await writeFile(at('secret'), 'x')
  await chmod(at('secret'), 0)
  assert.is(await rejection(openSource(at('secret'))), 'FILE_ACCESS')
})

test('writes beside the final place, which appears when all is there, and is not executable', async () => {
  const { sink } = await openSink(place('a.txt'))
  assert.ok(sink.isFresh)
  await sink.write(6, utf8('world'))
  await sink.write(0, utf8('hello '))
  await sink.sync()
  assert.equal(await sink.read(0, 11), utf8('hello world'))
  assert.equal(await readdir(folder), ['.a.txt.abababab.openim-part'])
  assert.is(await sink.finish(), at('a.txt'))
  await sink.close()
  assert.equal(await readdir(folder), ['a.txt'])
  assert.is(await readFile(at('a.txt'), 'utf8'), 'hello world')
  assert.is((await stat(at('a.txt'))).mode & 0o777, 0o600)
})

test('never writes over a file, also not over one that came meanwhile, unless told to', async () => {
  await writeFile(at('a.txt'), 'mine')
  assert.is(await rejection(openSink(place('a.txt'))), 'FILE_EXISTS')
  const { sink } = await openSink(place('b.txt'))
  await sink.write(0, utf8('theirs'))
  await writeFile(at('b.txt'), 'mine')
  assert.is(await sink.finish(), at('b-2.txt'))
  const forced = await openSink(place('a.txt', true))
  await forced.sink.write(0, utf8('theirs'))
  assert.is(await readFile(at('a.txt'), 'utf8'), 'mine', 'not before it is whole')
  await forced.sink.finish()
  assert.is(await readFile(at('a.txt'), 'utf8'), 'theirs')
  assert.is(await readFile(at('b.txt'), 'utf8'), 'mine')
  assert.is(await readFile(at('b-2.txt'), 'utf8'), 'theirs')
  assert.equal((await readdir(folder)).sort(), ['a.txt', 'b-2.txt', 'b.txt'])
})

test('goes on after a restart, or begins anew when what was there is gone', async () => {
  const { sink, ref } = await openSink(place('a'))
  await sink.write(0, utf8('first'))
  await sink.close()
  const again = await diskFiles.sink(ref, 'resume')
  assert.not(again.isFresh)
  await again.write(5, utf8(' half'))
  await again.discard()
  assert.equal(await readdir(folder), [])
  const fresh = await diskFiles.sink(ref, 'resume')
  assert.ok(fresh.isFresh)
  await fresh.discard()
})

test('a crash between checking and naming costs nothing, before or after the name', async () => {
  const { sink, ref } = await openSink(place('a'))
  await sink.write(0, utf8('whole'))
  await sink.close()
  for (let i = 0; i < 2; i++) {
    assert.is(await (await diskFiles.sink(ref, 'finish')).finish(), at('a'))
    assert.is(await readFile(at('a'), 'utf8'), 'whole')
  }
  assert.equal(await readdir(folder), ['a'])
})

test('follows no link that lies where the part is to be written', async () => {
  await writeFile(at('victim'), 'mine')
  await symlink(at('victim'), place('a').part)
  const { sink } = await openSink(place('a'))
  await sink.write(0, utf8('theirs'))
  await sink.finish()
  assert.is(await readFile(at('victim'), 'utf8'), 'mine')
})

test.run()

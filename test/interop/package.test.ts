/**
 * The package as another project has it (.ci/emit.ts): installed below `node_modules`, imported
 * by its names, type-checked by a stranger's settings and run by Node.
 */
import { spawnSync } from 'node:child_process'
import { mkdtemp, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'

const test = suite('interop/package', { timeoutMs: 120_000 })
const root = resolve(import.meta.dirname, '../..')
let project = ''

const program = `
import { errorTable, isLinked, linkDevice, memoryKv, OpenIMError, openDevice } from 'openim/client'
import type { Client, ClientEvent, KvStore } from 'openim/client'
import { openDeviceStore, TCPDialer } from 'openim/client/node'

const kv: KvStore = memoryKv()
const store = await openDeviceStore({ directory: 'store' })
const compare = async (): Promise<boolean> => false
const codes: string[] = []
const note = (error: unknown): void => {
  codes.push(error instanceof OpenIMError ? error.code : String(error))
}
await linkDevice({ kv, code: 'openim-link:nonsense', name: 'outsider', compare }).catch(note)
await openDevice({ kv: store.kv }).then((client: Client) => client.on((_event: ClientEvent) => {}), note)
const known = codes.every((code) => code in errorTable)
console.log(JSON.stringify({ linked: await isLinked(store.kv), codes, known, dialer: TCPDialer.name }))
await store.close()
`

/** What the checkout installed, and the emitted package beside it. */
test.before(async () => {
  project = await mkdtemp(join(tmpdir(), 'openim-package-'))
  const modules = join(project, 'node_modules')
  await mkdir(modules)
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) await symlink(join(root, 'node_modules', name), join(modules, name))
  }
  const args = [join(root, '.ci/emit.ts'), join(modules, 'openim')]
  const emitted = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.is(emitted.status, 0, emitted.stdout + emitted.stderr)
  await writeFile(join(project, 'package.json'), '{"type":"module","private":true}\n')
  await writeFile(join(project, 'program.ts'), program)
})
test.after(() => rm(project, { recursive: true, force: true }))

test('its types say what it has to a project with settings of its own', () => {
  const tsc = join(root, 'node_modules/.bin/tsc')
  const args = [
    '--noEmit', '--strict', '--skipLibCheck', 'false', '--module', 'nodenext', '--types', 'node',
    '--target', 'es2024', '--lib', 'es2024,esnext.disposable,dom,dom.iterable', '--pretty', 'false',
    'program.ts',
  ]
  const checked = spawnSync(tsc, args, { cwd: project, encoding: 'utf8' })
  const ours = checked.stdout.split('\n').filter((line) => /^(program|node_modules\/openim\/)/.test(line))
  assert.equal(ours, [])
})

test('it runs, and refuses by code', () => {
  const ran = spawnSync(process.execPath, ['program.ts'], { cwd: project, encoding: 'utf8' })
  assert.is(ran.status, 0, ran.stderr)
  const { linked, codes, known, dialer } = JSON.parse(ran.stdout) as Record<string, unknown>
  assert.equal({ linked, known, dialer }, { linked: false, known: true, dialer: 'TCPDialer' })
  assert.equal(codes, ['LINK_CODE_FORM', 'ACCOUNT_MISSING'])
})

test('its command line answers', () => {
  const openim = join(project, 'node_modules/openim/cli/openim.js')
  const ran = spawnSync(process.execPath, [openim, '--help'], { encoding: 'utf8' })
  assert.is(ran.status, 0, ran.stderr)
  assert.match(ran.stdout, /openim start/)
})

test.run()

/**
 * Shows that the tests of ../attacks/ prove something: without the defence that it is about
 * (mutations.ts), a test must fail, and it alone must be what is red. Each runs in a process of its
 * own over changed source text; the tree is not touched.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import type { TestEvent } from '../../helpers/harness.ts'
import type { Mutant } from './mutant.ts'
import { mutations } from './mutations.ts'

const test = suite('crypto/mutations', { timeoutMs: 120_000 })

const root = resolve(import.meta.dirname, '../../..')
const folder = mkdtempSync(join(tmpdir(), 'openim-mutations-'))

test.after(() => rmSync(folder, { recursive: true, force: true }))

/** Failures of one file of attacks, over the changed source; `undefined`: it did not run to its end. */
async function failures(file: string, mutant: Mutant | null): Promise<string[] | undefined> {
  const report = join(folder, `${file}.jsonl`)
  rmSync(report, { force: true })
  const preload = join(root, 'test/crypto/mutations/mutant.ts')
  const path = join(root, `test/crypto/attacks/${file}.test.ts`)
  const child = spawn(process.execPath, ['--import', preload, path], {
    cwd: root,
    stdio: 'ignore',
    env: { ...process.env, OPENIM_TEST_REPORT: report, OPENIM_MUTANT: JSON.stringify(mutant) },
  })
  await new Promise((done) => { child.once('exit', done) })
  if (!existsSync(report)) return undefined
  const events = readFileSync(report, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as TestEvent)
  if (events.at(-1)?.event !== 'finished') return undefined
  return events.flatMap((event) => (event.event === 'failed' ? [event.text] : []))
}

test('an attack test is green in a process over the source as it is', async () => {
  assert.equal(await failures('rollback', null), [])
})

for (const { defence, suite: file, test: name, ...mutant } of mutations) {
  test(`is noticed when it is missing: ${defence}`, async () => {
    const found = readFileSync(join(root, mutant.file), 'utf8').split(mutant.from).length - 1
    assert.is(found, 1, `its text stands ${found} times in ${mutant.file}: move the mutation with the code`)
    const failed = await failures(file, mutant)
    assert.ok(failed !== undefined, `${file}.test.ts did not run to its end`)
    const red = failed.map((text) => text.split('\n')[0]).join(', ')
    assert.ok(red.includes(`"${name}"`), `"${name}" stays green; red is: ${red || 'nothing'}`)
  })
}

test.run()

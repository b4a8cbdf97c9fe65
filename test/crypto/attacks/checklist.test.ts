/** Holds checklist.ts and the tests that it names together, in both directions. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { checklist } from './checklist.ts'

const test = suite('crypto/attacks/checklist')
const testFolder = resolve(import.meta.dirname, '../..')

/** Names of the tests of a file; what a template fills in is `*`. */
function namesIn(file: string): string[] {
  const path = join(testFolder, `${file}.test.ts`)
  if (!existsSync(path)) return []
  const call = /(?:^|\s|\))(?:test)?\(\s*('(?:[^'\\]|\\.)*'|`[^`]*`), (?:async )?\(/g
  return [...readFileSync(path, 'utf8').matchAll(call)].map(([, quoted]) =>
    quoted!.slice(1, -1).replace(/\\'/g, '\'').replace(/\$\{[^}]*\}/g, '*'))
}

test('every test that the checklist names is there', () => {
  for (const { number, tests } of checklist) {
    for (const [file, names] of Object.entries(tests)) {
      const found = namesIn(file)
      for (const name of names) assert.ok(found.includes(name), `${number}: ${file} has no "${name}"`)
    }
  }
})

test('every attack test is in the checklist', () => {
  const listed = checklist.flatMap(({ tests }) => Object.entries(tests)
    .flatMap(([file, names]) => names.map((name) => `${file}: ${name}`)))
  for (const path of globSync('*.test.ts', { cwd: import.meta.dirname })) {
    const name = basename(path, '.test.ts')
    if (name === 'checklist') continue
    const file = `crypto/attacks/${name}`
    const found = namesIn(file)
    assert.ok(found.length > 0, `${file} has tests`)
    for (const one of found) {
      assert.ok(listed.includes(`${file}: ${one}`), `"${one}" of ${file} is not listed`)
    }
  }
  assert.is(new Set(listed).size, listed.length, 'each once')
})

test.run()

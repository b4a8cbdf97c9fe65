/** Holds faults-table.ts and the tests that it names together, and its rows and its picture. */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { backends, faults } from './faults-table.ts'

const test = suite('node/storage/faults-table')
const testFolder = resolve(import.meta.dirname, '../..')

/** A suite of a port has no `.test` in its name: it is run for each database. */
function textOf(file: string): string {
  const path = ['.test.ts', '.ts'].map((end) => join(testFolder, file + end)).find(existsSync)
  assert.ok(path !== undefined, `there is no ${file}`)
  return readFileSync(path!, 'utf8')
}

test('every test that the table names is there', () => {
  for (const { number, on } of faults) {
    for (const tests of Object.values(on)) {
      for (const [file, names] of Object.entries(tests)) {
        const text = textOf(file)
        for (const name of names) {
          assert.ok(text.includes(`'${name}'`), `${number}: ${file} has no "${name}"`)
        }
      }
    }
  }
})

test('the picture says of each fault and database what the rows do', () => {
  const picture = readFileSync(join(import.meta.dirname, 'faults-table.ts'), 'utf8')
  const rows = [...picture.matchAll(/^ \* \| (\d+) \| [^|]+ \| (.) \| (.) \| (.) \| (.) \|$/gm)]
  assert.equal(rows.map(([, number]) => Number(number)), faults.map(({ number }) => number))
  for (const [i, [, number, ...marks]] of rows.entries()) {
    for (const [at, backend] of backends.entries()) {
      const isTested = marks[at] === '✓' || marks[at] === 'S'
      assert.is(faults[i]!.on[backend] !== undefined, isTested, `${number} on ${backend}`)
    }
  }
})

test.run()

/**
 * Node strips types without looking at them; this is where they are checked, so that one command
 * and one count cover everything.
 */
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { suite } from './helpers/harness.ts'

const root = resolve(import.meta.dirname, '..')
const test = suite('types', { timeoutMs: 120_000 })

test('all sources and tests type-check', () => {
  const tsc = resolve(root, 'node_modules/.bin/tsc')
  const { status, stdout, stderr } = spawnSync(tsc, ['--pretty', 'false'], { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new Error(`tsc finds errors:\n${stdout}${stderr}`)
})

test.run()

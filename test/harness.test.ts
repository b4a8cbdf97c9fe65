/**
 * The harness and the runner hold what they promise: each way in which a test file could end green
 * by accident is planted in a file of its own and must be caught, with a message that names it.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as assert from 'uvu/assert'
import { suite } from './helpers/harness.ts'

const root = resolve(import.meta.dirname, '..')
const harness = pathToFileURL(join(root, 'test/helpers/harness.ts')).href
const test = suite('harness', { timeoutMs: 60_000 })

let folder = ''
test.before(() => { folder = mkdtempSync(join(tmpdir(), 'openim-harness-')) })
test.after(() => { rmSync(folder, { recursive: true, force: true }) })

interface Outcome {
  readonly code: number | null
  readonly output: string
  readonly closingLine: string
}

/** Runs files with these bodies through the runner; `suite` is in scope. */
function run(options: { ci?: boolean }, ...bodies: readonly string[]): Outcome {
  const paths = bodies.map((body, i) => {
    const path = join(folder, `planted-${i}.test.ts`)
    writeFileSync(path, `import { suite } from '${harness}'\n${body}\n`)
    return path
  })
  const { CI: _, OPENIM_TEST_REPORT: __, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'test/run.ts'), ...paths], {
    cwd: folder,
    encoding: 'utf8',
    env: options.ci ? { ...env, CI: 'true' } : env,
  })
  return { code: status, output: stdout + stderr, closingLine: stdout.trimEnd().split('\n').at(-1)! }
}

function fails(body: string, message: RegExp, options: { ci?: boolean } = {}): void {
  const outcome = run(options, body)
  assert.is(outcome.code, 1, outcome.output)
  assert.match(outcome.output, message)
  assert.match(outcome.closingLine, /^\d+ passed, [1-9]\d* failed(, \d+ skipped)?$/)
}

test('counts what passed, over several files, in the closing line', () => {
  const outcome = run(
    {},
    `const test = suite('a'); test('one', () => {}); test('two', async () => {}); test.run()`,
    `const test = suite('b'); test('three', () => {}); test.run()
     const next = suite('c'); next('four', () => {}); next.run()`,
  )
  assert.is(outcome.code, 0, outcome.output)
  assert.is(outcome.closingLine, '4 passed, 0 failed')
})

test('runs hooks around every test, and after hooks in reverse', () => {
  const outcome = run({}, `
    const seen: string[] = []
    const test = suite('order')
    test.before(() => { seen.push('before') })
    test.before.each(() => { seen.push('each') })
    test.after.each(() => { seen.push('done') })
    test.after(() => {
      if (seen.join() !== 'before,each,1,done,each,2,done,second') throw new Error(seen.join())
    })
    test.after(() => { seen.push('second') })
    test('1', () => { seen.push('1') })
    test('2', () => { seen.push('2') })
    test.run()`)
  assert.is(outcome.code, 0, outcome.output)
})

test('fails a failing test with its name, the difference and the place', () => {
  fails(`
    import * as assert from '${import.meta.resolve('uvu/assert')}'
    const test = suite('s'); test('adds up', () => { assert.is(1 + 1, 3) })
    test.run()`, /"adds up"[\s\S]*planted-0\.test\.ts:4/)
})

test('tells an error whose details are an object, and goes on with the next test', () => {
  const body = `
    const test = suite('s')
    test('refused', () => {
      throw Object.assign(new Error('no room'), { code: 'STORE_FULL', details: { bytes: 7 } })
    })
    test('next', () => {})
    test.run()`
  fails(body, /STORE_FULL: no room \{"bytes":7\}/)
  assert.is(run({}, body).closingLine, '1 passed, 1 failed')
})

test('fails a file that forgets test.run()', () => {
  fails(`const test = suite('s'); test('x', () => {})`, /s did not run; end the file with test\.run\(\)/)
})

test('fails a file that runs one suite and forgets the other', () => {
  fails(`
    const a = suite('first'); a('x', () => {}); a.run()
    const b = suite('second'); b('x', () => {})`, /second did not run/)
})

test('fails a file without a suite, and a suite without tests', () => {
  fails('void suite', /ran no suite/)
  fails(`suite('s').run()`, /holds no tests/)
})

test('fails when before throws, and says that the tests did not run', () => {
  fails(`
    const test = suite('s')
    test.before(() => { throw new Error('no database') })
    test('x', () => {}); test.run()`, /"before"[\s\S]*no database/)
})

test('fails when before.each, after.each or after throws', () => {
  for (const hook of ['before.each', 'after.each', 'after']) {
    fails(`
      const test = suite('s')
      test.${hook}(() => { throw new Error('hook broke') })
      test('x', () => {}); test.run()`, /hook broke/)
  }
})

test('has no only: a stray one fails the file', () => {
  fails(`
    const test = suite('s'); test('x', () => {})
    ;(test as any).only('y', () => {}); test.run()`, /there is no test\.only/)
})

test('refuses a test that is registered after run', () => {
  fails(`
    const test = suite('s'); test('x', () => {}); test.run()
    test('y', () => {})`, /"y" comes after test\.run\(\)/)
})

test('names a test that never settles, and goes on with the next', () => {
  fails(`
    const test = suite('s', { timeoutMs: 100 })
    test('waits for ever', () => new Promise(() => {}))
    test('next', () => {}); test.run()`, /"waits for ever"[\s\S]*more than 100 ms/)
})

test('fails a hook that never settles', () => {
  fails(`
    const test = suite('s', { timeoutMs: 100 })
    test.after(() => new Promise(() => {}))
    test('x', () => {}); test.run()`, /after took more than 100 ms/)
})

test('names a server, a timer and a child process left open, and does not hang', () => {
  fails(`
    import { createServer } from 'node:net'
    const test = suite('s'); test('x', () => { createServer().listen(0, '127.0.0.1') })
    test.run()`, /left open: TCPServerWrap.*127\.0\.0\.1/)
  fails(`
    const test = suite('s'); test('x', () => { setTimeout(() => {}, 60_000) })
    test.run()`, /left open: Timeout/)
  fails(`
    import { spawn } from 'node:child_process'
    const test = suite('s'); test('x', () => { spawn('sleep', ['60'], { stdio: 'ignore' }) })
    test.run()`, /child process sleep/)
})

test('accepts what closes shortly after the suite', () => {
  const outcome = run({}, `
    const test = suite('s'); test('x', () => { setTimeout(() => {}, 200) }); test.run()`)
  assert.is(outcome.code, 0, outcome.output)
})

test('ends and names processes that outlive their file', () => {
  fails(`
    import { spawn } from 'node:child_process'
    const test = suite('s')
    test('x', () => { spawn('sleep', ['60'], { stdio: 'ignore' }).unref() })
    test.run()`, /left processes running/)
})

test('names the test under way when the process crashes or exits', () => {
  fails(`
    const test = suite('s')
    test('crashes', () => new Promise(() => { setTimeout(() => { throw new Error('out of nowhere') }, 1) }))
    test.run()`, /during "crashes" of s[\s\S]*out of nowhere/)
  fails(`
    const test = suite('s'); test('exits', () => { process.exit(0) })
    test.run()`, /during "exits" of s/)
})

test('tells the failures of a suite that did not come to its end', () => {
  fails(`
    const test = suite('s')
    test('fails first', () => { throw new Error('the first failure') })
    test('exits', () => { process.exit(0) })
    test.run()`, /the first failure[\s\S]*during "exits" of s/)
})

test('fails an unhandled rejection', () => {
  fails(`
    const test = suite('s')
    test('x', async () => {
      void Promise.reject(new Error('nobody cares'))
      await new Promise((r) => setTimeout(r, 20))
    })
    test.run()`, /nobody cares/)
})

test('counts a skip and says why', () => {
  const outcome = run({}, `
    const test = suite('s'); test('x', () => {})
    test.skipUnless(false, 'prosody is not installed')('talks to prosody', () => {})
    test.skipUnless(true, 'node is not installed')('talks to node', () => {})
    test.run()`)
  assert.is(outcome.code, 0, outcome.output)
  assert.match(outcome.output, /SKIPPED s: "talks to prosody": prosody is not installed/)
  assert.is(outcome.closingLine, '2 passed, 0 failed, 1 skipped')
})

test('takes a skip in CI for an error unless it is marked', () => {
  const body = (options: string): string => `
    const test = suite('s'); test('x', () => {})
    test.skip('no phone here'${options})('rings', () => {}); test.run()`
  fails(body(''), /skipped in CI: "rings": no phone here/, { ci: true })
  const outcome = run({ ci: true }, body(', { allowInCI: true }'))
  assert.is(outcome.code, 0, outcome.output)
  assert.is(outcome.closingLine, '1 passed, 0 failed, 1 skipped')
})

test('fails when no test ran at all', () => {
  const outcome = run({})
  assert.is(outcome.code, 1)
  assert.is(outcome.closingLine, '0 passed, 0 failed')
})

test.run()

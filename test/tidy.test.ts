/**
 * Holds the rules of the code base (test/helpers/tidy-shape.ts and tidy-form.ts) on the real tree,
 * and shows on planted trees that each rule fires where it should and only there.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from './helpers/harness.ts'
import { blank, readSourceTree, sourceTree } from './helpers/source-tree.ts'
import { formatFinding } from './helpers/tidy-findings.ts'
import { formRules, functions } from './helpers/tidy-form.ts'
import { homes, shapeRules } from './helpers/tidy-shape.ts'

const rules = [...shapeRules, ...formRules]
const root = resolve(import.meta.dirname, '..')

// ── The real tree ───────────────────────────────────────────────────────────────────────────

const tidy = suite('tidy')
const tree = readSourceTree(root)

for (const rule of rules) {
  tidy(`the tree ${rule.name}`, () => {
    const findings = rule.check(tree)
    if (findings.length === 0) return
    throw new Error([`${findings.length} findings:`, ...findings.map(formatFinding)].join('\n'))
  })
}

tidy('every exception is still needed', () => {
  for (const { path } of homes) {
    assert.ok(existsSync(resolve(root, path)), `${path} is gone; delete its row from homes`)
  }
})

tidy.run()

// ── Planted trees ───────────────────────────────────────────────────────────────────────────

const planted = suite('tidy rules')
const header = '/** A planted file with a header comment that is long enough. */\n'

/** All findings over files that get a header, as `file:line problem; cure`. */
function findings(files: Record<string, string>): string[] {
  const planted: Record<string, string> = {}
  for (const [path, text] of Object.entries(files)) {
    planted[path] = path.endsWith('.ts') ? header + text : text
  }
  return rules.flatMap((rule) => rule.check(sourceTree(planted)).map(formatFinding))
}

function finds(files: Record<string, string>, ...patterns: readonly RegExp[]): void {
  const found = findings(files)
  assert.is(found.length, patterns.length, `expected ${patterns.length} findings, got:\n${found.join('\n')}`)
  for (const [i, pattern] of patterns.entries()) assert.match(found[i]!, pattern)
}

planted('a clean tree has no findings', () => {
  finds({
    'crypto/a.ts': 'export const a = 1\n',
    'protocol/b.ts': 'import { a } from \'../crypto/a.ts\'\nexport const b = a\n',
    'node/ports.ts': 'export interface P {}\n',
    'node/x/c.ts': 'import type { P } from \'../ports.ts\'\nimport { readFile } from \'node:fs\'\n',
    'node/openim-node.ts': 'import \'./x/c.ts\'\n',
    'cli/d.ts': 'import \'../node/openim-node.ts\'\nimport { Command } from \'commander\'\n',
  })
})

planted('an import upwards, of any kind', () => {
  for (const statement of [
    'import { x } from \'../node/x.ts\'',
    'import type { x } from \'../node/x.ts\'',
    'import \'../node/x.ts\'',
    'export { x } from \'../node/x.ts\'',
    'export * from \'../node/x.ts\'',
    'const x = await import(\'../node/x.ts\')',
    'type X = import(\'../node/x.ts\').X',
    'import {\n  x,\n} from \'../node/x.ts\'',
  ]) {
    finds({ 'protocol/a.ts': statement }, /^protocol\/a\.ts:[24] imports node\/x\.ts from a higher layer/)
  }
  finds({ 'cli/a.ts': 'import \'../test/run.ts\'' }, /imports test\/run\.ts from a higher layer/)
})

planted('imports in comments, strings and templates are none', () => {
  finds({
    'protocol/a.ts': [
      '// import \'../node/x.ts\'',
      '/* import \'../node/x.ts\' */',
      'const s = "import \'../node/x.ts\'"',
      'const t = `import \'../node/x.ts\' ${1 + 1} import \'../node/y.ts\'`',
      'const r = /import \'..\\/node\'/',
    ].join('\n'),
  })
})

planted('rooms that import each other, or climb out of node/', () => {
  finds({ 'node/a/x.ts': 'import \'../b/y.ts\'' }, /node\/a imports node\/b\/y\.ts/)
  finds({ 'node/a/x.ts': 'import \'../config.ts\'' }, /node\/a imports node\/config\.ts/)
  finds({ 'bridges/xmpp/x.ts': 'import \'../mqtt/y.ts\'' }, /bridges\/xmpp imports bridges\/mqtt\/y\.ts/)
})

planted('a cycle, also of types', () => {
  finds({
    'crypto/a.ts': 'import type { B } from \'./b.ts\'',
    'crypto/b.ts': 'import { c } from \'./c.ts\'',
    'crypto/c.ts': 'import type { A } from \'./a.ts\'',
  }, /^crypto\/c\.ts:2 closes the cycle crypto\/a\.ts → crypto\/b\.ts → crypto\/c\.ts → crypto\/a\.ts/)
})

planted('a package away from home, unknown, undeclared or unpinned', () => {
  finds({ 'node/router/a.ts': 'import { createLibp2p } from \'libp2p\'' }, /whose home is node\/overlay/)
  finds({ 'node/router/a.ts': 'import type { X } from \'@libp2p/interface\'' }, /whose home is node\/overlay/)
  finds({ 'node/overlay/a.ts': 'import { Level } from \'level\'' }, /whose home is node\/storage/)
  finds({ 'node/storage/a.ts': 'import { L } from \'datastore-level\'' }, /whose home is node\/overlay/)
  finds({ 'node/a.ts': 'import { Command } from \'commander\'' }, /whose home is cli/)
  finds({ 'cli/a.ts': 'import x from \'lodash\'' }, /whose home is nowhere yet/)
  finds({ 'cli/a.ts': 'import fs from \'fs\'' }, /whose home is nowhere yet/)
  finds(
    {
      'package.json': '{\n"dependencies": {\n"uqr": "^0.1.3" } }',
      'cli/a.ts': 'import \'commander\'\nimport \'uqr\'',
    },
    /^cli\/a\.ts:2 imports commander, which package\.json does not list/,
    /^package\.json:3 uqr has the version range \^0\.1\.3/,
  )
})

planted('a package under a licence that would bind ours, anywhere but in a benchmark', () => {
  const text = 'import { x } from \'@signalapp/libsignal-client\''
  for (const path of ['cli/a.ts', 'crypto/a.ts', 'test/a.ts']) {
    finds({ [path]: text }, /whose licence would bind ours/)
  }
  finds({ 'test/bench/a.ts': text })
})

planted('time, timers, randomness and subtle crypto past their ports', () => {
  for (const use of [
    'Date.now()', 'new Date()', 'performance.now()', 'setTimeout(f, 1)', 'globalThis.setInterval(f)',
    'setImmediate(f)', 'AbortSignal.timeout(5)', 'process.nextTick(f)', 'Math.random()', 'randomUUID()',
    'crypto.subtle.digest(x)',
  ]) {
    finds({ 'node/a.ts': `const a = 1\nf(${use})` }, /^node\/a\.ts:3 uses .*; use /)
  }
  finds({ 'test/a.ts': 'Math.random()' }, /uses Math\.random.*seededRandom/)
  finds({
    'node/a.ts': 'queueMicrotask(f); new Date(5); clearTimeout(t) // Date.now()\nconst s = \'Math.random()\'',
    'protocol/system-clock.ts': 'Date.now(); performance.now(); setTimeout(f, 1)',
    'crypto/random.ts': 'globalThis.crypto.getRandomValues(x)',
  })
})

planted('Node built-ins in the layers that run in browsers', () => {
  finds({ 'crypto/a.ts': 'import { createHash } from \'node:crypto\'' }, /imports node:crypto/)
  finds({ 'protocol/a.ts': 'Buffer.from(x)' }, /uses Buffer/)
  finds({ 'protocol/a.ts': 'f(process.env)' }, /uses process/)
  finds({ 'crypto/provider-node.ts': 'import \'node:crypto\'\nconst b = Buffer.from(x)' })
  finds({ 'protocol/a.ts': 'o.process()\nfunction g(o: { process: 1 }) {}' })
  finds({ 'node/a.ts': 'import \'../crypto/provider-node.ts\'' }, /import \{ crypto \} from crypto/)
})

planted('a missing or empty header', () => {
  const check = (text: string): number => {
    const tree = sourceTree({ 'cli/a.ts': text })
    return rules.flatMap((rule) => rule.check(tree)).length
  }
  assert.is(check('export const a = 1\n'), 1)
  assert.is(check('/** */\nexport const a = 1\n'), 1)
  assert.is(check('// A line comment is no header, however long it may be.\n'), 1)
  assert.is(check(`#!/usr/bin/env node\n${header}`), 0)
})

planted('long files, functions and lines', () => {
  finds({ 'cli/a.ts': 'f()\n'.repeat(500) }, /has 501 lines/)
  finds({ 'cli/a.ts': `f('${'x'.repeat(110)}')` }, /^cli\/a\.ts:2 a line of 115 columns/)
  const body = '  f()\n'.repeat(69)
  const starts = ['function f(a: number): P<void> {', 'const f = async (a) => {', '{\n  #f<T>(a: T): T {']
  for (const start of starts) {
    finds({ 'cli/a.ts': `${start}\n${body}}\n` }, /a function of 71 lines/)
  }
  finds({ 'cli/a.ts': `const table = {\n${'  a: 1,\n'.repeat(100)}}\nif (table) {\n${body}f()\n}\n` })
})

planted('default exports and underscore or keyword privacy', () => {
  finds({ 'cli/a.ts': 'export default class A {}' }, /has a default export/)
  finds({ 'cli/a.ts': 'this._x = 1' }, /uses this\._x/)
  finds({ 'cli/a.ts': 'class A {\n  private x = 1\n}' }, /uses private x/)
  finds({ 'cli/a.ts': 'class A {\n  private constructor() {}\n}' })
})

planted('leftovers and paths of a machine, in sources and documents', () => {
  finds({ 'cli/a.ts': '// TODO: later' }, /cli\/a\.ts:2 holds TODO/)
  finds({ 'cli/a.ts': 'console.log(1)' }, /holds console\.log/)
  finds({ 'cli/a.ts': 'debugger' }, /holds debugger/)
  finds({ 'README.md': 'see\n/root/x and ~/work and a/work/b' }, /README\.md:2 holds \/root/)
  finds({ 'docs/a.md': 'FIXME' }, /docs\/a\.md:1 holds FIXME/)
})

planted('tests that would not run', () => {
  const start = 'import { suite } from \'../helpers/harness.ts\'\nconst test = suite(\'x\')\n'
  finds({ 'test/cli/a.test.ts': `${start}test.run()` })
  finds({ 'test/cli/a.test.ts': start }, /test\/cli\/a\.test\.ts:3 never calls test\.run\(\)/)
  finds({ 'test/cli/a.test.ts': `${start}test.only(1)\ntest.run()` }, /holds test\.only/)
  finds(
    { 'test/cli/a.test.ts': `import { test } from 'uvu'\ntest.run()` },
    /does not import the harness/,
    /imports uvu/,
  )
  finds({ 'test/misc/a.ts': '' }, /mirrors no source folder/)
})

planted('the scanner keeps lines and lengths, and sees through nesting', () => {
  const pairs = [
    ['const a = `x${f({ b: \'}\' })}y` // c', 'const a = ` ${f({ b: \' \' })} `     '],
    ['const d = e / f / g', 'const d = e / f / g'],
    ['const r = /[/]\'"/.test(s)', 'const r = /     /.test(s)'],
    ['/* * / */ h("\\"")', '          h("  ")'],
    ['a // no end', 'a          '],
  ] as const
  for (const [text, code] of pairs) assert.is(blank(text), code)
  assert.is(blank(pairs.map(([text]) => text).join('\n')), pairs.map(([, code]) => code).join('\n'))
  const found = functions('f(() => {\n})\nif (a) {\n}\nfor (;;) {\n}\nx = {\n}\n')
  assert.equal(found, [{ line: 1, length: 2 }])
})

planted.run()

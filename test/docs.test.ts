/**
 * What people read says what the code does: error codes are the same in the table, in
 * docs/errors.md and in the sources; code blocks type-check; links lead somewhere.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { errorTable } from '../protocol/errors.ts'
import { suite } from './helpers/harness.ts'
import { lineAt, readSourceTree } from './helpers/source-tree.ts'
import type { SourceFile } from './helpers/source-tree.ts'
import { product } from './helpers/tidy-findings.ts'

const root = resolve(import.meta.dirname, '..')
const tree = readSourceTree(root)
const pages = [...tree.documents].filter(([path]) => path.endsWith('.md'))
const test = suite('docs', { timeoutMs: 60_000 })

// ── Error codes ─────────────────────────────────────────────────────────────────────────────

/** Look like codes and are none of ours: the environment, Node, LevelDB, XMPP's forms, kad-dht's events. */
const notOurs =
  /^(?:OPENIM|XDG|NO_COLOR|ERR|LEVEL|UV)_|^NO_COLOR$|^(?:FORM_TYPE|FIND_NODE|FINAL_PEER|PEER_RESPONSE)$/
const codePattern = /(['"`])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\1/g

interface Use {
  readonly code: string
  readonly place: string
}

/** String literals of the product that are error codes; comments do not count. */
function codesUsed(): Use[] {
  const files = [...tree.sources.values()].filter(({ path }) =>
    product.includes(path.split('/')[0]!) && path !== 'protocol/errors.ts')
  return files.flatMap(codesIn)
}

function codesIn({ path, text, code }: SourceFile): Use[] {
  return [...text.matchAll(codePattern)]
    .filter((match) => code[match.index] === match[1] && !notOurs.test(match[2]!))
    .map((match) => ({ code: match[2]!, place: `${path}:${lineAt(text, match.index + 1)}` }))
}

/** cli/outcomes.ts says what to do about a code; its keys are codes. */
function hints(): Use[] {
  const file = tree.sources.get('cli/outcomes.ts')
  if (file === undefined) return []
  const { path, text, code } = file
  return [...code.matchAll(/^ {2}([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+): \{/gm)]
    .map((match) => ({ code: match[1]!, place: `${path}:${lineAt(text, match.index + 1)}` }))
}

const errorsPage = tree.documents.get('docs/errors.md') ?? ''
const documented = new Map(
  [...errorsPage.matchAll(/^\| `([A-Z0-9_]+)` \| (\w+) \| (.*?) \| (.*?) \|$/gm)]
    .map(([, code, blame, meaning, cure]) => [code!, { blame, meaning, cure }]),
)

test('every code that the sources use is in the table', () => {
  const missing = [...codesUsed(), ...hints()].filter(({ code }) => !Object.hasOwn(errorTable, code))
  const lines = [...new Set(missing.map(({ code, place }) => `${place} uses ${code}`))]
  assert.equal(lines, [], 'add a row to protocol/errors.ts and one to docs/errors.md')
})

test('every code of the table is used', () => {
  const used = new Set(codesUsed().map(({ code }) => code))
  const unused = Object.keys(errorTable).filter((code) => !used.has(code))
  assert.equal(unused, [], 'delete them from protocol/errors.ts and docs/errors.md')
})

test('docs/errors.md and the table say the same, in both directions', () => {
  type Row = { readonly blame: string | undefined, readonly meaning: string | undefined }
  const rows = (entries: Iterable<[string, Row]>): string[] =>
    [...entries].map(([code, { blame, meaning }]) => `${code} ${blame} ${meaning}`).sort()
  assert.equal(rows(documented), rows(Object.entries(errorTable)))
})

test('every code has a cure, or says that nothing is to be done', () => {
  const without = [...documented].filter(([, { cure }]) => cure === undefined || cure.trim() === '')
  assert.equal(without.map(([code]) => code), [])
})

// ── Code blocks ─────────────────────────────────────────────────────────────────────────────

test('the ts blocks of all pages type-check', () => {
  const blocks = pages.flatMap(([path, text]) => {
    const page = path.replaceAll(/\W+/g, '-')
    return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)]
      .map((match) => ({ name: `${page}-line-${lineAt(text, match.index + 1)}`, body: match[1]! }))
  })
  if (blocks.length === 0) return
  // Inside the checkout, so that the blocks may import the package by its name.
  mkdirSync(join(root, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tmp', 'docs-'))
  try {
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
      extends: '../../tsconfig.json',
      compilerOptions: { noUnusedLocals: false },
      include: ['*.ts'],
    }))
    for (const { name, body } of blocks) writeFileSync(join(folder, `${name}.ts`), `${body}\nexport {}\n`)
    const tsc = join(root, 'node_modules/.bin/tsc')
    const args = ['-p', folder, '--pretty', 'false']
    const { status, stdout } = spawnSync(tsc, args, { cwd: folder, encoding: 'utf8' })
    assert.is(status, 0, stdout)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

// ── Links ───────────────────────────────────────────────────────────────────────────────────

/** As GitHub makes anchors of headings. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1]!.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}

test('every link between pages leads to a file and, with #, to a heading', () => {
  const broken: string[] = []
  for (const [path, text] of pages) {
    for (const match of text.matchAll(/\]\((?!\w+:)([^)\s]*)\)/g)) {
      const [file = '', anchor] = match[1]!.split('#')
      const target = file === '' ? path : join(dirname(path), file)
      const found = existsSync(join(root, target))
        && (anchor === undefined || anchors(tree.documents.get(target) ?? '').includes(anchor))
      if (!found) broken.push(`${path}:${lineAt(text, match.index + 1)} → ${match[1]}`)
    }
  }
  assert.equal(broken, [])
})

test.run()

/**
 * Rules about the form of single files: headers, sizes, privacy, leftovers, and that tests run.
 */
import { lineAt } from './source-tree.ts'
import type { SourceFile, SourceTree } from './source-tree.ts'
import { eachDocument, eachSource, inFolder, matches, product, textMatches } from './tidy-findings.ts'
import type { Finding, Remark, Rule } from './tidy-findings.ts'

// ── Form ────────────────────────────────────────────────────────────────────────────────────

const fileLinesMax = 500
const functionLinesMax = 70
const columnsMax = 110
const headerLettersMin = 30

const headerComments: Rule = {
  name: 'opens every file with a comment that says what it is',
  check: (tree) => eachSource(tree, ({ path, text }) => {
    const body = /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\//.exec(text)?.[1]
    if (body !== undefined && body.replace(/[\s*]/g, '').length >= headerLettersMin) return []
    return [{
      file: path,
      line: 1,
      problem: 'has no header comment',
      cure: 'open with /** … */: what it is, its place, the specification it follows',
    }]
  }),
}

const sizes: Rule = {
  name: `keeps files within ${fileLinesMax} lines and lines within ${columnsMax} columns`,
  check: (tree) => eachSource(tree, ({ path, text }) => {
    const lines = text.trimEnd().split('\n')
    const findings: Finding[] = []
    if (lines.length > fileLinesMax) {
      const problem = `has ${lines.length} lines, the limit is ${fileLinesMax}`
      findings.push({ file: path, line: fileLinesMax, problem, cure: 'split it by nouns' })
    }
    for (const [i, line] of lines.entries()) {
      if (line.length <= columnsMax) continue
      const problem = `a line of ${line.length} columns, the limit is ${columnsMax}`
      findings.push({ file: path, line: i + 1, problem, cure: 'wrap it' })
    }
    return findings
  }),
}

/** Tests tell stories and register many tests in one function; there the rule would only hurt. */
const functionSizes: Rule = {
  name: `keeps functions of the product within ${functionLinesMax} lines`,
  check: (tree) => eachSource(tree, ({ path, code }) => inFolder(path, [...product, 'test/helpers'])
    ? functions(code).filter(({ length }) => length > functionLinesMax).map(({ line, length }) => ({
        file: path,
        line,
        problem: `a function of ${length} lines, the limit is ${functionLinesMax}`,
        cure: 'keep the control flow here and move the leaves out',
      }))
    : []),
}

const controlWords = new Set(['if', 'for', 'while', 'switch', 'catch', 'with', 'await'])

/** Bodies of functions, approximately: a `{` behind `=>`, or behind `)` without a control word. */
export function functions(code: string): { readonly line: number, readonly length: number }[] {
  const found: { line: number, length: number }[] = []
  const braces: (number | undefined)[] = []
  const parentheses: number[] = []
  let opened = 0
  for (let at = 0; at < code.length; at++) {
    const character = code[at]
    if (character === '(') parentheses.push(at)
    else if (character === ')') opened = parentheses.pop() ?? 0
    else if (character === '{') braces.push(isFunctionBody(code, at, opened) ? at : undefined)
    else if (character === '}') {
      const start = braces.pop()
      if (start === undefined) continue
      const line = lineAt(code, start)
      found.push({ line, length: lineAt(code, at) - line + 1 })
    }
  }
  return found
}

/** @param opened where the parenthesis that closed last was opened */
function isFunctionBody(code: string, at: number, opened: number): boolean {
  const before = code.slice(Math.max(0, at - 200), at).trimEnd()
  if (before.endsWith('=>')) return true
  const returnType = /\)\s*(?::[^;{}()=]*)?$/
  if (!returnType.test(before)) return false
  const word = /([\w$#]+)\s*(?:<[^()]*>)?\s*$/.exec(code.slice(Math.max(0, opened - 100), opened))?.[1]
  return word === undefined || !controlWords.has(word)
}

/** A private constructor has no `#` form. */
const keywordPrivacy = /\bthis\._\w+|(?<=\n\s+)(?:private|protected|public)\s+(?!constructor)\w+/g

const namedExports: Rule = {
  name: 'exports by name, and hides with #private',
  check: (tree) => eachSource(tree, (file) => [
    ...matches(file, /\bexport\s+default\b|\bexport\s*\{[^}]*\bas\s+default\b/g, () => ({
      problem: 'has a default export', cure: 'export it by name',
    })),
    ...matches(file, keywordPrivacy, (found) => ({ problem: `uses ${found}`, cure: 'use a #private field' })),
  ]),
}

const leftovers: Rule = {
  name: 'holds no leftovers',
  check: (tree) => [
    ...eachSource(tree, (file) => [
      ...textMatches(file.path, file.text, /\b(?:TODO|FIXME|XXX|HACK)\b/g, leftoverCure),
      ...matches(file, /\bdebugger\b/g, leftover),
      ...(inFolder(file.path, product) ? matches(file, /\bconsole\.\w+/g, leftover) : []),
    ]).filter(({ file }) => !ruleFiles.includes(file)),
    ...eachDocument(tree, (path, text) => textMatches(path, text, /\b(?:TODO|FIXME)\b/g, leftoverCure)),
  ],
}
const leftoverCure = 'do it now, or say in the header what is not done and why'
function leftover(found: string): { problem: string, cure: string } {
  const cure = 'delete it; the log port is for logs, cli/terminal.ts for people'
  return { problem: `holds ${found}`, cure }
}

const noMachinePaths: Rule = {
  name: 'names no paths of somebody\'s machine',
  check: (tree) => [
    ...eachSource(tree, ({ path, text }) =>
      ruleFiles.includes(path) ? [] : textMatches(path, text, machinePath, machinePathCure)),
    ...eachDocument(tree, (path, text) => textMatches(path, text, machinePath, machinePathCure)),
  ],
}
const machinePath = /(?<![\w.~-])\/(?:work|root|Users|home\/(?!you\b|alice\b|bob\b)\w+)(?:\/|\b)/g
const machinePathCure = 'write it relative to the checkout or the home folder'

/** These name what they look for. */
const ruleFiles = ['test/helpers/tidy-form.ts', 'test/tidy.test.ts']

// ── Tests ───────────────────────────────────────────────────────────────────────────────────

/** Kinds of tests beside those that mirror a source folder. */
const testKinds = [
  'bench', 'campaigns', 'compliance', 'fuzz', 'helpers', 'interop', 'scenes', 'simulation', 'vectors',
]
const harnessPath = 'test/helpers/harness.ts'
const harnessCure = `import { suite } from ${harnessPath}; only uvu/assert comes from uvu`

const testsRun: Rule = {
  name: 'writes tests that really run',
  check: (tree) => eachSource(tree, (file) => {
    if (!file.path.startsWith('test/') || file.path === harnessPath) return []
    const remarks: (Remark & { line: number })[] = []
    if (file.path.endsWith('.test.ts') && !reachesHarness(tree, file)) {
      remarks.push({ line: 1, problem: 'does not import the harness', cure: harnessCure })
    }
    for (const { specifier, line } of file.imports) {
      if (specifier === 'uvu') remarks.push({ line, problem: 'imports uvu', cure: harnessCure })
    }
    for (const match of file.code.matchAll(/\bconst\s+(\w+)\s*=\s*suite\(/g)) {
      const name = match[1]!
      const line = lineAt(file.code, match.index + 1)
      if (!file.code.includes(`${name}.run()`)) {
        remarks.push({ line, problem: `never calls ${name}.run()`, cure: `end with ${name}.run()` })
      }
      if (file.code.includes(`${name}.only(`)) {
        remarks.push({ line, problem: `holds ${name}.only`, cure: 'run one file: node test/run.ts FILE' })
      }
    }
    return remarks.map((remark) => ({ file: file.path, ...remark }))
  }),
}

/** Directly, or through a compliance suite that it applies. */
function reachesHarness(tree: SourceTree, file: SourceFile): boolean {
  const importsIt = ({ imports }: SourceFile): boolean => imports.some(({ target }) => target === harnessPath)
  const suites = file.imports.map(({ target }) => tree.sources.get(target ?? ''))
  return importsIt(file) || suites.some((one) => one?.path.startsWith('test/') && importsIt(one))
}

const testsMirror: Rule = {
  name: 'keeps tests beside the folder they test, or in a kind of their own',
  check: (tree) => eachSource(tree, ({ path }) => {
    const [top, folder, ...rest] = path.split('/')
    const atTop = rest.length === 0
    if (top !== 'test' || atTop || testKinds.includes(folder!) || product.includes(folder!)) return []
    const cure = `use one of ${[...product, ...testKinds].join(', ')}`
    return [{ file: path, line: 1, problem: `test/${folder} mirrors no source folder`, cure }]
  }),
}

export const formRules: readonly Rule[] = [
  headerComments, sizes, functionSizes, namedExports, leftovers, noMachinePaths, testsRun, testsMirror,
]

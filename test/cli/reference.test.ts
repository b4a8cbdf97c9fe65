/**
 * The pages about the command line say what the program does. docs/cli.md holds each command's
 * `--help` word for word (`OPENIM_WRITE_REFERENCE=1` writes it anew), docs/operate.md every
 * setting and variable.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { commandTable } from '../../cli/command-table.ts'
import type { CommandSpec } from '../../cli/command-spec.ts'
import { exits } from '../../cli/exits.ts'
import { createProgram } from '../../cli/program.ts'
import { nodeConfig, parseConfig, settingNames } from '../../node/config.ts'
import { suite } from '../helpers/harness.ts'

const test = suite('cli/reference')
const root = resolve(import.meta.dirname, '../..')
const referencePath = join(root, 'docs/cli.md')
const operate = readFileSync(join(root, 'docs/operate.md'), 'utf8')
const [begin, end] = ['<!-- commands -->\n', '<!-- end of commands -->\n']

async function helpOf(path: readonly string[]): Promise<string> {
  let text = ''
  const program = createProgram(async () => {}, (part) => { text += part })
  await program.parseAsync([...path, '--help'], { from: 'user' }).catch(() => {})
  return text.trimEnd()
}

async function sections(specs: readonly CommandSpec[], above: readonly string[] = []): Promise<string> {
  let text = ''
  for (const spec of specs) {
    const path = [...above, spec.name]
    text += `### openim ${path.join(' ')}\n\n\`\`\`text\n${await helpOf(path)}\n\`\`\`\n\n`
    text += await sections(spec.commands ?? [], path)
  }
  return text
}

test('docs/cli.md holds the help of every command', async () => {
  const page = readFileSync(referencePath, 'utf8')
  const from = page.indexOf(begin) + begin.length
  const to = page.indexOf(end)
  assert.ok(from >= begin.length && to >= from, 'the marks around the commands are gone')
  const actual = `\n${await sections(commandTable)}`
  if (process.env['OPENIM_WRITE_REFERENCE'] === '1') {
    writeFileSync(referencePath, page.slice(0, from) + actual + page.slice(to))
  } else {
    assert.is(page.slice(from, to), actual)
  }
})

test('docs/cli.md lists every exit code', () => {
  const page = readFileSync(referencePath, 'utf8')
  for (const code of Object.values(exits)) assert.match(page, new RegExp(`^\\| ${code} \\|`, 'm'))
})

test('docs/operate.md lists every setting, with a file that is taken as printed', () => {
  for (const setting of settingNames) assert.match(operate, `| \`${setting}\` |`)
  const file = /```toml\n([\s\S]*?)```/.exec(operate)![1]!
  const printed = nodeConfig(parseConfig(file, 'docs/operate.md'))
  assert.equal(printed, { ...nodeConfig({}), name: 'alice' })
})

test('every example of a help text is a command line that the parser takes', async () => {
  const lines = (specs: readonly CommandSpec[]): string[] =>
    specs.flatMap((spec) => [...spec.examples.map(([line]) => line), ...lines(spec.commands ?? [])])
  for (const line of lines(commandTable)) {
    const command = line.replace(/^.*\| (?=openim)/, '').replace(/ \|.*$/, '')
    const words = [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)]
      .map(([, single, double, bare]) => single ?? double ?? bare!)
    assert.is(words[0], 'openim', line)
    let ran = ''
    const program = createProgram(async ({ spec }) => { ran = spec.name }, () => {})
    await program.parseAsync(words.slice(1), { from: 'user' })
    assert.is.not(ran, '', line)
  }
})

test.run()

/**
 * The parser, made from the command table with commander, and the text of its complaints.
 */
import { Command, CommanderError, Option } from 'commander'
import { OpenIMError } from '../crypto/errors.ts'
import { suggest } from '../node/suggest.ts'
import { commandTable, globalOptions } from './command-table.ts'
import type { CommandSpec, OptionSpec } from './command-spec.ts'

/** What a command line asks for. */
export interface Invocation {
  readonly spec: CommandSpec
  readonly args: readonly string[]
  readonly options: Readonly<Record<string, unknown>>
}

const firstSteps = `Start:
  openim init --name alice
  openim start
  openim invite        (in another terminal)
`

const exitCodes = `
Exit codes: 0 done, 1 bug, 2 usage or settings, 3 node off or files, 4 unknown contact,
  5 key changed, 6 not in time, 7 quota, 8 doctor found something, 130 interrupted
openim help COMMAND shows examples; docs/cli.md has all of it.
`

/** Called with what is to run; commander waits for it. */
export type Dispatch = (invocation: Invocation) => Promise<void>

export function createProgram(dispatch: Dispatch, write: (text: string) => void): Command {
  const program = new Command('openim')
  program
    .description('Messages between people and machines, end-to-end encrypted, from node to node.')
    .addHelpText('before', firstSteps)
    .addHelpText('after', exitCodes)
    .configureHelp({ showGlobalOptions: true, visibleOptions })
    .configureOutput({ writeOut: write, writeErr: write, outputError: () => {}, getOutHelpWidth: () => 80 })
    .exitOverride()
  for (const spec of globalOptions) program.addOption(createOption(spec))
  for (const spec of commandTable) program.addCommand(createCommand(spec, program, dispatch))
  return program
}

/** Without `--help` itself: who reads this knows it. */
function visibleOptions(command: Command): Option[] {
  return [...command.options]
}

function createCommand(spec: CommandSpec, parent: Command, dispatch: Dispatch): Command {
  const command = new Command(spec.name).copyInheritedSettings(parent)
  command.summary(spec.summary).description(`${spec.summary}.`)
  command.helpCommand(false).addHelpText('before', examplesText(spec))
  for (const argument of spec.args ?? []) command.argument(argument.name, argument.text)
  for (const option of spec.options ?? []) command.addOption(createOption(option))
  for (const child of spec.commands ?? []) command.addCommand(createCommand(child, command, dispatch))
  // A group such as `backup` does nothing by itself: commander shows its help.
  if (spec.load === undefined) return command
  if (spec.commands !== undefined) command.allowExcessArguments()
  return command.action(async () => {
    const word = command.args[0]
    if (spec.commands !== undefined && word !== undefined) throw unknownCommand(spec, word)
    await dispatch({ spec, args: command.args, options: command.optsWithGlobals() })
  })
}

function unknownCommand(spec: CommandSpec, word: string): OpenIMError {
  const meant = suggest(word, (spec.commands ?? []).map((child) => child.name))
  const question = meant === undefined ? '' : `. Did you mean ${meant}?`
  return new OpenIMError('USAGE_ARGUMENT', `${spec.name} has no command '${word}'${question}`)
}

function createOption(spec: OptionSpec): Option {
  const option = new Option(spec.flags, spec.text)
  if (spec.choices !== undefined) option.choices(spec.choices)
  if (spec.parse !== undefined) option.argParser(spec.parse)
  if (spec.repeatable) option.argParser((value: string, before: string[] = []) => [...before, value])
  return option
}

function examplesText(spec: CommandSpec): string {
  const width = Math.max(...spec.examples.map(([line]) => line.length))
  const lines = spec.examples.map(([line, text]) => (text === '' ? line : `${line.padEnd(width)}  # ${text}`))
  return `${lines.length === 1 ? 'Example' : 'Examples'}:\n  ${lines.join('\n  ')}\n`
}

/** commander's complaint as one of ours; undefined when it was help or version, which went well. */
export function usageError(error: CommanderError): OpenIMError | undefined {
  if (error.exitCode === 0 || error.code === 'commander.help') return undefined
  const [what = '', ...more] = error.message.replace(/^error: /, '').split('\n')
  const meant = more.join(' ').replace(/^\((.*)\)$/, '$1').trim()
  const sentence = what.replace(/\.$/, '')
  return new OpenIMError('USAGE_ARGUMENT', meant === '' ? sentence : `${sentence}. ${meant}`)
}

export { CommanderError }

/**
 * From a command line to an exit code: parses, runs one command, and turns whatever goes wrong
 * into one line, one hint and a documented exit code.
 */
import { OpenIMError } from '../crypto/errors.ts'
import { systemClock } from '../protocol/system-clock.ts'
import { commandTable } from './command-table.ts'
import type { CommandContext } from './context.ts'
import type { Environment } from './environment.ts'
import { exits } from './exits.ts'
import { findPaths } from './paths.ts'
import { CommanderError, createProgram, usageError } from './program.ts'
import type { Invocation } from './program.ts'
import { Terminal } from './terminal.ts'
import type { TerminalStreams } from './terminal.ts'

export interface MainInput {
  /** Without the interpreter and the script. */
  readonly argv: readonly string[]
  readonly env: Environment
  readonly streams: TerminalStreams
  /** From now on Ctrl-C and SIGTERM abort the signal instead of ending the process. */
  takeInterrupts(): AbortSignal
}

export async function main(input: MainInput): Promise<number> {
  const { argv, env, streams } = input
  const openim = howToCall(env)
  let invocation: Invocation | undefined
  let exit: number = exits.ok
  const program = createProgram(async (found) => {
    invocation = found
    exit = await runCommand(found, input, openim)
  }, (text) => { streams.stdout.write(text) })
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return exit
  } catch (error) {
    const wanted = error instanceof CommanderError ? usageError(error) : error
    if (wanted === undefined) return exits.ok
    const verbose = argv.includes('--verbose')
    const terminal = createTerminal(input, invocation?.options ?? { color: !argv.includes('--no-color') })
    const command = commandIn(argv)
    return await explain({ error: wanted, terminal, command, invocation, verbose, openim, env })
  }
}

async function runCommand(invocation: Invocation, input: MainInput, openim: string): Promise<number> {
  const { spec, args, options } = invocation
  const context: CommandContext = {
    args,
    options,
    paths: findPaths(options['data'] as string | undefined, input.env),
    env: input.env,
    terminal: createTerminal(input, options),
    clock: systemClock,
    openim,
    verbose: options['verbose'] === true,
    takeInterrupts: input.takeInterrupts,
  }
  const command = await spec.load!()
  return await command.run(context) ?? exits.ok
}

function createTerminal(input: MainInput, options: Readonly<Record<string, unknown>>): Terminal {
  const { streams, env } = input
  return new Terminal(streams, { json: options['json'] === true, colour: options['color'] !== false, env })
}

/** The command that was meant, also when the rest of the line could not be read. */
function commandIn(argv: readonly string[]): string {
  const found = commandTable.find((spec) => argv.includes(spec.name))
  return found === undefined ? '' : `${found.name} `
}

/** From a checkout npm brings the right Node; installed, it is on the path. */
function howToCall(env: Environment): string {
  return env['npm_package_name'] === 'openim' ? 'npm run -s openim --' : 'openim'
}

interface Failure {
  readonly error: unknown
  readonly terminal: Terminal
  /** With a blank behind it, or empty. */
  readonly command: string
  readonly invocation: Invocation | undefined
  readonly verbose: boolean
  readonly openim: string
  readonly env: Environment
}

async function explain(failure: Failure): Promise<number> {
  const { error, terminal, verbose, openim, invocation, env } = failure
  if (error instanceof OpenIMError && error.code === 'INTERRUPTED') return exits.interrupted
  if (verbose) terminal.warn(error instanceof Error ? `${error.stack}` : String(error))
  const { outcomeOf } = await import('./outcomes.ts')
  const outcome = outcomeOf(error)
  if (outcome !== undefined) {
    const hint = outcome.hint.replaceAll('{openim}', openim).replaceAll('{command}', failure.command)
    terminal.fail((error as Error).message, hint)
    return outcome.exit
  }
  const { writeReport } = await import('./report.ts')
  const { dataDir } = findPaths(invocation?.options['data'] as string | undefined, env)
  const name = invocation?.spec.name ?? ''
  const path = await writeReport({ error, command: name, dataDir, timeMs: systemClock.now() })
  const message = error instanceof Error ? error.message.split('\n', 1)[0]! : String(error)
  terminal.fail(`something went wrong that should not: ${message}`, path === undefined
    ? `Run it again with --verbose and report what it shows`
    : `Please report it with ${path} (it holds no keys and no messages)`)
  return exits.bug
}

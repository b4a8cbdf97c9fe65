/** What every command is given, and what it may give back. */
import type { Clock } from '../protocol/ports.ts'
import type { ControlClient } from './control-client.ts'
import type { Environment } from './environment.ts'
import type { Paths } from './paths.ts'
import type { Terminal } from './terminal.ts'

export interface CommandContext {
  /** Positional arguments as declared in the command table. */
  readonly args: readonly string[]
  /** Options by their camel-case names, as declared in the command table. */
  readonly options: Readonly<Record<string, unknown>>
  readonly paths: Paths
  readonly env: Environment
  readonly terminal: Terminal
  readonly clock: Clock
  /** How a person calls the program here: `openim`, or through npm from a checkout. */
  readonly openim: string
  readonly verbose: boolean
  /** For commands that end in an orderly way: Ctrl-C and SIGTERM abort it, their name is the reason. */
  takeInterrupts(): AbortSignal
}

/** Exit code; nothing means 0. */
export type CommandResult = Promise<number | void>

export interface CommandModule {
  run(context: CommandContext): CommandResult
}

/** A string option that was given. */
export function option(context: CommandContext, name: string): string | undefined {
  return context.options[name] as string | undefined
}

/** A repeatable option; undefined when it was not given. */
export function listOption(context: CommandContext, name: string): readonly string[] | undefined {
  return context.options[name] as readonly string[] | undefined
}

/** A flag. */
export function flag(context: CommandContext, name: string): boolean {
  return context.options[name] === true
}

/** Talks to the running node and hangs up afterwards. @throws NODE_NOT_RUNNING, NODE_STOPPED */
export async function withNode<T>(
  context: CommandContext,
  work: (node: ControlClient) => Promise<T>,
): Promise<T> {
  const { ControlClient } = await import('./control-client.ts')
  const node = await ControlClient.connect(context.paths.dataDir)
  try {
    return await work(node)
  } finally {
    node.close()
  }
}

/** The shape of a row of the command table (command-table.ts). */
import type { CommandModule } from './context.ts'

export interface OptionSpec {
  /** As commander reads it: `--timeout <duration>`. */
  readonly flags: string
  readonly text: string
  readonly choices?: readonly string[]
  readonly parse?: (value: string) => unknown
  readonly repeatable?: boolean
}

export interface ArgumentSpec {
  /** `<contact>` or `[contact]`. */
  readonly name: string
  readonly text: string
}

export interface CommandSpec {
  readonly name: string
  /** One line, no full stop. */
  readonly summary: string
  readonly examples: readonly (readonly [string, string])[]
  readonly args?: readonly ArgumentSpec[]
  readonly options?: readonly OptionSpec[]
  readonly commands?: readonly CommandSpec[]
  readonly load?: () => Promise<CommandModule>
}

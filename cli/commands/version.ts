/** `openim version`: which openIM, on which Node. */
import type { CommandContext, CommandResult } from '../context.ts'
import { version } from '../version.ts'

export async function run({ terminal }: CommandContext): CommandResult {
  const node = process.versions.node
  if (terminal.json) await terminal.value({ version, node, platform: process.platform, arch: process.arch })
  else await terminal.data(`openim ${version} (Node ${node}, ${process.platform} ${process.arch})`)
}

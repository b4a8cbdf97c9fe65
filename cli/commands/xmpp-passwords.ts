/** `openim xmpp passwords`: which clients have a password. */
import type { CommandContext, CommandResult } from '../context.ts'
import { escapeText } from '../escape.ts'
import { iso } from '../json-shapes.ts'
import { table } from '../tables.ts'
import { formatDuration } from '../units.ts'
import { callXmpp } from '../xmpp-call.ts'

interface AppPassword {
  readonly name: string
  readonly createdAtMs: number
  readonly lastUsedAtMs?: number
}

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const passwords = await callXmpp<AppPassword[]>(context, 'passwords', {})
  if (terminal.json) {
    const shapes = passwords.map(({ name, createdAtMs, lastUsedAtMs }) => ({
      name, createdAt: iso(createdAtMs), ...lastUsedAtMs === undefined ? {} : {
        lastUsedAt: iso(lastUsedAtMs),
      },
    }))
    await terminal.value({ passwords: shapes })
    return
  }
  if (passwords.length === 0) {
    terminal.say(`There is none yet. Make one: ${context.openim} xmpp passwd phone`)
    return
  }
  const ago = (atMs: number | undefined): string =>
    atMs === undefined ? 'never' : `${formatDuration(clock.now() - atMs)} ago`
  const rows = passwords.map(
    ({ name, createdAtMs, lastUsedAtMs }) => [escapeText(name), ago(createdAtMs), ago(lastUsedAtMs)],
  )
  await terminal.data(table(['DEVICE', 'MADE', 'LAST USED'], rows))
}

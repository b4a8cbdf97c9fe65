/** `openim xmpp reports`: what people at the domain reported as spam or abuse. */
import type { CommandContext, CommandResult } from '../context.ts'
import { escapeText } from '../escape.ts'
import { iso } from '../json-shapes.ts'
import { table } from '../tables.ts'
import { formatDuration } from '../units.ts'
import { callXmpp } from '../xmpp-call.ts'

interface Report {
  readonly atMs: number
  readonly by: string
  readonly about: string
  readonly reason: string
  readonly text: string
  readonly messages: readonly string[]
}

export async function run(context: CommandContext): CommandResult {
  const { terminal, clock } = context
  const reports = await callXmpp<Report[]>(context, 'reports', {})
  if (terminal.json) {
    await terminal.value({ reports: reports.map(({ atMs, ...rest }) => ({ at: iso(atMs), ...rest })) })
    return
  }
  if (reports.length === 0) {
    terminal.say('Nobody has reported anything.')
    return
  }
  const rows = reports.map(({ atMs, by, about, reason, text }) => [
    `${formatDuration(clock.now() - atMs)} ago`, escapeText(by), escapeText(about), reason, escapeText(text),
  ])
  await terminal.data(table(['WHEN', 'BY', 'ABOUT', 'WHY', 'WORDS'], rows))
}

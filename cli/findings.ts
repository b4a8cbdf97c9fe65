/** What an examination found, as people and scripts are shown it. */
import type { DoctorReport } from '../node/status.ts'
import type { CommandContext } from './context.ts'
import { escapeText } from './escape.ts'

export async function showFindings({ terminal }: CommandContext, report: DoctorReport): Promise<void> {
  if (terminal.json) {
    await terminal.value(report)
    return
  }
  for (const { name, ok, detail, cure } of report.checks) {
    const mark = ok ? terminal.style('good', '✓') : terminal.style('bad', '✗')
    const todo = cure === undefined ? '' : `\n    → ${escapeText(cure)}`
    await terminal.data(`${mark} ${escapeText(name)}: ${escapeText(detail)}${todo}`)
  }
  const problems = report.checks.filter((check) => !check.ok).length
  terminal.say(problems === 0 ? 'Nothing to do.' : `${problems} ${problems === 1 ? 'problem' : 'problems'}.`)
}

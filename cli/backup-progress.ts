/** How far a backup is, for a person who watches. */
import type { BackupSummary } from '../node/backup.ts'
import type { CommandContext } from './context.ts'
import { formatSize } from './units.ts'

/** A terminal is slower than a disk. */
const everyMs = 100

/** Takes every step, shows some. */
export function backupProgress(
  { terminal, clock }: CommandContext,
  what: string,
): (done: BackupSummary) => void {
  let shownMs = -everyMs
  return ({ records, mail, bytes }) => {
    const nowMs = clock.monotonicMs()
    if (nowMs - shownMs < everyMs) return
    shownMs = nowMs
    terminal.progress(`${what} … ${records} records, ${mail} waiting messages, ${formatSize(bytes)}`)
  }
}

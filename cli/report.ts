/**
 * A report of an unexpected error, for the person to pass on: the chain of errors with stacks,
 * versions and the command's name; never arguments, which may hold messages and invites.
 */
import { mkdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dataFiles } from '../node/data-dir.ts'
import { writeNewFile } from './identity.ts'
import { version } from './version.ts'

export interface Report {
  readonly error: unknown
  readonly command: string
  readonly dataDir: string
  readonly timeMs: number
}

/** Where it was written; undefined when nowhere could be. */
export async function writeReport(report: Report): Promise<string | undefined> {
  const time = new Date(report.timeMs).toISOString()
  const name = `openim-report-${time.replaceAll(/[^0-9]/g, '').slice(0, 17)}-${process.pid}.txt`
  for (const directory of await directories(report.dataDir)) {
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const path = join(directory, name)
      await writeNewFile(path, reportText(report, time), 0o600)
      return path
    } catch {
      // A full or read-only disk must not hide the error itself: try the next place.
    }
  }
  return undefined
}

async function directories(dataDir: string): Promise<string[]> {
  const exists = await stat(dataDir).then((found) => found.isDirectory(), () => false)
  return exists ? [join(dataDir, dataFiles.reports), tmpdir()] : [tmpdir()]
}

function reportText(report: Report, time: string): string {
  const { node, v8 } = process.versions
  const lines = [
    `openim ${version} ${report.command}`,
    `time ${time}`,
    `node ${node}, v8 ${v8}, ${process.platform} ${process.arch}`,
  ]
  for (let error = report.error, depth = 0; error !== undefined && error !== null && depth < 8; depth++) {
    lines.push('', error instanceof Error ? String(error.stack) : String(error))
    error = (error as { cause?: unknown }).cause
  }
  return `${lines.join('\n')}\n`
}

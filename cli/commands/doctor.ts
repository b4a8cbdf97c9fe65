/**
 * `openim doctor`: examines the data directory from outside and the node from inside, or the way
 * to one contact. Every finding says what was measured; every problem says what to do. It works
 * with the node off, too: that is then the finding.
 */
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { nodeConfig, parseConfig } from '../../node/config.ts'
import { dataFiles, openToOthers } from '../../node/data-dir.ts'
import { keysAreSealed } from '../../node/keys-file.ts'
import type { DoctorCheck, DoctorReport } from '../../node/status.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { escapeText } from '../escape.ts'
import { readConfigText } from '../identity.ts'
import { exits, outcomeOf } from '../outcomes.ts'
import { formatSize } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const contact = context.args[0]
  const local = contact === undefined ? await localChecks(context) : []
  const report = await nodeReport(context, contact)
  const checks = [...local, ...report.checks]
  const ok = checks.every((check) => check.ok)
  await show(context, { ok, checks, ...(contact === undefined ? {} : { contact }) })
  return ok ? exits.ok : exits.unhealthy
}

async function nodeReport(context: CommandContext, contact: string | undefined): Promise<DoctorReport> {
  try {
    return await withNode(context, (node) => node.call('doctor', contact === undefined ? {} : { contact }))
  } catch (error) {
    const off = error instanceof OpenIMError && error.code === 'NODE_NOT_RUNNING'
    if (!off || contact !== undefined) throw error
    const check = { name: 'node', ok: false, detail: 'not running', cure: `${context.openim} start` }
    return { ok: false, checks: [check] }
  }
}

async function localChecks(context: CommandContext): Promise<DoctorCheck[]> {
  const { dataDir, configFile } = context.paths
  const attempt = async (name: string, work: () => Promise<DoctorCheck>): Promise<DoctorCheck> => {
    try {
      return await work()
    } catch (error) {
      const cure = outcomeOf(error)?.hint.replaceAll('{openim}', context.openim) ?? ''
      return { name, ok: false, detail: error instanceof Error ? error.message : String(error), ...(cure === '' ? {} : { cure }) }
    }
  }
  return await Promise.all([
    attempt('settings', async () => {
      const text = await readConfigText(configFile)
      nodeConfig(parseConfig(text, configFile))
      return { name: 'settings', ok: true, detail: text === '' ? 'none, all defaults' : configFile }
    }),
    attempt('keys', async () => {
      const sealed = await keysAreSealed(dataDir)
      const open = await openToOthers(join(dataDir, dataFiles.keys)) || await openToOthers(dataDir)
      if (open) return { name: 'keys', ok: false, detail: `others can read ${dataDir}`, cure: `chmod -R go= ${dataDir}` }
      return { name: 'keys', ok: true, detail: sealed ? 'intact, sealed with a passphrase' : 'intact, readable by you alone' }
    }),
    attempt('disk', async () => await diskCheck(dataDir)),
  ])
}

/** LevelDB compacts into new files before it drops the old ones: it needs room to breathe. */
const freeBytesWanted = 256 * 1024 * 1024

async function diskCheck(dataDir: string): Promise<DoctorCheck> {
  try {
    const found = await statfs(dataDir)
    const free = found.bavail * found.bsize
    const detail = `${formatSize(free)} free for ${dataDir}`
    if (free >= freeBytesWanted) return { name: 'disk', ok: true, detail }
    return { name: 'disk', ok: false, detail, cure: `make room: a node needs ${formatSize(freeBytesWanted)} free` }
  } catch (cause) {
    throw new OpenIMError('DATA_DIR_IO', `cannot look at ${dataDir} (${errorCode(cause) ?? 'unknown'})`, { cause })
  }
}

async function show({ terminal }: CommandContext, report: DoctorReport): Promise<void> {
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

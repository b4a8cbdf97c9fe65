/**
 * `openim doctor`: examines settings and keys from outside and the node from inside, or the way
 * to one contact. Every finding says what was measured; every problem says what to do. It works
 * with the node off, too: that is then the finding.
 */
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { OpenIMError } from '../../crypto/errors.ts'
import { parseConfig } from '../../node/config.ts'
import { dataFiles, fileError, openToOthers } from '../../node/data-dir.ts'
import { keysAreSealed } from '../../node/keys-file.ts'
import type { DoctorCheck } from '../../node/status.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { withNode } from '../context.ts'
import { exits } from '../exits.ts'
import { showFindings } from '../findings.ts'
import { readConfigText } from '../identity.ts'
import { outcomeOf } from '../outcomes.ts'
import { formatSize } from '../units.ts'

export async function run(context: CommandContext): CommandResult {
  const contact = context.args[0]
  const local = contact === undefined ? await fileChecks(context) : []
  const checks = [...local, ...await nodeChecks(context, contact)]
  const ok = checks.every((check) => check.ok)
  await showFindings(context, { ok, checks, ...(contact === undefined ? {} : { contact }) })
  return ok ? exits.ok : exits.unhealthy
}

type Checks = Promise<readonly DoctorCheck[]>

async function nodeChecks(context: CommandContext, contact: string | undefined): Checks {
  try {
    const params = contact === undefined ? {} : { contact }
    return (await withNode(context, (node) => node.call('doctor', params))).checks
  } catch (error) {
    const off = error instanceof OpenIMError && error.code === 'NODE_NOT_RUNNING'
    if (!off || contact !== undefined) throw error
    return [
      await attempt(context, 'disk', () => diskCheck(context.paths.dataDir)),
      { name: 'node', ok: false, detail: 'not running', cure: `${context.openim} start` },
    ]
  }
}

/** What can be seen from outside, and what keeps a node from starting. */
async function fileChecks(context: CommandContext): Checks {
  const { dataDir, configFile } = context.paths
  return [
    await attempt(context, 'settings', async () => {
      const text = await readConfigText(configFile)
      parseConfig(text, configFile)
      return { name: 'settings', ok: true, detail: text === '' ? 'none, all defaults' : configFile }
    }),
    await attempt(context, 'keys', async () => {
      const sealed = await keysAreSealed(dataDir)
      if (await openToOthers(join(dataDir, dataFiles.keys))) {
        return { name: 'keys', ok: false, detail: 'others can read them', cure: `chmod -R go= ${dataDir}` }
      }
      const detail = `intact, ${sealed ? 'sealed with a passphrase' : 'readable by you alone'}`
      return { name: 'keys', ok: true, detail }
    }),
  ]
}

/** A check that throws is a finding, with the hint of its error as cure. */
async function attempt(
  context: CommandContext,
  name: string,
  work: () => Promise<DoctorCheck>,
): Promise<DoctorCheck> {
  try {
    return await work()
  } catch (error) {
    const cure = outcomeOf(error)?.hint.replaceAll('{openim}', context.openim)
    const detail = error instanceof Error ? error.message : String(error)
    return { name, ok: false, detail, ...(cure === undefined ? {} : { cure }) }
  }
}

/** LevelDB compacts into new files before it drops the old ones: it needs room to breathe. */
const freeBytesWanted = 512 * 1024 * 1024

async function diskCheck(dataDir: string): Promise<DoctorCheck> {
  const found = await statfs(dataDir).catch((cause: unknown) => { throw fileError(cause, dataDir) })
  const free = found.bavail * found.bsize
  const detail = `${formatSize(free)} free for ${dataDir}`
  if (free >= freeBytesWanted) return { name: 'disk', ok: true, detail }
  return { name: 'disk', ok: false, detail, cure: `make room: a node needs ${formatSize(freeBytesWanted)}` }
}

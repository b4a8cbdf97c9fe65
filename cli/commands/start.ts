/**
 * `openim start`: runs the node in the foreground until SIGINT or SIGTERM, then stops in order and
 * exits 0 with everything on disk. `--json` prints exactly one line, when it is ready.
 */
import type { CommandContext, CommandResult } from '../context.ts'
import { flag } from '../context.ts'
import { defaultName, newIdentity, saveIdentity } from '../identity.ts'
import { createLog } from '../log.ts'
import { unlock } from '../passphrase.ts'
import { flagSettings, loadConfig } from '../settings.ts'
import { showInvite } from '../show-invite.ts'
import { formatDuration } from '../units.ts'
import { version } from '../version.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { ControlServer } from '../../node/control/control-server.ts'
import { claimSocketPath } from '../../node/control/control-path.ts'
import { ensureDataDir, lockDataDir } from '../../node/data-dir.ts'
import { hasKeys } from '../../node/keys-file.ts'
import type { ClientEvent } from '../../protocol/client/api.ts'
import { standingProblem } from '../../protocol/client/standing.ts'
import type { NodeReady } from '../../node/status.ts'

export async function run(context: CommandContext): CommandResult {
  const { paths: { dataDir }, terminal, clock } = context
  const flags = flagSettings(context)
  if (!await hasKeys(dataDir)) {
    const mayMake = flag(context, 'firstRun')
    if (!mayMake) throw new OpenIMError('KEYS_MISSING', `there is no identity in ${dataDir}`)
    await makeIdentity(context)
  }

  await ensureDataDir(dataDir)
  const lock = await lockDataDir(dataDir)
  try {
    const config = await loadConfig(context, flags)
    const keys = await unlock(context)
    const startedMs = clock.monotonicMs()
    const log = await createLog(config.log.level, { terminal, clock })
    const interrupt = context.takeInterrupts()
    const { OpenIMNode } = await import('../../node/openim-node.ts')
    const node = await OpenIMNode.open({ dataDir, keys, config, log })
    let control: ControlServer | undefined
    try {
      node.client.on((event) => tellStanding(context, event))
      const ready = await node.start()
      control = new ControlServer({ node, clock, log }, { path: await claimSocketPath(dataDir) })
      await control.start()
      await announce(context, { ready, name: config.name, startedMs })
      if (flag(context, 'firstRun')) await welcome(context, await node.client.invite())
      await aborted(interrupt)
      terminal.say('Stopping …')
    } finally {
      await control?.stop()
      await node.stop()
      keys.wipe()
    }
  } finally {
    await lock.release()
  }
}

async function makeIdentity(context: CommandContext): Promise<void> {
  const identity = newIdentity(defaultName())
  await saveIdentity(context.paths, identity)
  context.terminal.say(`✓ Made an identity for ${identity.name} in ${context.paths.dataDir}`)
}

async function announce(
  { terminal, clock }: CommandContext,
  { ready, name, startedMs }: { ready: NodeReady, name: string, startedMs: number },
): Promise<void> {
  if (terminal.json) {
    await terminal.value({ event: 'ready', ...ready })
    return
  }
  terminal.say(`openim ${version}  ${name}  ${ready.address}`)
  for (const address of ready.p2p) terminal.say(`  p2p   ${address}`)
  if (ready.listen.tcp !== undefined) terminal.say(`  tcp   ${ready.listen.tcp}`)
  terminal.say(`Ready in ${formatDuration(clock.monotonicMs() - startedMs)}.  Ctrl-C stops it.`)
}

/** What must not wait until somebody asks the doctor. */
function tellStanding({ terminal, openim }: CommandContext, event: ClientEvent): void {
  if (event.type !== 'standing') return
  const problem = standingProblem(event.standing)
  if (problem === undefined) terminal.say('✓ This new device is listed; contacts learn of it by themselves.')
  else terminal.warn(`! ${problem.message}\n  See ${openim} doctor`)
}

async function welcome(context: CommandContext, invite: Parameters<typeof showInvite>[1]): Promise<void> {
  const { terminal, openim } = context
  if (terminal.json) return
  await showInvite(context, invite)
  terminal.say(`In another terminal:
  ${openim} chat NAME             talk, as soon as they added you
  ${openim} add 'openim:…'        accept an invite of somebody else
  ${openim} invite                an invite for the next person
  ${openim} status                what the node does`)
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

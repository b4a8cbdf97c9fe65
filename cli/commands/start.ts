/**
 * `openim start`: runs the node, or the linked device, in the foreground until SIGINT or SIGTERM,
 * then stops in order and exits 0 with everything on disk. `--json` prints exactly one line, when it
 * is ready.
 */
import type { CommandContext, CommandResult } from '../context.ts'
import { flag } from '../context.ts'
import { databasePlace } from '../database.ts'
import { defaultName, newIdentity, saveIdentity } from '../identity.ts'
import { createLog } from '../log.ts'
import { unlock, unlockToSeal } from '../passphrase.ts'
import { flagSettings, loadConfig, loadLogLevel, nodeOptionNames } from '../settings.ts'
import { showInvite } from '../show-invite.ts'
import { formatDuration } from '../units.ts'
import { version } from '../version.ts'
import { wipe } from '../../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { ControlServer } from '../../node/control/control-server.ts'
import { claimSocketPath } from '../../node/control/control-path.ts'
import { ensureDataDir, lockDataDir } from '../../node/data-dir.ts'
import type { BridgeControl, ControlledNode } from '../../node/control/control-protocol.ts'
import type { NodeConfig, Settings } from '../../node/config.ts'
import type { OpenIMNode } from '../../node/openim-node.ts'
import { readHome } from '../../node/home-file.ts'
import { hasKeys, keysRole, NodeKeys } from '../../node/keys-file.ts'
import type { Log } from '../../node/ports.ts'
import type { ClientApi, ClientEvent, Invite } from '../../protocol/client/api.ts'
import { standingProblem } from '../../protocol/client/standing.ts'
import type { DeviceReady, NodeReady } from '../../node/status.ts'

export async function run(context: CommandContext): CommandResult {
  const { dataDir } = context.paths
  const flags = flagSettings(context)
  if (!await hasKeys(dataDir)) {
    const mayMake = flag(context, 'firstRun')
    if (!mayMake) throw new OpenIMError('KEYS_MISSING', `there is no identity in ${dataDir}`)
    await makeIdentity(context)
  }

  await ensureDataDir(dataDir)
  const lock = await lockDataDir(dataDir)
  try {
    const isNode = await keysRole(dataDir) === 'node'
    await (isNode ? runNode(context, flags) : runDevice(context))
  } finally {
    await lock.release()
  }
}

async function runNode(context: CommandContext, flags: Settings): Promise<void> {
  const { paths: { dataDir }, terminal, clock } = context
  const config = await loadConfig(context, flags)
  const { keys, passphrase } = await unlockToSeal(context)
  if (passphrase !== undefined) wipe(passphrase)
  const startedMs = clock.monotonicMs()
  const log = await createLog(config.log.level, { terminal, clock })
  const interrupt = context.takeInterrupts()
  const database = await databasePlace(context, config.database)
  const { OpenIMNode } = await import('../../node/openim-node.ts')
  const node = await OpenIMNode.open({ dataDir, keys, config, database, log })
  const bridges = await openBridges(node, config)
  await serve(context, { node, bridges, keys, log, interrupt }, async () => {
    const ready = await node.start()
    for (const bridge of bridges.values()) await bridge.start()
    return async () => {
      const doors = Object.assign({}, ...[...bridges.values()].map((bridge) => bridge.addresses()))
      await announce(
        context,
        { ready: { ...ready, listen: { ...ready.listen, ...doors } }, name: config.name, startedMs },
      )
      if (!flag(context, 'firstRun')) return
      const invite = await inviteHere(node)
      if (invite !== undefined) await welcome(context, invite)
    }
  })
}

/** Only what is configured is loaded. */
async function openBridges(node: OpenIMNode, { xmpp }: NodeConfig): Promise<Map<string, Bridge>> {
  const bridges = new Map<string, Bridge>()
  try {
    if (xmpp !== undefined) {
      const { openXmpp } = await import('../../bridges/xmpp/from-settings.ts')
      bridges.set('xmpp', await openXmpp(node.bridgeHost('xmpp'), xmpp, { version }))
    }
  } catch (error) {
    await node.stop()
    throw error
  }
  return bridges
}

/** None where another process of the household hosts the account: it shows one, too. */
async function inviteHere(node: { readonly client: Pick<ClientApi, 'invite'> }): Promise<Invite | undefined> {
  try {
    return await node.client.invite()
  } catch (error) {
    if (errorCode(error) === 'HOUSEHOLD_ELSEWHERE') return undefined
    throw error
  }
}

/** The same for a device that was linked to an account: no node, only its client. */
async function runDevice(context: CommandContext): Promise<void> {
  const { paths: { dataDir }, terminal, clock } = context
  const given = nodeOptionNames.find((name) => context.options[name] !== undefined)
  if (given !== undefined) {
    const name = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    throw new OpenIMError('USAGE_ARGUMENT', `--${name} is for a node, and this is a linked device`)
  }
  const home = await readHome(dataDir)
  const level = await loadLogLevel(context)
  const keys = await unlock(context)
  if (keys instanceof NodeKeys) throw new OpenIMError('KEYS_CORRUPT', 'the keys file was changed meanwhile')
  const log = await createLog(level, { terminal, clock })
  const interrupt = context.takeInterrupts()
  const { LinkedDevice } = await import('../../node/linked-device.ts')
  const device = await LinkedDevice.open({ dataDir, keys, home, log })
  await serve(context, { node: device, keys, log, interrupt }, async () => {
    const ready = await device.start()
    const { standing } = await device.client.info()
    return async () => {
      await announceDevice(context, ready)
      if (standing !== 'good') tellStanding(context, { type: 'standing', standing })
    }
  })
}

type Followed = Pick<ControlledNode['client'], 'on'>

interface Bridge {
  readonly control: BridgeControl
  /** `host:port` by the name of the door. */
  addresses(): Readonly<Record<string, string>>
  start(): Promise<void>
  stop(): Promise<void>
}

interface Served {
  readonly bridges?: ReadonlyMap<string, Bridge>
  readonly node: ControlledNode & {
    stop(): Promise<void>
    /** Of a node, whose client may come and go with the work of its household. */
    onClient?(listener: (client: Followed) => void): void
  }
  readonly keys: { wipe(): void }
  readonly log: Log
  readonly interrupt: AbortSignal
}

/** Starts it, answers the CLI until the interrupt, and stops it in order. */
async function serve(
  context: CommandContext,
  { node, bridges = new Map(), keys, log, interrupt }: Served,
  start: () => Promise<() => Promise<void>>,
): Promise<void> {
  const { paths: { dataDir }, terminal, clock } = context
  let control: ControlServer | undefined
  try {
    const follow = (client: Followed): void => {
      client.on((event) => tellStanding(context, event))
    }
    if (node.onClient === undefined) follow(node.client)
    else node.onClient(follow)
    const announceIt = await start()
    const controls = new Map([...bridges].map(([name, bridge]) => [name, bridge.control]))
    control = new ControlServer(
      { node, clock, log, bridges: controls }, { path: await claimSocketPath(dataDir) },
    )
    await control.start()
    await announceIt()
    await aborted(interrupt)
    terminal.say('Stopping …')
  } finally {
    await control?.stop()
    for (const bridge of bridges.values()) await bridge.stop()
    await node.stop()
    keys.wipe()
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
  const xmpp = Object.entries(ready.listen).filter(([door]) => door.startsWith('xmpp'))
  if (xmpp.length > 0) terminal.say(`  xmpp  ${xmpp.map((door) => door.join(' ')).join(', ')}`)
  terminal.say(`Ready in ${formatDuration(clock.monotonicMs() - startedMs)}.  Ctrl-C stops it.`)
}

async function announceDevice({ terminal }: CommandContext, ready: DeviceReady): Promise<void> {
  if (terminal.json) {
    await terminal.value({ event: 'ready', ...ready })
    return
  }
  terminal.say(`openim ${version}  a linked device of ${ready.address}`)
  for (const address of ready.home) terminal.say(`  node  ${address}`)
  terminal.say('Ready.  Ctrl-C stops it.')
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

/**
 * `openim join`: makes this machine a device of an account that lives on another node. Nothing is
 * here before both people said that their screens show the same, and nothing stays when it fails.
 */
import { wipe } from '../../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { systemRandom } from '../../crypto/random.ts'
import { parseDoorAddress, waysTo } from '../../node/connectors/door-address.ts'
import { ensureDataDir, lockDataDir } from '../../node/data-dir.ts'
import { checkJoinDir, writeLinkedDevice } from '../../node/device-join.ts'
import { homeAddresses } from '../../node/home-file.ts'
import type { Home } from '../../node/home-file.ts'
import { formatAddress } from '../../protocol/address.ts'
import { joinAccount } from '../../protocol/linking/join.ts'
import type { JoinOptions, Joined } from '../../protocol/linking/join.ts'
import { linkKeys, parseLinkCode } from '../../protocol/linking/link-code.ts'
import type { LinkCode } from '../../protocol/linking/link-code.ts'
import { RacingDialer } from '../../protocol/session/racing-dialer.ts'
import { ask, InputLines } from '../ask.ts'
import type { CommandContext, CommandResult } from '../context.ts'
import { flag, listOption, option } from '../context.ts'
import { escapeText } from '../escape.ts'
import { checkName, defaultName } from '../identity.ts'
import { compareLinkCode, linkFailed, nobodyCompared, showLinkCode } from '../link-talk.ts'
import { askPassphrase } from '../passphrase.ts'

interface Plan {
  readonly code: LinkCode
  readonly name: string
  /** In the order in which they are tried. */
  readonly addresses: readonly string[]
  readonly passphrase: Uint8Array | undefined
  readonly lines: InputLines
}

export async function run(context: CommandContext): CommandResult {
  const { paths: { dataDir }, terminal } = context
  await checkJoinDir(dataDir)
  const lines = new InputLines(terminal)
  try {
    const plan = await planOf(context, lines)
    await ensureDataDir(dataDir)
    const lock = await lockDataDir(dataDir)
    try {
      const { account, home } = await link(context, plan)
      await tell(context, { account, home, name: plan.name })
    } finally {
      await lock.release()
      if (plan.passphrase !== undefined) wipe(plan.passphrase)
    }
  } finally {
    lines.close()
  }
}

/** @throws LINK_CODE_*, DOOR_ADDRESS, USAGE_* */
async function planOf(context: CommandContext, lines: InputLines): Promise<Plan> {
  const given = context.args[0]!
  const parsed = parseLinkCode(given === '-' ? await typedCode(context, lines) : given)
  if (!parsed.ok) throw new OpenIMError(parsed.code, parsed.detail ?? 'this is no link code')
  const nodes = listOption(context, 'node') ?? []
  nodes.forEach(parseDoorAddress)
  const addresses = homeAddresses([...nodes, ...parsed.value.hints])
  if (addresses.length === 0) {
    throw new OpenIMError('USAGE_ARGUMENT', 'the code says no address of the node: give one with --node')
  }
  const name = checkName(option(context, 'name') ?? defaultName())
  const sealed = flag(context, 'passphrase') || option(context, 'passphraseFile') !== undefined
  const question = { what: 'for the keys', confirm: true }
  const passphrase = sealed ? await askPassphrase(context, question) : undefined
  return { code: parsed.value, name, addresses, passphrase, lines }
}

async function typedCode({ terminal }: CommandContext, lines: InputLines): Promise<string> {
  return terminal.interactive ? await ask(terminal, 'Link code: ') : await lines.next() ?? ''
}

async function link(context: CommandContext, plan: Plan): Promise<{ account: Joined, home: Home }> {
  const { terminal, clock, paths: { dataDir } } = context
  const { code, name, passphrase } = plan
  const system = { clock, random: systemRandom }
  const { guestKeys } = linkKeys(code)
  const ways = waysTo(plan.addresses, system, { doorKey: code.doorKey, own: guestKeys })
  const dialer = new RacingDialer(system, ways)
  const interrupt = context.takeInterrupts()
  const given = new AbortController()
  let home: Home = { doorKey: code.doorKey, addresses: plan.addresses }
  let why: unknown
  const over = AbortSignal.any([interrupt, given.signal])
  const options: JoinOptions = {
    code,
    name,
    dialer,
    signal: over,
    onReach: (online, reason) => terminal.progress(online ? '' : `Reaching the node … (${reason ?? ''})`),
    compare: async (shown) => {
      try {
        return await isSame(context, shown, { lines: plan.lines, signal: over })
      } catch (error) {
        why = error
        given.abort()
        return false
      }
    },
    store: async ({ account, ...keys }) => {
      const { preferred } = dialer
      const known = preferred === undefined ? plan.addresses : [preferred, ...plan.addresses]
      const addresses = homeAddresses([...known, ...account.doors.filter(isAddress)])
      home = { doorKey: code.doorKey, addresses }
      await writeLinkedDevice({ ...system, dataDir, home, account: keys, passphrase })
    },
  }
  try {
    return { account: await joinAccount(system, options), home }
  } catch (error) {
    if (interrupt.aborted) throw new OpenIMError('INTERRUPTED', 'interrupted')
    if (why !== undefined) throw why
    throw failure(error)
  } finally {
    // Should the question still stand: there is nothing left to answer.
    given.abort()
    terminal.progress('')
  }
}

function isAddress(text: string): boolean {
  try {
    return parseDoorAddress(text).port > 0
  } catch {
    return false
  }
}

async function isSame(
  context: CommandContext,
  { code, name }: Parameters<JoinOptions['compare']>[0],
  answer: { readonly lines: InputLines, readonly signal: AbortSignal },
): Promise<boolean> {
  await showLinkCode(context, code, { account: name })
  if (flag(context, 'yes')) return true
  const verdict = await compareLinkCode(context, code, answer)
  if (verdict === 'nobody') throw nobodyCompared()
  if (verdict === 'same') context.terminal.say('Waiting for the other side …')
  return verdict === 'same'
}

/** What the other side or the node said, in our words; what failed here stays as it is. */
function failure(error: unknown): unknown {
  const code = errorCode(error)
  const isOurs = code === undefined || !/^(LINK|CHANNEL|SHORT_AUTH|SESSION)_/.test(code)
  return isOurs || code === 'LINK_PACKAGE' ? error : linkFailed(code)
}

async function tell(
  { terminal, openim, paths: { dataDir } }: CommandContext,
  { account, home, name }: { account: Joined, home: Home, name: string },
): Promise<void> {
  const address = formatAddress(account.rootKey)
  if (terminal.json) {
    const { addresses } = home
    const whose = { address, account: account.name, device: name }
    await terminal.value({ event: 'linked', ...whose, dataDir, home: addresses })
    return
  }
  terminal.say(`✓ Linked     "${escapeText(name)}" is a device of ${escapeText(account.name)}   ${address}`)
  terminal.say(`✓ Keys       ${dataDir}`)
  terminal.say(`Next: ${openim} start    Earlier messages follow by themselves.`)
}

/**
 * The doctor: looks at what a person would ask about when messages do not arrive, and says of each
 * thing what was found and, where there is something to do, what.
 */
import { stat, statfs } from 'node:fs/promises'
import { formatAddress } from '../protocol/address.ts'
import type { ContactPlaces } from '../protocol/client/api.ts'
import { standingProblem } from '../protocol/client/standing.ts'
import { hexDecode, utf8 } from '../crypto/bytes.ts'
import { OpenIMError } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { NodeId } from '../protocol/ids.ts'
import type { KvStore } from '../protocol/ports.ts'
import { services } from '../protocol/service/codes.ts'
import type { DamagedRecord } from './node-store.ts'
import type { Overlay } from './ports.ts'
import type { AccountStatus, DoctorCheck, DoctorReport, NodeStatus } from './status.ts'

const echoTimeoutMs = 3_000
/** Below this a node stops being useful to its own people. */
const diskFreeBytesMin = 512 * 1024 * 1024
const probeKey = 'doctor/probe'

export interface DoctorComponents {
  readonly overlay: Overlay
  readonly kv: KvStore
  readonly dataDir: string
  readonly status: () => Promise<NodeStatus>
  readonly damaged: () => Promise<readonly DamagedRecord[]>
  /** Settings of the database under which a power cut may take what was stored. */
  readonly undurable?: readonly string[]
  /** Default: those of this process. */
  readonly fallbacks?: readonly string[]
}

/** Everything about this node. */
export async function examineNode(components: DoctorComponents): Promise<DoctorReport> {
  const status = await components.status()
  const checks = [
    await checkDataDir(components.dataDir),
    await checkDisk(components.dataDir),
    await checkStore(components.kv, components.undurable),
    checkRecords(await components.damaged()),
    ...checkCryptography(components.fallbacks ?? crypto.fallbacks),
    checkPeers(status),
    checkLocation(status),
    checkReplicas(status),
    checkAccount(status),
    checkTrust(status),
  ]
  return { ok: checks.every((check) => check.ok), checks }
}

/** What stands between us and one contact. */
export async function examineContact(
  components: Pick<DoctorComponents, 'overlay' | 'status'>,
  contact: string,
  probe: { places(): Promise<ContactPlaces | undefined>, locate(): Promise<ContactPlaces | undefined> },
): Promise<DoctorReport> {
  const checks: DoctorCheck[] = [checkPeers(await components.status())]
  const [places, located] = [await probe.places(), await probe.locate()]
  const isLocated = located !== undefined
  checks.push(judged({
    name: `location of ${contact}`,
    ok: isLocated,
    detail: isLocated ? 'a signed, current record was found' : 'no node has a current record',
    cure: 'their node is off or new; mail still goes to the replicas of their inbox',
  }))
  if (places === undefined) {
    checks.push({
      name: `inbox of ${contact}`,
      ok: false,
      detail: 'their answer to the invite has not come yet',
      cure: 'messages wait here until it comes; ask them to start their node',
    })
    return { ok: false, contact, checks }
  }
  const homes = await reach(components.overlay, places.homes)
  const isHome = homes.length > 0
  checks.push(judged({
    name: `home of ${contact}`,
    ok: isHome,
    detail: isHome
      ? `answers (${homes.length} of ${places.homes.length})`
      : 'does not answer: their node is off or out of reach',
    cure: 'nothing to do: replicas hold your messages until it is back',
  }))
  const replicas = await reach(components.overlay, places.replicas)
  const wanted = Math.min(3, places.replicas.length)
  checks.push(judged({
    name: `replicas of ${contact}`,
    ok: replicas.length >= wanted && places.replicas.length > 0,
    detail: `${replicas.length} of ${places.replicas.length} answer`,
    cure: 'keep this node running: it holds your messages until more of them are back',
  }))
  return { ok: checks.every((check) => check.ok), contact, checks }
}

/** Those that answer an echo. */
export async function reach(overlay: Overlay, nodes: readonly NodeId[]): Promise<NodeId[]> {
  const answers = await Promise.all(nodes.map(async (nodeId) => {
    if (nodeId === overlay.nodeId) return true
    return (await overlay.call(nodeId, services.echo, utf8('doctor'), { timeoutMs: echoTimeoutMs })).ok
  }))
  return nodes.filter((_, i) => answers[i])
}

/** The cure is told only of what is not well. */
export function judged({ cure, ...found }: Required<DoctorCheck>): DoctorCheck {
  return found.ok ? found : { ...found, cure }
}

export async function checkDataDir(dataDir: string): Promise<DoctorCheck> {
  const mode = (await stat(dataDir)).mode & 0o777
  const ok = (mode & 0o077) === 0
  return judged({
    name: 'data directory',
    ok,
    detail: `${dataDir} has mode ${mode.toString(8).padStart(4, '0')}`,
    cure: `others on this machine can look in: chmod 700 ${dataDir}`,
  })
}

export async function checkDisk(dataDir: string): Promise<DoctorCheck> {
  const { bavail, bsize } = await statfs(dataDir)
  const free = bavail * bsize
  const ok = free >= diskFreeBytesMin
  return judged({
    name: 'disk',
    ok,
    detail: `${Math.floor(free / 1024 ** 2)} MB free`,
    cure: 'make room: below 512 MB the node soon stops taking mail',
  })
}

export async function checkStore(kv: KvStore, undurable: readonly string[] = []): Promise<DoctorCheck> {
  if (undurable.length > 0) {
    const detail = `a power cut may take what is stored: ${undurable.join('; ')}`
    const cure = 'change these settings of the database, then restart the node'
    return { name: 'store', ok: false, detail, cure }
  }
  try {
    await kv.write([{ type: 'put', key: probeKey, value: utf8('ok') }])
    await kv.write([{ type: 'delete', key: probeKey }])
    return { name: 'store', ok: true, detail: 'a synced write and a delete went through' }
  } catch (error) {
    const detail = error instanceof OpenIMError ? `${error.message} (${error.code})` : 'cannot be written'
    return { name: 'store', ok: false, detail, cure: 'see disk; then restart the node' }
  }
}

const contactRecord = /^client\/contact\/([0-9a-f]{64})$/

/** A lost contact takes a person to come back; everything else is made anew or was one message. */
export function checkRecords(damaged: readonly DamagedRecord[]): DoctorCheck {
  const contacts = damaged.flatMap(({ name }) => contactRecord.exec(name)?.[1] ?? [])
    .map((rootKey) => formatAddress(hexDecode(rootKey)))
  const newest = new Date(Math.max(0, ...damaged.map(({ foundAtMs }) => foundAtMs))).toISOString()
  return judged({
    name: 'records',
    ok: damaged.length === 0,
    detail: damaged.length === 0
      ? 'none damaged'
      : `${damaged.length} damaged and set aside, last ${newest}: ${kindsOf(damaged)}`,
    cure: contacts.length === 0
      ? 'look at the disk; what can be made anew was, for the rest there is your backup'
      : `look at the disk, and swap invites with ${contacts.join(', ')} again, or restore a backup`,
  })
}

/** `2 session, 1 history` */
function kindsOf(damaged: readonly DamagedRecord[]): string {
  const counts = new Map<string, number>()
  for (const { name } of damaged) {
    const kind = name.replace(/^client\//, '').split('/', 1)[0]!
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ')
}

/** Told only when there is something to tell. */
export function checkCryptography(fallbacks: readonly string[]): DoctorCheck[] {
  return fallbacks.map((detail) => ({
    name: 'cryptography',
    ok: false,
    detail,
    cure: 'slower, not weaker; but find out why: install Node anew, test the memory, and report it',
  }))
}

function checkPeers({ peers, dht }: NodeStatus): DoctorCheck {
  return judged({
    name: 'peers',
    ok: peers.now > 0,
    detail: `${peers.now} linked, ${dht.known} nodes known`,
    cure: 'give it a node to meet: openim start --bootstrap MULTIADDR, or add an invite',
  })
}

function checkLocation({ location }: NodeStatus): DoctorCheck {
  const ok = location.holders > 0
  return judged({
    name: 'location record',
    ok,
    detail: `held by ${location.holders} nodes`,
    cure: 'people with an invite cannot find you yet; it is published as soon as there are peers',
  })
}

function checkReplicas({ replicas }: NodeStatus): DoctorCheck {
  const ok = replicas.have > 0
  return judged({
    name: 'replicas',
    ok,
    detail: `${replicas.have} of ${replicas.want} hold your mail while you are away`,
    cure: 'while this node is off nobody can leave you mail; it needs other storage nodes around',
  })
}

function checkAccount({ online, queue, standing, isRenewing }: NodeStatus): DoctorCheck {
  const problem = standingProblem(standing)
  if (problem !== undefined) {
    const detail = `${problem.message} (${problem.code})`
    const cure = standing === 'cloned'
      ? 'stop the other place for good, then stop this node and: openim devices renew'
      : 'use the other one; what is here can still be backed up'
    return { name: 'account', ok: false, detail, cure }
  }
  if (isRenewing) {
    const detail = 'a new device of the account, not listed yet'
    return { name: 'account', ok: false, detail, cure: 'it takes some seconds; then look again' }
  }
  return judged({
    name: 'account',
    ok: online,
    detail: online ? `logged in; ${queue.out} messages on their way` : 'is not logged in to its own node',
    cure: 'restart the node; if it stays, run with --verbose and report it',
  })
}

/** What other people saw of our keys, and we of theirs. */
export function checkTrust({ alarms, contacts }: AccountStatus): DoctorCheck {
  const witnesses = alarms.map(({ contact }) => contact)
  const doubted = contacts.filter(({ trust }) => trust === 'changed').map(({ name }) => name)
  if (witnesses.length > 0) {
    return {
      name: 'trust',
      ok: false,
      detail: `${witnesses.join(', ')} saw a list of your devices that was not made here`,
      cure: 'unless you restored this account elsewhere, somebody has your root key: make a new account',
    }
  }
  return judged({
    name: 'trust',
    ok: doubted.length === 0,
    detail: doubted.length === 0 ? 'no contradiction seen' : `in doubt: ${doubted.join(', ')}`,
    cure: 'ask them in person, then: openim verify CONTACT',
  })
}

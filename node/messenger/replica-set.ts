/**
 * The replicas of one inbox: who should hold it, leasing, renewing, replacing.
 *
 * A holder stays as long as it answers, even when a newcomer would rank higher: moving mail costs
 * more than a slightly uneven spread. One that is silent is kept for a grace of a day (most come
 * back) and then replaced.
 */
import { crypto } from '../../crypto/index.ts'
import { tryDecode } from '../../protocol/codec/struct.ts'
import { expiryHour, expiryMs } from '../../protocol/envelope.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'
import type { Clock } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import { leaseReplyCodec, leaseResults, signLease } from '../../protocol/service/lease.ts'
import type { Courier } from '../ports.ts'
import { rankHolders, SubnetSpread } from './placement.ts'
import type { HomeInbox, LeasedReplica } from './records.ts'

const leaseTimeoutMs = 5_000
/** A silent holder is replaced after this: most nodes that go come back within a day. */
const replaceAfterMs = 24 * 3_600_000
const hourMs = 3_600_000
/** Asked beyond the wanted number before giving up for this round. */
const askedMax = 12

export interface ReplicaSetComponents {
  readonly courier: Courier
  readonly clock: Clock
  readonly self: NodeId
}

export interface ReplicaChoice {
  /** Storage nodes known now. */
  readonly candidates: readonly NodeDescriptor[]
  /** Asked before all others: holders of things that strangers must find in one place. */
  readonly preferred: ReadonlySet<NodeId>
}

/**
 * Renews what is due, asks for what is missing. Returns the inbox as it stands afterwards: the same
 * object when there was nothing to do, which is the rule, so `choose` is asked only when needed.
 */
export async function maintainReplicas(
  components: ReplicaSetComponents,
  inbox: HomeInbox,
  choose: () => ReplicaChoice,
): Promise<HomeInbox> {
  const nowMs = components.clock.now()
  if (inbox.replicas.length >= limits.replicas && !inbox.replicas.some((replica) => isDue(replica, nowMs))) {
    return inbox
  }
  const sequence = nextSequence(inbox, nowMs)
  const kept: LeasedReplica[] = []
  const renewals = await Promise.all(inbox.replicas
    .map((replica) => renew(components, { inbox, replica, sequence })))
  for (const replica of renewals) if (replica !== undefined) kept.push(replica)
  const isGone = (replica: LeasedReplica): boolean =>
    replica.silentSinceMs > 0 && nowMs - replica.silentSinceMs > replaceAfterMs
  const lasting = kept.filter((replica) => !isGone(replica))
  const given = new Set(kept.filter(isGone).map((replica) => replica.nodeId))
  const found = lasting.length >= limits.replicas
    ? []
    : await recruit(components, { inbox, sequence, kept: lasting, given, choice: choose() })
  return { ...inbox, leaseSequence: sequence, replicas: [...lasting, ...found].slice(0, limits.replicasMax) }
}

/** Gives the leases up; best effort, they lapse by themselves. */
export async function releaseReplicas(components: ReplicaSetComponents, inbox: HomeInbox): Promise<void> {
  const sequence = nextSequence(inbox, components.clock.now())
  await Promise.all(inbox.replicas.map(({ nodeId }) =>
    askLease(components, { inbox: { ...inbox, itemsMax: 0 }, holder: nodeId, sequence })))
}

/** By the clock, so that a node restored from a backup is not behind the leases it has given since. */
function nextSequence(inbox: HomeInbox, nowMs: number): number {
  return Math.max(inbox.leaseSequence + 1, nowMs)
}

function isDue(replica: LeasedReplica, nowMs: number): boolean {
  return expiryMs(replica.expiryHour) - nowMs < limits.leaseTtlMs / 2 || replica.silentSinceMs > 0
}

interface LeaseWish {
  readonly inbox: HomeInbox
  readonly sequence: number
}

/** The replica with its new dates; `undefined` when it does not hold us (any more). */
async function renew(
  components: ReplicaSetComponents,
  { inbox, replica, sequence }: LeaseWish & { replica: LeasedReplica },
): Promise<LeasedReplica | undefined> {
  const nowMs = components.clock.now()
  if (!isDue(replica, nowMs)) return replica
  const answer = await askLease(components, { inbox, holder: replica.nodeId, sequence })
  if (answer === 'refused') return undefined
  if (answer === 'silent') {
    return { ...replica, silentSinceMs: replica.silentSinceMs > 0 ? replica.silentSinceMs : nowMs }
  }
  // Only a drain ends its silence: one that renews but lets nobody read is of no use.
  return { ...replica, expiryHour: answer.expiryHour }
}

interface Recruiting extends LeaseWish {
  readonly kept: readonly LeasedReplica[]
  /** Given up in this round: not to be asked again in the same breath. */
  readonly given: ReadonlySet<NodeId>
  readonly choice: ReplicaChoice
}

async function recruit(
  components: ReplicaSetComponents,
  { inbox, sequence, kept, given, choice }: Recruiting,
): Promise<LeasedReplica[]> {
  const { candidates, preferred } = choice
  const holders = new Set(kept.map((replica) => replica.nodeId))
  const spread = new SubnetSpread()
  for (const descriptor of candidates) if (holders.has(descriptor.nodeId)) spread.add(descriptor)
  const nowHour = Math.floor(components.clock.now() / hourMs)
  const ranked = rankHolders({ key: inbox.placement, candidates, nowHour })
    .filter(({ nodeId }) => !holders.has(nodeId) && !given.has(nodeId) && nodeId !== components.self)
    .sort((a, b) => Number(preferred.has(b.nodeId)) - Number(preferred.has(a.nodeId)))
  const found: LeasedReplica[] = []
  let asked = 0
  for (let at = 0; at < ranked.length && asked < askedMax && kept.length + found.length < limits.replicas; ) {
    const wave: NodeDescriptor[] = []
    while (at < ranked.length && wave.length < limits.replicas - kept.length - found.length) {
      const descriptor = ranked[at++]!
      if (!spread.admits(descriptor)) continue
      spread.add(descriptor)
      wave.push(descriptor)
    }
    asked += wave.length
    const answers = await Promise.all(wave
      .map(({ nodeId }) => askLease(components, { inbox, holder: nodeId, sequence })))
    answers.forEach((answer, i) => {
      if (typeof answer !== 'object') return
      found.push({ nodeId: wave[i]!.nodeId, expiryHour: answer.expiryHour, silentSinceMs: 0 })
    })
  }
  return found
}

async function askLease(
  components: ReplicaSetComponents,
  { inbox, holder, sequence }: LeaseWish & { holder: NodeId },
): Promise<{ readonly expiryHour: number } | 'refused' | 'silent'> {
  const { clock, courier, self } = components
  const longest = expiryHour(clock.now() + limits.leaseTtlMs - hourMs)
  const lease = signLease({
    writeKey: inbox.writeKey,
    readKey: crypto.signingKeyPair(inbox.readSeed).publicKey,
    holder,
    home: self,
    kind: inbox.kind,
    sequence,
    itemsMax: inbox.itemsMax,
    bytesMax: inbox.bytesMax,
    expiryHour: inbox.expiryHour === 0 ? longest : Math.min(inbox.expiryHour, longest),
  }, crypto.signingKeyPair(inbox.readSeed))
  const answer = await courier.call(holder, services.lease, lease, { timeoutMs: leaseTimeoutMs, level: 0 })
  if (!answer.ok) return 'silent'
  const reply = tryDecode(leaseReplyCodec, answer.value)
  if (!reply.ok || reply.value.result !== leaseResults.granted) return 'refused'
  return { expiryHour: reply.value.expiryHour }
}

/** Whether devices (and so contacts) must be told. */
export function sameReplicas(a: HomeInbox, b: HomeInbox): boolean {
  const names = (inbox: HomeInbox): string => inbox.replicas.map((replica) => replica.nodeId).sort().join()
  return names(a) === names(b)
}


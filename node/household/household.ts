/**
 * The household as one of its processes sees it: who the others are, which single work is ours,
 * and what to look at because another one changed it (docs/decisions/0015-household.md).
 *
 * ```text
 *   household/member/NODE   addresses      put at every beat; expires a day after the last
 *   household/lease/NAME, household/fence/NAME                             (lease.ts)
 *   process/NODE/…          what is of one process alone: outgoing mail, directory, lent boxes
 *   all else                of the household
 * ```
 *
 * Who writes to the shared database, sealed with the shared data key, is a member: there is no
 * other list. A member whose record has not changed for a while of our own monotonic clock is
 * silent; its outgoing mail is adopted, but devices and contacts still know it as a home.
 */
import type { Random } from '../../crypto/random.ts'
import { decode, encode, struct, text, u64, vector } from '../../protocol/codec/struct.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { hintKinds } from '../../protocol/service/household.ts'
import type { HouseholdHint } from '../../protocol/service/household.ts'
import { Repeater } from '../../protocol/timers.ts'
import type { HouseholdPort, HouseholdWork, Log, Overlay, StoreHints } from '../ports.ts'
import { Hints } from './hints.ts'
import { Lease } from './lease.ts'

const memberPrefix = 'household/member/'
/** Strangers that knock make us read the list of members no more often than this. */
const rereadMs = 1_000

interface MemberRecord {
  readonly addresses: string[]
  /** When this process began. */
  readonly sinceMs: number
}
const memberCodec = struct<MemberRecord>({
  addresses: vector(text(256), limits.nodeAddressesMax),
  sinceMs: u64,
})

interface Member {
  readonly nodeId: NodeId
  readonly record: MemberRecord
  readonly version: number
  /** When we first saw this version, monotonic. */
  readonly seenMs: number
}

export interface MemberStatus {
  readonly nodeId: NodeId
  readonly addresses: readonly string[]
  /** Since its last beat that we saw; 0 for ourselves. */
  readonly silentMs: number
}

export interface HouseholdStatus {
  readonly members: readonly MemberStatus[]
  /** By name: the node id of who has it. */
  readonly leases: Readonly<Record<string, string | undefined>>
}

export interface HouseholdComponents {
  readonly overlay: Overlay
  /** The shared records. */
  readonly kv: KvStore
  readonly hints: StoreHints | undefined
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export interface HouseholdOptions {
  /** Whether this process offers storage to others at all. */
  readonly lends: boolean
  readonly heard: (hint: HouseholdHint) => void
  /** Everything should be looked at again: nobody may have told us. */
  readonly poll: () => Promise<void>
  /** A work is ours now, or no more. */
  readonly workChanged: (work: HouseholdWork) => void
  /** Who is a home changed. */
  readonly homesChanged: () => void
}

export class Household implements HouseholdPort {
  readonly isAlone = false
  readonly #components: HouseholdComponents
  readonly #options: HouseholdOptions
  readonly #hints: Hints
  readonly #leases = new Map<string, Lease>()
  readonly #beat: Repeater
  readonly #poll: Repeater
  readonly #sinceMs: number
  /** Without ourselves. */
  #members = new Map<NodeId, Member>()
  #readMs = -Infinity
  #stopped = false

  constructor(components: HouseholdComponents, options: HouseholdOptions) {
    this.#components = components
    this.#options = options
    const { overlay, clock, log } = components
    this.#sinceMs = clock.now()
    this.#hints = new Hints({ overlay, store: components.hints }, {
      members: () => [...this.#members.keys()],
      isMember: (nodeId) => this.#isMemberNow(nodeId),
      heard: (hints) => this.#heard(hints),
    })
    const works: HouseholdWork[] = options.lends ? ['keeper', 'lender'] : ['keeper']
    for (const work of works) {
      const changed = (): void => {
        if (!this.#stopped) options.workChanged(work)
      }
      this.lease(work, { held: changed, lost: changed })
    }
    const onError = (error: unknown): void => log.warn({ err: error }, 'the household could not be kept up')
    this.#beat = new Repeater(components, () => this.#runBeat(), { everyMs: limits.householdBeatMs, onError })
    this.#poll = new Repeater(components, () => options.poll(), {
      everyMs: limits.householdPollMs, spread: 0.3, onError,
    })
  }

  /** Who is there already; before anything of this node begins. */
  async load(): Promise<void> {
    await this.#readMembers()
  }

  /** When the overlay runs. */
  async start(): Promise<void> {
    this.#hints.start()
    await this.#writeSelf()
    this.#beat.start(0)
    this.#poll.start()
  }

  /** Gives all leases back; the record stays, for this process may only restart. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#hints.stop()
    await Promise.all([this.#beat.stop(), this.#poll.stop()])
    await Promise.all([...this.#leases.values()].map((lease) => lease.stop()))
  }

  homes(): readonly NodeId[] {
    const { nodeId } = this.#components.overlay
    return [nodeId, ...[...this.#members.keys()].sort()].slice(0, limits.homesMax)
  }

  isMember(nodeId: NodeId): boolean {
    return nodeId === this.#components.overlay.nodeId || this.#members.has(nodeId)
  }

  does(work: HouseholdWork): boolean {
    return this.#leases.get(work)?.isHeld === true
  }

  fenced(work: HouseholdWork, kv: KvStore): KvStore {
    const lease = this.#leases.get(work)
    return lease === undefined ? kv : lease.fenced(kv)
  }

  tell(hint: HouseholdHint): void {
    this.#hints.tell(hint)
  }

  /** Another work that one process at a time does: one lease a name, renewed with the others. */
  lease(name: string, on: { readonly held: () => void, readonly lost: () => void }): Lease {
    const lease = new Lease(this.#components, { name, holder: this.#components.overlay.nodeId, ...on })
    this.#leases.set(name, lease)
    return lease
  }

  /** Members that have not been heard of for so long, and the process is to be taken for dead. */
  silent(forMs: number): NodeId[] {
    const nowMs = this.#components.clock.monotonicMs()
    return [...this.#members.values()]
      .filter(({ seenMs }) => nowMs - seenMs >= forMs)
      .map(({ nodeId }) => nodeId)
  }

  status(): HouseholdStatus {
    const { overlay, clock } = this.#components
    const nowMs = clock.monotonicMs()
    const others = [...this.#members.values()].map(({ nodeId, record, seenMs }): MemberStatus =>
      ({ nodeId, addresses: record.addresses, silentMs: nowMs - seenMs }))
    return {
      members: [{ nodeId: overlay.nodeId, addresses: overlay.addresses(), silentMs: 0 }, ...others],
      leases: Object.fromEntries([...this.#leases].map(([name, lease]) => [name, lease.holder])),
    }
  }

  async #runBeat(): Promise<void> {
    const steps = [...this.#leases.values()].map((lease) => lease.step())
    const work = [this.#writeSelf(), this.#readMembers(), ...steps]
    const failed = (await Promise.allSettled(work)).find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  async #writeSelf(): Promise<void> {
    const { kv, overlay, clock } = this.#components
    const addresses = overlay.addresses().slice(0, limits.nodeAddressesMax)
    await kv.write([{
      type: 'put',
      key: memberPrefix + overlay.nodeId,
      value: encode(memberCodec, { addresses, sinceMs: this.#sinceMs }),
      expiresAtMs: clock.now() + limits.householdGoneMs,
    }])
  }

  async #readMembers(): Promise<void> {
    const { kv, clock, overlay } = this.#components
    const entries = await kv.list({ prefix: memberPrefix, limit: limits.householdMembersMax + 1 })
    const nowMs = clock.monotonicMs()
    this.#readMs = nowMs
    const before = this.homes()
    const members = new Map<NodeId, Member>()
    for (const { key, value, version } of entries) {
      const nodeId = key.slice(memberPrefix.length) as NodeId
      if (nodeId === overlay.nodeId) continue
      const known = this.#members.get(nodeId)
      if (known?.version === version) {
        members.set(nodeId, known)
        continue
      }
      const record = decode(memberCodec, value)
      const isNews = known?.record.addresses.join(' ') !== record.addresses.join(' ')
      if (isNews) overlay.learn(nodeId, record.addresses)
      members.set(nodeId, { nodeId, record, version, seenMs: nowMs })
    }
    this.#members = members
    const after = this.homes()
    const isSame = before.length === after.length && before.every((home, i) => home === after[i])
    if (!isSame && !this.#stopped) this.#options.homesChanged()
  }

  async #isMemberNow(nodeId: NodeId): Promise<boolean> {
    const { clock } = this.#components
    const isFresh = clock.monotonicMs() - this.#readMs < rereadMs
    if (!this.isMember(nodeId) && !isFresh) await this.#readMembers()
    return this.isMember(nodeId)
  }

  #heard(hints: readonly HouseholdHint[]): void {
    if (this.#stopped) return
    for (const hint of hints) {
      if (hint.kind === hintKinds.everything) this.#poll.soon()
      else this.#options.heard(hint)
    }
  }
}

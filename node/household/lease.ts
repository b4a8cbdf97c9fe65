/**
 * A lease: work that one process of the household does at a time, and another one takes over
 * seconds after that process is gone.
 *
 * ```text
 *   household/lease/NAME   holder, token, beat      put at every beat by the holder
 *   household/fence/NAME   token                    put when the lease changes hands, never else
 * ```
 *
 * No two clocks are compared. Who wants the lease watches the record's version: if it has not
 * changed for a whole term of the watcher's own monotonic clock, the holder is silent and the lease
 * is taken by compare-and-set. The holder counts its term from before the write that renewed it,
 * so it stops first. (An expiry by the wall clock would make every clock that jumps a takeover.)
 *
 * A process that was frozen cannot know that time has passed, between two instructions. So what
 * the holder writes goes through `fenced`: each batch checks the fence record, whose version is
 * another one once somebody took over, and the database refuses it.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { decode, encode, fixed, struct, text } from '../../protocol/codec/struct.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvOperation, KvStore, Timer } from '../../protocol/ports.ts'

const leasePrefix = 'household/lease/'
const fencePrefix = 'household/fence/'
const tokenBytes = 16

interface LeaseRecord {
  /** Node id; empty when it was given back. */
  readonly holder: string
  /** Of this tenure. */
  readonly token: Uint8Array
}
const leaseCodec = struct<LeaseRecord>({ holder: text(128), token: fixed(tokenBytes) })

export interface LeaseComponents {
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
}

export interface LeaseOptions {
  readonly name: string
  readonly holder: string
  /** It is ours from now on. */
  readonly held: () => void
  /** It is not, or may not be: what it allowed ends at once. */
  readonly lost: () => void
}

interface Tenure {
  readonly token: Uint8Array
  /** Version of the fence record. */
  readonly fence: number
  /** Of the lease record, as we wrote it last. */
  version: number
  /** Of the monotonic clock. */
  untilMs: number
}

export class Lease {
  readonly #components: LeaseComponents
  readonly #options: LeaseOptions
  #tenure: Tenure | undefined
  #seen: { readonly version: number, readonly sinceMs: number, readonly holder: string } | undefined
  #timer: Timer | undefined
  #stepping: Promise<void> | undefined
  #stopped = false

  constructor(components: LeaseComponents, options: LeaseOptions) {
    this.#components = components
    this.#options = options
  }

  get name(): string {
    return this.#options.name
  }

  get isHeld(): boolean {
    const { clock } = this.#components
    return this.#tenure !== undefined && clock.monotonicMs() < this.#tenure.untilMs
  }

  /** As seen last; undefined when nobody has it. */
  get holder(): string | undefined {
    return this.isHeld ? this.#options.holder : this.#seen?.holder || undefined
  }

  /** At every beat: renews it, or takes it when its holder has gone silent. */
  step(): Promise<void> {
    this.#stepping ??= this.#step().finally(() => { this.#stepping = undefined })
    return this.#stepping
  }

  /** Gives it back, so that nobody has to wait. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#stepping?.catch(() => {})
    const tenure = this.#tenure
    this.#lose()
    if (tenure === undefined) return
    const free = encode(leaseCodec, { holder: '', token: tenure.token })
    await this.#put(tenure.version, free).catch(() => {})
  }

  /** `kv` for what the holder writes: every batch is refused once another has the lease. */
  fenced(kv: KvStore): KvStore {
    return {
      get: (key) => kv.get(key),
      list: (range) => kv.list(range),
      expire: (nowMs, budget) => kv.expire(nowMs, budget),
      write: async (operations) => {
        if (await kv.write([...operations, this.#fence()])) return true
        // A check of the caller's own, or the fence?
        await this.#verify()
        return false
      },
    }
  }

  #fence(): KvOperation {
    if (!this.isHeld) throw this.#lostError()
    return { type: 'check', key: fencePrefix + this.name, version: this.#tenure!.fence }
  }

  async #verify(): Promise<void> {
    const fence = await this.#components.kv.get(fencePrefix + this.name)
    if (this.#tenure !== undefined && fence?.version === this.#tenure.fence) return
    this.#lose()
    throw this.#lostError()
  }

  #lostError(): OpenIMError {
    return new OpenIMError('HOUSEHOLD_LEASE_LOST', `another process of the household has ${this.name} now`)
  }

  async #step(): Promise<void> {
    if (this.#stopped) return
    if (this.#tenure !== undefined && !this.isHeld) this.#lose()
    await (this.#tenure === undefined ? this.#watch() : this.#renew(this.#tenure))
  }

  async #renew(tenure: Tenure): Promise<void> {
    const { kv, clock } = this.#components
    const sentMs = clock.monotonicMs()
    const isRenewed = await this.#put(tenure.version, this.#record(tenure.token))
    const entry = await kv.get(leasePrefix + this.name)
    if (this.#tenure !== tenure) return
    if (entry === undefined || !equalBytes(decode(leaseCodec, entry.value).token, tenure.token)) {
      this.#lose()
      return
    }
    // Ours and not renewed: an earlier beat was written, but its answer got lost.
    tenure.version = entry.version
    if (isRenewed) this.#extend(tenure, sentMs)
  }

  async #watch(): Promise<void> {
    const { kv, clock } = this.#components
    const entry = await kv.get(leasePrefix + this.name)
    const holder = entry === undefined ? '' : decode(leaseCodec, entry.value).holder
    const nowMs = clock.monotonicMs()
    const version = entry?.version ?? 0
    if (this.#seen?.version !== version) this.#seen = { version, sinceMs: nowMs, holder }
    // Ours from before we were started anew: of two processes on one data directory one is refused.
    const isFree = holder === '' || holder === this.#options.holder
    if (isFree || nowMs - this.#seen.sinceMs >= limits.householdLeaseMs) await this.#take(version)
  }

  async #take(version: number): Promise<void> {
    const { kv, clock, random } = this.#components
    const leaseKey = leasePrefix + this.name
    const fenceKey = fencePrefix + this.name
    const token = random.bytes(tokenBytes)
    const before = await kv.get(fenceKey)
    const sentMs = clock.monotonicMs()
    const isTaken = await kv.write([
      { type: 'check', key: leaseKey, version },
      { type: 'check', key: fenceKey, version: before?.version ?? 0 },
      { type: 'put', key: leaseKey, value: this.#record(token) },
      { type: 'put', key: fenceKey, value: token },
    ])
    if (!isTaken) return
    const [lease, fence] = await Promise.all([kv.get(leaseKey), kv.get(fenceKey)])
    // Somebody else since: after a freeze of ours that took longer than a term.
    if (lease === undefined || fence === undefined || !equalBytes(fence.value, token)) return
    if (this.#stopped) {
      await this.#put(lease.version, encode(leaseCodec, { holder: '', token }))
      return
    }
    const tenure: Tenure = { token, fence: fence.version, version: lease.version, untilMs: 0 }
    this.#tenure = tenure
    this.#extend(tenure, sentMs)
    if (this.isHeld) this.#options.held()
  }

  #extend(tenure: Tenure, sentMs: number): void {
    const { clock } = this.#components
    tenure.untilMs = sentMs + limits.householdLeaseMs - limits.householdLeaseMarginMs
    this.#timer?.cancel()
    const leftMs = Math.max(0, tenure.untilMs - clock.monotonicMs())
    this.#timer = clock.after(leftMs, () => {
      if (this.#tenure === tenure && !this.isHeld) this.#lose()
    })
  }

  #lose(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#seen = undefined
    if (this.#tenure === undefined) return
    this.#tenure = undefined
    this.#options.lost()
  }

  #record(token: Uint8Array): Uint8Array {
    return encode(leaseCodec, { holder: this.#options.holder, token })
  }

  #put(version: number, value: Uint8Array): Promise<boolean> {
    const key = leasePrefix + this.name
    return this.#components.kv.write([{ type: 'check', key, version }, { type: 'put', key, value }])
  }
}

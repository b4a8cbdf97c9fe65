/**
 * Whether this device still is who it thinks it is. Its keys may be at work in two places (a data
 * directory was copied), it may have gone back in time (a disk snapshot was put back), or another
 * device may have taken its place (a backup was restored). All three show in our own location
 * record: only the primary device publishes it, and each sequence is durable before it leaves, so a
 * higher one than our last is somebody else's.
 *
 * ```text
 *   good ──► own record has a higher sequence than we ever published
 *              its device list is older than ours ────────► good      somebody whom we replaced
 *              is newer and does not name us ─────────────► retired   for good
 *              else ──────────────────────────────────────► cloned    ──► retired, or renewed
 * ```
 *
 * Cloned and retired devices send nothing, take nothing over and acknowledge nothing: two that go
 * on would break each other's ratchets and take each other's mail. What contacts send stays theirs
 * to repeat until the one that remains has confirmed it. One that finds itself cloned publishes
 * once more, so that the other finds out as well; which of them stays is the person's to say.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { findDevice } from '../account.ts'
import { oneOf, struct, u64 } from '../codec/struct.ts'
import type { Frame } from '../frame/frame.ts'
import type { Standing as StandingName } from './api.ts'
import { Batch } from './batch.ts'
import type { Bundles } from './bundles.ts'
import type { Context } from './context.ts'
import type { Inboxes } from './inboxes.ts'
import { keys } from './keys.ts'
import type { Locations } from './locations.ts'
import { readRecord } from './records.ts'
import type { Uplink } from './uplink.ts'

const standings = { cloned: 1, retired: 2 } as const
type Lost = keyof typeof standings

interface StandingRecord {
  readonly standing: (typeof standings)[Lost]
  readonly foundAtMs: number
}
const standingCodec = struct<StandingRecord>({
  standing: oneOf(Object.values(standings), 'standing'),
  foundAtMs: u64,
})

/** Enough to see whether the other has been renewed. */
const allowed: ReadonlySet<Frame['type']> = new Set(['locate', 'shelfTake'])

export interface StandingParts {
  readonly uplink: Uplink
  readonly locations: Locations
  readonly bundles: Bundles
  readonly inboxes: Inboxes
  /** A device that is not listed yet has no standing to look at. */
  readonly isRenewing: () => boolean
}

export class Standing {
  readonly #context: Context
  readonly #parts: StandingParts
  #state: StandingName = 'good'
  #checking: Promise<void> | undefined

  constructor(context: Context, parts: StandingParts) {
    this.#context = context
    this.#parts = parts
  }

  get state(): StandingName {
    return this.#state
  }

  async load(): Promise<void> {
    const record = await readRecord(this.#context.kv, standingCodec, keys.standing)
    if (record === undefined) return
    this.#state = record.standing === standings.cloned ? 'cloned' : 'retired'
    this.#parts.uplink.restrict(allowed)
  }

  /** @throws ACCOUNT_CLONED, ACCOUNT_RETIRED unless the standing is good */
  assertGood(): void {
    const problem = standingProblem(this.#state)
    if (problem !== undefined) throw problem
  }

  /** Looks at what the network has of us; one look at a time. What cannot be asked changes nothing. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => { this.#checking = undefined })
    return this.#checking
  }

  /** The node let another process in with the keys of this device; until the next start. */
  replaced(): void {
    if (this.#state === 'good') this.#show('cloned')
  }

  async #check(): Promise<void> {
    const { own, account } = this.#context
    const { locations, bundles, inboxes, uplink } = this.#parts
    if (!own.isPrimary || this.#state === 'retired' || this.#parts.isRenewing()) return
    const found = await locations.locateOwn()
    // After the look: what we published meanwhile is ours.
    if (!found.ok || found.value.sequence <= await locations.lastSequence()) return
    const { sequence, content } = found.value
    if (content.deviceListNumber < own.list.list.number) {
      // It finds ours as soon as that is above its own.
      if (this.#state === 'good') await locations.publish(inboxes.front, sequence)
      return
    }
    const list = await bundles.newestList(own.self, content)
    const isNewer = list !== undefined && list.list.number > own.list.list.number
    if (isNewer && findDevice(list.list, account.deviceId) === undefined) {
      await this.#become('retired')
    } else if (this.#state === 'good') {
      uplink.restrict(new Set([...allowed, 'publish']))
      await locations.publish(inboxes.front, sequence)
      await this.#become('cloned')
    }
  }

  async #become(standing: Lost): Promise<void> {
    const { kv, clock } = this.#context
    const batch = new Batch()
    batch.put(keys.standing, standingCodec, {
      standing: standings[standing], foundAtMs: clock.now(),
    })
    await batch.commit(kv)
    this.#show(standing)
  }

  #show(standing: Lost): void {
    const { log, emit } = this.#context
    this.#state = standing
    this.#parts.uplink.restrict(allowed)
    const { code, message } = standingProblem(standing)!
    log.warn({ code }, message)
    emit({ type: 'standing', standing, code })
  }
}

/** What to tell somebody whose device is not in good standing. */
export function standingProblem(standing: StandingName): OpenIMError | undefined {
  switch (standing) {
    case 'good': return undefined
    case 'cloned': return new OpenIMError('ACCOUNT_CLONED',
      'this account also runs in another place with the same keys, or this is an older state of it')
    case 'retired': return new OpenIMError('ACCOUNT_RETIRED',
      'another device has taken the place of this one: it does not send or receive any more')
  }
}

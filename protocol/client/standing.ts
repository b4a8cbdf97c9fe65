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
 * A linked device publishes nothing and is not looked for there: it is `revoked` when its node refuses
 * it with DEVICE_REVOKED, and good again should the node let it in. The node's word alone stops it,
 * because without the node it reaches nobody anyway; the contacts go by the signed device list.
 *
 * Devices in any but good standing send nothing, take nothing over and acknowledge nothing: two that go
 * on would break each other's ratchets and take each other's mail. What contacts send stays theirs
 * to repeat until the one that remains has confirmed it. One that finds itself cloned publishes
 * above what it found, so that the other finds out as well, a few times at most: the other does the
 * same. Which of them stays is the person's to say.
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

const standings = { cloned: 1, retired: 2, revoked: 3 } as const
type Lost = keyof typeof standings

interface StandingRecord {
  readonly standing: (typeof standings)[Lost]
  readonly foundAtMs: number
}
const standingCodec = struct<StandingRecord>({
  standing: oneOf(Object.values(standings), 'standing'),
  foundAtMs: u64,
})

/** In one start. Two that have found each other would go on for ever. */
const announcementsMax = 6
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
  #announced = 0

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
    const [name] = Object.entries(standings).find(([, code]) => code === record.standing)!
    this.#state = name as Lost
    this.#parts.uplink.restrict(allowed)
  }

  /** @throws ACCOUNT_CLONED, ACCOUNT_RETIRED, DEVICE_REVOKED unless the standing is good */
  assertGood(): void {
    const problem = standingProblem(this.#state)
    if (problem !== undefined) throw problem
  }

  /** Looks at what the network has of us; one look at a time. What cannot be asked changes nothing. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => { this.#checking = undefined })
    return this.#checking
  }

  /** The session is over, or there is none, and the node says why. */
  refused(code: string): void {
    if (this.#state !== 'good') return
    // Another process has the keys of this device; until the next start.
    if (code === 'SESSION_REPLACED') this.#show('cloned')
    if (code !== 'DEVICE_REVOKED') return
    // Should the write fail, the node says it again.
    this.#become('revoked').catch((err: unknown) => this.#context.log.warn({ err }, 'not written: revoked'))
  }

  /** The node began a session with it; called before anything is said in it. */
  admitted(): void {
    if (this.#state !== 'revoked') return
    const { kv, log, emit } = this.#context
    this.#state = 'good'
    this.#parts.uplink.restrict(undefined)
    kv.write([{ type: 'delete', key: keys.standing }])
      .catch((err: unknown) => log.warn({ err }, 'not written: let in again'))
    emit({ type: 'standing', standing: 'good' })
  }

  async #check(): Promise<void> {
    const { own, account } = this.#context
    const { locations, bundles, inboxes, uplink } = this.#parts
    if (!own.isPrimary || this.#state === 'retired' || this.#parts.isRenewing()) return
    const found = await locations.locateOwn()
    if (!found.ok) return
    const { sequence, content } = found.value
    // After the look: what we published meanwhile is ours.
    const last = await locations.lastSequence()
    if (last !== undefined && sequence <= last) return
    const { number } = own.list.list
    // Damage took our own word of it away; a copy of our state would have it.
    const isForgotten = last === undefined && content.deviceListNumber === number
    if (isForgotten || content.deviceListNumber < number) {
      // Whom we replaced finds ours as soon as that is above its own.
      if (this.#state === 'good') await locations.publish(inboxes.front, sequence)
      return
    }
    const list = await bundles.newestList(own.self, content)
    const isNewer = list !== undefined && list.list.number > number
    if (isNewer && findDevice(list.list, account.deviceId) === undefined) {
      await this.#become('retired')
      return
    }
    // Above a newer list that could not be fetched just now nothing of ours may stand. What we published
    // may have been replaced before the other one saw it: then it is said again.
    if (content.deviceListNumber <= number && this.#announced++ < announcementsMax) {
      uplink.restrict(new Set([...allowed, 'publish']))
      await locations.announceAbove(inboxes.front, sequence)
      uplink.restrict(allowed)
    }
    if (this.#state === 'good') await this.#become('cloned')
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
    case 'revoked': return new OpenIMError('DEVICE_REVOKED',
      'this device was removed from its account: it does not send or receive any more')
  }
}

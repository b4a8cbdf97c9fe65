/**
 * The account's location records out, other people's in (DESIGN §5). Everything is signed and
 * sealed here; the node only carries it.
 */
import { assert } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { expiryHour } from '../envelope.ts'
import { limits } from '../limits.ts'
import {
  checkLocationRecord, createLocationRecord, locationKeys, openLocationRecord,
} from '../location-record.ts'
import type { LocationContent } from '../location-record.ts'
import { Batch } from './batch.ts'
import type { Context } from './context.ts'
import type { Front } from './inboxes.ts'
import { keys } from './keys.ts'
import { contactRootKey, numberCodec, readRecord } from './records.ts'
import type { ContactRecord } from './records.ts'
import type { Uplink } from './uplink.ts'

export interface FoundLocation {
  readonly sequence: number
  readonly content: LocationContent
}

export class Locations {
  readonly #context: Context
  readonly #uplink: Uplink
  #holders = 0

  constructor(context: Context, uplink: Uplink) {
    this.#context = context
    this.#uplink = uplink
  }

  /** Nodes that kept the last published record. */
  get holders(): number {
    return this.#holders
  }

  /**
   * Today's and tomorrow's record; false when no node kept one: try again.
   * @param replaced a record of ours with this sequence, whoever made it, is replaced
   */
  async publish(front: Front, replaced = 0): Promise<boolean> {
    return await this.#publish(front, Math.max(replaced + 1, this.#context.clock.now()))
  }

  /**
   * Replaces the record with this sequence and none that was made since: for a device that may not be
   * the one that goes on. Sequences otherwise follow the clock, so what the other one publishes in
   * the meantime, renewed perhaps, stands above this.
   */
  async announceAbove(front: Front, replaced: number): Promise<void> {
    await this.#publish(front, replaced + 1)
  }

  async #publish(front: Front, least: number): Promise<boolean> {
    const { account, own, clock, random } = this.#context
    const { rootSeed } = account
    assert(rootSeed !== undefined, 'only the primary device publishes')
    const sequence = await this.#nextSequence(least)
    const timeMs = clock.now()
    const { current, next } = locationKeys({
      rootKey: account.rootKey, seed: own.rendezvousSeed, timeMs,
    })
    const content: LocationContent = {
      homes: [...front.homes],
      replicas: [...front.replicas],
      introReadKey: own.introReadKeys.publicKey,
      shelves: own.devices.map(({ deviceId, shelfKey, shelfSecret }) =>
        ({ deviceId, shelfKey, shelfSecret })),
      deviceListNumber: own.list.list.number,
    }
    const records = [current, next].map(({ period }) => createLocationRecord({
      rootSeed, seed: own.rendezvousSeed, period, sequence,
      expiryHour: expiryHour(timeMs + limits.locationTtlMs), content, random,
    }))
    const published = await this.#uplink.request({ type: 'publish', records }, 'published')
    this.#holders = published.ok ? published.value.holders : 0
    return this.#holders > 0
  }

  /** The newest record of a contact. Refuses with LOCATION_SEED, LOCATION_UNKNOWN or REQUEST_*. */
  async locate(contact: ContactRecord): Promise<Result<LocationContent>> {
    const { seed } = contact
    if (seed === undefined) return { ok: false, code: 'LOCATION_SEED' }
    const rootKey = contactRootKey(contact.id)
    const found = await this.#find({ rootKey, seed, hint: contact.introduction?.hint ?? '' })
    return found.ok ? { ok: true, value: found.value.content } : found
  }

  /** Our own account's newest record, whoever published it. Refuses with LOCATION_UNKNOWN or REQUEST_*. */
  locateOwn(seed: Uint8Array = this.#context.own.rendezvousSeed): Promise<Result<FoundLocation>> {
    return this.#find({ rootKey: this.#context.account.rootKey, seed, hint: '' })
  }

  /** The highest sequence that this device ever published under, if it did; durable before it left. */
  async lastSequence(): Promise<number | undefined> {
    return (await readRecord(this.#context.kv, numberCodec, keys.meta('location')))?.value
  }

  async #find(
    { rootKey, seed, hint }: { rootKey: Uint8Array, seed: Uint8Array, hint: string },
  ): Promise<Result<FoundLocation>> {
    const nowMs = this.#context.clock.now()
    const { previous, current, next } = locationKeys({ rootKey, seed, timeMs: nowMs })
    // The node answers with the first that it finds: yesterday's may be of a device that is gone.
    const periods = [current, next, previous]
    const located = await this.#uplink.request(
      { type: 'locate', hint, blindedKeys: periods.map(({ blindedKey }) => blindedKey) }, 'located')
    if (!located.ok) return located
    let best: FoundLocation | undefined
    for (const record of located.value.records) {
      const checked = checkLocationRecord(record, nowMs)
      if (!checked.ok || (best !== undefined && checked.value.sequence <= best.sequence)) continue
      for (const { period } of periods) {
        const content = openLocationRecord({ rootKey, seed, period, record })
        if (content.ok) best = { sequence: checked.value.sequence, content: content.value }
      }
    }
    return best === undefined ? { ok: false, code: 'LOCATION_UNKNOWN' } : { ok: true, value: best }
  }

  /** Grows with time, so that a client restored from a backup is not taken for an older one. */
  async #nextSequence(least: number): Promise<number> {
    const { kv } = this.#context
    const value = Math.max((await this.lastSequence() ?? 0) + 1, least)
    const batch = new Batch()
    batch.put(keys.meta('location'), numberCodec, { value })
    await batch.commit(kv)
    return value
  }
}

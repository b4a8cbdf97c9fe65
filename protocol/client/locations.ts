/**
 * The account's location records out, other people's in (DESIGN §5). Everything is signed and
 * sealed here; the node only carries it.
 */
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

  /** Today's and tomorrow's record; false when no node kept one: try again. */
  async publish(front: Front): Promise<boolean> {
    const { account, clock, random } = this.#context
    const sequence = await this.#nextSequence()
    const timeMs = clock.now()
    const { current, next } = locationKeys({
      rootKey: account.rootKey, seed: account.rendezvousSeed, timeMs,
    })
    const content: LocationContent = {
      homes: [...front.homes],
      replicas: [...front.replicas],
      introReadKey: account.introReadKeys.publicKey,
      shelves: [{
        deviceId: account.deviceId,
        shelfKey: account.shelfKeys.publicKey,
        shelfSecret: account.shelfSecret,
      }],
      deviceListNumber: account.deviceList.list.number,
    }
    const records = [current, next].map(({ period }) => createLocationRecord({
      rootSeed: account.rootSeed, seed: account.rendezvousSeed, period, sequence,
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
    const nowMs = this.#context.clock.now()
    const periods = Object.values(locationKeys({ rootKey, seed, timeMs: nowMs }))
    const hint = contact.introduction?.hint ?? ''
    const located = await this.#uplink.request(
      { type: 'locate', hint, blindedKeys: periods.map(({ blindedKey }) => blindedKey) }, 'located')
    if (!located.ok) return located
    let best: { sequence: number, content: LocationContent } | undefined
    for (const record of located.value.records) {
      const checked = checkLocationRecord(record, nowMs)
      if (!checked.ok || (best !== undefined && checked.value.sequence <= best.sequence)) continue
      for (const { period } of periods) {
        const content = openLocationRecord({ rootKey, seed, period, record })
        if (content.ok) best = { sequence: checked.value.sequence, content: content.value }
      }
    }
    return best === undefined ? { ok: false, code: 'LOCATION_UNKNOWN' } : { ok: true, value: best.content }
  }

  /** Grows with time, so that a client restored from a backup is not taken for an older one. */
  async #nextSequence(): Promise<number> {
    const { kv, clock } = this.#context
    const last = (await readRecord(kv, numberCodec, keys.meta('location')))?.value ?? 0
    const value = Math.max(last + 1, clock.now())
    const batch = new Batch()
    batch.put(keys.meta('location'), numberCodec, { value })
    await batch.commit(kv)
    return value
  }
}

/**
 * What the account as a whole wants from the network and the calendar: shared inboxes open at the
 * node, prekeys laid out, the location record current; expired things told and swept away.
 */
import { limits } from '../limits.ts'
import { Repeater } from '../timers.ts'
import { Batch } from './batch.ts'
import type { Context } from './context.ts'
import type { Errands } from './errands.ts'
import type { Inboxes } from './inboxes.ts'
import { keys } from './keys.ts'
import type { Locations } from './locations.ts'
import type { Prekeys } from './prekeys.ts'
import type { Standing } from './standing.ts'
import { tellDevices } from './tell-devices.ts'
import type { Uplink } from './uplink.ts'

export interface UpkeepParts {
  readonly uplink: Uplink
  readonly inboxes: Inboxes
  readonly locations: Locations
  readonly prekeys: Prekeys
  readonly errands: Errands
  readonly standing: Standing
  /** Tells texts whose time is over, and what was asked for in vain. */
  readonly expireMessages: () => Promise<void>
}

const hourMs = 3_600_000
/** A quarter of a record's life, so that three renewals may fail. */
const publishEveryMs = limits.locationTtlMs / 4
const prekeysEveryMs = 24 * hourMs
/** Marks of envelopes outlive the envelopes by this, for clocks that differ. */
const seenGraceHours = 2
const sweepPage = 500

export class Upkeep {
  readonly #context: Context
  readonly #parts: UpkeepParts
  readonly #repeater: Repeater
  /** Not done in this session yet. */
  #isOpenDue = true
  #isDevicesDue = true
  #publishDueMs = 0
  #standingDueMs = 0
  #prekeysDueMs = 0
  #calendarDueMs = 0
  #failures = 0
  #isOpen = false

  constructor(context: Context, parts: UpkeepParts) {
    this.#context = context
    this.#parts = parts
    this.#repeater = new Repeater(context, () => this.#run(), {
      everyMs: limits.clientUpkeepMs,
      onError: (error) => context.log.warn({ err: error }, 'upkeep of the account failed'),
    })
  }

  start(): void {
    this.#repeater.start()
  }

  stop(): Promise<void> {
    this.#isOpen = false
    return this.#repeater.stop()
  }

  /** A new session: the node may have forgotten everything. */
  reset(): void {
    this.#isOpen = true
    this.#isOpenDue = true
    this.#isDevicesDue = true
    this.#publishDueMs = 0
    this.#prekeysDueMs = 0
    this.#failures = 0
    this.#repeater.soon()
  }

  /** Home or front replicas changed: others must hear of it. */
  onFront(): void {
    this.#publishDueMs = 0
    this.#prekeysDueMs = 0
    this.#repeater.soon(limits.cardSettleMs)
  }

  /** Our devices or the secrets they share changed. */
  onOwn(): void {
    this.#isOpenDue = true
    this.#publishDueMs = 0
    this.#prekeysDueMs = 0
    this.#isDevicesDue = true
    this.#repeater.soon()
  }

  /** A shelf runs low. */
  onShelf(): void {
    this.#prekeysDueMs = 0
    this.#repeater.soon()
  }

  async #run(): Promise<void> {
    const nowMs = this.#context.clock.monotonicMs()
    if (this.#isOpen && !await this.#keepUp(nowMs)) {
      this.#repeater.soon(Math.min(limits.errandMaxMs, limits.errandMinMs * 2 ** this.#failures++))
    } else {
      this.#failures = 0
    }
    if (nowMs < this.#calendarDueMs) return
    this.#calendarDueMs = nowMs + limits.clientUpkeepMs / 2
    this.#parts.errands.pokeAll()
    await this.#parts.expireMessages()
    await this.#parts.prekeys.expire()
    const nowHour = Math.floor(this.#context.clock.now() / hourMs)
    await this.#sweep(keys.seens, keys.seenHour(nowHour - seenGraceHours))
    // Mail that came at the end of its life may be asked for as long again.
    await this.#sweep(keys.allFiled, keys.filedHour(nowHour - seenGraceHours - limits.envelopeTtlMs / hourMs))
  }

  /** Prekeys before the record that leads to them. False when something has to be tried again. */
  async #keepUp(nowMs: number): Promise<boolean> {
    const { inboxes, locations, prekeys, standing } = this.#parts
    const { isPrimary } = this.#context.own
    // First of all: a device that was revoked is to be shut out.
    if (this.#isDevicesDue && isPrimary) {
      // Before, so that a change that comes meanwhile is not taken for done.
      this.#isDevicesDue = false
      if (!await tellDevices(this.#context, this.#parts.uplink)) this.#isDevicesDue = true
    }
    if (this.#isOpenDue) {
      this.#isOpenDue = false
      if (!await inboxes.openShared()) this.#isOpenDue = true
    }
    const [home] = inboxes.front.homes
    if (home === undefined) return false
    // Before each record of ours: somebody else's may stand there.
    if (nowMs >= this.#standingDueMs || nowMs >= this.#publishDueMs) {
      this.#standingDueMs = nowMs + limits.clientUpkeepMs / 2
      await standing.check()
    }
    if (standing.state !== 'good') return true
    if (nowMs >= this.#prekeysDueMs) {
      this.#prekeysDueMs = nowMs + prekeysEveryMs
      if (!await prekeys.upkeep(home)) this.#prekeysDueMs = 0
    }
    // It takes the root key; in the meantime the node goes on publishing the last one.
    if (nowMs >= this.#publishDueMs && isPrimary) {
      this.#publishDueMs = nowMs + publishEveryMs
      if (!await locations.publish(inboxes.front)) this.#publishDueMs = 0
    }
    const isPublished = !isPrimary || (this.#publishDueMs > 0 && !this.#isDevicesDue)
    return !this.#isOpenDue && this.#prekeysDueMs > 0 && isPublished
  }

  /** Marks that are filed under hours. */
  async #sweep(prefix: string, oldest: string): Promise<void> {
    const { kv } = this.#context
    for (;;) {
      const page = await kv.list({ prefix, limit: sweepPage })
      const old = page.filter(({ key }) => key < oldest)
      const batch = new Batch()
      for (const { key } of old) batch.delete(key)
      await batch.commit(kv)
      if (old.length < sweepPage) return
    }
  }
}

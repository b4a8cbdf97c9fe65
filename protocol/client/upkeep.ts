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

export interface UpkeepParts {
  readonly inboxes: Inboxes
  readonly locations: Locations
  readonly prekeys: Prekeys
  readonly errands: Errands
  /** Tells texts whose time is over. */
  readonly expireTexts: () => Promise<void>
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
  #publishDueMs = 0
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
    await this.#parts.expireTexts()
    await this.#parts.prekeys.expire()
    await this.#sweepSeen()
  }

  /** Prekeys before the record that leads to them. False when something has to be tried again. */
  async #keepUp(nowMs: number): Promise<boolean> {
    const { inboxes, locations, prekeys } = this.#parts
    if (this.#isOpenDue) this.#isOpenDue = !await inboxes.openShared()
    const [home] = inboxes.front.homes
    if (home === undefined) return false
    if (nowMs >= this.#prekeysDueMs) {
      this.#prekeysDueMs = nowMs + prekeysEveryMs
      if (!await prekeys.upkeep(home)) this.#prekeysDueMs = 0
    }
    if (nowMs >= this.#publishDueMs) {
      this.#publishDueMs = nowMs + publishEveryMs
      if (!await locations.publish(inboxes.front)) this.#publishDueMs = 0
    }
    return !this.#isOpenDue && this.#prekeysDueMs > 0 && this.#publishDueMs > 0
  }

  async #sweepSeen(): Promise<void> {
    const { kv, clock } = this.#context
    const oldest = keys.seenHour(Math.floor(clock.now() / hourMs) - seenGraceHours)
    for (;;) {
      const page = await kv.list({ prefix: keys.seens, limit: sweepPage })
      const old = page.filter(({ key }) => key < oldest)
      const batch = new Batch()
      for (const { key } of old) batch.delete(key)
      await batch.commit(kv)
      if (old.length < sweepPage) return
    }
  }
}

/**
 * The time at which expired mail may be deleted. Clocks jump: a board without a battery wakes up
 * years ahead, somebody sets the wrong day. What is hidden by a wrong clock comes back with the
 * right one; what is deleted does not. So a jump forward of more than an hour since the last look
 * (an hourly one, and the first of each start) is believed only when it is seen twice: until then
 * the time is what the last look lets expect, and an hour more.
 */
import { decode, encode, struct, u64 } from '../../protocol/codec/struct.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'

const jumpMs = 3_600_000
/** Of each process: the last time that it saw. */
const seenKey = 'purge-clock'
const seenCodec = struct<{ seenMs: number }>({ seenMs: u64 })

export interface PurgeClockComponents {
  readonly clock: Clock
  readonly ownKv: KvStore
}

export class PurgeClock {
  readonly #components: PurgeClockComponents
  /** What the clocks said at the last look of this process. */
  #last: { readonly nowMs: number, readonly monotonicMs: number } | undefined

  constructor(components: PurgeClockComponents) {
    this.#components = components
  }

  /** What expired before this may go; undefined where nothing was ever seen. */
  async look(): Promise<number | undefined> {
    const { clock, ownKv } = this.#components
    const nowMs = clock.now()
    const monotonicMs = clock.monotonicMs()
    const expectedMs = this.#last === undefined
      ? await this.#seenBefore()
      : this.#last.nowMs + monotonicMs - this.#last.monotonicMs
    this.#last = { nowMs, monotonicMs }
    const seenMs = Math.max(0, Math.floor(nowMs))
    await ownKv.write([{ type: 'put', key: seenKey, value: encode(seenCodec, { seenMs }) }])
    return expectedMs === undefined ? undefined : Math.min(nowMs, expectedMs + jumpMs)
  }

  /** By an earlier process, at its last look. */
  async #seenBefore(): Promise<number | undefined> {
    const entry = await this.#components.ownKv.get(seenKey)
    return entry === undefined ? undefined : decode(seenCodec, entry.value).seenMs
  }
}

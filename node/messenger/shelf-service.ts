/**
 * Shelves held here: prekeys of people who are away, as opaque sealed blobs (`shelfPut`,
 * `shelfTake`). A one-time blob is deleted durably before it is handed out, so that a crash can
 * lose one but never give it to two people.
 */
import { hex } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { decode, encode, tryDecode } from '../../protocol/codec/struct.ts'
import { expiryMs } from '../../protocol/envelope.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  shelfPutReplyCodec, shelfResults, shelfTakeReplyCodec, shelfTakeRequestCodec, verifyShelf,
} from '../../protocol/service/shelf.ts'
import type { ShelfResult, ShelfTaken } from '../../protocol/service/shelf.ts'
import type { Overlay } from '../ports.ts'
import { heldShelfCodec } from './records.ts'
import type { HeldShelf } from './records.ts'

const shelfPrefix = 'shelf/'
const hourMs = 3_600_000
/** A stranger who drains one-time keys gets the last-resort key instead; per shelf and hour. */
const takesPerHourMax = 30

export interface ShelfServiceComponents {
  readonly overlay: Overlay
  readonly kv: KvStore
  readonly clock: Clock
}

export interface ShelfServiceOptions {
  readonly lends: boolean
  /** Our own devices' shelves are always welcome. */
  readonly isOwn: (shelfKey: string) => boolean
  /** One-time blobs left after somebody took one. */
  readonly onTaken: (shelfKey: string, left: number) => void
}

export class ShelfService {
  readonly #components: ShelfServiceComponents
  readonly #options: ShelfServiceOptions
  readonly #shelves = new Set<string>()
  /** Shelves being changed: takes of one shelf go one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  readonly #taken = new Map<string, { hour: number, count: number }>()

  constructor(components: ShelfServiceComponents, options: ShelfServiceOptions) {
    this.#components = components
    this.#options = options
    components.overlay.handle(services.shelfPut, async (from, body) => {
      const result = await this.put(from, body)
      return { ok: true, value: encode(shelfPutReplyCodec, { result }) }
    })
    components.overlay.handle(services.shelfTake, (_from, body) => this.#serveTake(body))
  }

  async start(): Promise<void> {
    for await (const entry of kvEntries(this.#components.kv, shelfPrefix)) {
      this.#shelves.add(entry.key.slice(shelfPrefix.length))
    }
  }

  /** A signed `ShelfContent`; kept durably when the result is `kept`. */
  async put(from: NodeId, bytes: Uint8Array): Promise<ShelfResult> {
    const verified = verifyShelf(bytes)
    const { overlay, clock } = this.#components
    if (!verified.ok) return shelfResults.invalid
    const { shelfKey, holder, home, sequence, expiryHour } = verified.value
    const key = hex(shelfKey)
    const expiresAtMs = expiryMs(expiryHour)
    const isSane = holder === overlay.nodeId && home === from && expiresAtMs > clock.now() &&
      expiresAtMs <= clock.now() + limits.leaseTtlMs + hourMs + limits.clockSkewMs
    if (!isSane) return shelfResults.invalid
    const isOwn = this.#options.isOwn(key)
    if (!isOwn && !this.#options.lends) return shelfResults.notOffered
    if (!isOwn && !this.#shelves.has(key) && this.#shelves.size >= limits.shelvesMax) return shelfResults.noRoom
    return this.#inTurn(key, async () => {
      const known = await this.#read(key)
      if (known !== undefined && known.sequence > sequence) return shelfResults.stale
      const shelf: HeldShelf = {
        home, sequence, expiryHour, static: verified.value.static, oneTime: verified.value.oneTime,
      }
      await this.#write(key, shelf)
      return shelfResults.kept
    })
  }

  /** Hands out the static blob and one one-time blob, if there is one. */
  take(shelfKey: Uint8Array): Promise<ShelfTaken | undefined> {
    const key = hex(shelfKey)
    if (!this.#shelves.has(key)) return Promise.resolve(undefined)
    return this.#inTurn(key, async () => {
      const shelf = await this.#read(key)
      if (shelf === undefined) return undefined
      const [oneTime, ...rest] = shelf.oneTime
      if (oneTime === undefined || !this.#mayTake(key)) {
        return { static: shelf.static, oneTime: undefined, left: shelf.oneTime.length }
      }
      await this.#write(key, { ...shelf, oneTime: rest })
      this.#options.onTaken(key, rest.length)
      return { static: shelf.static, oneTime, left: rest.length }
    })
  }

  /** One-time blobs on one of our own shelves here. */
  async left(shelfKey: Uint8Array): Promise<number> {
    return (await this.#read(hex(shelfKey)))?.oneTime.length ?? 0
  }

  async upkeep(): Promise<void> {
    const { kv, clock } = this.#components
    for (const key of [...this.#shelves]) {
      await this.#inTurn(key, async () => {
        const shelf = await this.#read(key)
        if (shelf !== undefined && expiryMs(shelf.expiryHour) > clock.now()) return
        this.#shelves.delete(key)
        await kv.write([{ type: 'delete', key: shelfPrefix + key }])
      })
    }
    this.#taken.clear()
  }

  #mayTake(key: string): boolean {
    const hour = Math.floor(this.#components.clock.now() / hourMs)
    const taken = this.#taken.get(key)
    const count = taken?.hour === hour ? taken.count : 0
    if (count >= takesPerHourMax) return false
    this.#taken.set(key, { hour, count: count + 1 })
    return true
  }

  async #read(key: string): Promise<HeldShelf | undefined> {
    const entry = await this.#components.kv.get(shelfPrefix + key)
    return entry === undefined ? undefined : decode(heldShelfCodec, entry.value)
  }

  async #write(key: string, shelf: HeldShelf): Promise<void> {
    await this.#components.kv.write([{ type: 'put', key: shelfPrefix + key, value: encode(heldShelfCodec, shelf) }])
    this.#shelves.add(key)
  }

  async #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(work)
    const settled = turn.catch(() => {})
    this.#turns.set(key, settled)
    try {
      return await turn
    } finally {
      if (this.#turns.get(key) === settled) this.#turns.delete(key)
    }
  }

  async #serveTake(body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(shelfTakeRequestCodec, body)
    if (!request.ok) return request
    const taken = await this.take(request.value.shelfKey)
    return { ok: true, value: encode(shelfTakeReplyCodec, { taken }) }
  }
}

/**
 * Shelves held here: prekeys of people who are away, as opaque sealed blobs (`shelfPut`,
 * `shelfTake`). A one-time blob is deleted durably before it is handed out, so that a crash can
 * lose one but never give it to two people.
 */
import { equalBytes, hex } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { decode, encode, tryDecode } from '../../protocol/codec/struct.ts'
import { expiryMs } from '../../protocol/envelope.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { changeEntry, kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  parseShelf, shelfPutReplyCodec, shelfResults, shelfTakeReplyCodec, shelfTakeRequestCodec, verifyShelf,
} from '../../protocol/service/shelf.ts'
import type { ShelfResult, ShelfTaken } from '../../protocol/service/shelf.ts'
import type { HouseholdPort, Overlay } from '../ports.ts'
import { heldShelfCodec } from './records.ts'
import type { HeldShelf } from './records.ts'
import { Turns } from './turns.ts'

const shelfPrefix = 'shelf/'
const hourMs = 3_600_000
/** A stranger who drains one-time keys gets the last-resort key instead; per shelf and hour. */
const takesPerHourMax = 30

export interface ShelfServiceComponents {
  readonly overlay: Overlay
  /** For shelves of our own people: the whole household hands out the same row, each blob once. */
  readonly kv: KvStore
  /** For those of others. */
  readonly ownKv: KvStore
  readonly clock: Clock
  readonly household: HouseholdPort
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
  /** And for whose home each is held. */
  readonly #shelves = new Map<string, NodeId>()
  readonly #countByHome = new Map<NodeId, number>()
  /** Puts and takes of one shelf go one after the other. */
  readonly #turns = new Turns()
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
    const { kv, ownKv } = this.#components
    for (const store of new Set([kv, ownKv])) {
      for await (const entry of kvEntries(store, shelfPrefix)) {
        this.#remember(entry.key.slice(shelfPrefix.length), decode(heldShelfCodec, entry.value).home)
      }
    }
  }

  /** A signed `ShelfContent`; kept durably when the result is `kept`. */
  async put(from: NodeId, bytes: Uint8Array): Promise<ShelfResult> {
    const { overlay, clock, household } = this.#components
    const parsed = parseShelf(bytes)
    if (!parsed.ok) return shelfResults.invalid
    const { shelfKey, holder, home, sequence, expiryHour, static: content, oneTime } = parsed.value
    const key = hex(shelfKey)
    const expiresAtMs = expiryMs(expiryHour)
    const isSane = holder === overlay.nodeId && home === from && expiresAtMs > clock.now() &&
      expiresAtMs <= clock.now() + limits.leaseTtlMs + hourMs + limits.clockSkewMs
    if (!isSane) return shelfResults.invalid
    const isOwn = this.#options.isOwn(key)
    if (!isOwn && !(this.#options.lends && household.does('lender'))) return shelfResults.notOffered
    if (!isOwn && !this.#hasRoomFor(key, home)) return shelfResults.noRoom
    if (!verifyShelf(bytes).ok) return shelfResults.invalid
    return this.#turns.run(key, async () => {
      let result: ShelfResult = shelfResults.kept
      await this.#change(key, (known) => {
        const isOlder = known !== undefined && known.sequence > sequence
        // Said again: what was handed out since stays handed out.
        const isSame = known?.sequence === sequence
        const isStale = isOlder || (isSame && !equalBytes(known.static, content))
        result = isStale ? shelfResults.stale : shelfResults.kept
        return isOlder || isSame ? undefined : { home, sequence, expiryHour, static: content, oneTime }
      })
      return result
    })
  }

  /** Hands out the static blob and one one-time blob, if there is one. */
  take(shelfKey: Uint8Array): Promise<ShelfTaken | undefined> {
    const key = hex(shelfKey)
    // Another process of the household may have filled one of ours.
    if (!this.#shelves.has(key) && !this.#options.isOwn(key)) return Promise.resolve(undefined)
    return this.#turns.run(key, async () => {
      const mayTake = this.#mayTake(key)
      let taken: ShelfTaken | undefined
      // Deleted before it is handed out, and by one process only.
      await this.#change(key, (shelf) => {
        const [oneTime, ...rest] = mayTake ? shelf?.oneTime ?? [] : []
        const left = oneTime === undefined ? shelf?.oneTime.length ?? 0 : rest.length
        taken = shelf === undefined ? undefined : { static: shelf.static, oneTime, left }
        return shelf === undefined || oneTime === undefined ? undefined : { ...shelf, oneTime: rest }
      })
      if (taken?.oneTime !== undefined) {
        this.#countTaken(key)
        this.#options.onTaken(key, taken.left)
      }
      return taken
    })
  }

  /** One-time blobs on one of our own shelves here. */
  async left(shelfKey: Uint8Array): Promise<number> {
    return (await this.#read(hex(shelfKey)))?.oneTime.length ?? 0
  }

  async upkeep(): Promise<void> {
    const { clock } = this.#components
    for (const key of [...this.#shelves.keys()]) {
      await this.#turns.run(key, async () => {
        const shelf = await this.#read(key)
        if (shelf !== undefined && expiryMs(shelf.expiryHour) > clock.now()) return
        this.#forget(key)
        await this.#storeOf(key).write([{ type: 'delete', key: shelfPrefix + key }])
      })
    }
    const hour = this.#hour()
    for (const [key, taken] of this.#taken) if (taken.hour !== hour) this.#taken.delete(key)
  }

  /** Nobody's home fills the shelves of all others. */
  #hasRoomFor(key: string, home: NodeId): boolean {
    if (this.#shelves.get(key) === home) return true
    const isNew = !this.#shelves.has(key)
    return (!isNew || this.#shelves.size < limits.shelvesMax)
      && (this.#countByHome.get(home) ?? 0) < limits.shelvesPerHomeMax
  }

  #remember(key: string, home: NodeId): void {
    this.#forget(key)
    this.#shelves.set(key, home)
    this.#countByHome.set(home, (this.#countByHome.get(home) ?? 0) + 1)
  }

  #forget(key: string): void {
    const home = this.#shelves.get(key)
    if (home === undefined) return
    this.#shelves.delete(key)
    const left = this.#countByHome.get(home)! - 1
    if (left > 0) this.#countByHome.set(home, left)
    else this.#countByHome.delete(home)
  }

  #hour(): number {
    return Math.floor(this.#components.clock.now() / hourMs)
  }

  #mayTake(key: string): boolean {
    const taken = this.#taken.get(key)
    return taken?.hour !== this.#hour() || taken.count < takesPerHourMax
  }

  #countTaken(key: string): void {
    const hour = this.#hour()
    const taken = this.#taken.get(key)
    this.#taken.set(key, { hour, count: taken?.hour === hour ? taken.count + 1 : 1 })
  }

  #storeOf(key: string): KvStore {
    return this.#options.isOwn(key) ? this.#components.kv : this.#components.ownKv
  }

  async #read(key: string): Promise<HeldShelf | undefined> {
    const entry = await this.#storeOf(key).get(shelfPrefix + key)
    return entry === undefined ? undefined : decode(heldShelfCodec, entry.value)
  }

  async #change(key: string, change: (shelf: HeldShelf | undefined) => HeldShelf | undefined): Promise<void> {
    let home: NodeId | undefined
    await changeEntry(this.#storeOf(key), shelfPrefix + key, (value) => {
      const changed = change(value === undefined ? undefined : decode(heldShelfCodec, value))
      home = changed?.home
      return changed === undefined ? undefined : encode(heldShelfCodec, changed)
    })
    if (home !== undefined) this.#remember(key, home)
  }

  async #serveTake(body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(shelfTakeRequestCodec, body)
    if (!request.ok) return request
    const taken = await this.take(request.value.shelfKey)
    return { ok: true, value: encode(shelfTakeReplyCodec, { taken }) }
  }
}

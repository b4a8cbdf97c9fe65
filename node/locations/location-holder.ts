/**
 * The holder's side of the location database: keeps sealed records of people it cannot name.
 *
 * A record is taken only if its blinded key signed it, its sequence is higher than the one held,
 * it expires within bounds, quotas allow it and this node believes itself among the nearest: so a
 * replayed older record changes nothing, and one peer cannot fill the store (DESIGN §5).
 */
import { hex, equalBytes } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import { checkLocationRecord, locationKey } from '../../protocol/location-record.ts'
import type { Clock, KvOperation, KvStore } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  locationGetReplyCodec, locationGetRequestCodec, locationPutReplyCodec, locationPutRequestCodec,
  locationResults,
} from '../../protocol/service/location.ts'
import type { LocationResult } from '../../protocol/service/location.ts'
import { xorCloser } from '../../protocol/xor-distance.ts'
import type { Overlay } from '../ports.ts'

const storePrefix = 'location/held/'
/** A holder further away than this many nearer nodes refuses; wider than a publisher's choice. */
const nearestBelieved = 40

interface Held {
  readonly bytes: Uint8Array
  readonly blindedKey: Uint8Array
  readonly sequence: number
  readonly expiresAtMs: number
  /** Who brought it; not known of those that an earlier start of this node took. */
  readonly from: NodeId | undefined
}

export interface LocationHolderComponents {
  readonly overlay: Overlay
  readonly kv: KvStore
  readonly clock: Clock
}

export class LocationHolder {
  readonly #components: LocationHolderComponents
  readonly #held = new Map<string, Held>()
  readonly #countByPeer = new Map<NodeId, number>()

  constructor(components: LocationHolderComponents) {
    this.#components = components
    components.overlay.handle(services.locationPut, (from, body) => this.#servePut(from, body))
    components.overlay.handle(services.locationGet, async (_from, body) => this.#serveGet(body))
  }

  async load(): Promise<void> {
    const { kv, clock } = this.#components
    for await (const entry of kvEntries(kv, storePrefix)) {
      const checked = checkLocationRecord(entry.value, clock.now())
      if (checked.ok) this.#keep({ bytes: entry.value, ...checked.value, from: undefined })
      else await kv.write([{ type: 'delete', key: entry.key }])
    }
  }

  get size(): number {
    return this.#held.size
  }

  /** Our own copy of a record, if it is held here and has not lapsed. */
  find(blindedKey: Uint8Array): Uint8Array | undefined {
    const held = this.#held.get(hex(blindedKey))
    return held !== undefined && held.expiresAtMs > this.#components.clock.now() ? held.bytes : undefined
  }

  /** Takes a record over, durably when the result is `kept`. */
  async put(from: NodeId, bytes: Uint8Array): Promise<LocationResult> {
    const { clock, kv } = this.#components
    const checked = checkLocationRecord(bytes, clock.now())
    if (!checked.ok) return locationResults.invalid
    const key = hex(checked.value.blindedKey)
    const held = this.#held.get(key)
    if (held !== undefined && held.sequence >= checked.value.sequence) {
      return equalBytes(held.bytes, bytes) ? locationResults.kept : locationResults.stale
    }
    if (!this.#isNearest(checked.value.blindedKey)) return locationResults.notNearest
    if (held === undefined && !this.#hasRoomFor(from)) return locationResults.overQuota
    const blindedKey = checked.value.blindedKey.slice()
    const record = { ...checked.value, bytes: bytes.slice(), blindedKey, from }
    this.#keep(record)
    await kv.write([{ type: 'put', key: storePrefix + key, value: record.bytes }])
    return locationResults.kept
  }

  /** Removes what lapsed; called now and then by the owner of this holder. */
  async expire(): Promise<void> {
    const nowMs = this.#components.clock.now()
    const operations: KvOperation[] = []
    for (const [key, held] of this.#held) {
      if (held.expiresAtMs > nowMs) continue
      this.#forget(key)
      operations.push({ type: 'delete', key: storePrefix + key })
    }
    if (operations.length > 0) await this.#components.kv.write(operations)
  }

  #keep(record: Held): void {
    const key = hex(record.blindedKey)
    this.#forget(key)
    this.#held.set(key, record)
    if (record.from === undefined) return
    this.#countByPeer.set(record.from, (this.#countByPeer.get(record.from) ?? 0) + 1)
  }

  #forget(key: string): void {
    const held = this.#held.get(key)
    if (held === undefined) return
    this.#held.delete(key)
    if (held.from === undefined) return
    const left = this.#countByPeer.get(held.from)! - 1
    if (left > 0) this.#countByPeer.set(held.from, left)
    else this.#countByPeer.delete(held.from)
  }

  #hasRoomFor(from: NodeId): boolean {
    return this.#held.size < limits.locationRecordsMax &&
      (this.#countByPeer.get(from) ?? 0) < limits.locationRecordsPerPeerMax
  }

  #isNearest(blindedKey: Uint8Array): boolean {
    const { overlay } = this.#components
    const key = locationKey(blindedKey)
    const nearest = overlay.nearest(key, nearestBelieved)
    const furthest = nearest[nearestBelieved - 1]
    return furthest === undefined || xorCloser(key, overlay.nodeId, furthest)
  }

  async #servePut(from: NodeId, body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(locationPutRequestCodec, body)
    if (!request.ok) return request
    const result = await this.put(from, request.value.record)
    return { ok: true, value: encode(locationPutReplyCodec, { result }) }
  }

  #serveGet(body: Uint8Array): Result<Uint8Array> {
    const request = tryDecode(locationGetRequestCodec, body)
    if (!request.ok) return request
    const records = request.value.blindedKeys
      .map((key) => this.find(key))
      .filter((record) => record !== undefined)
    return { ok: true, value: encode(locationGetReplyCodec, { records }) }
  }
}

/**
 * Keeps the location records of this node's accounts alive at their holders: puts each to the
 * nearest nodes, again at intervals (holders come and go), and at once when a newer one comes.
 * The device signs; the node only carries, and cannot make a record of its own.
 */
import { hex } from '../../crypto/bytes.ts'
import type { Random } from '../../crypto/random.ts'
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import { checkLocationRecord, locationKey } from '../../protocol/location-record.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  locationPutReplyCodec, locationPutRequestCodec, locationResults,
} from '../../protocol/service/location.ts'
import { Repeater } from '../../protocol/timers.ts'
import type { Courier, Log, Overlay } from '../ports.ts'
import type { LocationHolder } from './location-holder.ts'

const storePrefix = 'location/own/'
const putTimeoutMs = 5_000
const walkTimeoutMs = 8_000
/** More than are needed, because some refuse or are away. */
const candidatesMax = 20
/** Published again this soon while fewer than wanted hold it. */
const retryMs = 20_000
/** Accounts × (today, tomorrow). */
const recordsMax = 1_000

interface Published {
  readonly bytes: Uint8Array
  readonly blindedKey: Uint8Array
  readonly sequence: number
  readonly expiresAtMs: number
  holders: number
}

export interface LocationPublisherComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly holder: LocationHolder
}

export class LocationPublisher {
  readonly #components: LocationPublisherComponents
  readonly #records = new Map<string, Published>()
  readonly #republishing: Repeater

  constructor(components: LocationPublisherComponents) {
    this.#components = components
    this.#republishing = new Repeater(components, () => this.#republish(), {
      everyMs: limits.locationRepublishMs,
      spread: 0.3,
      onError: (error) => components.log.warn({ err: error }, 'publishing locations failed'),
    })
  }

  async load(): Promise<void> {
    const { kv, clock } = this.#components
    for await (const entry of kvEntries(kv, storePrefix)) {
      const checked = checkLocationRecord(entry.value, clock.now())
      const key = checked.ok ? hex(checked.value.blindedKey) : ''
      if (checked.ok) this.#records.set(key, { bytes: entry.value, ...checked.value, holders: 0 })
      else await kv.write([{ type: 'delete', key: entry.key }])
    }
  }

  start(): void {
    this.#republishing.start(this.#records.size > 0 ? 2_000 : limits.locationRepublishMs)
  }

  async stop(): Promise<void> {
    await this.#republishing.stop()
  }

  /** Takes records over and puts them out; returns the fewest holders that any of them has now. */
  async publish(records: readonly Uint8Array[]): Promise<number> {
    const { kv, clock } = this.#components
    const counts: number[] = []
    for (const bytes of records) {
      const checked = checkLocationRecord(bytes, clock.now())
      if (!checked.ok) continue
      const key = hex(checked.value.blindedKey)
      const known = this.#records.get(key)
      if (known !== undefined && known.sequence > checked.value.sequence) continue
      if (known === undefined && this.#records.size >= recordsMax) continue
      const record: Published = {
        ...checked.value, bytes: bytes.slice(), blindedKey: checked.value.blindedKey.slice(), holders: 0,
      }
      this.#records.set(key, record)
      await kv.write([{ type: 'put', key: storePrefix + key, value: record.bytes }])
      counts.push(await this.#place(record))
    }
    this.#republishing.soon(retryMs)
    return counts.length === 0 ? 0 : Math.min(...counts)
  }

  /** Fewest holders of any live record; 0 when nothing is published. */
  get holders(): number {
    const nowMs = this.#components.clock.now()
    const live = [...this.#records.values()].filter((record) => record.expiresAtMs > nowMs)
    return live.length === 0 ? 0 : Math.min(...live.map((record) => record.holders))
  }

  /** Brings the next round forward, for instance when more nodes became known. */
  soon(): void {
    if (this.holders < limits.locationHolders) this.#republishing.soon(1_000)
  }

  async #republish(): Promise<void> {
    const { kv, clock, overlay, holder } = this.#components
    await holder.expire()
    for (const [key, record] of this.#records) {
      if (record.expiresAtMs <= clock.now()) {
        this.#records.delete(key)
        await kv.write([{ type: 'delete', key: storePrefix + key }])
      } else {
        await this.#place(record)
      }
    }
    const reachable = overlay.nearest(new Uint8Array(32), limits.locationHolders).length
    const isShort = this.holders < reachable
    if (this.#records.size > 0 && isShort) this.#republishing.soon(retryMs)
  }

  /** Offers the record to the nearest nodes until enough keep it. */
  async #place(record: Published): Promise<number> {
    const { overlay, holder } = this.#components
    const key = locationKey(record.blindedKey)
    const walked = await overlay.walk(key, candidatesMax, { timeoutMs: walkTimeoutMs })
    // Readers from afar walk to the nodes that serve the DHT, so those come first; in a small
    // network there are few, and the neighbours make up the number.
    const candidates = [...new Set([...walked, ...overlay.nearest(key, candidatesMax)])]
    const ownResult = await holder.put(overlay.nodeId, record.bytes)
    let holders = ownResult === locationResults.kept ? 1 : 0
    const body = encode(locationPutRequestCodec, { record: record.bytes })
    for (let at = 0; at < candidates.length && holders < limits.locationHolders; ) {
      const wave = candidates.slice(at, at + limits.locationHolders - holders)
      at += wave.length
      const kept = await Promise.all(wave.map((nodeId) => this.#putAt(nodeId, body)))
      holders += kept.filter(Boolean).length
    }
    record.holders = holders
    return holders
  }

  async #putAt(nodeId: NodeId, body: Uint8Array): Promise<boolean> {
    const options = { timeoutMs: putTimeoutMs, level: 0 as const }
    const answer = await this.#components.courier.call(nodeId, services.locationPut, body, options)
    if (!answer.ok) return false
    const reply = tryDecode(locationPutReplyCodec, answer.value)
    return reply.ok && reply.value.result === locationResults.kept
  }
}

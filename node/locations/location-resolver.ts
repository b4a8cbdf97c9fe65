/**
 * The reader's side of the location database: asks the nearest holders a few at a time.
 *
 * Reading the way kad-dht does (wait for every peer of a walk) takes as long as the slowest one:
 * five seconds with frozen peers. Here a few are asked at once, more after a short hedge, and the
 * newest of the first two answers wins; a walk happens only when the local table gives nothing.
 */
import { encode, tryDecode } from '../../protocol/codec/struct.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { checkLocationRecord, locationKey } from '../../protocol/location-record.ts'
import type { Clock } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import { locationGetReplyCodec, locationGetRequestCodec } from '../../protocol/service/location.ts'
import type { Courier, Overlay } from '../ports.ts'
import type { LocationHolder } from './location-holder.ts'

const askTimeoutMs = 3_000
const walkTimeoutMs = 8_000
const candidatesMax = 20
/** After one answer another holder may know a newer record; this long it may say so. */
const secondAnswerMs = 60
/** A holder that timed out is asked last for this long. */
const slowForMs = 60_000

interface Found {
  readonly bytes: Uint8Array
  readonly sequence: number
}

export interface LocationResolverComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  readonly clock: Clock
  readonly holder: LocationHolder
}

export class LocationResolver {
  readonly #components: LocationResolverComponents
  readonly #slowUntilMs = new Map<NodeId, number>()

  constructor(components: LocationResolverComponents) {
    this.#components = components
  }

  /** The newest record under a blinded key, or `undefined` when no holder has one. */
  async find(blindedKey: Uint8Array): Promise<Uint8Array | undefined> {
    const { overlay, holder } = this.#components
    const key = locationKey(blindedKey)
    const asked = new Set<NodeId>()
    const own = this.#check(blindedKey, holder.find(blindedKey))
    const near = await this.#ask(blindedKey, this.#ordered(overlay.nearest(key, candidatesMax)), asked)
    const best = newest(own, near)
    if (best !== undefined) return best.bytes
    const walked = await overlay.walk(key, candidatesMax, { timeoutMs: walkTimeoutMs })
    const rest = walked.filter((nodeId) => !asked.has(nodeId))
    return (await this.#ask(blindedKey, this.#ordered(rest), asked))?.bytes
  }

  /** Those that lately timed out go last; otherwise nearest first. */
  #ordered(nodes: readonly NodeId[]): NodeId[] {
    const nowMs = this.#components.clock.monotonicMs()
    const isSlow = (nodeId: NodeId): boolean => (this.#slowUntilMs.get(nodeId) ?? 0) > nowMs
    return [...nodes.filter((nodeId) => !isSlow(nodeId)), ...nodes.filter(isSlow)]
  }

  /** Asks in waves until two holders answered with a record, or all have been asked. */
  #ask(
    blindedKey: Uint8Array,
    candidates: readonly NodeId[],
    asked: Set<NodeId>,
  ): Promise<Found | undefined> {
    if (candidates.length === 0) return Promise.resolve(undefined)
    const { clock } = this.#components
    const body = encode(locationGetRequestCodec, { blindedKeys: [blindedKey] })
    return new Promise((resolve) => {
      let next = 0
      let open = 0
      let answers = 0
      let best: Found | undefined
      let hedge = clock.after(0, () => {})
      const settle = (): void => {
        hedge.cancel()
        resolve(best)
      }
      const answered = (found: Found | undefined): void => {
        open--
        if (found !== undefined) {
          best = newest(best, found)
          answers++
          if (answers === 1) {
            hedge.cancel()
            hedge = clock.after(secondAnswerMs, settle)
          }
        }
        if (answers >= 2 || (open === 0 && next >= candidates.length)) settle()
        else if (answers === 0 && open === 0) wave()
      }
      const wave = (): void => {
        hedge.cancel()
        for (const nodeId of candidates.slice(next, next + limits.locationReaders)) {
          asked.add(nodeId)
          open++
          void this.#askOne(nodeId, body, blindedKey).then(answered)
        }
        next += limits.locationReaders
        if (next < candidates.length) hedge = clock.after(limits.locationHedgeMs, wave)
      }
      wave()
    })
  }

  async #askOne(nodeId: NodeId, body: Uint8Array, blindedKey: Uint8Array): Promise<Found | undefined> {
    const { courier, clock } = this.#components
    const options = { timeoutMs: askTimeoutMs, level: 0 } as const
    const answer = await courier.call(nodeId, services.locationGet, body, options)
    if (!answer.ok) {
      if (this.#slowUntilMs.size >= limits.descriptorsMax) this.#slowUntilMs.clear()
      this.#slowUntilMs.set(nodeId, clock.monotonicMs() + slowForMs)
      return undefined
    }
    this.#slowUntilMs.delete(nodeId)
    const reply = tryDecode(locationGetReplyCodec, answer.value)
    return reply.ok ? this.#check(blindedKey, reply.value.records[0]) : undefined
  }

  #check(blindedKey: Uint8Array, bytes: Uint8Array | undefined): Found | undefined {
    if (bytes === undefined) return undefined
    const checked = checkLocationRecord(bytes, this.#components.clock.now())
    if (!checked.ok || !checked.value.blindedKey.every((byte, i) => byte === blindedKey[i])) return undefined
    return { bytes, sequence: checked.value.sequence }
  }
}

function newest(a: Found | undefined, b: Found | undefined): Found | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return b.sequence > a.sequence ? b : a
}

/**
 * Two `PeerLink`s joined back to back in memory, for tests: bytes written at one end arrive at the
 * other in a later job, cut as the test wishes, and a pipe can be told to stop taking bytes.
 */
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import type { Clock } from '../../../protocol/ports.ts'
import type { ServiceCode } from '../../../protocol/service/codes.ts'
import { PeerLink } from '../../../node/overlay/peer-link.ts'
import type { BytePipe } from '../../../node/overlay/peer-link.ts'
import { PeerBuckets } from '../../../node/overlay/peer-buckets.ts'
import type { PeerRates } from '../../../node/overlay/peer-buckets.ts'
import type { Log, ServiceHandler } from '../../../node/ports.ts'
import { silentLog } from '../../../node/ports.ts'

export const freeRates: PeerRates = {
  calls: { perSecond: 1e9, burst: 1e9 },
  bytes: { perSecond: 1e12, burst: 1e12 },
}

export class MemoryPipe implements BytePipe {
  /** Gets what was written. */
  deliver: (bytes: Uint8Array) => void = () => {}
  onClosed: (code: string) => void = () => {}
  /** Cuts each write into pieces of this size. */
  cutBytes = Infinity
  writes: number[] = []
  closed: string | undefined
  #queue: Uint8Array[] = []
  #queued = 0
  #running = false
  #frozen = false
  #onDrained: () => void = () => {}

  onDrained(listener: () => void): void {
    this.#onDrained = listener
  }

  get bufferedBytes(): number {
    return this.#queued
  }

  write(bytes: Uint8Array): void {
    if (this.closed !== undefined) return
    this.writes.push(bytes.length)
    this.#queue.push(bytes)
    this.#queued += bytes.length
    this.#run()
  }

  /** Takes no more bytes until `thaw`. */
  freeze(): void {
    this.#frozen = true
  }

  thaw(): void {
    this.#frozen = false
    this.#run()
  }

  #run(): void {
    if (this.#running || this.#frozen) return
    this.#running = true
    queueMicrotask(() => {
      this.#running = false
      const bytes = this.#frozen ? undefined : this.#queue.shift()
      if (bytes === undefined) return
      this.#queued -= bytes.length
      for (let at = 0; at < bytes.length; at += this.cutBytes) {
        this.deliver(bytes.subarray(at, Math.min(bytes.length, at + this.cutBytes)))
      }
      if (this.#queue.length > 0) this.#run()
      else this.#onDrained()
    })
  }

  close(): void {
    this.#closed('LINK_RESET')
  }

  abort(code: string): void {
    this.#closed(code)
  }

  #closed(code: string): void {
    if (this.closed !== undefined) return
    this.closed = code
    // What was queued still leaves before the end of the stream.
    const end = (): void => {
      if (this.#queue.length === 0 || this.#frozen) this.onClosed(code)
      else queueMicrotask(end)
    }
    queueMicrotask(end)
  }
}

export interface LinkEnd {
  readonly id: NodeId
  readonly link: PeerLink
  readonly pipe: MemoryPipe
  readonly services: Map<ServiceCode, ServiceHandler>
  /** Code of `down`, once it happened. */
  down: string | undefined
  ups: number
}

export interface LinkPairOptions {
  readonly clock: Clock
  readonly rates?: PeerRates
  readonly log?: Log
}

/** A link from `a` (the opener) to `b`. */
export function linkPair(options: LinkPairOptions): { a: LinkEnd, b: LinkEnd } {
  const aId = nodeIdFromKey(new Uint8Array(32).fill(1))
  const bId = nodeIdFromKey(new Uint8Array(32).fill(2))
  const aPipe = new MemoryPipe()
  const bPipe = new MemoryPipe()
  const a = linkEnd(options, { id: aId, remote: bId, opener: 'local', pipe: aPipe })
  const b = linkEnd(options, { id: bId, remote: aId, opener: 'remote', pipe: bPipe })
  for (const [from, to] of [[a, b], [b, a]] as const) {
    from.pipe.deliver = (bytes) => to.link.receive(bytes)
    from.pipe.onClosed = () => to.link.fail('LINK_RESET')
  }
  return { a, b }
}

export function linkEnd(
  options: LinkPairOptions,
  end: { id: NodeId, remote: NodeId, opener: 'local' | 'remote', pipe: MemoryPipe },
): LinkEnd {
  const { clock, rates = freeRates, log = silentLog } = options
  const services = new Map<ServiceCode, ServiceHandler>()
  const state: { down: string | undefined, ups: number } = { down: undefined, ups: 0 }
  const buckets = new PeerBuckets(clock, rates).of(end.remote)
  const link = new PeerLink({ clock, log, services, buckets }, end.pipe, {
    remote: end.remote,
    opener: end.opener,
    events: {
      up: () => { state.ups++ },
      down: (_link, code) => { state.down = code },
    },
  })
  end.pipe.onDrained(() => link.drained())
  return Object.assign(state, { id: end.id, link, pipe: end.pipe, services })
}

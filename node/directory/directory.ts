/**
 * The node directory: who offers what. Every node signs a descriptor of itself (peer key, onion
 * key, roles, addresses) and gossips it; nodes that meet tell each other what they know.
 *
 * A descriptor replaces an older one of the same node only with a higher sequence, and lapses by
 * itself. Nothing here is an opinion of others about a node: only what it says of itself, signed.
 * What it says of its age (`sinceHour`) is believed no further than since when we know it.
 */
import { randomFraction } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { encode, opaque, struct, tryDecode, u32 } from '../../protocol/codec/struct.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import { checkNodeDescriptor, hasRole, signNodeDescriptor } from '../../protocol/node-descriptor.ts'
import type { NodeDescriptor, Role } from '../../protocol/node-descriptor.ts'
import type { Clock, KvOperation, KvStore } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  directoryPageMax, directorySyncReplyCodec, directorySyncRequestCodec,
} from '../../protocol/service/directory.ts'
import { Repeater } from '../../protocol/timers.ts'
import type { Result } from '../../crypto/errors.ts'
import type { Log, Overlay } from '../ports.ts'

export const directoryTopic = 'openim/directory/1'

const storePrefix = 'directory/'
const syncTimeoutMs = 10_000
/** A node that knows fewer asks everybody it meets; afterwards gossip carries the changes. */
const syncBelow = 16
/** And one peer is asked now and then, for what gossip missed (a healed partition, a restart). */
const syncEveryMs = 10 * 60_000
const flushMs = 30_000
const hourMs = 3_600_000
/** One batch of what changed: the store bounds its bytes. */
const flushItemsMax = 1_000

/** What a node says of itself that changes; the rest is fixed by its keys. */
export interface OwnDescription {
  readonly roles: readonly Role[]
  readonly addresses: readonly string[]
  readonly storageFreeMiB: number
}

interface Known {
  /** As signed, for passing on. */
  readonly bytes: Uint8Array
  /** With `sinceHour` as far as we believe it. */
  readonly descriptor: NodeDescriptor
}

const storedCodec = struct<{ readonly sinceHour: number, readonly bytes: Uint8Array }>({
  sinceHour: u32,
  bytes: opaque(limits.descriptorBytesMax),
})

export interface DirectoryComponents {
  readonly overlay: Overlay
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly nodeKeys: SigningKeyPair
}

export interface DirectoryOptions {
  readonly doorKey: Uint8Array
  readonly onionKey: Uint8Array
  /** Hour this node first started. */
  readonly sinceHour: number
  readonly describe: () => OwnDescription
}

export class Directory {
  readonly #components: DirectoryComponents
  readonly #options: DirectoryOptions
  readonly #known = new Map<NodeId, Known>()
  readonly #dirty = new Set<NodeId>()
  readonly #listeners = new Set<() => void>()
  readonly #publishing: Repeater
  readonly #flushing: Repeater
  #syncedAtMs = -Infinity
  #stopPeerEvents: (() => void) | undefined
  #own: Known | undefined
  #stopped = false

  constructor(components: DirectoryComponents, options: DirectoryOptions) {
    this.#components = components
    this.#options = options
    const onError = (error: unknown): void => components.log.warn({ err: error }, 'directory work failed')
    this.#publishing = new Repeater(components, () => this.#publish(), {
      everyMs: limits.descriptorRepublishMs, spread: 0.2, onError,
    })
    this.#flushing = new Repeater(components, () => this.#flush(), { everyMs: flushMs, onError })
    components.overlay.handle(services.directorySync, (_from, body) => this.#serveSync(body))
    components.overlay.subscribe(directoryTopic, (_from, message) => this.#accept(message))
  }

  /** Call after the overlay listens, so that the first descriptor has addresses. */
  async start(): Promise<void> {
    const { kv, overlay } = this.#components
    for await (const entry of kvEntries(kv, storePrefix)) {
      const stored = tryDecode(storedCodec, entry.value)
      const nodeId = entry.key.slice(storePrefix.length) as NodeId
      if (stored.ok && this.#accept(stored.value.bytes, stored.value.sinceHour)) this.#dirty.delete(nodeId)
      // It lapsed while we were off.
      else if (!this.#known.has(nodeId)) this.#dirty.add(nodeId)
    }
    this.#stopPeerEvents = overlay.onPeer((nodeId, connected) => {
      if (connected && this.#isSyncDue()) void this.#syncFrom(nodeId)
    })
    await this.#publish()
    this.#publishing.start()
    this.#flushing.start()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#stopPeerEvents?.()
    await this.#publishing.stop()
    await this.#flushing.stop()
    await this.#flush().catch((error: unknown) => {
      this.#components.log.warn({ err: error }, 'what is known of other nodes could not be written')
    })
  }

  get(nodeId: NodeId): NodeDescriptor | undefined {
    return this.#known.get(nodeId)?.descriptor
  }

  /** Nodes other than ourselves that offer `role` now, in no special order. */
  withRole(role: Role): NodeDescriptor[] {
    const nowHour = this.#components.clock.now() / hourMs
    const found: NodeDescriptor[] = []
    for (const { descriptor } of this.#known.values()) {
      if (descriptor.expiryHour > nowHour && hasRole(descriptor, role)) found.push(descriptor)
    }
    return found
  }

  get size(): number {
    return this.#known.size
  }

  /** After the set of known nodes changed. Returns an unsubscribe function. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Signs and gossips our descriptor anew: at start, periodically, and when addresses change. */
  async #publish(): Promise<void> {
    const { clock, overlay, nodeKeys } = this.#components
    const { doorKey, onionKey, sinceHour } = this.#options
    const own = this.#options.describe()
    const descriptor: NodeDescriptor = {
      nodeId: overlay.nodeId,
      doorKey,
      onionKey,
      roles: [...own.roles],
      addresses: [...own.addresses].slice(0, 8),
      sequence: clock.now(),
      sinceHour,
      expiryHour: Math.ceil((clock.now() + limits.descriptorTtlMs) / hourMs),
      storageFreeMiB: own.storageFreeMiB,
    }
    const bytes = signNodeDescriptor(descriptor, nodeKeys)
    this.#own = { bytes, descriptor }
    this.#dropExpired()
    overlay.publish(directoryTopic, bytes)
  }

  /** True when it was news; gossip passes only news on. */
  #accept(bytes: Uint8Array, knownSinceHour?: number): boolean {
    const { clock, overlay, log } = this.#components
    const checked = checkNodeDescriptor(bytes, clock.now(), (nodeId, sequence) => {
      const known = this.#known.get(nodeId)
      return nodeId !== overlay.nodeId && (known === undefined || known.descriptor.sequence < sequence)
    })
    if (!checked.ok) {
      if (checked.code !== 'DESCRIPTOR_STALE') log.debug({ code: checked.code }, 'refused a node descriptor')
      return false
    }
    const known = this.#known.get(checked.value.nodeId)
    const isNew = known === undefined
    if (isNew && this.#known.size >= limits.descriptorsMax) return false
    const seenHour = known?.descriptor.sinceHour ?? knownSinceHour ?? Math.floor(clock.now() / hourMs)
    const descriptor = { ...checked.value, sinceHour: Math.max(checked.value.sinceHour, seenHour) }
    this.#known.set(descriptor.nodeId, { bytes: bytes.slice(), descriptor })
    this.#dirty.add(descriptor.nodeId)
    overlay.learn(descriptor.nodeId, descriptor.addresses)
    if (isNew) for (const listener of this.#listeners) listener()
    return true
  }

  #isSyncDue(): boolean {
    const sinceMs = this.#components.clock.monotonicMs() - this.#syncedAtMs
    return this.#known.size < syncBelow || sinceMs > syncEveryMs
  }

  async #syncFrom(nodeId: NodeId): Promise<void> {
    const { overlay, clock } = this.#components
    this.#syncedAtMs = clock.monotonicMs()
    for (let offset = 0; offset < limits.descriptorsMax && !this.#stopped; offset += directoryPageMax) {
      const body = encode(directorySyncRequestCodec, { offset })
      const answer = await overlay.call(nodeId, services.directorySync, body, { timeoutMs: syncTimeoutMs })
      if (!answer.ok) return
      const reply = tryDecode(directorySyncReplyCodec, answer.value)
      if (!reply.ok) return
      for (const bytes of reply.value.descriptors) this.#accept(bytes)
      if (!reply.value.more) return
    }
  }

  async #serveSync(body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(directorySyncRequestCodec, body)
    if (!request.ok) return request
    const all = [...this.#known.values()].map((known) => known.bytes)
    if (this.#own !== undefined) all.unshift(this.#own.bytes)
    const page = all.slice(request.value.offset, request.value.offset + directoryPageMax)
    const more = all.length > request.value.offset + page.length
    return { ok: true, value: encode(directorySyncReplyCodec, { descriptors: page, more }) }
  }

  #dropExpired(): void {
    const nowHour = this.#components.clock.now() / hourMs
    for (const [nodeId, { descriptor }] of this.#known) {
      if (descriptor.expiryHour > nowHour) continue
      this.#known.delete(nodeId)
      this.#dirty.add(nodeId)
    }
  }

  /** Writes down what changed; now and then asks a peer for what we missed. */
  async #flush(): Promise<void> {
    const { overlay, random, kv } = this.#components
    const peers = overlay.peers()
    if (!this.#stopped && this.#isSyncDue() && peers.length > 0) {
      void this.#syncFrom(peers[Math.floor(randomFraction(random) * peers.length)]!.nodeId)
    }
    while (this.#dirty.size > 0) {
      const changed = [...this.#dirty].slice(0, flushItemsMax)
      for (const nodeId of changed) this.#dirty.delete(nodeId)
      try {
        await kv.write(changed.map((nodeId) => this.#row(nodeId)))
      } catch (error) {
        for (const nodeId of changed) this.#dirty.add(nodeId)
        throw error
      }
    }
  }

  #row(nodeId: NodeId): KvOperation {
    const known = this.#known.get(nodeId)
    const key = storePrefix + nodeId
    if (known === undefined) return { type: 'delete', key }
    const { bytes, descriptor: { sinceHour } } = known
    return { type: 'put', key, value: encode(storedCodec, { sinceHour, bytes }) }
  }
}

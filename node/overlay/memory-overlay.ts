/**
 * `Overlay` in memory, for simulations and for tests of everything above it: links, calls, routing
 * and gossip as in production, over a `MemoryNetwork` instead of libp2p. Addresses look like
 * `/memory/<node id>`.
 *
 * Routing is a small real Kademlia: buckets filled by whoever links and by look-ups, and iterative
 * walks that ask three nodes at a time. Gossip floods a mesh of about six neighbours a node.
 */
import { assert, errorCode, OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import { hex } from '../../crypto/bytes.ts'
import { jittered, randomFraction } from '../../crypto/random.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Timer } from '../../protocol/ports.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import { within } from '../../protocol/timers.ts'
import { keyPoint, nodePoint } from '../../protocol/xor-distance.ts'
import { silentLog } from '../ports.ts'
import type { CallOptions, GossipHandler, Log, Overlay, PeerInfo, ServiceHandler } from '../ports.ts'
import { BootstrapDialer } from './bootstrap-dialer.ts'
import { bucketSize, KBuckets, nearestToPoint } from './k-buckets.ts'
import type { CallResult } from './link-calls.ts'
import { callLocally } from './local-call.ts'
import type { MemoryNetwork, MemoryNode } from './memory-network.ts'
import { PendingCalls } from './pending-calls.ts'
import { defaultRates, PeerBuckets } from './peer-buckets.ts'
import type { PeerRates } from './peer-buckets.ts'

export interface MemoryOverlayComponents {
  readonly network: MemoryNetwork
  readonly nodeId: NodeId
  readonly log?: Log
}

export interface MemoryOverlayOptions {
  /** `/memory/<node id>` each. */
  readonly bootstrap: readonly string[]
  readonly rates?: PeerRates
}

/** One end of a link. */
interface MemoryLink {
  readonly peer: MemoryOverlay
  readonly direction: 'inbound' | 'outbound'
  readonly connectedAtMs: number
  readonly rttMs: number
  /** Messages of one direction arrive in order: none before this. */
  arrivesAfterMs: number
}

interface GossipMessage {
  readonly topic: string
  readonly id: string
  readonly bytes: Uint8Array
}

const addressPrefix = '/memory/'
const dialTimeoutMs = limits.dialMs
/** Parallel questions of a walk, and how long one may take (Kademlia's α). */
const walkParallel = 3
const findTimeoutMs = 2_000
/** Buckets that a new node fills: the first holds half of the network, the next a quarter. */
const farBuckets = 3
const refreshEveryMs = 30 * 60_000
/** Gossip neighbours that a node picks for itself; others may pick it too. */
const meshSize = 6
const seenGossipMax = 4_096
const unreachable: CallResult = { ok: false, code: 'OVERLAY_UNREACHABLE', detail: 'no way to this node' }
const timedOut: CallResult = { ok: false, code: 'OVERLAY_TIMEOUT' }
const overloaded: CallResult = { ok: false, code: 'OVERLAY_OVERLOADED' }
const stopped: CallResult = { ok: false, code: 'OVERLAY_STOPPED' }

export class MemoryOverlay implements Overlay, MemoryNode {
  readonly nodeId: NodeId
  readonly #network: MemoryNetwork
  readonly #log: Log
  readonly #services = new Map<ServiceCode, ServiceHandler>()
  readonly #topics = new Map<string, GossipHandler>()
  readonly #listeners = new Set<(nodeId: NodeId, connected: boolean) => void>()
  readonly #links = new Map<NodeId, MemoryLink>()
  readonly #dials = new Map<NodeId, Promise<boolean>>()
  readonly #table: KBuckets
  readonly #mesh = new Set<NodeId>()
  readonly #seen = new Set<string>()
  readonly #pending: PendingCalls
  readonly #buckets: PeerBuckets
  readonly #bootstrap: BootstrapDialer
  #refreshTimer: Timer | undefined
  #state: 'new' | 'running' | 'stopped' = 'new'

  constructor(components: MemoryOverlayComponents, options: MemoryOverlayOptions) {
    const { network, nodeId, log = silentLog } = components
    this.nodeId = nodeId
    this.#network = network
    this.#log = log
    this.#table = new KBuckets(nodeId)
    this.#pending = new PendingCalls(network.clock)
    this.#buckets = new PeerBuckets(network.clock, options.rates ?? defaultRates)
    const { clock, random } = network
    this.#bootstrap = new BootstrapDialer({ clock, random, log }, options.bootstrap, async (address) => {
      const reached = await this.dial(address, { timeoutMs: dialTimeoutMs })
      void this.#settleIn()
      return reached
    })
  }

  async start(): Promise<void> {
    assert(this.#state === 'new', 'an overlay starts once')
    this.#state = 'running'
    this.#network.join(this)
    this.#bootstrap.start()
    this.#refreshLater()
  }

  async stop(): Promise<void> {
    this.#end('LINK_CLOSED')
  }

  /** The process is gone: no goodbye, peers notice when their network does. */
  crash(): void {
    this.#end('LINK_RESET')
  }

  #end(code: string): void {
    if (this.#state === 'stopped') return
    const wasRunning = this.#state === 'running'
    this.#state = 'stopped'
    if (!wasRunning) return
    this.#network.leave(this)
    this.#bootstrap.stop()
    this.#refreshTimer?.cancel()
    const peers = [...this.#links.values()].map((link) => link.peer)
    this.#links.clear()
    this.#pending.end(stopped)
    for (const peer of peers) {
      this.#network.clock.after(this.#network.latencyMs(), () => {
        // Behind a cut nobody hears of it; the link there dies of silence.
        if (this.#network.reaches(this.nodeId, peer.nodeId)) peer.#dropIncarnation(this, code)
        else this.#network.clock.after(limits.linkDeadMs, () => peer.#dropIncarnation(this, 'LINK_DEAD'))
      })
    }
  }

  addresses(): string[] {
    return this.#state === 'running' ? [addressPrefix + this.nodeId] : []
  }

  peers(): PeerInfo[] {
    return [...this.#links].map(([nodeId, { direction, connectedAtMs, rttMs }]) =>
      ({ nodeId, address: addressPrefix + nodeId, direction, connectedAtMs, rttMs }))
  }

  onPeer(listener: (nodeId: NodeId, connected: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  #tell(nodeId: NodeId, connected: boolean): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(nodeId, connected)
      } catch (error) {
        this.#log.error({ peer: nodeId, error: String(error) }, 'a peer listener failed')
      }
    }
  }

  // ── Links ─────────────────────────────────────────────────────────────────────────────────

  async dial(address: string, options: CallOptions): Promise<NodeId> {
    if (this.#state !== 'running') throw new OpenIMError('OVERLAY_STOPPED', 'this node is not running')
    if (!address.startsWith(addressPrefix)) {
      throw new OpenIMError('OVERLAY_ADDRESS', `"${address}" does not start with ${addressPrefix}`)
    }
    const nodeId = address.slice(addressPrefix.length) as NodeId
    const linked = await within(this.#network.clock, options.timeoutMs, this.#linkTo(nodeId))
    if (linked === true) return nodeId
    throw new OpenIMError('OVERLAY_UNREACHABLE', `no link to ${address}`)
  }

  learn(nodeId: NodeId, _addresses: readonly string[]): void {
    this.#table.add(nodeId)
  }

  /** True when there is a link, in the end. */
  #linkTo(nodeId: NodeId): Promise<boolean> {
    if (this.#links.has(nodeId)) return Promise.resolve(true)
    if (nodeId === this.nodeId) return Promise.resolve(false)
    const underWay = this.#dials.get(nodeId)
    if (underWay !== undefined) return underWay
    const dialling = new Promise<boolean>((resolve) => {
      const rttMs = this.#network.latencyMs() + this.#network.latencyMs()
      const connect = (): void => {
        this.#dials.delete(nodeId)
        resolve(this.#connect(nodeId, rttMs))
      }
      // Behind a cut nothing comes back, not even a refusal.
      const waitMs = this.#network.reaches(this.nodeId, nodeId) ? rttMs : dialTimeoutMs
      this.#network.clock.after(waitMs, connect)
    })
    this.#dials.set(nodeId, dialling)
    return dialling
  }

  #connect(nodeId: NodeId, rttMs: number): boolean {
    if (this.#links.has(nodeId)) return true
    const peer = this.#network.node(nodeId)
    const reached = this.#state === 'running' && this.#network.reaches(this.nodeId, nodeId)
    if (!reached || !(peer instanceof MemoryOverlay)) {
      this.#table.remove(nodeId)
      return false
    }
    // Its end of an earlier life of ours, or of a cut that healed.
    peer.#drop(this.nodeId, 'LINK_REPLACED')
    this.#linked(peer, 'outbound', rttMs)
    peer.#linked(this, 'inbound', rttMs)
    return true
  }

  #linked(peer: MemoryOverlay, direction: 'inbound' | 'outbound', rttMs: number): void {
    const connectedAtMs = this.#network.clock.now()
    this.#links.set(peer.nodeId, { peer, direction, connectedAtMs, rttMs, arrivesAfterMs: 0 })
    this.#table.add(peer.nodeId)
    // The first neighbour is whoever is there; `#connect` makes the link at both ends.
    if (this.#mesh.size === 0 || peer.#mesh.size === 0) {
      this.#mesh.add(peer.nodeId)
      peer.#mesh.add(this.nodeId)
    }
    this.#tell(peer.nodeId, true)
  }

  dropWhere(test: (peer: NodeId) => boolean, code: string): void {
    for (const nodeId of [...this.#links.keys()]) if (test(nodeId)) this.#drop(nodeId, code)
  }

  #dropIncarnation(peer: MemoryOverlay, code: string): void {
    if (this.#links.get(peer.nodeId)?.peer === peer) this.#drop(peer.nodeId, code)
  }

  #drop(nodeId: NodeId, code: string): void {
    if (!this.#links.delete(nodeId)) return
    if (this.#mesh.delete(nodeId)) this.#fillMesh()
    this.#pending.failTo(nodeId, { ok: false, code: 'OVERLAY_UNREACHABLE', detail: code })
    this.#bootstrap.lost(nodeId)
    this.#tell(nodeId, false)
  }

  /** Brings a message to the other end of a link, unless it gets lost. */
  #send(to: NodeId, arrive: (peer: MemoryOverlay) => void): void {
    const link = this.#links.get(to)
    if (link === undefined || this.#network.loses()) return
    const { clock } = this.#network
    const nowMs = clock.monotonicMs()
    link.arrivesAfterMs = Math.max(link.arrivesAfterMs, nowMs + this.#network.latencyMs())
    clock.after(link.arrivesAfterMs - nowMs, () => {
      const { peer } = link
      if (peer.#state === 'running' && this.#network.reaches(this.nodeId, to)) arrive(peer)
    })
  }

  // ── Calls ─────────────────────────────────────────────────────────────────────────────────

  handle(service: ServiceCode, handler: ServiceHandler): void {
    assert(!this.#services.has(service), `service ${service} has a handler already`)
    this.#services.set(service, handler)
  }

  call(to: NodeId, service: ServiceCode, body: Uint8Array, options: CallOptions): Promise<CallResult> {
    assert(body.length <= limits.callBodyBytesMax, `a call body of ${body.length} bytes`)
    if (this.#state !== 'running') return Promise.resolve(stopped)
    if (options.signal?.aborted === true) return Promise.resolve(timedOut)
    if (this.#pending.size >= limits.linkWaitingCallsMax) return Promise.resolve(overloaded)
    if (to === this.nodeId) {
      const { clock } = this.#network
      return callLocally({ clock, log: this.#log }, this.#services, { from: to, service, body, options })
    }
    // The peer gets bytes of its own, as over a wire.
    const copy = body.slice()
    return this.#ask(to, options, (peer, reply) => peer.#serve(this.nodeId, { service, body: copy }, reply))
  }

  /** Sends a question over the link, dialled if needed, and waits for what `reply` is given. */
  #ask(
    to: NodeId,
    options: CallOptions,
    serve: (peer: MemoryOverlay, reply: (result: CallResult) => void) => void,
  ): Promise<CallResult> {
    const { promise, settle } = this.#pending.open(to, options)
    const send = (): void => {
      const once = (peer: MemoryOverlay): void =>
        serve(peer, (result) => peer.#send(this.nodeId, () => settle(result)))
      this.#send(to, once)
      if (this.#network.duplicates()) this.#send(to, once)
    }
    if (this.#links.has(to)) send()
    else void this.#linkTo(to).then((linked) => linked ? send() : settle(unreachable))
    return promise
  }

  #serve(
    from: NodeId,
    request: { service: ServiceCode, body: Uint8Array },
    reply: (result: CallResult) => void,
  ): void {
    const { service, body } = request
    const { calls, bytes } = this.#buckets.of(from)
    if (!calls.take(1) || !bytes.take(body.length)) {
      reply({ ok: false, code: 'PEER_RATE_LIMITED', detail: 'too many calls or bytes; slow down' })
      return
    }
    const handler = this.#services.get(service)
    if (handler === undefined) {
      reply({ ok: false, code: 'SERVICE_UNKNOWN', detail: `no service ${service} here` })
      return
    }
    Promise.resolve().then(() => handler(from, body)).then(
      (result) => {
        const fits = !result.ok || result.value.length <= limits.callBodyBytesMax
        assert(fits, `service ${service} replied too much`)
        reply(result.ok ? { ok: true, value: result.value.slice() } : result)
      },
    ).catch((error: unknown) => {
      this.#log.error({ service, code: errorCode(error), error: String(error) }, 'a service handler failed')
      reply({ ok: false, code: 'SERVICE_FAILED' })
    })
  }

  // ── Routing ───────────────────────────────────────────────────────────────────────────────

  nearest(key: Uint8Array, count: number): NodeId[] {
    return this.#nearestTo(keyPoint(key), count)
  }

  #nearestTo(point: Uint8Array, count: number): NodeId[] {
    return nearestToPoint(point, [...this.#table.nodes(), ...this.#links.keys()], count)
  }

  walk(key: Uint8Array, count: number, options: CallOptions): Promise<NodeId[]> {
    return this.#walkTo(keyPoint(key), { count, options })
  }

  /** Asks ever nearer nodes for nodes nearer still, until the nearest ones have all answered. */
  async #walkTo(point: Uint8Array, input: { count: number, options: CallOptions }): Promise<NodeId[]> {
    const { count, options } = input
    const { clock } = this.#network
    const untilMs = clock.monotonicMs() + options.timeoutMs
    const seen = new Set(this.#nearestTo(point, bucketSize))
    const asked = new Set<NodeId>()
    const dead = new Set<NodeId>()
    const alive = (): NodeId[] => [...seen].filter((nodeId) => !dead.has(nodeId))
    const worker = async (): Promise<void> => {
      for (;;) {
        const leftMs = untilMs - clock.monotonicMs()
        const nearest = nearestToPoint(point, alive(), Math.max(count, bucketSize))
        const next = nearest.find((nodeId) => !asked.has(nodeId))
        const over = leftMs <= 0 || options.signal?.aborted === true || this.#state !== 'running'
        if (over || next === undefined) return
        asked.add(next)
        const found = await this.#find(next, point, Math.min(leftMs, findTimeoutMs))
        if (found === undefined) dead.add(next)
        for (const nodeId of found ?? []) {
          if (nodeId === this.nodeId) continue
          seen.add(nodeId)
          this.#table.add(nodeId)
        }
      }
    }
    await Promise.all(Array.from({ length: walkParallel }, worker))
    return nearestToPoint(point, alive(), count)
  }

  async #find(to: NodeId, point: Uint8Array, timeoutMs: number): Promise<readonly NodeId[] | undefined> {
    let found: readonly NodeId[] | undefined
    const result = await this.#ask(to, { timeoutMs }, (peer, reply) => {
      found = peer.#nearestTo(point, bucketSize)
      reply({ ok: true, value: new Uint8Array(0) })
    })
    return result.ok ? found : undefined
  }

  #refreshLater(): void {
    const { clock, random } = this.#network
    this.#refreshTimer = clock.after(jittered(random, refreshEveryMs, 0.5), () => {
      void this.#explore(nodePoint(this.nodeId))
      void this.#explore(random.bytes(32))
      this.#refreshLater()
    })
  }

  /** Learns who is near, then fills the buckets of the far side, where most of the network lives. */
  async #settleIn(): Promise<void> {
    await this.#explore(nodePoint(this.nodeId))
    for (let bit = 0; bit < farBuckets; bit++) {
      const point = nodePoint(this.nodeId).slice()
      point[0]! ^= 0x80 >> bit
      await this.#explore(point)
    }
    this.#fillMesh()
  }

  /** A walk for what it leaves behind: nodes in the table, and links. */
  async #explore(point: Uint8Array): Promise<void> {
    await this.#walkTo(point, { count: bucketSize, options: { timeoutMs: dialTimeoutMs } })
  }

  // ── Gossip ────────────────────────────────────────────────────────────────────────────────

  publish(topic: string, message: Uint8Array): void {
    assert(message.length <= limits.gossipMessageBytesMax, `a gossip message of ${message.length} bytes`)
    if (this.#state !== 'running') return
    const bytes = message.slice()
    const gossip = { topic, id: `${topic} ${hex(crypto.sha256(bytes))}`, bytes }
    if (this.#isNews(gossip.id)) this.#spread(gossip, undefined)
  }

  subscribe(topic: string, handler: GossipHandler): void {
    assert(!this.#topics.has(topic), `topic ${topic} has a handler already`)
    this.#topics.set(topic, handler)
  }

  #spread(gossip: GossipMessage, except: NodeId | undefined): void {
    this.#fillMesh()
    for (const nodeId of this.#mesh) {
      if (nodeId !== except) this.#send(nodeId, (peer) => peer.#hear(this.nodeId, gossip))
    }
  }

  #hear(from: NodeId, gossip: GossipMessage): void {
    const handler = this.#topics.get(gossip.topic)
    if (handler === undefined || !this.#isNews(gossip.id)) return
    let valid = false
    try {
      valid = handler(from, gossip.bytes)
    } catch (error) {
      this.#log.error({ topic: gossip.topic, error: String(error) }, 'a gossip handler failed')
    }
    if (valid) this.#spread(gossip, from)
  }

  #isNews(id: string): boolean {
    if (this.#seen.has(id)) return false
    this.#seen.add(id)
    if (this.#seen.size > seenGossipMax) this.#seen.delete(this.#seen.values().next().value!)
    return true
  }

  /** Picks neighbours at random among the linked peers; both ends use what one of them picked. */
  #fillMesh(): void {
    if (this.#mesh.size >= meshSize || this.#mesh.size === this.#links.size) return
    const others = [...this.#links.values()].filter(({ peer }) => !this.#mesh.has(peer.nodeId))
    while (this.#mesh.size < meshSize && others.length > 0) {
      const at = Math.floor(randomFraction(this.#network.random) * others.length)
      const [{ peer }] = others.splice(at, 1) as [MemoryLink]
      if (!peer.#links.has(this.nodeId)) continue
      this.#mesh.add(peer.nodeId)
      peer.#mesh.add(this.nodeId)
    }
  }
}

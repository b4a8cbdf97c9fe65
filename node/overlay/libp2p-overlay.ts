/**
 * `Overlay` over libp2p: authenticated links to other nodes, Kademlia routing, gossip, mDNS. The
 * one place of openIM that knows libp2p; nothing of it is loaded before `start`.
 *
 * A call goes over the peer's one long-lived link (peer-link.ts). `nearest` reads a mirror of the
 * routing table and costs no I/O; `walk` is kad-dht's look-up. Gossip messages carry their own
 * signatures, so `from` of a gossip handler is the neighbour that passed a message on.
 */
import { crypto } from '../../crypto/index.ts'
import { assert, OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import { within } from '../../protocol/timers.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import { nearestNodes } from '../../protocol/xor-distance.ts'
import type { CallOptions, GossipHandler, Log, Overlay, PeerInfo, ServiceHandler } from '../ports.ts'
import { BootstrapDialer } from './bootstrap-dialer.ts'
import { buildNode, onRouting } from './libp2p-node.ts'
import type { BuiltNode, DhtMode } from './libp2p-node.ts'
import type { CallResult } from './link-calls.ts'
import { LinkKeeper } from './link-keeper.ts'
import { callLocally } from './local-call.ts'
import type { PeerLink } from './peer-link.ts'
import { PeerLinks } from './peer-links.ts'
import { RoutingMirror } from './routing-mirror.ts'
import { defaultRates, PeerBuckets } from './peer-buckets.ts'
import type { PeerRates } from './peer-buckets.ts'

export interface Libp2pOverlayComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** 32 bytes: the Ed25519 seed of the node's identity. */
  readonly keySeed: Uint8Array
}

export interface Libp2pOverlayOptions {
  /** Multiaddrs to listen on: `/ip4/0.0.0.0/tcp/4110`, `/ip4/0.0.0.0/tcp/4111/ws`; port 0 allowed. */
  readonly listen: readonly string[]
  /** Multiaddrs told to others instead of those found; for a forwarded port. */
  readonly announce?: readonly string[]
  readonly bootstrap: readonly string[]
  /** Finds nodes of the same local network. */
  readonly mdns: boolean
  readonly dht: DhtMode
  readonly maxConnections: number
  /** Keep private addresses in the routing table: local networks, and tests on one machine. */
  readonly allowPrivate: boolean
  /** Directory of the peer store, which keeps known peers over a restart; in memory without. */
  readonly peerStorePath?: string
  /** What one peer may take; `defaultRates` unless told. */
  readonly rates?: PeerRates
}

const stoppedResult: CallResult = { ok: false, code: 'OVERLAY_STOPPED' }
const timedOut: CallResult = { ok: false, code: 'OVERLAY_TIMEOUT' }
const overloaded: CallResult = { ok: false, code: 'OVERLAY_OVERLOADED' }
const unreachable: CallResult = { ok: false, code: 'OVERLAY_UNREACHABLE', detail: 'no way to this node' }
const sweepEveryMs = limits.linklessMs / 2

export class Libp2pOverlay implements Overlay {
  readonly nodeId: NodeId
  readonly #components: Libp2pOverlayComponents
  readonly #options: Libp2pOverlayOptions
  readonly #services = new Map<ServiceCode, ServiceHandler>()
  readonly #topics = new Map<string, GossipHandler>()
  readonly #listeners = new Set<(nodeId: NodeId, connected: boolean) => void>()
  readonly #routing = new RoutingMirror()
  readonly #links: PeerLinks
  readonly #bootstrap: BootstrapDialer
  /** Dials under way, shared by all calls to that node. */
  readonly #dials = new Map<NodeId, Promise<PeerLink | undefined>>()
  /** Addresses on their way into the peer store. */
  readonly #learning = new Map<NodeId, Promise<void>>()
  #waitingCalls = 0
  #state: 'new' | 'starting' | 'running' | 'stopped' = 'new'
  #built: BuiltNode | undefined
  #keeper: LinkKeeper | undefined
  #sweepTimer: Timer | undefined
  #stopping: Promise<void> | undefined

  constructor(components: Libp2pOverlayComponents, options: Libp2pOverlayOptions) {
    this.#components = components
    this.#options = options
    this.nodeId = nodeIdFromKey(crypto.signingKeyPair(components.keySeed).publicKey)
    this.#links = new PeerLinks(this.nodeId, {
      peer: (nodeId, connected) => this.#onPeer(nodeId, connected),
    })
    this.#bootstrap = new BootstrapDialer(components, options.bootstrap, (address) =>
      this.dial(address, { timeoutMs: limits.dialMs + limits.linkHandshakeMs }))
  }

  /** @throws OVERLAY_LISTEN when no address can be listened on */
  async start(): Promise<void> {
    assert(this.#state === 'new', 'an overlay starts once')
    this.#state = 'starting'
    const { announce = [], peerStorePath, rates = defaultRates, bootstrap: _, ...options } = this.#options
    const { clock, log, keySeed } = this.#components
    const built = await buildNode({
      ...options,
      announce,
      peerStorePath,
      keySeed,
      onNeighbour: (peerId) => this.#onNeighbour(peerId.toString()),
    })
    if (this.#isStopped()) {
      await built.close()
      return
    }
    this.#built = built
    const buckets = new PeerBuckets(clock, rates)
    const [node, links, services] = [built.node, this.#links, this.#services]
    this.#keeper = new LinkKeeper({ clock, log, node, links, services, buckets })
    onRouting(built.node, (peerId, known) => {
      const nodeId = peerId.toString() as NodeId
      if (known && nodeId !== this.nodeId) this.#routing.addRoute(nodeId)
      else this.#routing.removeRoute(nodeId)
    })
    await this.#keeper.start()
    try {
      await built.node.start()
    } catch (cause) {
      await built.close()
      const places = this.#options.listen.join(', ')
      throw new OpenIMError('OVERLAY_LISTEN', `cannot listen on ${places}`, { cause })
    }
    if (this.#isStopped()) {
      await built.node.stop()
      return
    }
    this.#state = 'running'
    for (const [topic, handler] of this.#topics) this.#join(topic, handler)
    this.#bootstrap.start()
    this.#sweepLater()
  }

  /** `stop` may be called while `start` waits. */
  #isStopped(): boolean {
    return this.#state === 'stopped'
  }

  #sweepLater(): void {
    this.#sweepTimer = this.#components.clock.after(sweepEveryMs, () => {
      this.#keeper!.sweep()
      this.#sweepLater()
    })
  }

  /** Ends within about two seconds, whatever the peers do. Calls under way end with OVERLAY_STOPPED. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#state = 'stopped'
    this.#bootstrap.stop()
    this.#sweepTimer?.cancel()
    await this.#keeper?.stop()
    const built = this.#built
    if (built === undefined) return
    const { clock, log } = this.#components
    const ended = stopNode(built, log)
    // Orderly ends wait for peers; a frozen one would hold up the stop for ever.
    if (await within(clock, limits.overlayStopMs, ended) !== true) {
      for (const connection of built.node.getConnections()) connection.abort(new Error('OVERLAY_STOPPED'))
      await within(clock, limits.overlayStopMs / 3, ended)
    }
    await built.close()
  }

  addresses(): string[] {
    return this.#built?.node.getMultiaddrs().map((address) => address.toString()) ?? []
  }

  peers(): PeerInfo[] {
    const infos: PeerInfo[] = []
    for (const nodeId of this.#links.peers()) {
      const link = this.#links.get(nodeId)!
      const info = this.#keeper!.info(link)!
      const { rttMs } = link
      infos.push({
        nodeId,
        address: info.connection.remoteAddr.toString(),
        direction: info.connection.direction,
        connectedAtMs: info.connectedAtMs,
        ...(rttMs === undefined ? {} : { rttMs }),
      })
    }
    return infos
  }

  /** Whether this node answers DHT queries of others. */
  get dhtMode(): 'client' | 'server' {
    return this.#built?.node.services.dht.getMode() ?? 'client'
  }

  // ── Dialling ──────────────────────────────────────────────────────────────────────────────

  /** @throws OVERLAY_ADDRESS, OVERLAY_UNREACHABLE, OVERLAY_STOPPED */
  async dial(address: string, options: CallOptions): Promise<NodeId> {
    const { node, parse } = this.#running()
    let target
    try {
      target = parse.multiaddr(address)
    } catch (cause) {
      const example = '/ip4/192.0.2.1/tcp/4110'
      throw new OpenIMError('OVERLAY_ADDRESS', `"${address}" is no multiaddr like ${example}`, { cause })
    }
    const { clock } = this.#components
    const controller = new AbortController()
    const abort = (): void => controller.abort()
    const timer = clock.after(options.timeoutMs, abort)
    options.signal?.addEventListener('abort', abort)
    const aborted = new Promise<never>((_resolve, reject) => {
      controller.signal.addEventListener('abort', () => reject(new Error('time is up')))
    })
    try {
      const dialled = node.dial(target, { signal: controller.signal })
        .then(async (connection) => this.#links.get(connection.remotePeer.toString() as NodeId)
          ?? await this.#keeper!.open(connection))
      dialled.catch(() => {})
      return (await Promise.race([dialled, aborted])).remote
    } catch (cause) {
      if (this.#isStopped()) throw new OpenIMError('OVERLAY_STOPPED', 'this node is stopping', { cause })
      throw new OpenIMError('OVERLAY_UNREACHABLE', `no link to ${address}`, { cause })
    } finally {
      timer.cancel()
      options.signal?.removeEventListener('abort', abort)
    }
  }

  learn(nodeId: NodeId, addresses: readonly string[]): void {
    if (this.#state !== 'running' || nodeId === this.nodeId) return
    const { node, parse } = this.#built!
    const multiaddrs = addresses.slice(0, limits.peerAddressesMax).flatMap((address) => {
      try {
        return [parse.multiaddr(address)]
      } catch {
        return []
      }
    })
    if (multiaddrs.length === 0) return
    const learning = node.peerStore.merge(parse.peerId(nodeId), { multiaddrs })
      .then(() => {}, (error: unknown) => {
        this.#components.log.debug({ peer: nodeId, error: String(error) }, 'addresses were not taken')
      })
      .finally(() => {
        if (this.#learning.get(nodeId) === learning) this.#learning.delete(nodeId)
      })
    this.#learning.set(nodeId, learning)
  }

  /** A node of the same local network; both ends hear of each other, dialling twice does no harm. */
  #onNeighbour(text: string): void {
    const nodeId = text as NodeId
    if (this.#state !== 'running' || this.#links.get(nodeId) !== undefined) return
    if (this.#links.size * 2 >= this.#options.maxConnections) return
    void this.#linkTo(nodeId)
  }

  /** The link to a node, dialled if needed; undefined when there is no way. Never rejects. */
  #linkTo(nodeId: NodeId): Promise<PeerLink | undefined> {
    const underWay = this.#dials.get(nodeId)
    if (underWay !== undefined) return underWay
    const dialling = this.#dialNode(nodeId)
      .catch((error: unknown) => {
        this.#components.log.debug({ peer: nodeId, error: String(error) }, 'a node could not be dialled')
        return undefined
      })
      .finally(() => this.#dials.delete(nodeId))
    this.#dials.set(nodeId, dialling)
    return dialling
  }

  async #dialNode(nodeId: NodeId): Promise<PeerLink | undefined> {
    await this.#learning.get(nodeId)
    const { node, parse } = this.#running()
    const controller = new AbortController()
    const timer = this.#components.clock.after(limits.dialMs, () => controller.abort())
    try {
      const connection = await node.dial(parse.peerId(nodeId), { signal: controller.signal })
      return this.#links.get(nodeId) ?? await this.#keeper!.open(connection)
    } finally {
      timer.cancel()
    }
  }

  /** @throws OVERLAY_STOPPED */
  #running(): BuiltNode {
    if (this.#state === 'running') return this.#built!
    throw new OpenIMError('OVERLAY_STOPPED', 'this node is not running')
  }

  // ── Calls ─────────────────────────────────────────────────────────────────────────────────

  handle(service: ServiceCode, handler: ServiceHandler): void {
    assert(!this.#services.has(service), `service ${service} has a handler already`)
    this.#services.set(service, handler)
  }

  call(to: NodeId, service: ServiceCode, body: Uint8Array, options: CallOptions): Promise<CallResult> {
    assert(body.length <= limits.callBodyBytesMax, `a call body of ${body.length} bytes`)
    if (this.#state !== 'running') return Promise.resolve(stoppedResult)
    const link = this.#links.get(to)
    if (link !== undefined) return link.call(service, body, options)
    if (to === this.nodeId) {
      return callLocally(this.#components, this.#services, { from: to, service, body, options })
    }
    return this.#callAfterDial(to, { service, body, options })
  }

  #callAfterDial(
    to: NodeId,
    call: { service: ServiceCode, body: Uint8Array, options: CallOptions },
  ): Promise<CallResult> {
    const { service, body, options } = call
    const { clock } = this.#components
    if (options.signal?.aborted === true) return Promise.resolve(timedOut)
    if (this.#waitingCalls >= limits.linkWaitingCallsMax) return Promise.resolve(overloaded)
    this.#waitingCalls++
    const deadlineMs = clock.monotonicMs() + options.timeoutMs
    return new Promise((resolve) => {
      let waiting = true
      /** True for whoever comes first. */
      const end = (): boolean => {
        if (!waiting) return false
        waiting = false
        this.#waitingCalls--
        timer.cancel()
        options.signal?.removeEventListener('abort', giveUp)
        return true
      }
      const giveUp = (): void => { if (end()) resolve(timedOut) }
      const timer = clock.after(options.timeoutMs, giveUp)
      options.signal?.addEventListener('abort', giveUp)
      void this.#linkTo(to).then((link) => {
        if (!end()) return
        if (this.#state !== 'running') resolve(stoppedResult)
        else if (link === undefined) resolve(unreachable)
        else resolve(link.call(service, body, { ...options, timeoutMs: deadlineMs - clock.monotonicMs() }))
      })
    })
  }

  // ── Routing ───────────────────────────────────────────────────────────────────────────────

  nearest(key: Uint8Array, count: number): NodeId[] {
    return this.#routing.nearest(key, count)
  }

  async walk(key: Uint8Array, count: number, options: CallOptions): Promise<NodeId[]> {
    if (this.#state !== 'running') return []
    const { dht } = this.#built!.node.services
    // kad-dht would wait for a first node to appear.
    if (dht.routingTable.size === 0) return this.nearest(key, count)
    const controller = new AbortController()
    const abort = (): void => controller.abort()
    const timer = this.#components.clock.after(options.timeoutMs, abort)
    options.signal?.addEventListener('abort', abort)
    const answered = new Set<NodeId>()
    const query = async (): Promise<void> => {
      for await (const event of dht.getClosestPeers(key, { signal: controller.signal })) {
        if (event.name === 'PEER_RESPONSE') answered.add(event.from.toString() as NodeId)
        else if (event.name === 'FINAL_PEER') answered.add(event.peer.id.toString() as NodeId)
      }
    }
    const aborted = new Promise<void>((resolve) => {
      controller.signal.addEventListener('abort', () => resolve())
    })
    if (options.signal?.aborted === true) abort()
    try {
      await Promise.race([query(), aborted])
    } catch (error) {
      this.#components.log.debug({ error: String(error) }, 'a walk ended early')
    } finally {
      timer.cancel()
      options.signal?.removeEventListener('abort', abort)
    }
    answered.delete(this.nodeId)
    const known = controller.signal.aborted ? this.nearest(key, count) : this.#links.peers()
    return nearestNodes(key, new Set([...answered, ...known]), count)
  }

  // ── Gossip ────────────────────────────────────────────────────────────────────────────────

  publish(topic: string, message: Uint8Array): void {
    assert(message.length <= limits.gossipMessageBytesMax, `a gossip message of ${message.length} bytes`)
    if (this.#state !== 'running') return
    this.#built!.node.services.gossip.publish(topic, message).catch((error: unknown) => {
      this.#components.log.debug({ topic, error: String(error) }, 'a gossip message was not sent')
    })
  }

  subscribe(topic: string, handler: GossipHandler): void {
    assert(!this.#topics.has(topic), `topic ${topic} has a handler already`)
    this.#topics.set(topic, handler)
    if (this.#state === 'running') this.#join(topic, handler)
  }

  #join(topic: string, handler: GossipHandler): void {
    const { gossip } = this.#built!.node.services
    const { log } = this.#components
    // Typed as an enum that is only there once gossipsub is loaded.
    const verdict = (accept: boolean): never => (accept ? 'accept' : 'reject') as never
    gossip.topicValidators.set(topic, (peerId, message) => {
      if (message.data.length > limits.gossipMessageBytesMax) return verdict(false)
      try {
        return verdict(handler(peerId.toString() as NodeId, message.data))
      } catch (error) {
        log.error({ topic, error: String(error) }, 'a gossip handler failed')
        return verdict(false)
      }
    })
    gossip.subscribe(topic)
  }

  // ── Peers ─────────────────────────────────────────────────────────────────────────────────

  onPeer(listener: (nodeId: NodeId, connected: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** A home node that somebody dialled can be reached, so from then on it serves the DHT. */
  #serveOnceReached(): void {
    if (this.#options.dht !== 'home' || this.dhtMode === 'server') return
    if (!this.peers().some((peer) => peer.direction === 'inbound')) return
    this.#built!.node.services.dht.setMode('server').catch((error: unknown) => {
      this.#components.log.debug({ error: String(error) }, 'the DHT cannot be served yet')
    })
  }

  #onPeer(nodeId: NodeId, connected: boolean): void {
    this.#routing.setLinked(nodeId, connected)
    if (!connected) this.#bootstrap.lost(nodeId)
    else this.#serveOnceReached()
    for (const listener of [...this.#listeners]) {
      try {
        listener(nodeId, connected)
      } catch (error) {
        this.#components.log.error({ peer: nodeId, error: String(error) }, 'a peer listener failed')
      }
    }
  }
}

/** Settles with true once libp2p has stopped. */
async function stopNode(built: BuiltNode, log: Log): Promise<true> {
  try {
    await built.node.stop()
  } catch (error) {
    log.debug({ error: String(error) }, 'libp2p stopped with an error')
  }
  return true
}

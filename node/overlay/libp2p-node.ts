/**
 * Builds the libp2p node behind `Libp2pOverlay`. All libp2p modules are imported here, when the
 * overlay starts and not before: they take 0.4 s to load, and `openim --help` needs none of them.
 *
 * What it is used for: dialling, listening, security, multiplexing, identify, Kademlia routing,
 * gossip, mDNS. What it is not used for: values in the DHT (own location protocol), and anything
 * with bytes of ours (PeerLink).
 *
 * Settings that deviate from libp2p's defaults, each for a measured reason: bounded stream windows
 * (the default window is larger than the read buffer, and a slow reader is reset); TLS before
 * Noise (half the CPU and more a message on Node; Noise stays for browsers); no connection
 * monitor (a stream per connection every 10 s; links have their own heartbeat); inbound limits
 * that let a street reconnect after a power cut; gossip without the score for many peers on one
 * IP (more than ten nodes behind one NAT would be cut out of the mesh for ever).
 */
import type { Connection, Logger, PeerId } from '@libp2p/interface'
import type { GossipSub } from '@libp2p/gossipsub'
import type { SingleKadDHT } from '@libp2p/kad-dht'
import type { Libp2p, Libp2pInit } from 'libp2p'
import { limits } from '../../protocol/limits.ts'

export const linkProtocol = '/openim/link/1'
export const kadProtocol = '/openim/kad/1.0.0'
const mdnsTag = '_openim._udp.local'

/** `auto`: server once a public address is known; `home`: once somebody dialled us; `server`: always. */
export type DhtMode = 'auto' | 'home' | 'server'

export interface NodeInit {
  readonly keySeed: Uint8Array
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly mdns: boolean
  readonly dht: DhtMode
  readonly maxConnections: number
  readonly allowPrivate: boolean
  /** Where the peer store lives; in memory without. */
  readonly peerStorePath: string | undefined
  /** A node of the same local network made itself known. */
  readonly onNeighbour: (peerId: PeerId) => void
}

export interface OverlayServices extends Record<string, unknown> {
  readonly dht: SingleKadDHT
  readonly gossip: GossipSub
}

export type OverlayNode = Libp2p<OverlayServices>

export interface BuiltNode {
  readonly node: OverlayNode
  readonly parse: NodeParsers
  /** Closes the peer store, after the node stopped. */
  close(): Promise<void>
}

/** Constructors of libp2p's own types, loaded with it. */
export interface NodeParsers {
  /** @throws on anything that is no peer id */
  peerId(text: string): PeerId
  /** @throws on anything that is no multiaddr */
  multiaddr(text: string): ReturnType<typeof import('@multiformats/multiaddr').multiaddr>
}

const second = 1_000
const streamWindowBytes = 1024 * 1024

const nothing = (): void => {}
/**
 * libp2p formats a line for every frame and keeps a logger per stream; what matters of it reaches
 * us as errors and events.
 */
const noLog: Logger = Object.assign(nothing.bind(undefined), {
  error: nothing, trace: nothing, enabled: false, newScope: () => noLog,
})

/** Loads libp2p and builds a node that is not started yet. */
export async function buildNode(init: NodeInit): Promise<BuiltNode> {
  const modules = await loadModules()
  const { createLibp2p, generateKeyPairFromSeed, tcp, webSockets, tls, noise, yamux } = modules
  const datastore = init.peerStorePath === undefined ? undefined : await openPeerStore(init.peerStorePath)
  const isOurKind = (peerId: PeerId): boolean => peerId.type === 'Ed25519'
  const node = await createLibp2p<OverlayServices>({
    start: false,
    privateKey: await generateKeyPairFromSeed('Ed25519', init.keySeed),
    logger: { forComponent: () => noLog },
    nodeInfo: { name: 'openim', version: '0', userAgent: 'openim' },
    addresses: { listen: [...init.listen], announce: [...init.announce] },
    transports: [tcp(), webSockets()],
    connectionEncrypters: [tls(), noise()],
    streamMuxers: [yamux({
      maxInboundStreams: 64,
      maxOutboundStreams: 64,
      streamOptions: {
        initialStreamWindowSize: 256 * 1024,
        maxStreamWindowSize: streamWindowBytes,
        maxReadBufferLength: 4 * streamWindowBytes,
        maxWriteBufferLength: 8 * streamWindowBytes,
      },
    })],
    connectionManager: {
      maxConnections: init.maxConnections,
      inboundConnectionThreshold: 20,
      maxIncomingPendingConnections: 100,
      maxParallelDials: 50,
      dialTimeout: limits.dialMs,
      addressDialTimeout: 3 * second,
      // Nodes of one machine share an address; they may come all at once.
      allow: init.allowPrivate ? ['/ip4/127.0.0.0/ipcidr/8', '/ip6/::1/ipcidr/128'] : [],
    },
    connectionMonitor: { enabled: false },
    connectionGater: {
      // Node ids are Ed25519 keys; a peer with another kind of key is no node of ours.
      denyDialPeer: (peerId) => !isOurKind(peerId),
      denyInboundEncryptedConnection: (peerId) => !isOurKind(peerId),
      denyOutboundEncryptedConnection: (peerId) => !isOurKind(peerId),
    },
    peerDiscovery: init.mdns ? [neighbours(modules, init)] : [],
    services: services(modules, init),
    ...(datastore === undefined ? {} : { datastore }),
  })
  serveRoutingOnly(node)
  return {
    node,
    parse: { peerId: modules.peerIdFromString, multiaddr: modules.multiaddr },
    close: async () => { await datastore?.close() },
  }
}

async function loadModules() {
  const [base, channel, routing, names] = await Promise.all([
    Promise.all([import('libp2p'), import('@libp2p/tcp'), import('@libp2p/websockets')]),
    Promise.all([import('@libp2p/tls'), import('@chainsafe/libp2p-noise'), import('@libp2p/yamux')]),
    Promise.all([
      import('@libp2p/identify'), import('@libp2p/ping'), import('@libp2p/kad-dht'),
      import('@libp2p/gossipsub'), import('@libp2p/mdns'),
    ]),
    Promise.all([
      import('@libp2p/crypto/keys'), import('@libp2p/peer-id'), import('@multiformats/multiaddr'),
    ]),
  ])
  const [{ createLibp2p }, { tcp }, { webSockets }] = base
  const [{ tls }, { noise }, { yamux }] = channel
  const [{ identify, identifyPush }, { ping }, kad, { gossipsub }, { mdns }] = routing
  const { kadDHT, passthroughMapper, removePrivateAddressesMapper } = kad
  const [{ generateKeyPairFromSeed }, { peerIdFromString }, { multiaddr }] = names
  return {
    createLibp2p, tcp, webSockets, tls, noise, yamux, identify, identifyPush, ping, kadDHT, passthroughMapper,
    removePrivateAddressesMapper, gossipsub, mdns, generateKeyPairFromSeed, peerIdFromString, multiaddr,
  }
}

type Modules = Awaited<ReturnType<typeof loadModules>>

async function openPeerStore(path: string) {
  const { LevelDatastore } = await import('datastore-level')
  const datastore = new LevelDatastore(path)
  await datastore.open()
  return datastore
}

type Discovery = NonNullable<Libp2pInit['peerDiscovery']>[number]

function neighbours(modules: Modules, init: NodeInit): Discovery {
  return (components) => {
    const discovery = modules.mdns({ serviceTag: mdnsTag })(components)
    discovery.addEventListener('peer', (event) => init.onNeighbour(event.detail.id))
    return discovery
  }
}

type Services = NonNullable<Libp2pInit<OverlayServices>['services']>

function services(modules: Modules, init: NodeInit): Services {
  const { identify, identifyPush, ping, kadDHT, gossipsub } = modules
  return {
    identify: identify(),
    identifyPush: identifyPush(),
    ping: ping(),
    dht: kadDHT({
      protocol: kadProtocol,
      ...(init.dht === 'auto' ? {} : { clientMode: init.dht === 'home' }),
      // libp2p's default drops private addresses, and with them every node of a local network.
      peerInfoMapper: init.allowPrivate ? modules.passthroughMapper : modules.removePrivateAddressesMapper,
      kBucketSize: 20,
      // Fewer paths than the default 10 × 10: 45 % less time and a quarter fewer calls.
      alpha: 3,
      disjointPaths: 2,
      // The default waits 5 s for a peer that is frozen.
      networkDialTimeout: { minTimeout: second, maxTimeout: 5 * second },
      maxInboundStreams: 16,
      maxOutboundStreams: 16,
      validators: {},
      selectors: {},
    }),
    gossip: gossipsub({
      // Content is signed by its author inside; signatures here cost 2.4 times the CPU.
      globalSignaturePolicy: 'StrictNoSign',
      allowPublishToZeroTopicPeers: true,
      ignoreDuplicatePublishError: true,
      fallbackToFloodsub: false,
      scoreParams: { IPColocationFactorWeight: 0 },
      maxInboundDataLength: 32 * limits.gossipMessageBytesMax,
      maxOutboundBufferSize: 128 * limits.gossipMessageBytesMax,
    }),
  } as unknown as Services
}

/** Messages of kad-dht's wire format that routing needs. */
const routingMessages: ReadonlySet<string> = new Set(['FIND_NODE', 'PING'])

/**
 * Without validators values of unknown namespaces are refused, but public keys (`/pk/`) and
 * provider records would still be taken, without number or quota. There is no option to leave
 * their handlers out, so they are taken away.
 */
function serveRoutingOnly(node: OverlayNode): void {
  const { rpc } = node.services.dht as unknown as { rpc?: { handlers?: Record<string, unknown> } }
  for (const type of Object.keys(rpc?.handlers ?? {})) {
    if (!routingMessages.has(type)) delete rpc!.handlers![type]
  }
}

/** Events of the routing table, which the typings leave out. */
export function onRouting(node: OverlayNode, listener: (peerId: PeerId, known: boolean) => void): void {
  const table = node.services.dht.routingTable as unknown as {
    addEventListener(type: string, listener: (event: CustomEvent<PeerId>) => void): void
  }
  table.addEventListener('peer:add', (event) => listener(event.detail, true))
  table.addEventListener('peer:remove', (event) => listener(event.detail, false))
}

/**
 * When a peer has two connections and the one under its gossip stream ends, gossipsub 17 drops the
 * stream and never opens another, because it only looks at peers that connect anew. This makes it
 * look.
 */
export function renewGossip(node: OverlayNode, connection: Connection): void {
  const gossip = node.services.gossip as unknown as {
    onPeerConnected?(peerId: PeerId, connection: Connection): void
  }
  gossip.onPeerConnected?.(connection.remotePeer, connection)
}

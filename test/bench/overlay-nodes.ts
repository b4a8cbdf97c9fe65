/** The nodes that the overlay bench compares: ours, and bare libp2p ones with the same settings. */
import type { Stream } from '@libp2p/interface'
import { noise } from '@chainsafe/libp2p-noise'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import type { KadDHT } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Libp2p } from 'libp2p'
import { systemRandom } from '../../crypto/random.ts'
import { systemClock } from '../../protocol/system-clock.ts'
import { buildNode } from '../../node/overlay/libp2p-node.ts'
import type { BuiltNode, DhtMode } from '../../node/overlay/libp2p-node.ts'
import { Libp2pOverlay } from '../../node/overlay/libp2p-overlay.ts'
import { silentLog } from '../../node/ports.ts'

export const rawProtocol = '/openim/bench/raw/1'
export const echoProtocol = '/openim/bench/echo/1'
/** A raw frame is `u16 length, payload`; length 0 asks for the number of frames so far. */
export const rawHeadBytes = 2
/** About the size of a reply to a deposit of one. */
export const echoReplyBytes = 16

const loopback = ['/ip4/127.0.0.1/tcp/0']
const unlimited = { calls: { perSecond: 1e9, burst: 1e9 }, bytes: { perSecond: 1e12, burst: 1e12 } }
const valuePrefix = '/b/'

export interface BenchOverlayOptions {
  readonly dht: DhtMode
  readonly bootstrap?: readonly string[]
  readonly listen?: boolean
}

export function benchOverlay(options: BenchOverlayOptions): Libp2pOverlay {
  return new Libp2pOverlay(
    { clock: systemClock, random: systemRandom, log: silentLog, keySeed: systemRandom.bytes(32) },
    {
      listen: options.listen === false ? [] : loopback,
      bootstrap: options.bootstrap ?? [],
      mdns: false,
      dht: options.dht,
      maxConnections: 2_000,
      allowPrivate: true,
      rates: unlimited,
    },
  )
}

/** A libp2p node with the overlay's own settings and none of its links. */
export function rawNode(): Promise<BuiltNode> {
  return buildNode({
    keySeed: systemRandom.bytes(32),
    listen: loopback,
    announce: [],
    mdns: false,
    dht: 'server',
    maxConnections: 100,
    allowPrivate: true,
    peerStorePath: undefined,
    onNeighbour: () => {},
  })
}

/** Counts frames of a raw stream, parsed by hand as the fastest application would. */
export function countFrames(stream: Stream): void {
  let frames = 0
  let left = 0
  let high = -1
  const take = (chunk: Uint8Array): void => {
    let at = 0
    while (at < chunk.length) {
      if (left > 0) {
        const step = Math.min(left, chunk.length - at)
        left -= step
        at += step
        if (left === 0) frames++
      } else if (high < 0) high = chunk[at++]!
      else {
        left = high * 256 + chunk[at++]!
        high = -1
        if (left === 0) answer()
      }
    }
  }
  const answer = (): void => {
    const count = new Uint8Array(8)
    new DataView(count.buffer).setFloat64(0, frames)
    frames = 0
    stream.send(count)
  }
  stream.addEventListener('message', ({ data }) => {
    if (data instanceof Uint8Array) take(data)
    else for (const chunk of data) take(chunk)
  })
}

export type KadNode = Libp2p<{ dht: KadDHT }>

/** A node of a kad-dht that stores values, as libp2p means it. */
export async function kadNode(bootstrap: string | undefined): Promise<KadNode> {
  const node = await createLibp2p({
    addresses: { listen: loopback },
    transports: [tcp()],
    connectionEncrypters: [tls(), noise()],
    streamMuxers: [yamux()],
    connectionManager: { allow: ['/ip4/127.0.0.0/ipcidr/8'] },
    connectionMonitor: { enabled: false },
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({
        protocol: '/openim/bench/kad/1.0.0',
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        alpha: 3,
        disjointPaths: 2,
        validators: { b: () => {} },
        selectors: { b: () => 0 },
      }),
    },
  })
  if (bootstrap !== undefined) await node.dial(multiaddr(bootstrap))
  return node
}

/** The key of a value in the kad-dht above. */
export function kadKey(key: Uint8Array): Uint8Array {
  return new TextEncoder().encode(valuePrefix + Buffer.from(key).toString('hex'))
}

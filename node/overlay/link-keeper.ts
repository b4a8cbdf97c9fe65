/**
 * Between libp2p connections and links: opens a link on every connection that this node dialled,
 * takes those that others open, closes the connections of dead links, and remembers for each link
 * which connection it runs over.
 *
 * Traps of libp2p handled here: `newStream` may hand out a stream that is already reset (so a link
 * counts only once the peer said hello); a dead peer keeps its connection for minutes (so a dead
 * link takes the peer's connections with it); a connection on which nobody opens a link has no
 * heartbeat (so it is closed).
 */
import type { Connection, Stream } from '@libp2p/interface'
import { OpenIMError } from '../../crypto/errors.ts'
import { parseNodeId } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import { within } from '../../protocol/timers.ts'
import type { Log } from '../ports.ts'
import { linkProtocol, renewGossip } from './libp2p-node.ts'
import type { OverlayNode } from './libp2p-node.ts'
import type { ServiceTable } from './link-service.ts'
import { PeerLink } from './peer-link.ts'
import type { PeerLinks } from './peer-links.ts'
import { StreamPipe } from './stream-pipe.ts'
import type { PeerBuckets } from './peer-buckets.ts'

/** One in use, one giving way, and room for a peer that lost track. */
const linkStreamsMax = 4

export interface LinkInfo {
  readonly connection: Connection
  readonly connectedAtMs: number
}

export interface LinkKeeperComponents {
  readonly clock: Clock
  readonly log: Log
  readonly node: OverlayNode
  readonly links: PeerLinks
  readonly services: ServiceTable
  readonly buckets: PeerBuckets
}

export class LinkKeeper {
  readonly #components: LinkKeeperComponents
  readonly #info = new WeakMap<PeerLink, LinkInfo>()
  readonly #pipes = new WeakMap<PeerLink, StreamPipe>()
  /** Links being opened, by connection id. */
  readonly #opening = new Map<string, Promise<PeerLink>>()
  /** When each connection without a link was first seen, by connection id. */
  readonly #linkless = new Map<string, number>()
  #stopped = false

  constructor(components: LinkKeeperComponents) {
    this.#components = components
  }

  /** Registers with libp2p; before the node starts. */
  async start(): Promise<void> {
    const { node } = this.#components
    await node.handle(linkProtocol, (stream, connection) => this.#onStream(stream, connection), {
      maxInboundStreams: linkStreamsMax,
      maxOutboundStreams: linkStreamsMax,
      runOnLimitedConnection: true,
    })
    node.addEventListener('connection:open', (event) => {
      const connection = event.detail
      if (connection.direction !== 'outbound' || this.#stopped) return
      this.open(connection).catch((error: unknown) => this.#giveUp(connection, error))
    })
  }

  /**
   * Says goodbye on every link and waits a moment for the peers to take it; no links from now on.
   * Calls under way end with OVERLAY_STOPPED.
   */
  async stop(): Promise<void> {
    this.#stopped = true
    const { clock, links } = this.#components
    const pipes = [...links.all()].map((link) => {
      link.close('LINK_CLOSED', 'OVERLAY_STOPPED')
      return this.#pipes.get(link)!.closed
    })
    await within(clock, limits.linkByeMs, Promise.all(pipes))
  }

  info(link: PeerLink): LinkInfo | undefined {
    return this.#info.get(link)
  }

  /** The link over a connection, up; joins an attempt under way. @throws OVERLAY_UNREACHABLE */
  open(connection: Connection): Promise<PeerLink> {
    const underWay = this.#opening.get(connection.id)
    if (underWay !== undefined) return underWay
    const opening = this.#open(connection).finally(() => this.#opening.delete(connection.id))
    this.#opening.set(connection.id, opening)
    return opening
  }

  async #open(connection: Connection): Promise<PeerLink> {
    const { clock } = this.#components
    const controller = new AbortController()
    const timer = clock.after(limits.linkHandshakeMs, () => controller.abort())
    let stream: Stream
    try {
      stream = await connection.newStream(linkProtocol, {
        signal: controller.signal,
        maxOutboundStreams: linkStreamsMax,
        runOnLimitedConnection: true,
      })
    } catch (cause) {
      throw new OpenIMError('OVERLAY_UNREACHABLE', 'the peer opens no link', { cause })
    } finally {
      timer.cancel()
    }
    if (stream.status !== 'open') {
      throw new OpenIMError('OVERLAY_UNREACHABLE', 'the peer reset the link at once')
    }
    return await this.#attach(stream, connection, 'local')
  }

  #onStream(stream: Stream, connection: Connection): void {
    this.#attach(stream, connection, 'remote').catch((error: unknown) => this.#giveUp(connection, error))
  }

  /** Settles when the peer's hello is here. @throws OVERLAY_UNREACHABLE */
  #attach(stream: Stream, connection: Connection, opener: 'local' | 'remote'): Promise<PeerLink> {
    const { clock, log, links, services, buckets } = this.#components
    const remote = parseNodeId(connection.remotePeer.toString())
    const pipe = new StreamPipe({ clock, log }, stream)
    return new Promise((resolve, reject) => {
      const link = new PeerLink({ clock, log, services, buckets: buckets.of(remote) }, pipe, {
        remote,
        opener,
        events: {
          up: (up) => {
            this.#info.set(up, { connection, connectedAtMs: clock.now() })
            links.add(up)
            resolve(up)
          },
          down: (down, code) => {
            links.remove(down)
            reject(new OpenIMError('OVERLAY_UNREACHABLE', `the link ended before it was up: ${code}`))
            this.#onDown(down, connection, code)
          },
        },
      })
      this.#pipes.set(link, pipe)
      pipe.listen({
        data: (chunk) => link.receive(chunk),
        drained: () => link.drained(),
        ended: () => link.fail('LINK_RESET'),
      })
      if (this.#stopped) link.close('LINK_CLOSED')
    })
  }

  #onDown(link: PeerLink, connection: Connection, code: string): void {
    const { log, links, node } = this.#components
    log.debug({ peer: link.remote, code, opener: link.opener }, 'a link ended')
    if (code === 'LINK_DUPLICATE' || this.#stopped) return
    const successor = links.get(link.remote)
    if (successor === undefined) {
      for (const each of node.getConnections(connection.remotePeer)) this.#drop(each, code)
      return
    }
    this.#drop(connection, code)
    renewGossip(node, this.#info.get(successor)!.connection)
  }

  #giveUp(connection: Connection, error: unknown): void {
    const remote = connection.remotePeer.toString() as NodeId
    this.#components.log.debug({ peer: remote, error: String(error) }, 'no link came about')
    if (this.#components.links.get(remote) === undefined) this.#drop(connection, 'LINK_HANDSHAKE')
  }

  #drop(connection: Connection, code: string): void {
    this.#linkless.delete(connection.id)
    if (connection.status !== 'open') return
    if (code === 'LINK_CLOSED') connection.close().catch(() => connection.abort(new Error(code)))
    else connection.abort(new Error(code))
  }

  /** Closes connections on which nobody opened a link for `limits.linklessMs`; call now and then. */
  sweep(): void {
    const { clock, links, node } = this.#components
    const nowMs = clock.monotonicMs()
    const seen = new Set<string>()
    for (const connection of node.getConnections()) {
      if (links.get(connection.remotePeer.toString() as NodeId) !== undefined) continue
      seen.add(connection.id)
      const sinceMs = this.#linkless.get(connection.id)
      if (sinceMs === undefined) this.#linkless.set(connection.id, nowMs)
      else if (nowMs - sinceMs >= limits.linklessMs) this.#drop(connection, 'LINK_HANDSHAKE')
    }
    for (const id of this.#linkless.keys()) if (!seen.has(id)) this.#linkless.delete(id)
  }
}

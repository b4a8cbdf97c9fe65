/**
 * All links of a node, at most one in use per peer.
 *
 * Two nodes that dial each other at the same moment get two links. Both ends then keep the one
 * that the node with the smaller id opened, and let the other finish its calls. But the one to
 * keep may be a dead one: a node that lost power or changed networks dials anew while its peer
 * still believes in the old link. So before a link gives way to an older one, the older one must
 * show that it lives; until then the newer one, just proven alive, is used. A peer never opens a
 * second link while it has one, so of two links with the same opener the older is dead.
 */
import type { NodeId } from '../../protocol/ids.ts'
import type { PeerLink } from './peer-link.ts'

export interface PeerLinksEvents {
  /** First link to a peer up, last one down. */
  peer(nodeId: NodeId, connected: boolean): void
}

export class PeerLinks {
  readonly #self: NodeId
  readonly #events: PeerLinksEvents
  /** Links that are up, the one in use first. */
  readonly #links = new Map<NodeId, PeerLink[]>()

  constructor(self: NodeId, events: PeerLinksEvents) {
    this.#self = self
    this.#events = events
  }

  /** The link in use. */
  get(nodeId: NodeId): PeerLink | undefined {
    return this.#links.get(nodeId)?.[0]
  }

  get size(): number {
    return this.#links.size
  }

  peers(): NodeId[] {
    return [...this.#links.keys()]
  }

  /** Every link that is up, also those that give way. */
  * all(): Generator<PeerLink> {
    for (const links of [...this.#links.values()]) yield* [...links]
  }

  /** A link came up. */
  add(link: PeerLink): void {
    const others = this.#links.get(link.remote)
    if (others === undefined) {
      this.#links.set(link.remote, [link])
      this.#events.peer(link.remote, true)
      return
    }
    const rival = others[0]!
    others.unshift(link)
    if (rival.opener === link.opener) rival.close('LINK_REPLACED')
    else if (link.opener === this.#keptOpener(link.remote)) rival.retire('LINK_DUPLICATE')
    else this.#challenge(rival, link)
  }

  /** The end whose link stays: the one with the smaller id. */
  #keptOpener(remote: NodeId): 'local' | 'remote' {
    return this.#self < remote ? 'local' : 'remote'
  }

  /** `older` stays if it lives. */
  #challenge(older: PeerLink, newer: PeerLink): void {
    older.probe((alive) => {
      if (older.state !== 'up') return
      if (!alive) {
        older.fail('LINK_DEAD')
        return
      }
      if (newer.state !== 'up') return
      const links = this.#links.get(older.remote)!
      links.splice(links.indexOf(older), 1)
      links.unshift(older)
      newer.retire('LINK_DUPLICATE')
    })
  }

  /** A link went down. */
  remove(link: PeerLink): void {
    const links = this.#links.get(link.remote)
    const at = links?.indexOf(link) ?? -1
    if (links === undefined || at < 0) return
    links.splice(at, 1)
    if (links.length > 0) return
    this.#links.delete(link.remote)
    this.#events.peer(link.remote, false)
  }
}

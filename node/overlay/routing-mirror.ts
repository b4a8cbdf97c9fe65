/**
 * The nodes this one knows for routing, kept as a plain set so that `nearest` needs no I/O: members
 * of the Kademlia routing table and peers with a link. Their points are hashed once
 * (protocol/xor-distance.ts), so a look-up costs a comparison per node.
 */
import { nearestNodes } from '../../protocol/xor-distance.ts'
import type { NodeId } from '../../protocol/ids.ts'

export class RoutingMirror {
  readonly #table = new Set<NodeId>()
  readonly #linked = new Set<NodeId>()

  /** Nodes known in any way. */
  get size(): number {
    return this.#known().size
  }

  addRoute(nodeId: NodeId): void {
    this.#table.add(nodeId)
  }

  removeRoute(nodeId: NodeId): void {
    this.#table.delete(nodeId)
  }

  setLinked(nodeId: NodeId, linked: boolean): void {
    if (linked) this.#linked.add(nodeId)
    else this.#linked.delete(nodeId)
  }

  #known(): Set<NodeId> {
    return new Set([...this.#table, ...this.#linked])
  }

  /** Nearest to SHA-256(key) first. */
  nearest(key: Uint8Array, count: number): NodeId[] {
    return nearestNodes(key, this.#known(), count)
  }
}

/**
 * A Kademlia routing table (Maymounkov and Mazières 2002, §2.2): known nodes in buckets by how
 * many leading bits their point shares with ours, each holding at most `bucketSize`, older ones
 * preferred. For the in-memory overlay; in production kad-dht keeps the table.
 */
import { compareDistance, nodePoint } from '../../protocol/xor-distance.ts'
import type { NodeId } from '../../protocol/ids.ts'

export const bucketSize = 20

export class KBuckets {
  readonly #self: NodeId
  readonly #point: Uint8Array
  readonly #buckets = new Map<number, NodeId[]>()

  constructor(self: NodeId) {
    this.#self = self
    this.#point = nodePoint(self)
  }

  #bucket(nodeId: NodeId): NodeId[] {
    const prefix = sharedBits(this.#point, nodePoint(nodeId))
    let bucket = this.#buckets.get(prefix)
    if (bucket === undefined) this.#buckets.set(prefix, bucket = [])
    return bucket
  }

  add(nodeId: NodeId): void {
    if (nodeId === this.#self) return
    const bucket = this.#bucket(nodeId)
    if (bucket.length < bucketSize && !bucket.includes(nodeId)) bucket.push(nodeId)
  }

  remove(nodeId: NodeId): void {
    const bucket = this.#bucket(nodeId)
    const at = bucket.indexOf(nodeId)
    if (at >= 0) bucket.splice(at, 1)
  }

  * nodes(): Generator<NodeId> {
    for (const bucket of this.#buckets.values()) yield* bucket
  }
}

/** The `count` nodes nearest to a point, nearest first. */
export function nearestToPoint(point: Uint8Array, nodes: Iterable<NodeId>, count: number): NodeId[] {
  return [...new Set(nodes)]
    .map((nodeId) => ({ nodeId, at: nodePoint(nodeId) }))
    .sort((a, b) => compareDistance(point, a.at, b.at))
    .slice(0, count)
    .map(({ nodeId }) => nodeId)
}

function sharedBits(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = a[i]! ^ b[i]!
    if (difference !== 0) return 8 * i + Math.clz32(difference) - 24
  }
  return 8 * a.length
}

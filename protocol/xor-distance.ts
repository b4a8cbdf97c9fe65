/**
 * Kademlia's distance: XOR of 256-bit ids, compared as big-endian numbers (Maymounkov and
 * Mazières 2002, §2.1). A key's id is its SHA-256; a node's id is the SHA-256 of its peer id
 * bytes, as libp2p's DHT does (libp2p kad-dht specification), so both routings agree.
 */
import { crypto } from '../crypto/index.ts'
import { peerIdBytes } from './ids.ts'
import type { NodeId } from './ids.ts'

const nodePoints = new Map<NodeId, Uint8Array>()
/** Routing tables are far smaller; hashing again is cheap. */
const nodePointsMax = 20_000

export function keyPoint(key: Uint8Array): Uint8Array {
  return crypto.sha256(key)
}

export function nodePoint(nodeId: NodeId): Uint8Array {
  const known = nodePoints.get(nodeId)
  if (known !== undefined) return known
  const point = crypto.sha256(peerIdBytes(nodeId))
  if (nodePoints.size >= nodePointsMax) nodePoints.clear()
  nodePoints.set(nodeId, point)
  return point
}

/** Negative when `a` is nearer to `target` than `b`. All are 32 bytes. */
export function compareDistance(target: Uint8Array, a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < target.length; i++) {
    const difference = (a[i]! ^ target[i]!) - (b[i]! ^ target[i]!)
    if (difference !== 0) return difference
  }
  return 0
}

/** Whether node `a` is nearer to SHA-256(key) than node `b`. */
export function xorCloser(key: Uint8Array, a: NodeId, b: NodeId): boolean {
  return compareDistance(keyPoint(key), nodePoint(a), nodePoint(b)) < 0
}

/** The `count` nodes nearest to SHA-256(key), nearest first. */
export function nearestNodes(key: Uint8Array, nodes: Iterable<NodeId>, count: number): NodeId[] {
  const target = keyPoint(key)
  return [...nodes]
    .map((nodeId) => ({ nodeId, point: nodePoint(nodeId) }))
    .sort((a, b) => compareDistance(target, a.point, b.point))
    .slice(0, count)
    .map(({ nodeId }) => nodeId)
}

/**
 * The network of a simulation: moves messages between `MemoryOverlay`s with delay, loss,
 * duplication, partitions and crashes, all from one clock and one random stream, so that a run can
 * be repeated exactly.
 *
 * It moves whole calls, not bytes: a link costs nothing while it is idle, which is what lets 200
 * nodes live through virtual hours in seconds. What a call sees is the same as over a `PeerLink`:
 * order kept per direction, a lost message shows as OVERLAY_TIMEOUT, a crashed peer as
 * OVERLAY_UNREACHABLE after one delay, a peer behind a cut as a link that dies of silence after
 * `limits.linkDeadMs`.
 */
import { assert } from '../../crypto/errors.ts'
import { randomFraction } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'

export interface MemoryNetworkOptions {
  /** One way, uniform between the two. */
  readonly latencyMs: readonly [min: number, max: number]
  /** Share of requests, replies and gossip messages that never arrive. */
  readonly lossRate?: number
  /** Share of requests that arrive twice. */
  readonly duplicateRate?: number
}

/** What the network needs of a node. */
export interface MemoryNode {
  readonly nodeId: NodeId
  /** Takes down the links to peers that pass. */
  dropWhere(test: (peer: NodeId) => boolean, code: string): void
  crash(): void
}

export class MemoryNetwork {
  readonly clock: Clock
  readonly random: Random
  readonly #options: Required<MemoryNetworkOptions>
  readonly #nodes = new Map<NodeId, MemoryNode>()
  /** Island of each node while there is a partition; unlisted nodes share one more. */
  #islands: ReadonlyMap<NodeId, number> | undefined
  #cuts = 0

  constructor(components: { clock: Clock, random: Random }, options: MemoryNetworkOptions) {
    this.clock = components.clock
    this.random = components.random
    this.#options = { lossRate: 0, duplicateRate: 0, ...options }
  }

  /** Nodes running now. */
  nodes(): NodeId[] {
    return [...this.#nodes.keys()]
  }

  // ── Faults ────────────────────────────────────────────────────────────────────────────────

  /** Splits the network: only nodes of one island reach each other. Replaces an earlier partition. */
  partition(islands: readonly (readonly NodeId[])[]): void {
    this.#islands = new Map(islands.flatMap((nodes, island) =>
      nodes.map((nodeId) => [nodeId, island] as const)))
    const cut = ++this.#cuts
    this.clock.after(limits.linkDeadMs, () => {
      if (this.#cuts !== cut) return
      for (const node of this.#nodes.values()) {
        node.dropWhere((peer) => !this.reaches(node.nodeId, peer), 'LINK_DEAD')
      }
    })
  }

  heal(): void {
    this.#islands = undefined
    this.#cuts++
  }

  /** Ends a node as kill −9 does. It may come back as a new `MemoryOverlay` with the same id. */
  crash(nodeId: NodeId): void {
    const node = this.#nodes.get(nodeId)
    assert(node !== undefined, `node ${nodeId} is not running`)
    node.crash()
  }

  // ── For the overlays ──────────────────────────────────────────────────────────────────────

  /** The node of that id, while it runs. */
  node(nodeId: NodeId): MemoryNode | undefined {
    return this.#nodes.get(nodeId)
  }

  join(node: MemoryNode): void {
    assert(!this.#nodes.has(node.nodeId), `node ${node.nodeId} is running already`)
    this.#nodes.set(node.nodeId, node)
  }

  leave(node: MemoryNode): void {
    if (this.#nodes.get(node.nodeId) === node) this.#nodes.delete(node.nodeId)
  }

  reaches(a: NodeId, b: NodeId): boolean {
    const islands = this.#islands
    return islands === undefined || (islands.get(a) ?? -1) === (islands.get(b) ?? -1)
  }

  latencyMs(): number {
    const [min, max] = this.#options.latencyMs
    return min === max ? min : min + (max - min) * randomFraction(this.random)
  }

  /** Whether a message gets lost on the way, by chance. */
  loses(): boolean {
    return this.#options.lossRate > 0 && randomFraction(this.random) < this.#options.lossRate
  }

  duplicates(): boolean {
    return this.#options.duplicateRate > 0 && randomFraction(this.random) < this.#options.duplicateRate
  }
}

/**
 * A few peers over a memory network in virtual time, each with what a single room of a node needs:
 * overlay, courier, store, keys and a log that is kept. A test puts the room under test on one
 * peer and plays the others itself, honest or not.
 */
import { crypto } from '../../crypto/index.ts'
import type { Result } from '../../crypto/errors.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { KvStore } from '../../protocol/ports.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import { DirectCourier } from '../../node/messenger/direct-courier.ts'
import { MemoryNetwork } from '../../node/overlay/memory-network.ts'
import { MemoryOverlay } from '../../node/overlay/memory-overlay.ts'
import { aloneHousehold } from '../../node/ports.ts'
import type { Log, MailboxStore, PieceStore } from '../../node/ports.ts'
import { MemoryStore } from '../../node/storage/memory-store.ts'
import { seededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

const latencyMs = 10
const callTimeoutMs = 5_000

/** Everything above `debug` that was logged, as messages. */
export class KeptLog implements Log {
  readonly warnings: string[] = []
  readonly errors: string[] = []
  debug(): void {}
  info(): void {}
  warn(_fields: object, message: string): void { this.warnings.push(message) }
  error(_fields: object, message: string): void { this.errors.push(message) }
}

export class Peer {
  readonly net: RoomNetwork
  readonly nodeKeys: SigningKeyPair
  readonly nodeId: NodeId
  readonly overlay: MemoryOverlay
  readonly courier: DirectCourier
  readonly log = new KeptLog()
  store: MemoryStore

  constructor(net: RoomNetwork, options: { syncDelayMs?: number }) {
    this.net = net
    this.nodeKeys = crypto.signingKeyPair(net.random.bytes(32))
    this.nodeId = nodeIdFromKey(this.nodeKeys.publicKey)
    const { network } = net
    this.overlay = new MemoryOverlay({ network, nodeId: this.nodeId, log: this.log }, { bootstrap: [] })
    this.courier = new DirectCourier(this)
    this.store = new MemoryStore({ clock: net.clock }, options)
  }

  get clock(): VirtualClock {
    return this.net.clock
  }

  get random(): Random {
    return this.net.random
  }

  get kv(): KvStore {
    return this.store.kv
  }

  get mailbox(): MailboxStore {
    return this.store.mailbox
  }

  get pieces(): PieceStore {
    return this.store.pieces
  }

  /** The components that rooms ask for. */
  get parts() {
    const { overlay, courier, store, kv, mailbox, pieces, clock, random, log, nodeKeys } = this
    const household = aloneHousehold(this.nodeId)
    const records = { store, kv, ownKv: kv, mailbox, pieces, household }
    return { overlay, courier, ...records, clock, random, log, nodeKeys }
  }

  /** Asks another peer, while virtual time passes. */
  call(to: Peer, service: ServiceCode, body: Uint8Array): Promise<Result<Uint8Array>> {
    return this.net.run(this.overlay.call(to.nodeId, service, body, { timeoutMs: callTimeoutMs }))
  }

  /** Links to another peer. */
  async meet(other: Peer): Promise<void> {
    await this.net.run(this.overlay.dial(`/memory/${other.nodeId}`, { timeoutMs: callTimeoutMs }))
  }

  /** What it stored outlives the process, which begins anew with other rooms on the same store. */
  async reopenStore(): Promise<void> {
    await this.net.run(this.store.close())
    this.store = this.store.reopen()
  }
}

export class RoomNetwork {
  readonly clock = new VirtualClock()
  readonly random: Random
  readonly network: MemoryNetwork
  readonly peers: Peer[] = []

  constructor(seed: string) {
    this.random = seededRandom(seed)
    this.network = new MemoryNetwork(this, { latencyMs: [latencyMs, latencyMs] })
  }

  /** A peer on the network; its services are registered by whoever plays it. */
  async peer(options: { syncDelayMs?: number } = {}): Promise<Peer> {
    const peer = new Peer(this, options)
    await peer.overlay.start()
    this.peers.push(peer)
    return peer
  }

  run<T>(promise: Promise<T>, withinMs = 600_000): Promise<T> {
    return this.clock.until(promise, { withinMs })
  }

  /** Lets time pass until `probe` holds. */
  async eventually(what: string, probe: () => boolean, withinMs = 60_000): Promise<void> {
    const endMs = this.clock.monotonicMs() + withinMs
    while (!probe()) {
      if (this.clock.monotonicMs() >= endMs) throw new Error(`not within ${withinMs} ms: ${what}`)
      await this.clock.advance(10)
    }
  }

  async end(): Promise<void> {
    for (const peer of this.peers) await peer.overlay.stop()
    await this.clock.settle()
  }
}

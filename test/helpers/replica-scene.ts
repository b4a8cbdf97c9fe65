/** A replica service on one peer, an owner's home on another, and a sender on a third. */
import { decode, encode } from '../../protocol/codec/struct.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { acknowledgeReplyCodec, acknowledgeRequestCodec } from '../../protocol/service/acknowledge.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  depositReplyCodec, depositRequestCodec, verifyStoreReceipt,
} from '../../protocol/service/deposit.ts'
import type { DepositReply } from '../../protocol/service/deposit.ts'
import { fetchReplyCodec, fetchRequestCodec } from '../../protocol/service/fetch.ts'
import type { FetchReply } from '../../protocol/service/fetch.ts'
import { boxKinds, leaseReplyCodec } from '../../protocol/service/lease.ts'
import type { BoxKind } from '../../protocol/service/lease.ts'
import { ReplicaService } from '../../node/messenger/replica-service.ts'
import { RoomNetwork } from './room-network.ts'
import type { Peer } from './room-network.ts'
import { TestInbox } from './test-inbox.ts'

export interface ReplicaSceneOptions {
  readonly lends?: boolean
  readonly lentBytesMax?: number
  readonly syncDelayMs?: number
}

export class ReplicaScene {
  readonly net: RoomNetwork
  readonly holder: Peer
  readonly home: Peer
  readonly sender: Peer
  readonly inbox: TestInbox
  readonly ownBoxes = new Set<BoxId>()
  readonly friends = new Set<NodeId>()
  readonly mail: EnvelopeId[] = []
  readonly replicas: ReplicaService
  /** Why its store may lose what it says it has. */
  undurable: string[] = []

  private constructor(
    net: RoomNetwork,
    peers: { holder: Peer, home: Peer, sender: Peer },
    options: ReplicaSceneOptions,
  ) {
    this.net = net
    this.holder = peers.holder
    this.home = peers.home
    this.sender = peers.sender
    this.inbox = new TestInbox(net)
    const { mailbox, pieces, kv } = this.holder.store
    const close = () => this.holder.store.close()
    const health = () => ({ corrupt: 0, undurable: this.undurable })
    const store = { mailbox, pieces, kv, close, health }
    this.replicas = new ReplicaService({ ...this.holder.parts, store }, {
      lends: options.lends ?? true,
      lentBytesMax: options.lentBytesMax ?? 64 * 1024 * 1024,
      isFriend: (home) => this.friends.has(home),
      homeKind: (box) => this.ownBoxes.has(box) ? boxKinds.mail : undefined,
      onMoved() {},
      onMail: (_box, items) => this.mail.push(...items.map((item) => item.id)),
    })
  }

  static async open(seed: string, options: ReplicaSceneOptions = {}): Promise<ReplicaScene> {
    const net = new RoomNetwork(seed)
    const { syncDelayMs = 0 } = options
    const holder = await net.peer({ syncDelayMs })
    const peers = { holder, home: await net.peer(), sender: await net.peer() }
    const scene = new ReplicaScene(net, peers, options)
    await net.run(scene.replicas.start())
    return scene
  }

  /** The code of the holder's answer to a signed lease. */
  async leaseCode(lease: Uint8Array, from = this.home): Promise<number> {
    const answer = await from.call(this.holder, services.lease, lease)
    if (!answer.ok) throw new Error(answer.code)
    return decode(leaseReplyCodec, answer.value).result
  }

  /** A lease in good order, for this inbox or another. */
  async lease(
    inbox = this.inbox,
    change: { kind?: BoxKind, sequence?: number, itemsMax?: number, bytesMax?: number } = {},
  ): Promise<void> {
    const lease = inbox.lease({ holder: this.holder.nodeId, home: this.home.nodeId, ...change })
    const code = await this.leaseCode(lease)
    if (code !== 0) throw new Error(`lease refused: ${code}`)
  }

  async deposit(envelopes: Uint8Array[]): Promise<DepositReply> {
    const request = encode(depositRequestCodec, { envelopes })
    const answer = await this.sender.call(this.holder, services.deposit, request)
    if (!answer.ok) throw new Error(answer.code)
    return decode(depositReplyCodec, answer.value)
  }

  /** What the reply's receipt covers; throws when it is not the holder's. */
  receipted(reply: DepositReply): EnvelopeId[] {
    if (reply.receipt === undefined) return []
    const receipt = verifyStoreReceipt(reply.receipt)
    const isTheirs = receipt.ok && receipt.value.nodeId === this.holder.nodeId
    if (!isTheirs) throw new Error('not a receipt of this holder')
    return receipt.value.envelopeIds
  }

  /** A page, or the code of the refusal. */
  async fetch(
    options: { from?: Peer, proof?: Uint8Array, after?: number, itemsMax?: number } = {},
  ): Promise<FetchReply | string> {
    const from = options.from ?? this.home
    const proof = options.proof ?? this.inbox.readProof({ holder: this.holder.nodeId, reader: from.nodeId })
    const { after = 0, itemsMax = 100 } = options
    const body = encode(fetchRequestCodec, { proof, after, itemsMax, bytesMax: 100_000 })
    const answer = await from.call(this.holder, services.fetch, body)
    return answer.ok ? decode(fetchReplyCodec, answer.value) : answer.code
  }

  async acknowledge(tombstones: Uint8Array[]): Promise<boolean[]> {
    const body = encode(acknowledgeRequestCodec, { tombstones })
    const answer = await this.home.call(this.holder, services.acknowledge, body)
    if (!answer.ok) throw new Error(answer.code)
    return decode(acknowledgeReplyCodec, answer.value).accepted
  }
}

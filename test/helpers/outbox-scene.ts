/** An outbox on one peer, and a home and five replicas that the test plays. */
import { envelopeId } from '../../protocol/envelope.ts'
import type { ReceiptFrame } from '../../protocol/frame/receipt.ts'
import { purposes } from '../../protocol/frame/submit.ts'
import type { SubmitFrame } from '../../protocol/frame/submit.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { DepositReply } from '../../protocol/service/deposit.ts'
import { Outbox } from '../../node/messenger/outbox.ts'
import { PlayedHolder } from './played-holder.ts'
import { RoomNetwork } from './room-network.ts'
import type { Peer } from './room-network.ts'
import { TestInbox } from './test-inbox.ts'

export interface OutboxSceneOptions {
  readonly replicas?: number
  readonly syncDelayMs?: number
}

export class OutboxScene {
  readonly net: RoomNetwork
  readonly sender: Peer
  readonly home: PlayedHolder
  readonly replicas: readonly PlayedHolder[]
  readonly inbox: TestInbox
  /** Every receipt, in order. */
  readonly receipts: ReceiptFrame[] = []
  /** What the sender's own boxes answer. */
  depositHere: (envelopes: readonly Uint8Array[]) => Promise<DepositReply>
  outbox: Outbox

  private constructor(net: RoomNetwork, peers: { sender: Peer, home: Peer, replicas: Peer[] }) {
    this.net = net
    this.sender = peers.sender
    this.home = new PlayedHolder(peers.home)
    this.replicas = peers.replicas.map((peer) => new PlayedHolder(peer))
    this.inbox = new TestInbox(net)
    const here = new PlayedHolder(peers.sender)
    this.depositHere = async (envelopes) => here.stored(envelopes.map((bytes) => envelopeId(bytes)))
    this.outbox = this.#make()
  }

  static async open(seed: string, options: OutboxSceneOptions = {}): Promise<OutboxScene> {
    const net = new RoomNetwork(seed)
    const { replicas: count = limits.replicas, ...store } = options
    const sender = await net.peer(store)
    const home = await net.peer()
    const replicas: Peer[] = []
    for (let i = 0; i < count; i++) replicas.push(await net.peer())
    const scene = new OutboxScene(net, { sender, home, replicas })
    await net.run(scene.outbox.start())
    return scene
  }

  #make(): Outbox {
    return new Outbox(this.sender.parts, {
      depositHere: (envelopes) => this.depositHere(envelopes),
      onReceipt: (_device, receipt) => this.receipts.push(receipt),
    })
  }

  async restart(): Promise<void> {
    await this.outbox.stop()
    await this.sender.reopenStore()
    this.outbox = this.#make()
    await this.net.run(this.outbox.start())
  }

  /** Begins to submit; time must pass for it to settle. */
  async begin(change: Partial<SubmitFrame> = {}): Promise<EnvelopeId> {
    const envelope = change.envelope ?? this.inbox.envelope()
    await this.outbox.submit('phone', {
      type: 'submit',
      envelope,
      homes: [this.home.nodeId],
      replicas: this.replicas.map((replica) => replica.nodeId),
      purpose: purposes.message,
      level: 0,
      ...change,
    })
    return envelopeId(envelope)
  }

  submit(change: Partial<SubmitFrame> = {}): Promise<EnvelopeId> {
    return this.net.run(this.begin(change))
  }

  submitMany(count: number, options: { bytes?: number } = {}): Promise<EnvelopeId[]> {
    const envelopes = this.inbox.envelopes(count, options)
    return this.net.run(Promise.all(envelopes.map((envelope) => this.begin({ envelope }))))
  }

  withdraw(ids: readonly EnvelopeId[]): Promise<void> {
    return this.net.run(this.outbox.withdraw(ids))
  }

  idOf(envelope: Uint8Array): EnvelopeId {
    return envelopeId(envelope)
  }

  /** The latest receipt of an envelope. */
  last(id: EnvelopeId): ReceiptFrame {
    const receipt = this.receipts.findLast(({ envelopeId: about }) => about === id)
    if (receipt === undefined) throw new Error(`no receipt of ${id}`)
    return receipt
  }

  until(id: EnvelopeId, state: number, withinMs = 60_000): Promise<void> {
    return this.net.eventually(`state ${state}`, () => this.last(id).state >= state, withinMs)
  }

  async end(): Promise<void> {
    await this.outbox.stop()
    await this.net.end()
  }
}

/**
 * A home with its inboxes on one peer and storage nodes around it, real or played by the test:
 * where replica sets, drains, acknowledgements and the feeding of devices are tested.
 */
import { encode } from '../../protocol/codec/struct.ts'
import type { InboxFrame } from '../../protocol/frame/inbox.ts'
import type { EnvelopeId, NodeId } from '../../protocol/ids.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'
import { boxKinds } from '../../protocol/service/lease.ts'
import { services } from '../../protocol/service/codes.ts'
import { depositRequestCodec } from '../../protocol/service/deposit.ts'
import { Inboxes } from '../../node/messenger/inboxes.ts'
import type { InboxPlaces } from '../../node/messenger/inboxes.ts'
import { MailFeed } from '../../node/messenger/mail-feed.ts'
import { ReplicaService } from '../../node/messenger/replica-service.ts'
import type { BoxId } from '../../protocol/ids.ts'
import { RoomNetwork } from './room-network.ts'
import type { Peer } from './room-network.ts'
import { idsOf, TestInbox } from './test-inbox.ts'

export const account = 'oim1owner'

/** What a storage node says of itself. */
export function descriptorOf(nodeId: NodeId): NodeDescriptor {
  return {
    nodeId,
    doorKey: new Uint8Array(32),
    onionKey: new Uint8Array(32),
    roles: ['storage'],
    addresses: [`/memory/${nodeId}`],
    sequence: 1,
    sinceHour: 0,
    expiryHour: 1_000_000,
    storageFreeMiB: 100,
  }
}

function replicaOn(peer: Peer): ReplicaService {
  return new ReplicaService(peer.parts, {
    lends: true,
    lentBytesMax: 64 * 1024 * 1024,
    isFriend: () => true,
    homeKind: () => undefined,
    onMail() {},
    onMoved() {},
  })
}

export interface InboxSceneOptions {
  /** Honest storage nodes. */
  readonly replicas: number
  readonly devices?: readonly string[]
  readonly syncDelayMs?: number
}

export class InboxScene {
  readonly net: RoomNetwork
  readonly home: Peer
  readonly replicaPeers: Peer[] = []
  /** Offered to the home as storage nodes. */
  readonly known: NodeDescriptor[] = []
  /** What devices were told of their own accord. */
  readonly places: InboxPlaces[] = []
  readonly inbox: TestInbox
  readonly feeds = new Map<BoxId, MailFeed[]>()
  devices: readonly string[]
  store!: ReplicaService
  inboxes!: Inboxes

  private constructor(net: RoomNetwork, home: Peer, devices: readonly string[]) {
    this.net = net
    this.home = home
    this.devices = devices
    this.inbox = new TestInbox(net)
  }

  static async open(seed: string, options: InboxSceneOptions): Promise<InboxScene> {
    const net = new RoomNetwork(seed)
    const { replicas, devices = ['phone'], syncDelayMs = 0 } = options
    const scene = new InboxScene(net, await net.peer({ syncDelayMs }), devices)
    for (let i = 0; i < replicas; i++) await scene.addReplica()
    await scene.begin(scene.home)
    return scene
  }

  /** The rooms of the home, on its store; `on` is whose network they use. */
  async begin(on: Peer): Promise<void> {
    const parts = { ...this.home.parts, overlay: on.overlay, courier: on.courier }
    this.store = new ReplicaService(parts, {
      lends: false,
      lentBytesMax: 0,
      isFriend: () => false,
      homeKind: (box) => this.inboxes.isHome(box) ? boxKinds.mail : undefined,
      onMoved() {},
      onMail: (box) => { for (const feed of this.feeds.get(box) ?? []) feed.wake(box) },
    })
    this.inboxes = new Inboxes(parts, {
      storageNodes: () => this.known,
      devicesOf: () => this.devices,
      depositHere: (envelopes) => this.store.deposit(envelopes),
      onPlaces: (places) => this.places.push(places),
    })
    await this.net.run(this.inboxes.load())
    this.inboxes.start()
  }

  async addReplica(): Promise<Peer> {
    const peer = await this.net.peer()
    await this.net.run(replicaOn(peer).start())
    this.replicaPeers.push(peer)
    this.known.push(descriptorOf(peer.nodeId))
    return peer
  }

  async open(change: Partial<InboxFrame> = {}, inbox = this.inbox): Promise<InboxPlaces> {
    const places = await this.net.run(this.inboxes.open(account, inbox.frame(change)))
    this.places.length = 0
    return places
  }

  close(inbox = this.inbox): Promise<InboxPlaces> {
    return this.net.run(this.inboxes.close(account, inbox.frame()))
  }

  /** Somebody leaves these at a replica while the home hears nothing of it. */
  async depositAt(peer: Peer, envelopes: readonly Uint8Array[]): Promise<void> {
    const from = this.replicaPeers.find((other) => other !== peer) ?? peer
    for (let at = 0; at < envelopes.length; at += 64) {
      const body = encode(depositRequestCodec, { envelopes: envelopes.slice(at, at + 64) })
      const answer = await from.call(peer, services.deposit, body)
      if (!answer.ok) throw new Error(answer.code)
    }
  }

  /** What lies in an inbox at home. */
  async stored(inbox = this.inbox): Promise<EnvelopeId[]> {
    const page = { after: 0, itemsMax: 100_000, bytesMax: 1e9 }
    const { entries } = await this.net.run(this.home.mailbox.list(inbox.box, page))
    return entries.map((entry) => entry.id)
  }

  /** How much a replica holds. */
  async heldAt(peer: Peer): Promise<number> {
    return (await this.net.run(peer.mailbox.usage())).items
  }

  async receive(envelopes: readonly Uint8Array[]): Promise<EnvelopeId[]> {
    for (let at = 0; at < envelopes.length; at += 64) {
      await this.net.run(this.store.deposit(envelopes.slice(at, at + 64)))
    }
    return idsOf(envelopes)
  }

  acknowledge(id: string, ids: readonly EnvelopeId[], inbox = this.inbox): Promise<void> {
    return this.net.run(this.inboxes.acknowledge({ account, id }, inbox.box, ids))
  }

  async end(): Promise<void> {
    const stopping = this.inboxes.stop()
    await this.net.end()
    await this.net.run(stopping)
  }
}

/**
 * The Messenger: dispatch of envelopes. Outgoing ones leave through the outbox; incoming ones are
 * stored in inboxes we are home to, or held as a replica for others; devices are fed from there.
 */
import { hexDecode } from '../../crypto/bytes.ts'
import type { Random } from '../../crypto/random.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import type { FileBoxFrame, FileFetchFrame } from '../../protocol/frame/file.ts'
import type { InboxFrame } from '../../protocol/frame/inbox.ts'
import type { ReceiptFrame } from '../../protocol/frame/receipt.ts'
import type { ShelfHolder, ShelfTakeFrame } from '../../protocol/frame/shelf.ts'
import type { SubmitFrame } from '../../protocol/frame/submit.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'
import type { Clock } from '../../protocol/ports.ts'
import { encode } from '../../protocol/codec/struct.ts'
import { services } from '../../protocol/service/codes.ts'
import { depositRequestCodec } from '../../protocol/service/deposit.ts'
import type { FetchReply } from '../../protocol/service/fetch.ts'
import { boxKinds } from '../../protocol/service/lease.ts'
import type { BoxKind } from '../../protocol/service/lease.ts'
import type { ShelfTaken } from '../../protocol/service/shelf.ts'
import { Repeater } from '../../protocol/timers.ts'
import type { Courier, Log, MailboxItem, Overlay, Store } from '../ports.ts'
import { FileBoxes } from './file-boxes.ts'
import type { FileHeld } from './file-boxes.ts'
import { Inboxes } from './inboxes.ts'
import type { HomeDevice, InboxPlaces } from './inboxes.ts'
import { MailFeed } from './mail-feed.ts'
import type { FeedDevice } from './mail-feed.ts'
import { Outbox } from './outbox.ts'
import { OwnShelves } from './own-shelves.ts'
import type { LaidOut } from './own-shelves.ts'
import { ReplicaService } from './replica-service.ts'
import { ShelfService } from './shelf-service.ts'

const upkeepMs = 60 * 60_000
const friendPrefix = 'friend/'
const friendsMax = 10_000
/** One-time prekeys left at home that make the device lay out more. */
const shelfLow = 2
const handOverTimeoutMs = 10_000

export interface MessengerComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly nodeKeys: SigningKeyPair
  /** So many bytes of pieces of files passed through memory (buffer-collector.ts). */
  readonly onMoved?: (bytes: number) => void
}

export interface MessengerOptions {
  readonly lends: boolean
  readonly lentBytesMax: number
  readonly storageNodes: () => readonly NodeDescriptor[]
  readonly devicesOf: (account: string) => readonly string[]
}

/** What the Messenger tells whoever holds the sessions. */
export interface MessengerListener {
  receipt(device: string, receipt: ReceiptFrame): void
  places(places: InboxPlaces): void
  fileHeld(held: FileHeld): void
  shelf(account: string, shelfKey: Uint8Array, holders: readonly ShelfHolder[]): void
}

export class Messenger {
  readonly #components: MessengerComponents
  readonly #replicas: ReplicaService
  readonly #shelves: ShelfService
  readonly #ownShelves: OwnShelves
  readonly #inboxes: Inboxes
  readonly #files: FileBoxes
  readonly #outbox: Outbox
  readonly #feeds = new Map<string, Set<MailFeed>>()
  readonly #friends = new Set<NodeId>()
  readonly #upkeep: Repeater
  #listener: MessengerListener | undefined

  constructor(components: MessengerComponents, options: MessengerOptions) {
    this.#components = components
    const { overlay, store, clock } = components
    const parts = { ...components, kv: store.kv, mailbox: store.mailbox, pieces: store.pieces }
    const onMoved = (bytes: number): void => components.onMoved?.(bytes)
    this.#replicas = new ReplicaService(parts, {
      lends: options.lends,
      lentBytesMax: options.lentBytesMax,
      isFriend: (home) => this.#friends.has(home),
      homeKind: (box) => this.#homeKind(box),
      onMoved,
      onMail: (box, items) => this.#onMail(box, items),
    })
    const depositHere = (envelopes: readonly Uint8Array[]) => this.#replicas.deposit(envelopes)
    this.#shelves = new ShelfService({ overlay, kv: store.kv, clock }, {
      lends: options.lends,
      isOwn: (shelfKey) => this.#ownShelves.isOwn(shelfKey),
      onTaken: (shelfKey, left) => this.#onShelfTaken(shelfKey, left),
    })
    this.#inboxes = new Inboxes(parts, {
      storageNodes: options.storageNodes,
      devicesOf: options.devicesOf,
      depositHere,
      onPlaces: (places) => this.#listener?.places(places),
    })
    this.#files = new FileBoxes(parts, {
      storageNodes: options.storageNodes,
      depositHere,
      onMoved,
      fetchHere: (from, body) => this.#replicas.fetch(from, body),
      onHeld: (held) => this.#listener?.fileHeld(held),
    })
    this.#ownShelves = new OwnShelves({ ...parts, shelves: this.#shelves }, {
      storageNodes: options.storageNodes,
      holdersFor: (placement) => this.#inboxes.holdersFor(placement),
    })
    this.#outbox = new Outbox(parts, {
      depositHere,
      onReceipt: (device, receipt) => this.#listener?.receipt(device, receipt),
    })
    this.#upkeep = new Repeater(components, () => this.#runUpkeep(), {
      everyMs: upkeepMs,
      onError: (error) => components.log.warn({ err: error }, 'upkeep of held mail failed'),
    })
  }

  /** Set once, before `start`. */
  listen(listener: MessengerListener): void {
    this.#listener = listener
  }

  /** Reads what is stored; call before the overlay accepts calls. */
  async load(): Promise<void> {
    for await (const entry of kvEntries(this.#components.store.kv, friendPrefix)) {
      this.#friends.add(entry.key.slice(friendPrefix.length) as NodeId)
    }
    await this.#inboxes.load()
    await this.#files.load()
    await this.#replicas.start()
    await this.#shelves.start()
    await this.#ownShelves.start()
  }

  /** Begins to send, drain and keep up; call when the overlay runs. */
  async start(): Promise<void> {
    this.#inboxes.start()
    this.#files.start()
    await this.#outbox.start()
    this.#upkeep.start()
  }

  async stop(): Promise<void> {
    for (const feeds of this.#feeds.values()) for (const feed of feeds) feed.stop()
    const parts = [this.#inboxes, this.#files, this.#outbox, this.#upkeep]
    await Promise.all(parts.map((part) => part.stop()))
  }

  /** Begins to feed a device's session with its mail; the returned function ends it. */
  attach(device: FeedDevice): () => void {
    const { clock, log, store } = this.#components
    const feed = new MailFeed({ mailbox: store.mailbox, inboxes: this.#inboxes, clock, log }, device)
    const feeds = this.#feeds.get(device.account) ?? new Set()
    feeds.add(feed)
    this.#feeds.set(device.account, feeds)
    feed.start()
    return () => {
      feed.stop()
      feeds.delete(feed)
      if (feeds.size === 0) this.#feeds.delete(device.account)
    }
  }

  async submit(device: string, frame: SubmitFrame): Promise<void> {
    for (const home of frame.homes) this.#befriend(home)
    await this.#outbox.submit(device, frame)
  }

  withdraw(ids: readonly EnvelopeId[]): Promise<void> {
    return this.#outbox.withdraw(ids)
  }

  acknowledge(device: HomeDevice, box: BoxId, ids: readonly EnvelopeId[]): Promise<void> {
    return this.#inboxes.acknowledge(device, box, ids)
  }

  /** A device may not log in any more: mail does not wait for it. */
  onDeviceRemoved(account: string): Promise<void> {
    return this.#inboxes.onDeviceRemoved(account)
  }

  async inbox(account: string, frame: InboxFrame): Promise<InboxPlaces> {
    const places = await this.#inboxes.apply(account, frame)
    // Mail may lie in it already (a device that lost its session opens its inboxes again).
    for (const feed of this.#feeds.get(account) ?? []) feed.wake(places.box)
    return places
  }

  fileBox(account: string, frame: FileBoxFrame): Promise<FileHeld> {
    return this.#files.apply(account, frame)
  }

  filePut(account: string, envelope: Uint8Array): Promise<FileHeld> {
    return this.#files.put(account, envelope)
  }

  fileFetch(account: string, frame: FileFetchFrame): Promise<Result<FetchReply>> {
    return this.#files.fetch(account, frame)
  }

  shelfHolders(
    account: string,
    shelf: { readonly shelfKey: Uint8Array, readonly placement: Uint8Array },
  ): Promise<ShelfHolder[]> {
    return this.#ownShelves.holders(account, shelf)
  }

  shelfPut(account: string, puts: readonly Uint8Array[]): Promise<LaidOut> {
    return this.#ownShelves.put(account, puts)
  }

  shelfTake(frame: Pick<ShelfTakeFrame, 'shelfKey' | 'holders'>): Promise<ShelfTaken | undefined> {
    return this.#ownShelves.take(frame)
  }

  onDirectoryGrew(): void {
    this.#inboxes.onDirectoryGrew()
  }

  /** Mail of others that lies here. */
  held(): { readonly boxes: number, readonly bytes: number, readonly bytesMax: number } {
    const { lentBoxes, lentBytes, lentBytesMax } = this.#replicas
    return { boxes: lentBoxes, bytes: lentBytes, bytesMax: lentBytesMax }
  }

  get outboxSize(): number {
    return this.#outbox.size
  }

  #homeKind(box: BoxId): BoxKind | undefined {
    if (this.#inboxes.isHome(box)) return boxKinds.mail
    return this.#files.isHome(box) ? boxKinds.file : undefined
  }

  #onMail(box: BoxId, items: readonly MailboxItem[]): void {
    const account = this.#inboxes.accountOf(box)
    if (account !== undefined) {
      for (const feed of this.#feeds.get(account) ?? []) feed.wake(box)
      return
    }
    void this.#handOver(box, items)
  }

  /**
   * Mail for somebody whose home is linked to us right now: home gets it at once instead of at its
   * next drain. Best effort; our copy stays until the owner acknowledges.
   */
  async #handOver(box: BoxId, items: readonly MailboxItem[]): Promise<void> {
    const { overlay, courier } = this.#components
    const home = this.#replicas.homeOf(box)
    if (home === undefined || !overlay.peers().some((peer) => peer.nodeId === home)) return
    const request = encode(depositRequestCodec, { envelopes: items.map((item) => item.body) })
    await courier.call(home, services.deposit, request, { timeoutMs: handOverTimeoutMs, level: 0 })
  }

  #onShelfTaken(shelfKey: string, left: number): void {
    const account = this.#ownShelves.accountOf(shelfKey)
    if (account === undefined || left > shelfLow) return
    const key = hexDecode(shelfKey)
    this.#ownShelves.holders(account, { shelfKey: key }).then(
      (holders) => this.#listener?.shelf(account, key, holders),
      (error: unknown) => {
        this.#components.log.warn({ err: error }, 'a device was not told to lay out prekeys')
      },
    )
  }

  /** Homes of people that ours write to may use more of our storage. No message waits for it. */
  #befriend(home: NodeId): void {
    if (this.#friends.has(home) || this.#friends.size >= friendsMax) return
    this.#friends.add(home)
    const { store, log } = this.#components
    const row = { type: 'put' as const, key: friendPrefix + home, value: new Uint8Array() }
    store.kv.write([row]).catch((error: unknown) => {
      log.warn({ err: error, home }, 'a home that our people write to could not be noted')
    })
  }

  async #runUpkeep(): Promise<void> {
    await this.#replicas.upkeep()
    await this.#shelves.upkeep()
  }
}

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
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { encode } from '../../protocol/codec/struct.ts'
import { services } from '../../protocol/service/codes.ts'
import { depositRequestCodec } from '../../protocol/service/deposit.ts'
import type { FetchReply } from '../../protocol/service/fetch.ts'
import { hintKinds } from '../../protocol/service/household.ts'
import { boxKinds } from '../../protocol/service/lease.ts'
import type { BoxKind } from '../../protocol/service/lease.ts'
import type { ShelfTaken } from '../../protocol/service/shelf.ts'
import { Repeater } from '../../protocol/timers.ts'
import type { Courier, HouseholdPort, HouseholdWork, Log, MailboxItem, Overlay, Store } from '../ports.ts'
import type { HomeDevice } from './acknowledgements.ts'
import { adoptOutgoing, processesOf, processPrefix } from './adoption.ts'
import { boxPrefix as filePrefix, FileBoxes, heldPrefix } from './file-boxes.ts'
import type { FileHeld } from './file-boxes.ts'
import { homePrefix, Inboxes } from './inboxes.ts'
import type { InboxPlaces } from './inboxes.ts'
import { MailFeed } from './mail-feed.ts'
import type { FeedDevice } from './mail-feed.ts'
import { Outbox } from './outbox.ts'
import { OwnShelves, ownPrefix } from './own-shelves.ts'
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
  /** Of the household; the records of this process alone are in `ownKv`. */
  readonly store: Store
  readonly ownKv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly nodeKeys: SigningKeyPair
  readonly household: HouseholdPort
  /** So many bytes of pieces of files passed through memory (buffer-collector.ts). */
  readonly onMoved?: (bytes: number) => void
}

export interface MessengerOptions {
  readonly lends: boolean
  readonly lentBytesMax: number
  readonly storageNodes: () => readonly NodeDescriptor[]
  readonly devicesOf: (account: string) => readonly string[] | Promise<readonly string[]>
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
    const { store } = components
    const parts = { ...components, kv: store.kv, mailbox: store.mailbox, pieces: store.pieces }
    const onMoved = (bytes: number): void => components.onMoved?.(bytes)
    this.#replicas = new ReplicaService(parts, {
      lends: options.lends,
      lentBytesMax: options.lentBytesMax,
      isFriend: (home) => this.#friends.has(home),
      homeKind: (box) => this.#homeKind(box),
      findHome: (box) => this.#findHome(box),
      onMoved,
      onMail: (box, items) => this.#onMail(box, items),
    })
    const depositHere = (envelopes: readonly Uint8Array[]) => this.#replicas.deposit(envelopes)
    this.#shelves = new ShelfService(parts, {
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
    await this.#readFriends()
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

  /** Another process of the household took this mail, or put pieces into this file box. */
  async onMailElsewhere(box: BoxId): Promise<void> {
    await this.#findHome(box)
    const account = this.#inboxes.accountOf(box)
    for (const feed of this.#feeds.get(account ?? '') ?? []) feed.wake(box)
    this.#files.wake(box)
  }

  /** Another process of the household changed this record. */
  async onRecordChanged(key: string): Promise<void> {
    const name = key.slice(key.indexOf('/') + 1)
    if (key.startsWith(homePrefix)) await this.#inboxes.refresh(name as BoxId)
    else if (key.startsWith(filePrefix)) await this.#files.refresh(name as BoxId)
    else if (key.startsWith(heldPrefix)) await this.#files.onHeld(key)
    else if (key.startsWith(ownPrefix)) await this.#ownShelves.refresh(name)
  }

  /** Everything another process of the household may have changed without our hearing of it. */
  async refresh(): Promise<void> {
    await this.#readFriends()
    await this.#inboxes.refreshAll()
    await this.#files.refreshAll()
    await this.#ownShelves.start()
    for (const feeds of this.#feeds.values()) for (const feed of feeds) feed.start()
  }

  async onWork(work: HouseholdWork): Promise<void> {
    if (work !== 'keeper') return
    this.#inboxes.onKeeper()
    await this.#files.onKeeper()
  }

  /** Whoever is a home now is told to the devices. */
  onHomesChanged(): void {
    this.#inboxes.tellAll()
    this.#files.tellAll()
  }

  /**
   * Sends on what processes had to send that are gone. For the keeper.
   * @param isGone by the name of the process
   */
  async adopt(own: string, isGone: (process: string) => boolean): Promise<void> {
    const { household, store } = this.#components
    const kv = household.fenced('keeper', store.kv)
    const gone = (await processesOf(kv)).filter(isGone)
    // And what the node left that was alone on this database before.
    for (const from of ['', ...gone.map((name) => `${processPrefix}${name}/`)]) {
      this.#outbox.adopt(await adoptOutgoing(kv, { from, to: own }))
    }
  }

  async #readFriends(): Promise<void> {
    for await (const entry of kvEntries(this.#components.store.kv, friendPrefix)) {
      this.#friends.add(entry.key.slice(friendPrefix.length) as NodeId)
    }
  }

  /** A box that we know nothing of may have been opened at another process a moment ago. */
  async #findHome(box: BoxId): Promise<void> {
    if (this.#homeKind(box) !== undefined) return
    await this.#inboxes.refresh(box)
    if (this.#homeKind(box) === undefined) await this.#files.refresh(box)
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
      this.#components.household.tell({ kind: hintKinds.mail, subject: box })
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

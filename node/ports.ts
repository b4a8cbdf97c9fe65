/**
 * Ports of the node: what its rooms (router, messenger, locations, directory, connectors) need
 * from each other and from the outside. Rooms import this file and `protocol/`, never each other;
 * `openim-node.ts` joins them. Each port has a real and an in-memory implementation held together
 * by one suite in test/compliance/, and the in-memory ones run whole networks of nodes in virtual
 * time (test/simulation/).
 */
import type { Result } from '../crypto/errors.ts'
import type { PrivacyLevel } from '../protocol/frame/submit.ts'
import type { BoxId, EnvelopeId, NodeId } from '../protocol/ids.ts'
import type { KvStore, MessageLink } from '../protocol/ports.ts'
import type { ServiceCode } from '../protocol/service/codes.ts'
import type { HouseholdHint } from '../protocol/service/household.ts'

// ── Overlay ─────────────────────────────────────────────────────────────────────────────────

export interface PeerInfo {
  readonly nodeId: NodeId
  /** Multiaddr of the connection in use. */
  readonly address: string
  readonly direction: 'inbound' | 'outbound'
  readonly connectedAtMs: number
  /** Smoothed round trip of the link's heartbeat; undefined before the first. */
  readonly rttMs?: number
}

export interface CallOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/**
 * Answers one service. The result's refusal code travels to the caller; a throw is a bug of ours
 * and reaches the caller as `SERVICE_FAILED`. `from` is authenticated by the transport.
 */
export type ServiceHandler = (from: NodeId, body: Uint8Array) => Promise<Result<Uint8Array>>

/** Messages on a gossip topic; false: not valid, do not pass on. */
export type GossipHandler = (from: NodeId, message: Uint8Array) => boolean

/**
 * Peer-to-peer network: authenticated links to other nodes, Kademlia routing, gossip.
 * libp2p behind it in production, `MemoryOverlay` in the simulation.
 */
export interface Overlay {
  readonly nodeId: NodeId
  start(): Promise<void>
  stop(): Promise<void>
  /** Multiaddrs that others can dial, with the peer id. */
  addresses(): string[]
  peers(): PeerInfo[]
  /**
   * Dials a multiaddr (with or without a peer id) and settles when the link works.
   * @throws OVERLAY_UNREACHABLE
   */
  dial(address: string, options: CallOptions): Promise<NodeId>
  /** Tells where a node may be dialled, as its own signed descriptor says. */
  learn(nodeId: NodeId, addresses: readonly string[]): void
  /**
   * Calls a service of another node over the one long-lived link to it, dialling if needed.
   * Never throws for what the network does: refusals are results. Codes of its own:
   * OVERLAY_UNREACHABLE, OVERLAY_TIMEOUT, OVERLAY_OVERLOADED, OVERLAY_STOPPED.
   * Waits while the link's queue is full (back-pressure).
   */
  call(to: NodeId, service: ServiceCode, body: Uint8Array, options: CallOptions): Promise<Result<Uint8Array>>
  /** Registers before `start`; one handler a service. */
  handle(service: ServiceCode, handler: ServiceHandler): void
  /**
   * Nodes of the local routing table nearest to SHA-256(key) in XOR distance, nearest first; no
   * I/O. Never ourselves.
   */
  nearest(key: Uint8Array, count: number): NodeId[]
  /** The same after a Kademlia walk. Returns what it has when `signal` aborts. */
  walk(key: Uint8Array, count: number, options: CallOptions): Promise<NodeId[]>
  publish(topic: string, message: Uint8Array): void
  subscribe(topic: string, handler: GossipHandler): void
  /** Link up and down. Returns an unsubscribe function. */
  onPeer(listener: (nodeId: NodeId, connected: boolean) => void): () => void
}

/**
 * The way to a node at a privacy level (DESIGN §9). Level 0 calls the overlay directly; relays,
 * onion and mix slot in behind the same call. `level` in the result is the one it really had.
 */
export interface Courier {
  call(
    to: NodeId,
    service: ServiceCode,
    body: Uint8Array,
    options: CallOptions & { readonly level: PrivacyLevel },
  ): Promise<Result<Uint8Array> & { readonly level: PrivacyLevel }>
}

// ── Store ───────────────────────────────────────────────────────────────────────────────────

export interface BoxLimits {
  readonly itemsMax: number
  readonly bytesMax: number
  /** After this the box itself and all in it may go; Infinity: as long as it is not dropped. */
  readonly expiresAtMs: number
}

export interface MailboxItem {
  readonly box: BoxId
  readonly id: EnvelopeId
  readonly expiresAtMs: number
  readonly body: Uint8Array
}

export interface MailboxEntry extends MailboxItem {
  /** Arrival number: unique in this store and growing. */
  readonly position: number
}

/** What became of one item; policy is a result, never a throw. */
export type PutResult = 'stored' | 'duplicate' | 'acknowledged' | 'over-quota' | 'no-box' | 'expired'

export interface BoxUsage {
  readonly items: number
  readonly bytes: number
}

export interface Tombstone {
  readonly id: EnvelopeId
  readonly expiresAtMs: number
  readonly proof: Uint8Array
}

/**
 * An item as reconciliation sees it. Its time is its expiry, because that stands in the envelope:
 * all replicas of a box agree on it, while each has its own time of arrival. As the TTL of most
 * mail is the same, it orders nearly as arrival would.
 */
export type MailMark = Pick<MailboxItem, 'box' | 'id' | 'expiresAtMs'>

export interface DigestRange {
  /** Only of these; of all boxes when left out. */
  readonly boxes?: ReadonlySet<BoxId>
  /** Inclusive. */
  readonly fromMs: number
  /** Exclusive: what never expires is in no digest. */
  readonly beforeMs: number
}

/**
 * Mail waiting for somebody: log-like, write-once by id, with quota, duplicate and tombstone
 * checks in one atomic step per item. Everything it says is durable (synced, in grouped commits)
 * when the promise settles. @throws STORE_FULL, STORE_CLOSED, STORE_CORRUPT
 */
export interface MailboxStore {
  /** Creates the box or changes its limits; lowering them evicts nothing. */
  setBox(box: BoxId, limits: BoxLimits): Promise<void>
  /** Removes the box, its items and tombstones. */
  dropBox(box: BoxId): Promise<void>
  boxes(): Promise<{ readonly box: BoxId, readonly limits: BoxLimits, readonly usage: BoxUsage }[]>
  put(items: readonly MailboxItem[]): Promise<PutResult[]>
  /** In arrival order, after a position, up to both limits (at least one item if there is any). */
  list(
    box: BoxId,
    page: { after: number, itemsMax: number, bytesMax: number },
  ): Promise<{ entries: MailboxEntry[], more: boolean }>
  get(box: BoxId, id: EnvelopeId): Promise<MailboxEntry | undefined>
  /**
   * Deletes the items and keeps tombstones (also for ids not here yet) until `expiresAtMs`.
   * `proof` is kept with them. Returns how many items were really there.
   */
  acknowledge(
    box: BoxId,
    ids: readonly EnvelopeId[],
    tombstone: { expiresAtMs: number, proof: Uint8Array },
  ): Promise<number>
  /** All that were acknowledged and are remembered, in order of their ids, `after` exclusive. */
  tombstones(box: BoxId, page: { after?: EnvelopeId, limit: number }): Promise<Tombstone[]>
  /** The proof kept for an acknowledged id. */
  tombstone(box: BoxId, id: EnvelopeId): Promise<Uint8Array | undefined>
  /** Removes up to `budget` expired items, tombstones and boxes; returns how many went. */
  expire(nowMs: number, budget: number): Promise<number>
  usage(): Promise<BoxUsage>
  /**
   * Pages of what is held (never empty, at most `limits.digestPageMarks` each), ordered by expiry,
   * id and box. Each page is true for its own moment: what is put meanwhile may be missed, to be
   * met by the next digest. Tombstones are not in it, for their times differ between replicas:
   * whoever offers such an item is answered `acknowledged`, and `tombstone` has the proof.
   */
  digest(range: DigestRange): AsyncIterable<MailMark[]>
}

/** One envelope of a file box. */
export interface Piece {
  readonly id: EnvelopeId
  readonly body: Uint8Array
}

export interface PieceEntry extends Piece {
  /** 1, 2, 3 … in order of arrival in its box. */
  readonly position: number
}

export interface PieceBox {
  readonly box: BoxId
  readonly limits: BoxLimits
  /** Of the envelopes and what lies around each. */
  readonly bytes: number
}

export interface PiecePage {
  /** The page begins behind this position. */
  readonly after: number
  readonly itemsMax: number
  readonly bytesMax: number
}

export type PieceResult = 'stored' | 'duplicate' | 'over-quota' | 'no-box'

/**
 * File boxes: few, large, filled once and dropped as a whole, so a place of their own. Write-once
 * by id; a box that expired is not there. Everything it says is durable when the promise settles.
 * @throws STORE_FULL, STORE_CLOSED, STORE_IO
 */
export interface PieceStore {
  /** Creates the box or changes its limits; lowering them evicts nothing. */
  setBox(box: BoxId, limits: BoxLimits): Promise<void>
  dropBox(box: BoxId): Promise<void>
  boxes(): Promise<PieceBox[]>
  put(box: BoxId, pieces: readonly Piece[]): Promise<PieceResult[]>
  /** How many pieces the box has. */
  count(box: BoxId): Promise<number>
  /** Up to both limits (at least one piece if there is any). */
  list(box: BoxId, page: PiecePage): Promise<{ entries: PieceEntry[], more: boolean }>
  /** Drops boxes that expired; returns how many. */
  expire(nowMs: number): Promise<number>
}

/**
 * What a database that several processes share may offer besides records: short messages to all
 * who listen (NOTIFY, PUBLISH). They may get lost; whoever publishes hears itself, too.
 */
export interface StoreHints {
  /** At most 4 KiB; never throws, a message that could not be sent is lost. */
  publish(message: Uint8Array): void
  /** Returns the end of listening. */
  listen(listener: (message: Uint8Array) => void): () => void
}

/** What a database says of itself. */
export interface StoreHealth {
  /** Damaged rows met since the start. */
  readonly corrupt: number
  /** Why a power cut may take what it said is stored, in words: then no receipt is signed over it. */
  readonly undurable?: readonly string[]
}

/** One opened database. */
export interface Store {
  /** Missing where there is nothing to say. */
  health?(): StoreHealth
  readonly hints?: StoreHints
  readonly mailbox: MailboxStore
  readonly pieces: PieceStore
  readonly kv: KvStore
  /** Waits for writes under way. Idempotent. */
  close(): Promise<void>
}

// ── Household ───────────────────────────────────────────────────────────────────────────────

/** Work that one process of a household does for all. */
export type HouseholdWork =
  /** Replicas of the inboxes and file boxes, and mail of processes that are gone. */
  | 'keeper'
  /** Storage for other people. */
  | 'lender'

/**
 * The processes that share this node's database and serve the same accounts (node/household). A
 * node on a database of its own is a household of one: `aloneHousehold`.
 */
export interface HouseholdPort {
  readonly isAlone: boolean
  /** Where our people's mail is taken: ourselves first, at most `limits.homesMax`. */
  homes(): readonly NodeId[]
  isMember(nodeId: NodeId): boolean
  does(work: HouseholdWork): boolean
  /** For what only the one who does the work may write. @throws HOUSEHOLD_LEASE_LOST in `write` */
  fenced(work: HouseholdWork, kv: KvStore): KvStore
  /** Tells the others; best effort. Nobody is there to be told when alone. */
  tell(hint: HouseholdHint): void
}

export function aloneHousehold(self: NodeId): HouseholdPort {
  return {
    isAlone: true,
    homes: () => [self],
    isMember: (nodeId) => nodeId === self,
    does: () => true,
    fenced: (_work, kv) => kv,
    tell() {},
  }
}

// ── Connectors ──────────────────────────────────────────────────────────────────────────────

/** A device that proved its X25519 static key (Noise), before the node knows whose it is. */
export interface AcceptedLink {
  readonly link: MessageLink
  readonly deviceKey: Uint8Array
  /** Where it comes from, for logs and limits; `local` for the loopback. */
  readonly remote: string
}

/** A door for devices: moves bytes, never routes. */
export interface Connector {
  readonly name: string
  /** @throws CONNECTOR_ADDRESS_IN_USE, CONNECTOR_LISTEN */
  start(accept: (accepted: AcceptedLink) => void): Promise<void>
  stop(): Promise<void>
  /** `host:port` once started; undefined for the loopback. */
  address(): string | undefined
  /** Counters since it was made, and what is open now. */
  metrics(): Readonly<Record<string, number>>
}

// ── Log ─────────────────────────────────────────────────────────────────────────────────────

/** Structured log; never secrets, never content. pino behind it in production. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

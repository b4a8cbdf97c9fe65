/**
 * The nodes' side as a client sees it, in memory and virtual time: sessions that break, boxes at
 * home and replicas, deposits with signed receipts, tombstones, shelves, location records. Frames
 * go through their codecs, proofs are signed for real, and every rule of docs/protocol.md that a
 * client can notice is kept; what nodes do among themselves is done by direct calls. A node serves
 * one account, whose devices are known by their link keys, the first of them the primary.
 *
 * Faults are drawn from one seed: deliveries dropped, doubled and reordered, sessions reset.
 */
import { hex } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { randomFraction } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { boxId, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import { inboxActions } from '../../protocol/frame/inbox.ts'
import { receiptStates, routes } from '../../protocol/frame/receipt.ts'
import type { ReceiptFrame } from '../../protocol/frame/receipt.ts'
import { purposes } from '../../protocol/frame/submit.ts'
import type { SubmitFrame } from '../../protocol/frame/submit.ts'
import { nodeIdFromKey } from '../../protocol/ids.ts'
import type { BoxId, EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import { checkLocationRecord } from '../../protocol/location-record.ts'
import type { Clock } from '../../protocol/ports.ts'
import { signTombstone } from '../../protocol/service/acknowledge.ts'
import { signStoreReceipt } from '../../protocol/service/deposit.ts'
import { verifyShelf } from '../../protocol/service/shelf.ts'
import type { DeviceSessionApi, DeviceSessionListener } from '../../protocol/session/types.ts'
import { TestSession } from './client-session.ts'
import { randomInteger, seededRandom } from './seeded-random.ts'

const hourMs = 3_600_000
/** Offers and deliveries are repeated after this, doubled each time. */
const offerMs = 3_000
const deliverMs = 4_000
/** How late a delivery may be. */
const lateMs = 400
const repeatMaxMs = 60_000
/** Leaves room for the frame around it within `limits.frameBytesMax`. */
const pieceBytesMax = 160 * 1024

export interface Faults {
  /** Share of deliveries that are lost until the next offer, come twice, or are shuffled. */
  readonly drop: number
  readonly double: number
  readonly shuffle: number
  /** Mean time between session resets; Infinity: never. */
  readonly resetEveryMs: number
}

export const noFaults: Faults = { drop: 0, double: 0, shuffle: 0, resetEveryMs: Infinity }

interface OpenBox {
  readonly id: BoxId
  readonly writeKey: Uint8Array
  readonly readKeys: SigningKeyPair
}

interface Outgoing {
  readonly id: EnvelopeId
  readonly box: BoxId
  readonly device: string
  frame: SubmitFrame
  readonly receipts: Map<NodeId, Uint8Array>
}

export class ClientNetwork {
  readonly clock: Clock
  readonly random: Random
  readonly nodes = new Map<NodeId, TestNode>()
  readonly records = new Map<string, { sequence: number, record: Uint8Array }>()
  /** Every location record that was published, in order. */
  readonly published: { readonly sequence: number, readonly atMs: number }[] = []
  faults: Faults = noFaults

  constructor(clock: Clock, seed: string) {
    this.clock = clock
    this.random = seededRandom(`${seed} network`)
  }

  node(name: string): TestNode {
    const node = new TestNode(this, crypto.signingKeyPair(crypto.sha256(new TextEncoder().encode(name))))
    this.nodes.set(node.nodeId, node)
    return node
  }

  chance(share: number): boolean {
    return share > 0 && randomFraction(this.random) < share
  }
}

export class TestNode {
  readonly nodeId: NodeId
  readonly keys: SigningKeyPair
  /** Other nodes reach it. */
  isUp = true
  /** Takes no mail for now. */
  isFull = false
  /** Mail that it keeps from its device for now. */
  withholds: (envelope: Uint8Array) => boolean = () => false
  /** Nodes that it leases new boxes at. */
  replicas: NodeId[] = []
  readonly network: ClientNetwork
  /** Envelopes by box: at home until acknowledged, at a replica until buried. */
  readonly held = new Map<BoxId, Map<EnvelopeId, Uint8Array>>()
  readonly tombstones = new Map<EnvelopeId, Uint8Array>()
  readonly boxes = new Map<BoxId, OpenBox>()
  readonly outgoing = new Map<EnvelopeId, Outgoing>()
  readonly shelves = new Map<string, { static: Uint8Array, oneTime: Uint8Array[] }>()
  /** Every frame a client sent, for tests that look. */
  readonly heard: Frame[] = []
  /** Rewrites or swallows receipts before they leave: a lying node. */
  tamper: (receipt: ReceiptFrame) => ReceiptFrame | undefined = (receipt) => receipt
  /** Devices that may log in, by link key in hex; the primary first. */
  readonly devices: string[] = []
  /** Devices that took an envelope over, until all have. */
  readonly #acked = new Map<EnvelopeId, Set<string>>()
  readonly #sessions = new Map<string, TestSession>()
  #speaker = ''

  constructor(network: ClientNetwork, keys: SigningKeyPair) {
    this.network = network
    this.keys = keys
    this.nodeId = nodeIdFromKey(keys.publicKey)
  }

  /** For `Client.open`: of each device, the primary unless named, the latest session counts. */
  connect = (listener: DeviceSessionListener, device = this.devices[0] ?? 'primary'): DeviceSessionApi => {
    // The node registers the account that it hosts; all other devices by the primary's word.
    if (this.devices.length === 0) this.devices.push(device)
    this.#sessions.get(device)?.abandon()
    const session = new TestSession(this, { device, listener })
    this.#sessions.set(device, session)
    return session
  }

  /** Of the primary. */
  get session(): TestSession | undefined {
    return this.sessionOf(this.devices[0] ?? '')
  }

  sessionOf(device: string): TestSession | undefined {
    return this.#sessions.get(device)
  }

  /** Every session begins anew. */
  resetAll(): void {
    for (const session of this.#sessions.values()) session.reset()
  }

  handle(frame: Frame, device = this.devices[0] ?? 'primary'): void {
    this.heard.push(frame)
    this.#speaker = device
    switch (frame.type) {
      case 'submit': return this.#submit(frame, device)
      case 'devices': return this.#setDevices(frame, device)
      case 'withdraw':
        for (const id of frame.envelopeIds) this.outgoing.delete(id)
        return
      case 'inbox': return this.#inbox(frame)
      case 'acknowledge': return this.#acknowledge(frame.box, frame.envelopeIds, device)
      case 'shelfHolders':
      case 'shelfPut': return this.#shelf(frame)
      case 'shelfTake': return this.#shelfTake(frame)
      case 'publish': return this.#publish(frame)
      case 'locate': {
        const records = frame.blindedKeys.flatMap((key) => this.network.records.get(hex(key))?.record ?? [])
        return this.push({ type: 'located', request: frame.request, records })
      }
      default: throw new Error(`a node hears no ${frame.type}`)
    }
  }

  /** To the device whose frame is being handled. */
  push(frame: Frame, device = this.#speaker): void {
    this.#sessions.get(device)?.push(frame)
  }

  /** A new session: what waits is offered from the beginning. */
  attached(device: string): void {
    for (const box of this.boxes.keys()) this.#deliver([...this.held.get(box)?.values() ?? []], device)
  }

  /** Takes an envelope as home or replica. */
  deposit(bytes: Uint8Array): { receipt?: Uint8Array, tombstone?: Uint8Array } {
    const parsed = parseEnvelope(bytes)
    if (!parsed.ok || !verifyEnvelope(bytes, parsed.value.envelope)) {
      throw new Error('a client made a bad envelope')
    }
    const { id, box } = parsed.value
    const tombstone = this.tombstones.get(id)
    if (tombstone !== undefined) return { tombstone }
    const held = this.held.get(box)
    if (held === undefined || this.isFull) return {}
    const isNew = !held.has(id)
    held.set(id, bytes)
    if (isNew && this.boxes.has(box)) for (const device of this.devices) this.#deliver([bytes], device)
    const storedHour = Math.floor(this.network.clock.now() / hourMs)
    return { receipt: signStoreReceipt({ nodeId: this.nodeId, storedHour, envelopeIds: [id] }, this.keys) }
  }

  /** Home is back: takes over what replicas held. */
  drain(): void {
    for (const box of this.boxes.keys()) {
      for (const replica of this.network.nodes.values()) {
        for (const bytes of replica === this ? [] : replica.held.get(box)?.values() ?? []) {
          this.deposit(bytes)
        }
      }
    }
  }

  /** Everything that is on its way is tried once more. */
  offer(): void {
    for (const outgoing of [...this.outgoing.values()]) this.#offer(outgoing)
  }

  #submit(frame: SubmitFrame, device: string): void {
    const parsed = parseEnvelope(frame.envelope)
    if (!parsed.ok) throw new Error(`a client made a bad envelope: ${parsed.code}`)
    const { id, box } = parsed.value
    const known = this.outgoing.get(id)
    if (known !== undefined) known.frame = frame
    const outgoing = known ?? { id, box, device, frame, receipts: new Map<NodeId, Uint8Array>() }
    this.outgoing.set(id, outgoing)
    this.#tell(outgoing, { state: receiptStates.accepted })
    this.#later(() => this.#offer(outgoing))
    this.network.clock.after(offerMs, () => this.#offerUntilDone(outgoing, offerMs))
  }

  #offerUntilDone(outgoing: Outgoing, pauseMs: number): void {
    if (this.outgoing.get(outgoing.id) !== outgoing) return
    this.#offer(outgoing)
    const nextMs = Math.min(repeatMaxMs, 2 * pauseMs)
    this.network.clock.after(nextMs, () => this.#offerUntilDone(outgoing, nextMs))
  }

  #offer(outgoing: Outgoing): void {
    const { frame, id } = outgoing
    if (!this.isUp || this.outgoing.get(id) !== outgoing) return
    const up = (ids: readonly NodeId[]): TestNode[] => ids.flatMap((nodeId) => {
      const node = this.network.nodes.get(nodeId)
      return node?.isUp === true ? [node] : []
    })
    const homes = up(frame.homes).filter((node) => !node.isFull)
    for (const holder of homes.length > 0 ? homes : up(frame.replicas)) {
      const { receipt, tombstone } = holder.deposit(frame.envelope)
      if (tombstone !== undefined) {
        this.outgoing.delete(id)
        this.#tell(outgoing, { state: receiptStates.acknowledged, proofs: [tombstone] })
        return
      }
      if (receipt !== undefined) outgoing.receipts.set(holder.nodeId, receipt)
    }
    if (outgoing.receipts.size === 0) return
    const isAtHome = frame.homes.some((home) => outgoing.receipts.has(home))
    const want = isAtHome ? 1 : Math.min(limits.replicasNeeded, frame.replicas.length)
    const isStored = outgoing.receipts.size >= want
    this.#tell(outgoing, {
      state: isStored ? receiptStates.stored : receiptStates.accepted,
      have: outgoing.receipts.size, want, route: isAtHome ? routes.direct : routes.replicas,
      proofs: [...outgoing.receipts.values()],
    })
    if (isStored && frame.purpose === purposes.signal) this.outgoing.delete(id)
  }

  #tell(outgoing: Outgoing, change: Partial<ReceiptFrame>): void {
    const receipt = this.tamper({
      type: 'receipt', envelopeId: outgoing.id, state: receiptStates.accepted, have: 0, want: 1,
      route: routes.none, level: 0, proofs: [], code: '', ...change,
    })
    if (receipt !== undefined) this.push(receipt, outgoing.device)
  }

  #inbox(frame: Extract<Frame, { type: 'inbox' }>): void {
    const readKeys = crypto.signingKeyPair(frame.readSeed)
    const box = boxId({ writeKey: frame.writeKey, readKey: readKeys.publicKey })
    const reply = (replicas: NodeId[]): void =>
      this.push({ type: 'inboxState', request: frame.request, box, homes: [this.nodeId], replicas })
    if (frame.action === inboxActions.close) {
      this.boxes.delete(box)
      for (const node of this.network.nodes.values()) node.held.delete(box)
      return reply([])
    }
    this.boxes.set(box, { id: box, writeKey: frame.writeKey.slice(), readKeys })
    for (const nodeId of [this.nodeId, ...this.replicas]) {
      const holder = this.network.nodes.get(nodeId)!
      if (!holder.held.has(box)) holder.held.set(box, new Map())
    }
    reply(this.replicas)
  }

  #acknowledge(box: BoxId, ids: EnvelopeId[], device: string): void {
    for (const id of ids) this.#acked.set(id, (this.#acked.get(id) ?? new Set()).add(device))
    this.#bury(box, ids.filter((id) => this.#isTaken(id)))
  }

  #isTaken(id: EnvelopeId): boolean {
    return this.devices.every((device) => this.#acked.get(id)?.has(device) === true)
  }

  /** The primary says who may log in besides itself. */
  #setDevices(frame: Extract<Frame, { type: 'devices' }>, by: string): void {
    if (by !== this.devices[0]) {
      const detail = 'not the primary'
      return this.push({ type: 'refusal', request: frame.request, code: 'DEVICE_NOT_PRIMARY', detail })
    }
    const devices = [by, ...frame.linkKeys.map((key) => hex(key))]
    const removed = this.devices.filter((device) => !devices.includes(device))
    this.devices.splice(0, this.devices.length, ...devices)
    for (const device of removed) this.#sessions.get(device)?.refuse('DEVICE_REVOKED')
    for (const [box, held] of this.held) {
      if (this.boxes.has(box)) this.#bury(box, [...held.keys()].filter((id) => this.#isTaken(id)))
    }
    // Those that knocked in vain may come in now.
    for (const device of devices) this.#sessions.get(device)?.retry()
    this.push({ type: 'devicesSet', request: frame.request })
  }

  #bury(box: BoxId, envelopeIds: EnvelopeId[]): void {
    const open = this.boxes.get(box)
    if (open === undefined || envelopeIds.length === 0) return
    const { writeKey, readKeys } = open
    const tombstone = signTombstone({ writeKey, readKey: readKeys.publicKey, envelopeIds }, readKeys)
    for (const id of envelopeIds) this.#acked.delete(id)
    for (const node of this.network.nodes.values()) {
      for (const id of envelopeIds) {
        if (node.held.get(box)?.delete(id) === true || node === this) node.tombstones.set(id, tombstone)
      }
    }
  }

  #shelf(frame: Extract<Frame, { type: 'shelfHolders' | 'shelfPut' }>): void {
    const nodes = [this.nodeId, ...this.replicas].map((nodeId) => this.network.nodes.get(nodeId)!)
    let key = frame.type === 'shelfHolders' ? frame.shelfKey : new Uint8Array(32)
    for (const put of frame.type === 'shelfPut' ? frame.puts : []) {
      const verified = verifyShelf(put)
      if (!verified.ok) throw new Error(`a client made a bad shelf: ${verified.code}`)
      const { shelfKey, holder, oneTime } = verified.value
      key = shelfKey
      this.network.nodes.get(holder)!.shelves.set(
        hex(shelfKey),
        { static: verified.value.static, oneTime: [...oneTime] },
      )
    }
    const holders = nodes.map(
      (node) => ({ nodeId: node.nodeId, left: node.shelves.get(hex(key))?.oneTime.length ?? 0 }),
    )
    this.push({ type: 'shelfHeld', request: frame.request, shelfKey: key, holders })
  }

  #shelfTake(frame: Extract<Frame, { type: 'shelfTake' }>): void {
    const shelves = frame.holders.flatMap((nodeId) => {
      const node = this.network.nodes.get(nodeId)
      return (node?.isUp === true ? node.shelves.get(hex(frame.shelfKey)) : undefined) ?? []
    })
    const shelf = shelves.find(({ oneTime }) => oneTime.length > 0) ?? shelves[0]
    const oneTime = shelf?.oneTime.shift()
    const taken = shelf === undefined ? undefined : {
      static: shelf.static, oneTime, left: shelf.oneTime.length,
    }
    this.push({ type: 'shelfTaken', request: frame.request, taken })
  }

  #publish(frame: Extract<Frame, { type: 'publish' }>): void {
    for (const record of frame.records) {
      const checked = checkLocationRecord(record, this.network.clock.now())
      if (!checked.ok) throw new Error(`a client made a bad record: ${checked.code}`)
      const { blindedKey, sequence } = checked.value
      this.network.published.push({ sequence, atMs: this.network.clock.now() })
      const known = this.network.records.get(hex(blindedKey))
      if (known === undefined || known.sequence < sequence) {
        this.network.records.set(hex(blindedKey), { sequence, record })
      }
    }
    this.push({ type: 'published', request: frame.request, holders: 3 })
  }

  /** In pieces of any size, with faults; what is not acknowledged comes again. */
  #deliver(envelopes: readonly Uint8Array[], device: string, pauseMs = deliverMs): void {
    const { network } = this
    const { drop, double, shuffle } = network.faults
    const order = envelopes.filter((bytes) => !this.withholds(bytes) && this.#isDue(bytes, device))
    if (network.chance(shuffle)) {
      for (let i = order.length - 1; i > 0; i--) swap(order, i, randomInteger(network.random, i + 1))
    }
    for (let at = 0; at < order.length;) {
      const piece = order.slice(at, at + 1 + randomInteger(network.random, 64))
      at += piece.length
      while (totalBytes(piece) > pieceBytesMax && piece.length > 1) {
        at -= piece.splice(piece.length >> 1).length
      }
      const times = network.chance(drop) ? 0 : network.chance(double) ? 2 : 1
      for (let i = 0; i < times; i++) {
        const push = (): void => this.push({ type: 'deliver', envelopes: piece }, device)
        if (network.chance(shuffle)) this.#later(push, lateMs)
        else push()
      }
    }
    if (envelopes.length === 0) return
    const nextMs = Math.min(repeatMaxMs, 2 * pauseMs)
    network.clock.after(
      pauseMs,
      () => this.#deliver(envelopes.filter((bytes) => this.#isDue(bytes, device)), device, nextMs),
    )
  }

  /** Whether this device, in session, has yet to take it over. */
  #isDue(bytes: Uint8Array, device: string): boolean {
    const parsed = parseEnvelope(bytes)
    if (!parsed.ok || this.held.get(parsed.value.box)?.has(parsed.value.id) !== true) return false
    const isTaken = this.#acked.get(parsed.value.id)?.has(device) === true
    return !isTaken && this.#sessions.get(device)?.online === true
  }

  #later(work: () => void, spreadMs = 30): void {
    this.network.clock.after(5 + randomInteger(this.network.random, spreadMs), work)
  }
}

function totalBytes(envelopes: readonly Uint8Array[]): number {
  return envelopes.reduce((sum, bytes) => sum + bytes.length, 0)
}

function swap<T>(items: T[], i: number, j: number): void {
  const item = items[i]!
  items[i] = items[j]!
  items[j] = item
}

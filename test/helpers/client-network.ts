/**
 * The nodes' side as a client sees it, in memory and virtual time: sessions that break, boxes at
 * home and replicas, deposits with signed receipts, tombstones, shelves, location records. Frames
 * go through their codecs, proofs are signed for real, and every rule of docs/protocol.md that a
 * client can notice is kept; what nodes do among themselves is done by direct calls.
 *
 * Faults are drawn from one seed: deliveries dropped, doubled and reordered, sessions reset.
 */
import { hex } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import { randomFraction } from '../../crypto/random.ts'
import type { Random } from '../../crypto/random.ts'
import { boxId, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import { decodeFrame, encodeFrame } from '../../protocol/frame/frame.ts'
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
  frame: SubmitFrame
  readonly receipts: Map<NodeId, Uint8Array>
}

export class ClientNetwork {
  readonly clock: Clock
  readonly random: Random
  readonly nodes = new Map<NodeId, TestNode>()
  readonly records = new Map<string, { sequence: number, record: Uint8Array }>()
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
  #session: TestSession | undefined

  constructor(network: ClientNetwork, keys: SigningKeyPair) {
    this.network = network
    this.keys = keys
    this.nodeId = nodeIdFromKey(keys.publicKey)
  }

  /** For `Client.open`: one device per node, the latest session counts. */
  connect = (listener: DeviceSessionListener): DeviceSessionApi => {
    this.#session?.abandon()
    this.#session = new TestSession(this, listener)
    return this.#session
  }

  get session(): TestSession | undefined {
    return this.#session
  }

  handle(frame: Frame): void {
    this.heard.push(frame)
    switch (frame.type) {
      case 'submit': return this.#submit(frame)
      case 'withdraw':
        for (const id of frame.envelopeIds) this.outgoing.delete(id)
        return
      case 'inbox': return this.#inbox(frame)
      case 'acknowledge': return this.#acknowledge(frame.box, frame.envelopeIds)
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

  push(frame: Frame): void {
    this.#session?.push(frame)
  }

  /** A new session: what waits is offered from the beginning. */
  attached(): void {
    for (const box of this.boxes.keys()) this.#deliver([...this.held.get(box)?.values() ?? []])
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
    if (isNew && this.boxes.has(box)) this.#deliver([bytes])
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

  #submit(frame: SubmitFrame): void {
    const parsed = parseEnvelope(frame.envelope)
    if (!parsed.ok) throw new Error(`a client made a bad envelope: ${parsed.code}`)
    const { id, box } = parsed.value
    const known = this.outgoing.get(id)
    if (known !== undefined) known.frame = frame
    const outgoing = known ?? { id, box, frame, receipts: new Map<NodeId, Uint8Array>() }
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
    if (receipt !== undefined) this.push(receipt)
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

  #acknowledge(box: BoxId, envelopeIds: EnvelopeId[]): void {
    const open = this.boxes.get(box)
    if (open === undefined) return
    const { writeKey, readKeys } = open
    const tombstone = signTombstone({ writeKey, readKey: readKeys.publicKey, envelopeIds }, readKeys)
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
      const known = this.network.records.get(hex(blindedKey))
      if (known === undefined || known.sequence < sequence) {
        this.network.records.set(hex(blindedKey), { sequence, record })
      }
    }
    this.push({ type: 'published', request: frame.request, holders: 3 })
  }

  /** In pieces of any size, with faults; what is not acknowledged comes again. */
  #deliver(envelopes: readonly Uint8Array[], pauseMs = deliverMs): void {
    const { network } = this
    const { drop, double, shuffle } = network.faults
    const order = envelopes.filter((bytes) => !this.withholds(bytes))
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
        const push = (): void => this.push({ type: 'deliver', envelopes: piece })
        if (network.chance(shuffle)) this.#later(push, lateMs)
        else push()
      }
    }
    if (envelopes.length === 0) return
    const nextMs = Math.min(repeatMaxMs, 2 * pauseMs)
    network.clock.after(
      pauseMs,
      () => this.#deliver(envelopes.filter((bytes) => this.#isHeld(bytes)), nextMs),
    )
  }

  #isHeld(bytes: Uint8Array): boolean {
    const parsed = parseEnvelope(bytes)
    return parsed.ok && this.held.get(
      parsed.value.box,
    )?.has(parsed.value.id) === true && this.#session?.online === true
  }

  #later(work: () => void, spreadMs = 30): void {
    this.network.clock.after(5 + randomInteger(this.network.random, spreadMs), work)
  }
}

/** A session double: frames in order and once while it lasts; resets lose what is under way. */
export class TestSession implements DeviceSessionApi {
  readonly #node: TestNode
  readonly #listener: DeviceSessionListener
  readonly #inbox: Frame[] = []
  #online = false
  #number = 0
  #isStopped = false
  #isConsuming = false
  #sendDueMs = 0
  #pushDueMs = 0
  #waiting: (() => void)[] = []

  constructor(node: TestNode, listener: DeviceSessionListener) {
    this.#node = node
    this.#listener = listener
  }

  get online(): boolean {
    return this.#online
  }

  start(): void {
    this.#clock.after(20, () => this.#begin())
  }

  async stop(): Promise<void> {
    this.abandon()
  }

  /** The device is gone. */
  abandon(): void {
    this.#isStopped = true
    this.#online = false
    this.#number++
    this.#inbox.length = 0
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** The node lost this session; a new one begins by itself. */
  reset(): void {
    if (this.#isStopped || !this.#online) return
    this.#online = false
    this.#number++
    this.#inbox.length = 0
    this.#listener.state(false, 'LINK_LOST')
    this.#clock.after(50 + randomInteger(this.#node.network.random, 1_000), () => this.#begin())
  }

  async send(frame: Frame): Promise<void> {
    if (this.#isStopped) throw new OpenIMError('SESSION_STOPPED', 'the session was stopped')
    if (this.#number === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const number = this.#number
    const bytes = encodeFrame(frame)
    this.#sendDueMs = this.#due(this.#sendDueMs)
    this.#clock.after(this.#sendDueMs - this.#clock.monotonicMs(), () => {
      if (this.#isStopped || number !== this.#number) return
      this.#node.handle(mustDecode(bytes))
    })
  }

  /** From the node. */
  push(frame: Frame): void {
    if (this.#isStopped || !this.#online) return
    const number = this.#number
    const bytes = encodeFrame(frame)
    this.#pushDueMs = this.#due(this.#pushDueMs)
    this.#clock.after(this.#pushDueMs - this.#clock.monotonicMs(), () => {
      if (this.#isStopped || number !== this.#number) return
      this.#inbox.push(mustDecode(bytes))
      void this.#consume()
    })
  }

  get #clock(): Clock {
    return this.#node.network.clock
  }

  #begin(): void {
    if (this.#isStopped) return
    this.#number++
    this.#online = true
    this.#listener.reset()
    this.#listener.state(true)
    for (const wake of this.#waiting.splice(0)) wake()
    this.#node.attached()
    const { resetEveryMs } = this.#node.network.faults
    if (resetEveryMs === Infinity) return
    const delayMs = resetEveryMs * 2 * randomFraction(this.#node.network.random)
    this.#clock.after(delayMs, () => this.reset())
  }

  async #consume(): Promise<void> {
    if (this.#isConsuming) return
    this.#isConsuming = true
    for (let frame = this.#inbox.shift(); frame !== undefined; frame = this.#inbox.shift()) {
      await this.#listener.frame(frame)
    }
    this.#isConsuming = false
  }

  /** In order, each a few milliseconds after it was sent. */
  #due(lastMs: number): number {
    return Math.max(lastMs, this.#clock.monotonicMs() + 1 + randomInteger(this.#node.network.random, 15))
  }
}

function mustDecode(bytes: Uint8Array): Frame {
  const decoded = decodeFrame(bytes)
  if (!decoded.ok) throw new Error(`a frame does not decode: ${decoded.code}`)
  return decoded.value
}

function totalBytes(envelopes: readonly Uint8Array[]): number {
  return envelopes.reduce((sum, bytes) => sum + bytes.length, 0)
}

function swap<T>(items: T[], i: number, j: number): void {
  const item = items[i]!
  items[i] = items[j]!
  items[j] = item
}

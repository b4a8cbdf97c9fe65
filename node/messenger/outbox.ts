/**
 * The outbox: envelopes that our devices handed over, until their owners have them.
 *
 * An envelope goes to the contact's home. If home does not answer in time it goes to the replicas
 * of the contact's inbox card, until W of them signed; home is tried on. A copy is kept and offered
 * again until the device withdraws it (it holds a delivery receipt), the owner's tombstone comes
 * back, or it expires: so the loss of a replica, or of home's disk, loses nothing (DESIGN §6).
 *
 * Nothing about progress is written down: after a restart everything is offered again, which the
 * holders answer with `duplicate`. Every step of a state is told to the device with its proofs.
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { Random } from '../../crypto/random.ts'
import { decode, encode, tryDecode } from '../../protocol/codec/struct.ts'
import { parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import { receiptStates, routes } from '../../protocol/frame/receipt.ts'
import type { ReceiptFrame, Route } from '../../protocol/frame/receipt.ts'
import { purposes } from '../../protocol/frame/submit.ts'
import type { PrivacyLevel, SubmitFrame } from '../../protocol/frame/submit.ts'
import type { EnvelopeId, NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvStore, Timer } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  depositReplyCodec, depositRequestCodec, depositResults, verifyStoreReceipt,
} from '../../protocol/service/deposit.ts'
import type { DepositReply, DepositResult } from '../../protocol/service/deposit.ts'
import type { Courier, HouseholdPort, Log, Overlay } from '../ports.ts'
import { outPrefix, storedOutgoing } from './adoption.ts'
import type { EnvelopeFacts, StoredOutgoing } from './adoption.ts'
import { DeliveryProofs } from './delivery-proofs.ts'
import { Destination } from './destination.ts'
import type { DepositOutcome, OfferedBatch } from './destination.ts'
import { outgoingCodec } from './records.ts'
import type { OutgoingEnvelope } from './records.ts'
import { refusal, refusalCodes } from './refusals.ts'

/** Home may take this long before the replicas are asked too. */
const homePatienceMs = 2_000
const depositTimeoutMs = 8_000
/** Stored at home but not delivered for this long: replicas get it too. */
const reofferMs = 5 * 60_000
/** A full inbox is asked again this often: its owner may have made room. */
const askFullMs = 30_000
const sweepMs = 1_000
const hourMs = 3_600_000
/** One deposit carries at most this much, so that a slow line shows progress. */
const depositBytesMax = 256 * 1024

interface Outgoing extends EnvelopeFacts {
  readonly device: string
  readonly purpose: OutgoingEnvelope['purpose']
  /** Asked for; the lowest that a copy really had is in `reached`. */
  readonly level: PrivacyLevel
  reached: PrivacyLevel | undefined
  homes: readonly NodeId[]
  replicas: readonly NodeId[]
  /** In memory only until it was offered once; read from the store afterwards. */
  bytes: Uint8Array | undefined
  /** Monotonic time of acceptance or of the last change that matters for patience. */
  sinceMs: number
  askedReplicas: boolean
  /** Home says that the inbox is full: replicas are not a way around its quota. */
  full: boolean
  readonly receipts: Map<NodeId, Uint8Array>
  last: ReceiptFrame
}

export interface OutboxComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  /** Of this process alone. */
  readonly ownKv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly household: HouseholdPort
}

export interface OutboxOptions {
  /** Deposits into our own boxes without the network. */
  readonly depositHere: (envelopes: readonly Uint8Array[]) => Promise<DepositReply>
  /** To the device's session, if it has one. */
  readonly onReceipt: (device: string, receipt: ReceiptFrame) => void
}

export class Outbox {
  readonly #components: OutboxComponents
  readonly #options: OutboxOptions
  readonly #entries = new Map<EnvelopeId, Outgoing>()
  /** Being written down; these promises never reject. */
  readonly #accepting = new Map<EnvelopeId, Promise<void>>()
  readonly #destinations = new Map<NodeId, Destination>()
  /** Of the latest: grows with each, so that their order survives a restart. */
  #acceptedAtMs = 0
  #sweep: Timer | undefined
  #stopPeerEvents: (() => void) | undefined
  #stopped = false

  constructor(components: OutboxComponents, options: OutboxOptions) {
    this.#components = components
    this.#options = options
  }

  async start(): Promise<void> {
    const { ownKv, overlay } = this.#components
    const stored = await storedOutgoing(ownKv)
    this.#acceptedAtMs = stored.at(-1)?.record.acceptedAtMs ?? 0
    this.adopt(stored)
    this.#stopPeerEvents = overlay.onPeer((nodeId, connected) => {
      if (connected) this.#destinations.get(nodeId)?.wake()
    })
    this.#armSweep()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#stopPeerEvents?.()
    this.#sweep?.cancel()
    for (const destination of this.#destinations.values()) destination.stop()
  }

  get size(): number {
    return this.#entries.size
  }

  /** Takes an envelope over, durably; answers with what is known of it by `onReceipt`. */
  async submit(device: string, frame: SubmitFrame): Promise<void> {
    const parsed = parseEnvelope(frame.envelope)
    if (!parsed.ok) throw new OpenIMError(parsed.code, parsed.detail ?? 'the envelope is malformed')
    const { id } = parsed.value
    // A repeat must not start over what is just being written down.
    while (this.#accepting.has(id)) await this.#accepting.get(id)
    const known = this.#entries.get(id)
    if (known !== undefined) {
      this.#redirect(known, frame)
      this.#options.onReceipt(device, known.last)
      return
    }
    if (this.#entries.size + this.#accepting.size >= limits.outboxMax) {
      this.#options.onReceipt(device, refusal(id, 'OUTBOX_FULL'))
      return
    }
    const accepting = this.#accept(device, frame, parsed.value)
    this.#accepting.set(id, accepting.catch(() => {}).then(() => { this.#accepting.delete(id) }))
    try {
      await accepting
    } catch (error) {
      const code = errorCode(error)
      if (code === undefined) throw error
      // The database is full or away: named by its envelope, so that the device offers it again soon.
      this.#components.log.warn({ err: error, code }, 'an envelope could not be taken over')
      this.#options.onReceipt(device, refusal(id, code))
    }
  }

  async #accept(device: string, frame: SubmitFrame, envelope: EnvelopeFacts): Promise<void> {
    const { ownKv, clock } = this.#components
    this.#acceptedAtMs = Math.max(clock.now(), this.#acceptedAtMs + 1)
    const record: OutgoingEnvelope = {
      device,
      acceptedAtMs: this.#acceptedAtMs,
      purpose: frame.purpose,
      level: frame.level,
      homes: frame.homes,
      replicas: frame.replicas,
      envelope: frame.envelope,
    }
    await ownKv.write([{ type: 'put', key: outPrefix + envelope.id, value: encode(outgoingCodec, record) }])
    if (this.#stopped) return
    const entry = this.#take(envelope, record)
    this.#options.onReceipt(device, entry.last)
  }

  /** What is in our part of the store already, and its body only there. */
  adopt(stored: readonly StoredOutgoing[]): void {
    for (const { facts, record } of stored) {
      if (!this.#stopped && !this.#entries.has(facts.id)) this.#take(facts, record).bytes = undefined
    }
  }

  /** The device knows them delivered, or gave them up. */
  async withdraw(ids: readonly EnvelopeId[]): Promise<void> {
    for (const id of ids) await this.#accepting.get(id)
    await this.#forget(ids)
  }

  #take({ id, box, expiresAtMs }: EnvelopeFacts, record: OutgoingEnvelope): Outgoing {
    const entry: Outgoing = {
      id,
      box,
      device: record.device,
      expiresAtMs,
      purpose: record.purpose,
      level: record.level,
      reached: undefined,
      homes: record.homes,
      replicas: record.replicas,
      bytes: record.envelope,
      sinceMs: this.#components.clock.monotonicMs(),
      askedReplicas: false,
      full: false,
      receipts: new Map(),
      last: {
        type: 'receipt', envelopeId: id, state: receiptStates.accepted, have: 0,
        want: record.homes.length > 0 ? 1 : this.#wanted(record.replicas), route: routes.none, level: 0,
        proofs: [], code: '',
      },
    }
    this.#entries.set(id, entry)
    for (const home of this.#first(entry.homes)) this.#destination(home).add(id)
    // True for an inbox without a home, too.
    if (entry.homes.every((home) => this.#destination(home).isSilent)) this.#askReplicas(entry)
    this.#armSweep()
    return entry
  }

  /** The device learned of new holders for an envelope that is still here. */
  #redirect(entry: Outgoing, frame: SubmitFrame): void {
    const isSame = sameNodes(entry.homes, frame.homes) && sameNodes(entry.replicas, frame.replicas)
    if (isSame) return
    entry.homes = frame.homes
    entry.replicas = frame.replicas
    entry.full = false
    entry.sinceMs = this.#components.clock.monotonicMs()
    // The owner looks for mail at the new holders only; what others hold proves nothing any more.
    for (const holder of [...entry.receipts.keys()]) {
      if (!isHolder(entry, holder)) entry.receipts.delete(holder)
    }
    for (const home of entry.homes) if (!entry.receipts.has(home)) this.#destination(home).add(entry.id)
    if (entry.askedReplicas) this.#askReplicas(entry)
  }

  #askReplicas(entry: Outgoing): void {
    entry.askedReplicas = true
    for (const replica of entry.replicas) {
      if (!entry.receipts.has(replica)) this.#destination(replica).add(entry.id)
    }
  }

  /** Homes that are asked first: of a household of ours, we are as good as the others. */
  #first(homes: readonly NodeId[]): readonly NodeId[] {
    const { nodeId } = this.#components.overlay
    return homes.includes(nodeId) ? [nodeId] : homes
  }

  #wanted(replicas: readonly NodeId[]): number {
    return Math.min(limits.replicasNeeded, this.#elsewhere(replicas).length)
  }

  /**
   * Holders other than ourselves: this node has its copy anyway, and goes off when its owner does.
   * Only where there is nobody else does our own copy count.
   */
  #elsewhere(holders: readonly NodeId[]): readonly NodeId[] {
    const others = holders.filter((nodeId) => nodeId !== this.#components.overlay.nodeId)
    return others.length > 0 ? others : holders
  }

  #destination(nodeId: NodeId): Destination {
    const known = this.#destinations.get(nodeId)
    if (known !== undefined) return known
    const work = {
      offer: (to: NodeId, ids: readonly EnvelopeId[]) => this.#offer(to, ids),
      settled: (to: NodeId, batch: OfferedBatch) => this.#settled(to, batch),
    }
    const destination = new Destination(this.#components, work, { nodeId, batchMax: limits.depositItemsMax })
    this.#destinations.set(nodeId, destination)
    return destination
  }

  async #offer(to: NodeId, wanted: readonly EnvelopeId[]): Promise<OfferedBatch> {
    const offered: EnvelopeId[] = []
    const gone: EnvelopeId[] = []
    try {
      const envelopes: Uint8Array[] = []
      let bytes = 0
      let level: PrivacyLevel = 0
      for (const id of wanted) {
        const entry = this.#entries.get(id)
        const body = entry?.bytes ?? (entry === undefined ? undefined : await this.#readBody(entry))
        if (entry === undefined || body === undefined) {
          gone.push(id)
          continue
        }
        const fits = bytes + body.length <= depositBytesMax && entry.level === level
        if (offered.length > 0 && !fits) break
        offered.push(id)
        envelopes.push(body)
        bytes += body.length
        level = entry.level
      }
      if (offered.length === 0) return { offered, gone, outcome: nothingOffered }
      return { offered, gone, outcome: await this.#deposit(to, envelopes, level) }
    } catch (error) {
      // Our own disk: full, failing, or closed because the node stops.
      this.#components.log.warn({ err: error, to }, 'envelopes could not be offered')
      return { offered, gone, outcome: { ok: false, code: errorCode(error) ?? 'SERVICE_FAILED' } }
    }
  }

  async #deposit(to: NodeId, envelopes: Uint8Array[], level: PrivacyLevel): Promise<DepositOutcome> {
    const { overlay, courier } = this.#components
    if (to === overlay.nodeId) {
      return { ok: true, level: 0, reply: await this.#options.depositHere(envelopes) }
    }
    const request = encode(depositRequestCodec, { envelopes })
    const answer = await courier.call(to, services.deposit, request, { timeoutMs: depositTimeoutMs, level })
    if (!answer.ok) return { ok: false, code: answer.code }
    const reply = tryDecode(depositReplyCodec, answer.value)
    if (!reply.ok) return reply
    if (reply.value.results.length !== envelopes.length) return { ok: false, code: 'DEPOSIT_REPLY' }
    // One holder's word (its clock may be wrong, or it lies) does not end a message.
    const results = reply.value.results.map((result, i) =>
      result === depositResults.invalid && this.#isSound(envelopes[i]!) ? depositResults.busy : result)
    return { ok: true, level: answer.level, reply: { ...reply.value, results } }
  }

  /** Whether an honest holder would take it; that its time is over is for the sweep to say. */
  #isSound(bytes: Uint8Array): boolean {
    const parsed = parseEnvelope(bytes)
    const latestMs = this.#components.clock.now() + limits.envelopeTtlMs + hourMs + limits.clockSkewMs
    return parsed.ok && parsed.value.expiresAtMs <= latestMs && verifyEnvelope(bytes, parsed.value.envelope)
  }

  async #readBody(entry: Outgoing): Promise<Uint8Array | undefined> {
    const stored = await this.#components.ownKv.get(outPrefix + entry.id)
    if (stored !== undefined) return decode(outgoingCodec, stored.value).envelope
    if (this.#entries.get(entry.id) !== entry) return undefined
    // Another process of the household took it over while we were silent.
    const isOver = !this.#components.household.isAlone
    // Lost by the disk: the device has a copy and submits it again.
    if (!isOver) this.#tell(entry, { state: receiptStates.refused, code: 'STORE_CORRUPT' })
    this.#forgetLater([entry.id])
    return undefined
  }

  #settled(to: NodeId, { offered, outcome }: OfferedBatch): void {
    if (!outcome.ok) {
      for (const id of offered) this.#unanswered(id)
      return
    }
    const { results, receipt, tombstones } = outcome.reply
    const signed = receipt === undefined ? undefined : verifyStoreReceipt(receipt)
    const covered = new Set(signed?.ok === true && signed.value.nodeId === to ? signed.value.envelopeIds : [])
    // A copy of its own: the reply around it may be a thousand times longer.
    const kept = receipt?.slice()
    const isDelivered = results.includes(depositResults.acknowledged)
    const deliveries = isDelivered ? new DeliveryProofs(tombstones) : undefined
    const done: EnvelopeId[] = []
    offered.forEach((id, i) => {
      const entry = this.#entries.get(id)
      if (entry === undefined) return
      if (entry.reached === undefined || entry.reached > outcome.level) entry.reached = outcome.level
      const delivery = deliveries?.of(entry)
      const answer = { to, result: results[i]!, receipt: covered.has(id) ? kept : undefined, delivery }
      if (this.#apply(entry, answer)) done.push(id)
    })
    if (done.length > 0) this.#forgetLater(done)
  }

  /** One destination's answer about one envelope; true when the envelope may be forgotten. */
  #apply(entry: Outgoing, answer: {
    to: NodeId, result: DepositResult, receipt: Uint8Array | undefined, delivery: Uint8Array | undefined
  }): boolean {
    entry.bytes = undefined
    switch (answer.result) {
      case depositResults.stored:
      case depositResults.duplicate:
        return answer.receipt === undefined ? false : this.#stored(entry, answer.to, answer.receipt)
      case depositResults.acknowledged:
        if (answer.delivery === undefined) return false
        this.#tell(entry, { state: receiptStates.acknowledged, proofs: [answer.delivery] })
        return true
      case depositResults.overQuota:
      case depositResults.busy:
      case depositResults.noBox:
        this.#tell(entry, { code: refusalCodes[answer.result] ?? '' })
        entry.sinceMs = this.#components.clock.monotonicMs()
        entry.full = answer.result === depositResults.overQuota && entry.homes.includes(answer.to)
        // Asked again by the sweep, elsewhere at once.
        if (!entry.askedReplicas && !entry.full) this.#askReplicas(entry)
        return false
      default:
        this.#tell(entry, { state: receiptStates.refused, code: 'ENVELOPE_REFUSED' })
        return true
    }
  }

  #stored(entry: Outgoing, holder: NodeId, receipt: Uint8Array): boolean {
    // It was asked before the owner moved.
    if (!isHolder(entry, holder)) return false
    entry.receipts.set(holder, receipt)
    entry.full = false
    const isAtHome = entry.homes.some((home) => entry.receipts.has(home))
    const have = isAtHome && !entry.askedReplicas ? 1 : this.#elsewhere([...entry.receipts.keys()]).length
    const want = isAtHome ? Math.min(1, have) : this.#wanted(entry.replicas)
    const isStored = isAtHome || have >= want
    const isOurs = entry.homes.includes(this.#components.overlay.nodeId)
    const route: Route = !isAtHome ? routes.replicas : isOurs ? routes.local : routes.direct
    entry.sinceMs = this.#components.clock.monotonicMs()
    this.#tell(entry, {
      state: isStored ? receiptStates.stored : receiptStates.accepted,
      have,
      want,
      route,
      proofs: [...entry.receipts.values()].slice(0, limits.replicasMax),
      code: '',
    })
    return isStored && entry.purpose === purposes.signal
  }

  #unanswered(id: EnvelopeId): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    entry.bytes = undefined
    const isAtHome = entry.homes.some((home) => entry.receipts.has(home))
    if (!isAtHome && !entry.askedReplicas) this.#askReplicas(entry)
  }

  #tell(entry: Outgoing, change: Partial<ReceiptFrame>): void {
    // A later, weaker answer never takes back what was proven.
    const state = Math.max(entry.last.state, change.state ?? 0) as ReceiptFrame['state']
    entry.last = { ...entry.last, ...change, state, level: entry.reached ?? 0 }
    this.#options.onReceipt(entry.device, entry.last)
  }

  /** When the disk does not take it, a restart offers them again: a duplicate, or acknowledged. */
  #forgetLater(ids: readonly EnvelopeId[]): void {
    this.#forget(ids).catch((error: unknown) => {
      this.#components.log.warn({ err: error }, 'settled envelopes could not be deleted')
    })
  }

  async #forget(ids: readonly EnvelopeId[]): Promise<void> {
    for (const id of ids) {
      const entry = this.#entries.get(id)
      if (entry === undefined) continue
      this.#entries.delete(id)
      for (const nodeId of [...entry.homes, ...entry.replicas]) this.#destinations.get(nodeId)?.remove(id)
    }
    await this.#components.ownKv.write(ids.map((id) => ({ type: 'delete', key: outPrefix + id })))
  }

  #armSweep(): void {
    if (this.#sweep !== undefined || this.#entries.size === 0 || this.#stopped) return
    this.#sweep = this.#components.clock.after(sweepMs, () => {
      this.#sweep = undefined
      this.#runSweep()
      this.#armSweep()
    })
  }

  /** Patience ran out, offers are due again, or the time of an envelope is over. */
  #runSweep(): void {
    const { clock } = this.#components
    const nowMs = clock.now()
    const monotonicMs = clock.monotonicMs()
    const expired: EnvelopeId[] = []
    for (const entry of this.#entries.values()) {
      const waitedMs = monotonicMs - entry.sinceMs
      const isAtHome = entry.homes.some((home) => entry.receipts.has(home))
      if (entry.expiresAtMs <= nowMs) {
        this.#tell(entry, { state: receiptStates.refused, code: 'ENVELOPE_EXPIRED' })
        expired.push(entry.id)
      } else if (!entry.askedReplicas && !entry.full && waitedMs > (isAtHome ? reofferMs : homePatienceMs)) {
        this.#askReplicas(entry)
      } else if (waitedMs > (entry.full ? askFullMs : reofferMs)) {
        this.#offerAgain(entry)
      }
    }
    if (expired.length > 0) this.#forgetLater(expired)
    for (const [nodeId, destination] of this.#destinations) {
      if (destination.isIdle) this.#destinations.delete(nodeId)
    }
  }

  /** Not delivered for long: everyone who should have it is asked once more. */
  #offerAgain(entry: Outgoing): void {
    entry.sinceMs = this.#components.clock.monotonicMs()
    const holders = entry.full ? entry.homes : [...entry.homes, ...entry.replicas]
    for (const nodeId of holders) this.#destination(nodeId).add(entry.id)
  }
}

const nothingOffered: DepositOutcome = {
  ok: true, level: 0, reply: { results: [], receipt: undefined, tombstones: [] },
}

function sameNodes(a: readonly NodeId[], b: readonly NodeId[]): boolean {
  return a.length === b.length && a.every((nodeId, i) => nodeId === b[i])
}

function isHolder(entry: Outgoing, nodeId: NodeId): boolean {
  return entry.homes.includes(nodeId) || entry.replicas.includes(nodeId)
}

/**
 * What other nodes may ask of our mailboxes: `lease`, `deposit`, `fetch`, `acknowledge`.
 *
 * The same deposits serve both kinds of box: those we are home to and those we hold for others.
 * Order of checks is cheapest first: structure, time, a box we know, budget, and only then the
 * signature, so that a flood of rubbish costs us little. `stored` is said after the store synced.
 */
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import { decode, encode, tryDecode } from '../../protocol/codec/struct.ts'
import { boxId, expiryMs, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import type { CheckedEnvelope } from '../../protocol/envelope.ts'
import type { BoxId, NodeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { acknowledgeReplyCodec, acknowledgeRequestCodec, verifyTombstone } from '../../protocol/service/acknowledge.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  depositReplyCodec, depositRequestCodec, depositResults, signStoreReceipt,
} from '../../protocol/service/deposit.ts'
import type { DepositReply, DepositResult } from '../../protocol/service/deposit.ts'
import { fetchReplyCodec, fetchRequestCodec, verifyReadProof } from '../../protocol/service/fetch.ts'
import { leaseReplyCodec, leaseResults, verifyLease } from '../../protocol/service/lease.ts'
import type { Lease, LeaseResult } from '../../protocol/service/lease.ts'
import type { Log, MailboxItem, MailboxStore, Overlay, PutResult } from '../ports.ts'
import { Lending } from './lending.ts'
import { lentBoxCodec } from './records.ts'
import type { LentBox } from './records.ts'

const lentPrefix = 'lent/'
const hourMs = 3_600_000
/** Leases and boxes beyond this are refused: each costs memory even when empty. */
const lentBoxesMax = 50_000

const resultOfPut: Record<PutResult, DepositResult> = {
  stored: depositResults.stored,
  duplicate: depositResults.duplicate,
  acknowledged: depositResults.acknowledged,
  'over-quota': depositResults.overQuota,
  'no-box': depositResults.noBox,
  expired: depositResults.invalid,
}

/** New mail in a box, after it is durable. */
export type MailListener = (box: BoxId, items: readonly MailboxItem[]) => void

export interface ReplicaServiceComponents {
  readonly overlay: Overlay
  readonly mailbox: MailboxStore
  readonly kv: KvStore
  readonly clock: Clock
  readonly log: Log
  readonly nodeKeys: SigningKeyPair
}

export interface ReplicaServiceOptions {
  /** False: this node holds nothing for others. */
  readonly lends: boolean
  readonly lentBytesMax: number
  readonly isFriend: (home: NodeId) => boolean
  /** Whether we are home to this box. */
  readonly isHome: (box: BoxId) => boolean
  readonly onMail: MailListener
}

export class ReplicaService {
  readonly #components: ReplicaServiceComponents
  readonly #options: ReplicaServiceOptions
  readonly #lent = new Map<BoxId, LentBox>()
  readonly #lending: Lending

  constructor(components: ReplicaServiceComponents, options: ReplicaServiceOptions) {
    this.#components = components
    this.#options = options
    this.#lending = new Lending({
      bytesMax: options.lentBytesMax, nowMs: components.clock.now(), isFriend: options.isFriend,
    })
    const { overlay } = components
    overlay.handle(services.lease, (from, body) => this.#serveLease(from, body))
    overlay.handle(services.deposit, (_from, body) => this.#serveDeposit(body))
    overlay.handle(services.fetch, (from, body) => this.#serveFetch(from, body))
    overlay.handle(services.acknowledge, (_from, body) => this.#serveAcknowledge(body))
  }

  async start(): Promise<void> {
    for await (const entry of kvEntries(this.#components.kv, lentPrefix)) {
      this.#lent.set(entry.key.slice(lentPrefix.length) as BoxId, decode(lentBoxCodec, entry.value))
    }
    await this.upkeep()
  }

  /** Removes what expired and counts again what is held. Now and then. */
  async upkeep(): Promise<void> {
    const { clock, mailbox, kv } = this.#components
    const nowMs = clock.now()
    for (const [box, lent] of this.#lent) {
      if (expiryMs(lent.expiryHour) > nowMs) continue
      this.#lent.delete(box)
      await mailbox.dropBox(box)
      await kv.write([{ type: 'delete', key: lentPrefix + box }])
    }
    while (await mailbox.expire(nowMs, 500) === 500);
    const held: { home: NodeId, bytes: number }[] = []
    for (const { box, usage } of await mailbox.boxes()) {
      const lent = this.#lent.get(box)
      if (lent !== undefined) held.push({ home: lent.home, bytes: usage.bytes })
    }
    this.#lending.recount(nowMs, held)
  }

  get lentBytes(): number {
    return this.#lending.bytes
  }

  get lentBytesMax(): number {
    return this.#lending.bytesMax
  }

  get lentBoxes(): number {
    return this.#lent.size
  }

  /** The home a lent box belongs to. */
  homeOf(box: BoxId): NodeId | undefined {
    return this.#lent.get(box)?.home
  }

  /** Takes envelopes over; the way in for other nodes and for our own outbox alike. */
  async deposit(envelopes: readonly Uint8Array[]): Promise<DepositReply> {
    const { mailbox } = this.#components
    const checked = envelopes.map((bytes) => this.#check(bytes))
    const items = checked.filter((entry): entry is MailboxItem => typeof entry !== 'number')
    const put = items.length === 0 ? [] : await mailbox.put(items)
    const results: DepositResult[] = []
    const tombstones: Uint8Array[] = []
    const held: MailboxItem[] = []
    const fresh = new Map<BoxId, MailboxItem[]>()
    let at = 0
    for (const entry of checked) {
      if (typeof entry === 'number') {
        results.push(entry)
        continue
      }
      const outcome = put[at++]!
      results.push(resultOfPut[outcome])
      if (outcome === 'stored' || outcome === 'duplicate') held.push(entry)
      if (outcome === 'stored') {
        fresh.set(entry.box, [...fresh.get(entry.box) ?? [], entry])
        const lent = this.#lent.get(entry.box)
        if (lent !== undefined) this.#lending.count(lent.home, entry.body.length)
      }
      if (outcome === 'acknowledged') {
        const proof = await mailbox.tombstone(entry.box, entry.id)
        if (proof !== undefined && !tombstones.includes(proof)) tombstones.push(proof)
      }
    }
    for (const [box, mail] of fresh) this.#options.onMail(box, mail)
    return { results, receipt: this.#receiptFor(held), tombstones }
  }

  #receiptFor(held: readonly MailboxItem[]): Uint8Array | undefined {
    if (held.length === 0) return undefined
    const { overlay, clock, nodeKeys } = this.#components
    const storedHour = Math.floor(clock.now() / hourMs)
    const envelopeIds = held.map((item) => item.id)
    return signStoreReceipt({ nodeId: overlay.nodeId, storedHour, envelopeIds }, nodeKeys)
  }

  /** A mailbox item, or why not. */
  #check(bytes: Uint8Array): MailboxItem | DepositResult {
    const parsed = parseEnvelope(bytes)
    if (!parsed.ok || !this.#isTimely(parsed.value)) return depositResults.invalid
    const { envelope, box, id, expiresAtMs } = parsed.value
    const lent = this.#lent.get(box)
    if (lent === undefined && !this.#options.isHome(box)) return depositResults.noBox
    if (lent !== undefined) {
      const decision = this.#lending.decide(lent.home, bytes.length)
      if (!decision.allow) {
        this.#components.log.info({ home: lent.home, reason: decision.reason }, 'refused a deposit: no room')
        return depositResults.busy
      }
    }
    if (!verifyEnvelope(bytes, envelope)) return depositResults.invalid
    return { box, id, expiresAtMs, body: bytes }
  }

  #isTimely({ expiresAtMs }: CheckedEnvelope): boolean {
    const nowMs = this.#components.clock.now()
    const latest = nowMs + limits.envelopeTtlMs + hourMs + limits.clockSkewMs
    return expiresAtMs > nowMs && expiresAtMs <= latest
  }

  async #serveDeposit(body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(depositRequestCodec, body)
    if (!request.ok) return request
    const reply = await this.deposit(request.value.envelopes)
    return { ok: true, value: encode(depositReplyCodec, reply) }
  }

  async #serveLease(from: NodeId, body: Uint8Array): Promise<Result<Uint8Array>> {
    const verified = verifyLease(body)
    const lease = verified.ok ? verified.value : undefined
    const result = lease === undefined || lease.home !== from ? leaseResults.invalid : await this.#grant(lease)
    return { ok: true, value: encode(leaseReplyCodec, { result, expiryHour: lease?.expiryHour ?? 0 }) }
  }

  async #grant(lease: Lease): Promise<LeaseResult> {
    const { overlay, clock, kv, mailbox } = this.#components
    if (!this.#options.lends) return leaseResults.notOffered
    const nowMs = clock.now()
    const expiresAtMs = expiryMs(lease.expiryHour)
    const isSane = lease.holder === overlay.nodeId && expiresAtMs > nowMs &&
      expiresAtMs <= nowMs + limits.leaseTtlMs + hourMs + limits.clockSkewMs &&
      lease.itemsMax <= limits.boxItemsMax && lease.bytesMax <= limits.boxBytesMax
    if (!isSane) return leaseResults.invalid
    const box = boxId(lease)
    const known = this.#lent.get(box)
    if (known !== undefined && known.sequence > lease.sequence) return leaseResults.stale
    if (lease.itemsMax === 0) {
      this.#lent.delete(box)
      await mailbox.dropBox(box)
      await kv.write([{ type: 'delete', key: lentPrefix + box }])
      return leaseResults.granted
    }
    const hasRoom = this.#lent.size < lentBoxesMax && this.#lending.decide(lease.home, 0).allow
    if (known === undefined && !hasRoom) return leaseResults.noRoom
    const lent: LentBox = {
      home: lease.home, sequence: lease.sequence, bytesMax: lease.bytesMax, expiryHour: lease.expiryHour,
    }
    await mailbox.setBox(box, { itemsMax: lease.itemsMax, bytesMax: lease.bytesMax, expiresAtMs })
    await kv.write([{ type: 'put', key: lentPrefix + box, value: encode(lentBoxCodec, lent) }])
    this.#lent.set(box, lent)
    return leaseResults.granted
  }

  async #serveFetch(from: NodeId, body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(fetchRequestCodec, body)
    if (!request.ok) return request
    const { overlay, clock, mailbox } = this.#components
    const proof = verifyReadProof(request.value.proof)
    if (!proof.ok) return proof
    const isFresh = Math.abs(clock.now() - proof.value.timeMs) <= limits.proofSkewMs
    if (proof.value.holder !== overlay.nodeId || proof.value.reader !== from || !isFresh) {
      return { ok: false, code: 'FETCH_PROOF', detail: 'the read proof is for another node or out of date' }
    }
    const { entries, more } = await mailbox.list(boxId(proof.value), {
      after: request.value.after,
      itemsMax: Math.min(request.value.itemsMax, limits.fetchItemsMax),
      bytesMax: Math.min(request.value.bytesMax, limits.fetchBytesMax),
    })
    const page = entries.map(({ position, body: envelope }) => ({ position, envelope }))
    return { ok: true, value: encode(fetchReplyCodec, { entries: page, more }) }
  }

  async #serveAcknowledge(body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(acknowledgeRequestCodec, body)
    if (!request.ok) return request
    const accepted: boolean[] = []
    for (const bytes of request.value.tombstones) accepted.push(await this.#bury(bytes))
    return { ok: true, value: encode(acknowledgeReplyCodec, { accepted }) }
  }

  async #bury(bytes: Uint8Array): Promise<boolean> {
    const { clock, mailbox } = this.#components
    const verified = verifyTombstone(bytes)
    if (!verified.ok) return false
    const box = boxId(verified.value)
    if (!this.#lent.has(box)) return false
    const expiresAtMs = clock.now() + limits.envelopeTtlMs + hourMs
    await mailbox.acknowledge(box, verified.value.envelopeIds, { expiresAtMs, proof: bytes.slice() })
    return true
  }
}

/**
 * What other nodes may ask of our mailboxes: `lease`, `deposit`, `fetch`, `acknowledge`.
 *
 * The same deposits serve both kinds of box: those we are home to and those we hold for others.
 * Order of checks is cheapest first: structure, time, a box we know, budget, and only then the
 * signature, so that a flood of rubbish costs us little. `stored` is said after the store synced,
 * and signed only where the store keeps what it says (`Store.health`): else nobody counts us as one
 * who has it, and nothing is held for others.
 */
import { hex } from '../../crypto/bytes.ts'
import type { SigningKeyPair } from '../../crypto/provider.ts'
import type { Result } from '../../crypto/errors.ts'
import { decode, encode, tryDecode } from '../../protocol/codec/struct.ts'
import { boxId, expiryMs, parseEnvelope, verifyEnvelope } from '../../protocol/envelope.ts'
import type { CheckedEnvelope } from '../../protocol/envelope.ts'
import type { BoxId, NodeId } from '../../protocol/ids.ts'
import { kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import {
  acknowledgeReplyCodec, acknowledgeRequestCodec, parseTombstone, verifyTombstone,
} from '../../protocol/service/acknowledge.ts'
import { services } from '../../protocol/service/codes.ts'
import {
  depositReplyCodec, depositRequestCodec, depositResults, signStoreReceipt,
} from '../../protocol/service/deposit.ts'
import type { DepositReply, DepositResult } from '../../protocol/service/deposit.ts'
import {
  fetchReplyCodec, fetchRequestCodec, parseReadProof, verifyReadProof,
} from '../../protocol/service/fetch.ts'
import {
  boxKinds, leaseReplyCodec, leaseResults, parseLease, verifyLease,
} from '../../protocol/service/lease.ts'
import type { BoxKind, Lease, LeaseResult } from '../../protocol/service/lease.ts'
import { signatureBytes } from '../../protocol/signed.ts'
import type {
  HouseholdPort, Log, MailboxItem, MailboxStore, Overlay, PieceStore, PutResult, Store,
} from '../ports.ts'
import { Lending } from './lending.ts'
import type { Lent } from './lending.ts'
import { PurgeClock } from './purge-clock.ts'
import { lentBoxCodec } from './records.ts'
import type { LentBox } from './records.ts'
import { Turns } from './turns.ts'

const lentPrefix = 'lent/'
const hourMs = 3_600_000
/** Leases and boxes beyond this are refused: each costs memory even when empty. */
const lentBoxesMax = 50_000
/** What owners took away is found out by looking through all boxes, and no more often than this. */
const recountMs = 10_000

const resultOfPut: Record<PutResult, DepositResult> = {
  stored: depositResults.stored,
  duplicate: depositResults.duplicate,
  acknowledged: depositResults.acknowledged,
  'over-quota': depositResults.overQuota,
  'no-box': depositResults.noBox,
  expired: depositResults.invalid,
}

/** An envelope that may be put, and the room set aside for it. */
interface Admitted {
  readonly item: MailboxItem
  readonly kind: BoxKind
  readonly release: () => void
}

/** New mail in a box, after it is durable. */
export type MailListener = (box: BoxId, items: readonly MailboxItem[]) => void

export interface ReplicaServiceComponents {
  readonly overlay: Overlay
  /** Asked whether it keeps what it says is stored. */
  readonly store: Store
  readonly mailbox: MailboxStore
  readonly pieces: PieceStore
  /** Of this process alone: the leases that it granted name it. */
  readonly ownKv: KvStore
  readonly clock: Clock
  readonly log: Log
  readonly nodeKeys: SigningKeyPair
  readonly household: HouseholdPort
}

export interface ReplicaServiceOptions {
  /** False: this node holds nothing for others. */
  readonly lends: boolean
  readonly lentBytesMax: number
  readonly isFriend: (home: NodeId) => boolean
  /** What the box is if we are home to it. */
  readonly homeKind: (box: BoxId) => BoxKind | undefined
  /** Looks for a box that `homeKind` does not know: another process may be home to it, too. */
  readonly findHome?: (box: BoxId) => Promise<void>
  readonly onMail: MailListener
  /** So many bytes of pieces of files passed through memory. */
  readonly onMoved: (bytes: number) => void
}

export class ReplicaService {
  readonly #components: ReplicaServiceComponents
  readonly #options: ReplicaServiceOptions
  readonly #lent = new Map<BoxId, LentBox>()
  readonly #lending: Lending
  /** Leases of one box, and its end, one after the other. */
  readonly #turns = new Turns()
  readonly #purgeClock: PurgeClock
  /** Less may be held than was counted. */
  #hasFreed = false

  constructor(components: ReplicaServiceComponents, options: ReplicaServiceOptions) {
    this.#components = components
    this.#options = options
    this.#purgeClock = new PurgeClock(components)
    this.#lending = new Lending({
      bytesMax: options.lentBytesMax, nowMs: components.clock.now(), isFriend: options.isFriend,
    })
    const { overlay } = components
    overlay.handle(services.lease, (from, body) => this.#serveLease(from, body))
    overlay.handle(services.deposit, (_from, body) => this.#serveDeposit(body))
    overlay.handle(services.fetch, (from, body) => this.fetch(from, body))
    overlay.handle(services.acknowledge, (_from, body) => this.#serveAcknowledge(body))
  }

  async start(): Promise<void> {
    for await (const entry of kvEntries(this.#components.ownKv, lentPrefix)) {
      this.#lent.set(entry.key.slice(lentPrefix.length) as BoxId, decode(lentBoxCodec, entry.value))
    }
    await this.upkeep()
  }

  /** Removes what expired and counts again what is held. Now and then. */
  async upkeep(): Promise<void> {
    const nowMs = await this.#purgeClock.look()
    if (nowMs !== undefined) await this.#purge(nowMs)
    await this.#recount()
  }

  async #purge(nowMs: number): Promise<void> {
    const { mailbox, pieces, ownKv, household } = this.#components
    for (const box of [...this.#lent.keys()]) {
      await this.#turns.run(box, async () => {
        const lent = this.#lent.get(box)
        if (lent !== undefined && expiryMs(lent.expiryHour) <= nowMs) await this.#drop(box)
      })
    }
    if (!household.does('keeper')) return
    while (await mailbox.expire(nowMs, 500) === 500);
    while (await ownKv.expire(nowMs, 500) === 500);
    await pieces.expire(nowMs)
  }

  async #recount(): Promise<void> {
    const { clock, mailbox, pieces } = this.#components
    this.#hasFreed = false
    const mail = (await mailbox.boxes()).map(({ box, usage }) => ({ box, bytes: usage.bytes }))
    const held: Lent[] = []
    for (const { box, bytes } of [...mail, ...await pieces.boxes()]) {
      const lent = this.#lent.get(box)
      if (lent !== undefined) held.push({ ...lent, bytes })
    }
    this.#lending.recount(clock.now(), held)
  }

  /** Our own box may be the same one: then only the lease ends. */
  async #drop(box: BoxId): Promise<void> {
    const { mailbox, pieces, ownKv } = this.#components
    const kind = this.#lent.get(box)?.kind
    this.#lent.delete(box)
    this.#hasFreed = true
    const store = kind === boxKinds.file ? pieces : mailbox
    const drops = this.#options.homeKind(box) !== undefined ? [] : [store.dropBox(box)]
    await Promise.all([...drops, ownKv.write([{ type: 'delete', key: lentPrefix + box }])])
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
    const checked = await this.#admit(envelopes)
    const outcomes = await this.#put(checked)
    const results: DepositResult[] = []
    const tombstones = new Map<string, Uint8Array>()
    const held: MailboxItem[] = []
    const fresh = new Map<BoxId, MailboxItem[]>()
    for (const [i, entry] of checked.entries()) {
      if (typeof entry === 'number') {
        results.push(entry)
        continue
      }
      const { item, kind } = entry
      const outcome = outcomes[i]!
      results.push(resultOfPut[outcome])
      if (outcome === 'stored' || outcome === 'duplicate') held.push(item)
      if (outcome === 'stored' && kind === boxKinds.mail) {
        const mail = fresh.get(item.box)
        if (mail === undefined) fresh.set(item.box, [item])
        else mail.push(item)
      }
      if (outcome === 'acknowledged') {
        const proof = await this.#components.mailbox.tombstone(item.box, item.id)
        // One covers many envelopes.
        if (proof !== undefined) tombstones.set(hex(proof.subarray(-signatureBytes)), proof)
      }
    }
    for (const [box, mail] of fresh) this.#options.onMail(box, mail)
    return { results, receipt: this.#receiptFor(held), tombstones: [...tombstones.values()] }
  }

  async #admit(envelopes: readonly Uint8Array[]): Promise<(Admitted | DepositResult)[]> {
    if (!this.#components.household.isAlone) {
      const parsed = envelopes.map((bytes) => parseEnvelope(bytes))
      const boxes = new Set(parsed.flatMap((one) => one.ok ? [one.value.box] : []))
      for (const box of boxes) await this.#find(box)
    }
    const checked = envelopes.map((bytes) => this.#check(bytes))
    const sinceMs = this.#components.clock.now() - this.#lending.countedAtMs
    if (!this.#hasFreed || sinceMs < recountMs || !checked.includes(depositResults.busy)) return checked
    await this.#recount()
    return checked.map((entry, i) => entry === depositResults.busy ? this.#check(envelopes[i]!) : entry)
  }

  /** What it is, here or at another process of the household. */
  async #find(box: BoxId): Promise<BoxKind | undefined> {
    const isKnown = this.#lent.has(box) || this.#options.homeKind(box) !== undefined
    if (!isKnown) await this.#options.findHome?.(box)
    return this.#lent.get(box)?.kind ?? this.#options.homeKind(box)
  }

  /** By the place of the envelope; what goes to the disk is counted when it is there. */
  async #put(checked: readonly (Admitted | DepositResult)[]): Promise<PutResult[]> {
    const outcomes: PutResult[] = []
    const admitted = checked.flatMap((entry, at) => typeof entry === 'number' ? [] : [{ ...entry, at }])
    if (admitted.length === 0) return outcomes
    try {
      const put = await this.#store(admitted)
      for (const [i, { item, at }] of admitted.entries()) {
        outcomes[at] = put[i]!
        const lent = this.#lent.get(item.box)
        if (put[i] === 'stored' && lent !== undefined) {
          this.#lending.count({ ...lent, bytes: item.body.length })
        }
      }
      return outcomes
    } finally {
      for (const { release } of admitted) release()
    }
  }

  /** Mail in one commit; pieces box by box. */
  async #store(admitted: readonly Admitted[]): Promise<PutResult[]> {
    const { mailbox, pieces } = this.#components
    const mail = admitted.filter(({ kind }) => kind === boxKinds.mail).map(({ item }) => item)
    const files = new Map<BoxId, MailboxItem[]>()
    for (const { item, kind } of admitted) {
      if (kind === boxKinds.file) files.set(item.box, [...files.get(item.box) ?? [], item])
    }
    const outcomes = new Map<MailboxItem, PutResult>()
    const note = (items: readonly MailboxItem[], results: readonly PutResult[]): void =>
      items.forEach((item, i) => outcomes.set(item, results[i]!))
    if (mail.length > 0) note(mail, await mailbox.put(mail))
    for (const [box, items] of files) {
      note(items, await pieces.put(box, items))
      this.#options.onMoved(items.reduce((sum, { body }) => sum + body.length, 0))
    }
    return admitted.map(({ item }) => outcomes.get(item)!)
  }

  /** A power cut must not take what we signed for. */
  get #isDurable(): boolean {
    return (this.#components.store.health?.().undurable ?? []).length === 0
  }

  #receiptFor(held: readonly MailboxItem[]): Uint8Array | undefined {
    if (held.length === 0 || !this.#isDurable) return undefined
    const { overlay, clock, nodeKeys } = this.#components
    const storedHour = Math.floor(clock.now() / hourMs)
    const envelopeIds = held.map((item) => item.id)
    return signStoreReceipt({ nodeId: overlay.nodeId, storedHour, envelopeIds }, nodeKeys)
  }

  /** What may be put, or why not. */
  #check(bytes: Uint8Array): Admitted | DepositResult {
    const parsed = parseEnvelope(bytes)
    if (!parsed.ok || !this.#isTimely(parsed.value)) return depositResults.invalid
    const { envelope, box, id, expiresAtMs } = parsed.value
    const lent = this.#lent.get(box)
    const kind = lent?.kind ?? this.#options.homeKind(box)
    if (kind === undefined) return depositResults.noBox
    if (kind === boxKinds.mail && bytes.length > limits.mailBytesMax) return depositResults.invalid
    const room = lent === undefined ? undefined : { ...lent, bytes: bytes.length }
    if (lent !== undefined && room !== undefined) {
      const decision = this.#lending.decide(room)
      if (!decision.allow) {
        const { log } = this.#components
        log.info({ home: lent.home, reason: decision.reason }, 'refused a deposit: no room')
        return depositResults.busy
      }
    }
    if (!verifyEnvelope(bytes, envelope)) return depositResults.invalid
    const release = room === undefined ? () => {} : this.#lending.promise(room)
    return { item: { box, id, expiresAtMs, body: bytes }, kind, release }
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
    const parsed = parseLease(body)
    const lease = parsed.ok && parsed.value.home === from ? parsed.value : undefined
    const result = lease === undefined
      ? leaseResults.invalid
      : await this.#turns.run(boxId(lease), () => this.#grant(lease, body))
    return { ok: true, value: encode(leaseReplyCodec, { result, expiryHour: lease?.expiryHour ?? 0 }) }
  }

  async #grant(lease: Lease, signed: Uint8Array): Promise<LeaseResult> {
    const { ownKv, mailbox, pieces, household } = this.#components
    const isOffered = this.#options.lends && this.#isDurable && household.does('lender')
    if (!isOffered) return leaseResults.notOffered
    const box = boxId(lease)
    const known = this.#lent.get(box)
    if (!this.#isSane(lease) || (known?.kind ?? lease.kind) !== lease.kind) return leaseResults.invalid
    if (known !== undefined && known.sequence > lease.sequence) return leaseResults.stale
    if (!verifyLease(signed).ok) return leaseResults.invalid
    if (lease.itemsMax === 0) {
      await this.#drop(box)
      return leaseResults.granted
    }
    const { home, kind, sequence, itemsMax, bytesMax, expiryHour } = lease
    // An inbox fills slowly, if at all; a file comes whole and at once, or should go elsewhere.
    const bytes = kind === boxKinds.file ? bytesMax : 0
    const hasRoom = this.#lent.size < lentBoxesMax && this.#lending.decide({ home, kind, bytes }).allow
    if (known === undefined && !hasRoom) return leaseResults.noRoom
    const lent: LentBox = { home, kind, sequence, bytesMax, expiryHour }
    const store = kind === boxKinds.file ? pieces : mailbox
    await store.setBox(box, { itemsMax, bytesMax, expiresAtMs: expiryMs(expiryHour) })
    await ownKv.write([{ type: 'put', key: lentPrefix + box, value: encode(lentBoxCodec, lent) }])
    this.#lent.set(box, lent)
    return leaseResults.granted
  }

  #isSane(lease: Lease): boolean {
    const { overlay, clock } = this.#components
    const nowMs = clock.now()
    const expiresAtMs = expiryMs(lease.expiryHour)
    const isFile = lease.kind === boxKinds.file
    return lease.holder === overlay.nodeId && expiresAtMs > nowMs &&
      expiresAtMs <= nowMs + limits.leaseTtlMs + hourMs + limits.clockSkewMs &&
      lease.itemsMax <= (isFile ? limits.filePiecesMax : limits.boxItemsMax) &&
      lease.bytesMax <= (isFile ? limits.fileBoxBytesMax : limits.boxBytesMax)
  }

  /** Answers whoever has the box's read key; the way in for other nodes and our own devices alike. */
  async fetch(from: NodeId, body: Uint8Array): Promise<Result<Uint8Array>> {
    const request = tryDecode(fetchRequestCodec, body)
    if (!request.ok) return request
    const { overlay, clock, mailbox, pieces } = this.#components
    const { proof: signed, after } = request.value
    const proof = parseReadProof(signed)
    if (!proof.ok) return proof
    const isFresh = Math.abs(clock.now() - proof.value.timeMs) <= limits.proofSkewMs
    if (proof.value.holder !== overlay.nodeId || proof.value.reader !== from || !isFresh) {
      return { ok: false, code: 'FETCH_PROOF', detail: 'the read proof is for another node or out of date' }
    }
    const box = boxId(proof.value)
    const kind = await this.#find(box)
    if (kind === undefined) {
      // So that an owner whose lease got lost here hears of it, and leases anew.
      return { ok: false, code: 'INBOX_GONE', detail: 'this node does not hold the inbox' }
    }
    const verified = verifyReadProof(signed)
    if (!verified.ok) return verified
    const store = kind === boxKinds.file ? pieces : mailbox
    const { entries, more } = await store.list(box, {
      after,
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
    const parsed = parseTombstone(bytes)
    if (!parsed.ok) return false
    const box = boxId(parsed.value)
    if (this.#lent.get(box)?.kind !== boxKinds.mail || !verifyTombstone(bytes).ok) return false
    const expiresAtMs = clock.now() + limits.envelopeTtlMs + hourMs
    const { envelopeIds } = parsed.value
    const found = await mailbox.acknowledge(box, envelopeIds, { expiresAtMs, proof: bytes.slice() })
    if (found > 0) this.#hasFreed = true
    return true
  }
}

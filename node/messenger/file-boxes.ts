/**
 * The file boxes of our own people: filled by a device, kept here, and copied piece by piece to
 * the nodes that lend us room, while the device may come and go.
 *
 * ```text
 *   device ──filePut──► pieces at home ──deposit, in order──► holder 1 … 5
 *          ◄─fileHeld── receipts, numbered and written down ◄──┘
 * ```
 *
 * A holder that takes nothing for `limits.fileHolderPatienceMs` makes room for another, until the
 * device says that the holders were told to somebody (*keep*): then they stay and are only
 * filled up. Reading goes the other way: a device of ours reads any box of which it has the read
 * key, wherever it is held, through us (`fetch`).
 */
import { hexDecode } from '../../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { Random } from '../../crypto/random.ts'
import { decode, encode, tryDecode } from '../../protocol/codec/struct.ts'
import { boxId, expiryHour, expiryMs, parseEnvelope } from '../../protocol/envelope.ts'
import { fileBoxActions } from '../../protocol/frame/file.ts'
import type { FileBoxFrame, FileFetchFrame } from '../../protocol/frame/file.ts'
import type { BoxId, NodeId } from '../../protocol/ids.ts'
import { changeEntry, kvEntries } from '../../protocol/kv.ts'
import { limits } from '../../protocol/limits.ts'
import type { NodeDescriptor } from '../../protocol/node-descriptor.ts'
import type { Clock, KvStore } from '../../protocol/ports.ts'
import { services } from '../../protocol/service/codes.ts'
import { depositResults } from '../../protocol/service/deposit.ts'
import type { DepositReply } from '../../protocol/service/deposit.ts'
import { fetchReplyCodec, fetchRequestCodec } from '../../protocol/service/fetch.ts'
import type { FetchReply } from '../../protocol/service/fetch.ts'
import { hintKinds } from '../../protocol/service/household.ts'
import { boxKinds } from '../../protocol/service/lease.ts'
import { Repeater, within } from '../../protocol/timers.ts'
import type { Courier, HouseholdPort, Log, Overlay, PieceStore } from '../ports.ts'
import { FileCopy, PieceRequests } from './file-copy.ts'
import { heldPiecesCodec, ownFileBoxCodec } from './records.ts'
import type { HeldPieces, OwnFileBox } from './records.ts'
import { maintainReplicas, releaseReplicas } from './replica-set.ts'

export const boxPrefix = 'file/'
export const heldPrefix = 'held/'
/** A device that opens a box waits this long for holders; more may join later. */
const openPatienceMs = 4_000
const upkeepMs = 10 * 60_000
const fetchTimeoutMs = 20_000

/** What a device is told of its box. */
export interface FileHeld {
  readonly account: string
  readonly box: BoxId
  readonly replicas: readonly NodeId[]
  readonly pieces: number
  readonly proofs: readonly Uint8Array[]
}

interface OwnBox {
  readonly id: BoxId
  record: OwnFileBox
  /** Number of the last proof that is written down. */
  lastProof: number
  readonly copies: Map<NodeId, FileCopy>
  /** Tried and given up: not asked again while this box is being filled. */
  readonly avoided: Set<NodeId>
  /** Work on its holders runs one after the other. */
  turn: Promise<unknown>
}

export interface FileBoxesComponents {
  readonly overlay: Overlay
  readonly courier: Courier
  readonly pieces: PieceStore
  readonly kv: KvStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly household: HouseholdPort
}

export interface FileBoxesOptions {
  /** Storage nodes known now, without ourselves. */
  readonly storageNodes: () => readonly NodeDescriptor[]
  readonly depositHere: (envelopes: readonly Uint8Array[]) => Promise<DepositReply>
  /** The `fetch` service of this node. */
  readonly fetchHere: (from: NodeId, body: Uint8Array) => Promise<Result<Uint8Array>>
  /** So many bytes of pieces passed through memory. */
  readonly onMoved: (bytes: number) => void
  /** To the devices of the account. */
  readonly onHeld: (held: FileHeld) => void
}

export class FileBoxes {
  readonly #components: FileBoxesComponents
  readonly #options: FileBoxesOptions
  readonly #boxes = new Map<BoxId, OwnBox>()
  readonly #requests: PieceRequests
  /** Reads under way, by account. */
  readonly #fetches = new Map<string, number>()
  readonly #upkeep: Repeater
  #stopPeerEvents: (() => void) | undefined
  #isRunning = false

  constructor(components: FileBoxesComponents, options: FileBoxesOptions) {
    this.#components = components
    this.#options = options
    this.#requests = new PieceRequests(components.pieces, options.onMoved)
    this.#upkeep = new Repeater(components, () => this.#keepUp(), {
      everyMs: upkeepMs,
      spread: 0.3,
      onError: (error) => components.log.warn({ err: error }, 'upkeep of file boxes failed'),
    })
  }

  /** Before the overlay takes calls. */
  async load(): Promise<void> {
    for await (const { value } of kvEntries(this.#components.kv, boxPrefix)) {
      await this.#readHeld(this.#remember(decode(ownFileBoxCodec, value)))
    }
  }

  /** Another process may have opened, filled or closed any. */
  async refreshAll(): Promise<void> {
    const boxes = new Set(this.#boxes.keys())
    for await (const { key } of kvEntries(this.#components.kv, boxPrefix)) {
      boxes.add(key.slice(boxPrefix.length) as BoxId)
    }
    for (const box of boxes) await this.refresh(box)
  }

  /** Another process may have opened, filled or closed this one. */
  async refresh(box: BoxId): Promise<void> {
    const entry = await this.#components.kv.get(boxPrefix + box)
    const known = this.#boxes.get(box)
    if (entry === undefined) {
      if (known !== undefined) this.#forget(known)
      return
    }
    const record = decode(ownFileBoxCodec, entry.value)
    const own = known ?? this.#remember(record)
    own.record = record
    this.#attend(own)
    if (!this.#isKeeper) return
    for (const copy of own.copies.values()) copy.wake()
    if (record.replicas.length === 0) void this.#recruit(own)
  }

  /** The keeper of the household got a signature of a holder, and wrote it under this key. */
  async onHeld(key: string): Promise<void> {
    const entry = await this.#components.kv.get(key)
    const own = this.#boxes.get(key.slice(heldPrefix.length, key.lastIndexOf('/')) as BoxId)
    if (entry === undefined || own === undefined) return
    this.#tell(own, [decode(heldPiecesCodec, entry.value).receipt])
  }

  /** There are new pieces. */
  wake(box: BoxId): void {
    for (const copy of this.#boxes.get(box)?.copies.values() ?? []) copy.wake()
  }

  /** Whether this process is to bring the pieces to their holders from now on. */
  async onKeeper(): Promise<void> {
    for (const own of [...this.#boxes.values()]) {
      this.#attend(own)
      if (!this.#isKeeper) continue
      await this.#readHeld(own)
      await this.refresh(own.id)
    }
  }

  /** Where all are held is told again. */
  tellAll(): void {
    for (const own of this.#boxes.values()) this.#tell(own, [])
  }

  get #isKeeper(): boolean {
    return this.#components.household.does('keeper')
  }

  async #readHeld(own: OwnBox): Promise<void> {
    for await (const { key, value } of kvEntries(this.#components.kv, `${heldPrefix}${own.id}/`)) {
      const { holder, position } = decode(heldPiecesCodec, value)
      own.lastProof = Math.max(own.lastProof, Number(key.slice(key.lastIndexOf('/') + 1)))
      const copy = own.copies.get(holder)
      if (copy !== undefined) copy.position = Math.max(copy.position, position)
    }
  }

  start(): void {
    this.#isRunning = true
    this.#stopPeerEvents = this.#components.overlay.onPeer((nodeId, connected) => {
      if (connected) for (const own of this.#boxes.values()) own.copies.get(nodeId)?.wake()
    })
    this.#upkeep.start(0)
  }

  async stop(): Promise<void> {
    this.#isRunning = false
    this.#stopPeerEvents?.()
    for (const own of this.#boxes.values()) for (const copy of own.copies.values()) copy.stop()
    await this.#upkeep.stop()
  }

  isHome(box: BoxId): boolean {
    return this.#boxes.has(box)
  }

  /** @throws INBOX_TAKEN, INBOX_GONE, FILE_QUOTA */
  async apply(account: string, frame: FileBoxFrame): Promise<FileHeld> {
    const readKey = crypto.signingKeyPair(frame.readSeed).publicKey
    const id = boxId({ writeKey: frame.writeKey, readKey })
    const known = this.#boxes.get(id)
    if (known !== undefined && known.record.account !== account) {
      throw new OpenIMError('INBOX_TAKEN', 'another account of this node has this file box')
    }
    if (frame.action === fileBoxActions.open) return await this.#open(account, id, frame)
    if (frame.action === fileBoxActions.close) {
      if (known !== undefined) await this.#drop(known)
      return { account, box: id, replicas: [], pieces: 0, proofs: [] }
    }
    if (known === undefined) throw gone()
    await this.#save(known, { isKept: true })
    return await this.#held(known, [])
  }

  /** Takes a piece of an own box. The reply has this node's receipt. @throws INBOX_GONE, STORE_* */
  async put(account: string, envelope: Uint8Array): Promise<FileHeld> {
    const parsed = parseEnvelope(envelope)
    const own = parsed.ok ? this.#boxes.get(parsed.value.box) : undefined
    if (own === undefined || own.record.account !== account) throw gone()
    this.#options.onMoved(envelope.length)
    const { results, receipt } = await this.#options.depositHere([envelope])
    if (receipt === undefined) {
      if (results[0] === depositResults.stored || results[0] === depositResults.duplicate) {
        throw new OpenIMError('STORE_SETTINGS', 'the database of this node may lose what it stores')
      }
      const isFull = results[0] === depositResults.overQuota
      throw new OpenIMError(isFull ? 'INBOX_FULL' : 'ENVELOPE_REFUSED', 'the file box takes no such piece')
    }
    this.wake(own.id)
    if (!this.#isKeeper) this.#components.household.tell({ kind: hintKinds.mail, subject: own.id })
    return await this.#held(own, [receipt])
  }

  /** Reads a box for a device that has its read key. What the network refuses is a result. */
  async fetch(account: string, frame: FileFetchFrame): Promise<Result<FetchReply>> {
    const underWay = this.#fetches.get(account) ?? 0
    if (underWay >= limits.fileFetchesMax) return { ok: false, code: 'REQUEST_TOO_MANY' }
    this.#fetches.set(account, underWay + 1)
    try {
      const answer = await this.#fetchFrom(frame)
      const reply = answer.ok ? tryDecode(fetchReplyCodec, answer.value) : answer
      if (answer.ok) this.#options.onMoved(answer.value.length)
      return reply.ok ? { ok: true, value: fitting(reply.value) } : reply
    } finally {
      const left = this.#fetches.get(account)! - 1
      if (left > 0) this.#fetches.set(account, left)
      else this.#fetches.delete(account)
    }
  }

  async #fetchFrom({ holder, proof, after, itemsMax }: FileFetchFrame): Promise<Result<Uint8Array>> {
    const { overlay, courier } = this.#components
    const body = encode(fetchRequestCodec, {
      proof, after, itemsMax: Math.min(itemsMax, limits.fetchItemsMax), bytesMax: limits.envelopeBytesMax,
    })
    if (holder === overlay.nodeId) return await this.#options.fetchHere(holder, body)
    return await courier.call(holder, services.fetch, body, { timeoutMs: fetchTimeoutMs, level: 0 })
  }

  async #open(account: string, box: BoxId, frame: FileBoxFrame): Promise<FileHeld> {
    const own = this.#boxes.get(box) ?? await this.#create(account, box, frame)
    // Elsewhere the keeper does it as soon as it hears, and the device is told then.
    if (this.#isKeeper) await within(this.#components.clock, openPatienceMs, this.#recruit(own))
    return await this.#held(own, await this.#proofs(own))
  }

  async #create(account: string, box: BoxId, frame: FileBoxFrame): Promise<OwnBox> {
    const { clock, pieces } = this.#components
    const itemsMax = Math.min(frame.itemsMax, limits.filePiecesMax)
    const bytesMax = Math.min(frame.bytesMax, limits.fileBoxBytesMax)
    const hour = Math.min(frame.expiryHour, expiryHour(clock.now() + limits.envelopeTtlMs))
    this.#checkQuota(account, bytesMax)
    await pieces.setBox(box, { itemsMax, bytesMax, expiresAtMs: expiryMs(hour) })
    const own = this.#boxes.get(box) ?? this.#remember({
      kind: boxKinds.file,
      account,
      writeKey: frame.writeKey.slice(),
      readSeed: frame.readSeed.slice(),
      placement: hexDecode(box),
      itemsMax,
      bytesMax,
      expiryHour: hour,
      leaseSequence: 0,
      replicas: [],
      isKept: false,
    })
    await this.#save(own)
    return own
  }

  #checkQuota(account: string, more: number): void {
    const own = [...this.#boxes.values()].filter(({ record }) => record.account === account)
    const bytes = own.reduce((sum, { record }) => sum + record.bytesMax, more)
    if (own.length < limits.fileBoxesMax && bytes <= limits.fileBoxesBytesMax) return
    throw new OpenIMError('FILE_QUOTA', `${own.length} files of yours wait to be fetched; that is the limit`)
  }

  /** A first page for the answer; the rest follows as if it were signed now. */
  async #proofs(own: OwnBox): Promise<Uint8Array[]> {
    const proofs: Uint8Array[] = []
    for await (const { value } of kvEntries(this.#components.kv, `${heldPrefix}${own.id}/`)) {
      proofs.push(decode(heldPiecesCodec, value).receipt)
    }
    for (let at = limits.fileProofsMax; at < proofs.length; at += limits.fileProofsMax) {
      this.#tell(own, proofs.slice(at, at + limits.fileProofsMax))
    }
    return proofs.slice(0, limits.fileProofsMax)
  }

  async #held(own: OwnBox, proofs: readonly Uint8Array[]): Promise<FileHeld> {
    const pieces = await this.#components.pieces.count(own.id)
    const { account, replicas } = own.record
    return { account, box: own.id, replicas: replicas.map(({ nodeId }) => nodeId), pieces, proofs }
  }

  #tell(own: OwnBox, proofs: readonly Uint8Array[]): void {
    this.#held(own, proofs).then(this.#options.onHeld, (error: unknown) => {
      this.#components.log.debug({ code: errorCode(error) }, 'news of a file were not told')
    })
  }

  #remember(record: OwnFileBox): OwnBox {
    const id = boxId({ writeKey: record.writeKey, readKey: readKeyOf(record) })
    const own: OwnBox = {
      id, record, lastProof: 0, copies: new Map(), avoided: new Set(), turn: Promise.resolve(),
    }
    this.#boxes.set(id, own)
    this.#attend(own)
    return own
  }

  /** One copy for each holder of the record, none for others. */
  #attend(own: OwnBox): void {
    const holders = new Set(this.#isKeeper ? own.record.replicas.map(({ nodeId }) => nodeId) : [])
    for (const [nodeId, copy] of own.copies) {
      if (holders.has(nodeId)) continue
      copy.stop()
      own.copies.delete(nodeId)
    }
    const components = { ...this.#components, requests: this.#requests }
    for (const holder of holders) {
      if (own.copies.has(holder)) continue
      own.copies.set(holder, new FileCopy(components, { box: own.id, holder }, {
        signed: (step) => this.#signed(own, step),
        failing: (forMs) => this.#failing(own, { holder, forMs }),
      }))
    }
  }

  async #signed(own: OwnBox, step: HeldPieces): Promise<void> {
    const number = ++own.lastProof
    const key = `${heldPrefix}${own.id}/${String(number).padStart(8, '0')}`
    const { household, kv } = this.#components
    await household.fenced('keeper', kv).write([{ type: 'put', key, value: encode(heldPiecesCodec, step) }])
    household.tell({ kind: hintKinds.changed, subject: key })
    if (this.#boxes.has(own.id)) this.#tell(own, [step.receipt])
  }

  /** The holder makes room for another, unless it was told to somebody. */
  #failing(own: OwnBox, { holder, forMs }: { holder: NodeId, forMs: number }): void {
    const isGivenUp = forMs >= limits.fileHolderPatienceMs && !own.record.isKept && this.#isRunning
    if (!isGivenUp || own.avoided.has(holder)) return
    own.avoided.add(holder)
    this.#components.log.info({ holder, box: own.id }, 'a holder of a file takes nothing: replaced')
    void this.#recruit(own)
  }

  /** As many holders as should be, of those that answer. Never rejects. */
  #recruit(own: OwnBox): Promise<void> {
    const { household, kv } = this.#components
    const work = own.turn.then(async () => {
      if (!this.#isRunning || !this.#isKeeper || own.record.isKept || !this.#boxes.has(own.id)) return
      const before = own.record
      const kept = before.replicas.filter(({ nodeId }) => !own.avoided.has(nodeId))
      const dropped = before.replicas.filter(({ nodeId }) => own.avoided.has(nodeId))
      const candidates = this.#options.storageNodes().filter(({ nodeId }) => !own.avoided.has(nodeId))
      const after = await maintainReplicas(
        this.#replicaComponents(),
        { ...before, replicas: kept },
        () => ({ candidates, preferred: new Set() }),
      )
      if (!this.#isRunning || !this.#boxes.has(own.id)) return
      const { leaseSequence, replicas } = after
      const isSame = dropped.length === 0 && replicas.length === before.replicas.length
      if (isSame && leaseSequence === before.leaseSequence) return
      await this.#save(own, { leaseSequence, replicas }, household.fenced('keeper', kv))
      void releaseReplicas(this.#replicaComponents(), { ...own.record, replicas: dropped })
      if (!isSame) this.#tell(own, [])
    }).catch((error: unknown) => {
      this.#components.log.warn({ err: error, box: own.id }, 'holders of a file could not be noted')
    })
    own.turn = work
    return work
  }

  #replicaComponents(): { courier: Courier, clock: Clock, self: NodeId } {
    const { courier, clock, overlay } = this.#components
    return { courier, clock, self: overlay.nodeId }
  }

  /** Others of the household change the same records: a change is made to what is stored now. */
  async #save(own: OwnBox, change: Partial<OwnFileBox> = {}, kv = this.#components.kv): Promise<void> {
    const { household } = this.#components
    // Before it is written: what this process does next counts on it.
    own.record = { ...own.record, ...change }
    await changeEntry(kv, boxPrefix + own.id, (value) => {
      const stored = value === undefined || household.isAlone ? own.record : decode(ownFileBoxCodec, value)
      own.record = { ...stored, ...change }
      return encode(ownFileBoxCodec, own.record)
    })
    household.tell({ kind: hintKinds.changed, subject: boxPrefix + own.id })
    this.#attend(own)
    if (this.#isRunning) this.wake(own.id)
  }

  #forget(own: OwnBox): void {
    this.#boxes.delete(own.id)
    for (const copy of own.copies.values()) copy.stop()
  }

  async #drop(own: OwnBox): Promise<void> {
    const { kv, pieces, household } = this.#components
    this.#forget(own)
    void releaseReplicas(this.#replicaComponents(), own.record)
    await Promise.all([
      pieces.dropBox(own.id),
      kv.write([{ type: 'delete', key: boxPrefix + own.id }]),
    ])
    household.tell({ kind: hintKinds.changed, subject: boxPrefix + own.id })
    for await (const { key } of kvEntries(kv, `${heldPrefix}${own.id}/`)) {
      await kv.write([{ type: 'delete', key }])
    }
  }

  async #keepUp(): Promise<void> {
    this.#requests.forget()
    const nowMs = this.#components.clock.now()
    for (const own of [...this.#boxes.values()]) {
      if (!this.#isRunning || !this.#isKeeper) return
      if (expiryMs(own.record.expiryHour) <= nowMs) await this.#drop(own)
      else for (const copy of own.copies.values()) copy.wake()
    }
  }
}

function readKeyOf({ readSeed }: OwnFileBox): Uint8Array {
  return crypto.signingKeyPair(readSeed).publicKey
}

function gone(): OpenIMError {
  return new OpenIMError('INBOX_GONE', 'this node does not have the file box')
}

/** What fits into one frame to the device, and at least the first; a holder may send more than asked. */
function fitting({ entries, more }: FetchReply): FetchReply {
  let bytes = 0
  const taken = entries.filter(({ envelope }, i) => {
    bytes += envelope.length
    return i === 0 || bytes <= limits.envelopeBytesMax
  })
  return { entries: taken, more: more || taken.length < entries.length }
}

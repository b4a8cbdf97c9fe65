/**
 * One file on its way into its box: read piece by piece, sealed, put at home, and copied from
 * there by the node; done when enough holders have signed for every piece.
 *
 * ```text
 *   source ─read─► seal ─► mark on disk ─► filePut ─► home's receipt ─┐
 *                                           fileHeld ◄─ holders' receipts ─► enough? ─► keep ─► body
 * ```
 *
 * After a crash the source is read again from its start, for the hash; what was put is not sealed
 * again, only compared with its mark, so a file that changed meanwhile is noticed.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { Sha256 } from '../../crypto/hasher.ts'
import { crypto } from '../../crypto/index.ts'
import { decode } from '../codec/struct.ts'
import { boxId, envelopeId } from '../envelope.ts'
import { fileBoxBytes, fileKeys, fileShape, pieceEnvelope, pieceRange, sealPiece } from '../file-piece.ts'
import type { FileKeys } from '../file-piece.ts'
import { fileBoxActions } from '../frame/file.ts'
import type { FileBoxAction, FileHeldFrame } from '../frame/file.ts'
import type { BoxId, EnvelopeId, MessageId, NodeId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { FileBody } from '../message/file.ts'
import { verifyStoreReceipt } from '../service/deposit.ts'
import { sleep } from '../timers.ts'
import type { FileSource } from './api.ts'
import { Batch } from './batch.ts'
import type { Context } from './context.ts'
import { fileKeysOf, pieceMarkCodec, PieceSet, uploadCodec } from './file-records.ts'
import type { FileRecord, PieceMark, UploadRecord } from './file-records.ts'
import { lastNumber } from './keys.ts'
import type { Uplink } from './uplink.ts'

/** Asked again after this, doubling up to `limits.errandMaxMs`. */
const retryMinMs = 1_000
/** Nothing changes by asking again. */
const finalCodes: ReadonlySet<string> = new Set([
  'FILE_QUOTA', 'INBOX_TAKEN', 'INBOX_FULL', 'ENVELOPE_REFUSED',
])

/** Home does not have what it signed for: everything is put again. */
class HomeLost extends Error {}

export interface UploadJob {
  readonly id: MessageId
  readonly file: FileRecord
  readonly record: UploadRecord
  readonly source: FileSource
}

export interface UploadNews {
  /** Content bytes that home has signed for, and holders that have all. */
  readonly done: number
  readonly have: number
  readonly want: number
  /** Why it does not get on, or empty. */
  readonly code: string
}

export class Upload {
  readonly id: MessageId
  readonly box: BoxId
  readonly #context: Context
  readonly #uplink: Uplink
  readonly #onNews: (news: UploadNews) => void
  readonly #file: FileRecord
  readonly #source: FileSource
  readonly #keys: FileKeys
  readonly #writeKeys
  readonly #readKeys
  readonly #abort = new AbortController()
  readonly #marks = new Map<number, PieceMark>()
  readonly #indexes = new Map<EnvelopeId, number>()
  readonly #holders = new Map<NodeId, PieceSet>()
  readonly #record: UploadRecord
  #atHome: PieceSet
  #code = ''
  #homes: NodeId[] = []
  #replicas: NodeId[] = []
  /** The node knows the box in this session; while it is asked, the answer. */
  #isOpen = false
  #opening: Promise<void> | undefined
  #wake = Promise.withResolvers<void>()

  constructor(
    components: { readonly context: Context, readonly uplink: Uplink },
    job: UploadJob,
    onNews: (news: UploadNews) => void,
  ) {
    const { id, file, record, source } = job
    const shape = fileShape({ length: file.note.length, pieceBytes: record.pieceBytes })!
    this.id = id
    this.#context = components.context
    this.#uplink = components.uplink
    this.#onNews = onNews
    this.#file = file
    this.#source = source
    this.#record = record
    this.#keys = fileKeys(shape, record.key)
    this.#writeKeys = crypto.signingKeyPair(record.writeSeed)
    this.#readKeys = crypto.signingKeyPair(record.readSeed)
    this.box = boxId({ writeKey: this.#writeKeys.publicKey, readKey: this.#readKeys.publicKey })
    this.#atHome = new PieceSet(shape.pieces, record.atHome)
  }

  /** Settles with the message to be sent. @throws FILE_CHANGED, FILE_*, STORE_*, CLIENT_STOPPED */
  async run(): Promise<FileBody> {
    await this.#loadMarks()
    for (;;) {
      try {
        const hash = await this.#fill()
        await this.#copied()
        return this.#body(hash)
      } catch (error) {
        if (!(error instanceof HomeLost)) throw error
      }
    }
  }

  /** Enough holders have all of it, and stay. */
  async #copied(): Promise<void> {
    for (let retries = 0; ;) {
      await this.#opened()
      if (!this.#isEnough()) {
        await this.#woken()
        continue
      }
      const kept = await this.#askBox(fileBoxActions.keep)
      if (kept.ok) return
      await this.#pause(kept.code, retries++)
    }
  }

  /** Ends `run` with CLIENT_STOPPED; what is written down stays. */
  stop(): void {
    this.#abort.abort()
    this.#stir()
  }

  /** A new session: the node is asked what happened meanwhile. */
  reset(): void {
    this.#isOpen = false
    this.#stir()
  }

  /** Holders, and what they signed. Nothing is believed that is not proven. */
  receive(frame: FileHeldFrame): void {
    this.#homes = frame.homes
    this.#replicas = frame.replicas
    for (const proof of frame.proofs) this.#take(proof)
    this.#tell()
    this.#stir()
  }

  /** Tells the node to give the box up; the next session says it again. */
  async close(): Promise<boolean> {
    const closed = await this.#askBox(fileBoxActions.close)
    return closed.ok
  }

  async #loadMarks(): Promise<void> {
    for await (const entry of kvEntries(this.#context.kv, fileKeysOf.pieces(this.id))) {
      this.#keepMark(lastNumber(entry.key), decode(pieceMarkCodec, entry.value))
    }
  }

  #keepMark(index: number, mark: PieceMark): void {
    this.#marks.set(index, mark)
    this.#indexes.set(mark.envelopeId, index)
  }

  /** Every piece at home; gives the hash of the whole. */
  async #fill(): Promise<Uint8Array> {
    const { shape } = this.#keys
    const hasher = new Sha256()
    const underWay = new Set<Promise<void>>()
    let failure: unknown
    for (let index = 0; index < shape.pieces && failure === undefined; index++) {
      this.#checkRunning()
      const { offset, length } = pieceRange(shape, index)
      const content = await this.#source.read(offset, length)
      if (content.length !== length) throw changed()
      hasher.update(content)
      const envelope = await this.#seal(index, content)
      if (envelope === undefined) continue
      const put = this.#put(index, envelope).catch((error: unknown) => { failure ??= error })
      underWay.add(put)
      void put.then(() => underWay.delete(put))
      if (underWay.size >= limits.filePiecesUnderWay) await Promise.race(underWay)
    }
    await Promise.all(underWay)
    if (failure !== undefined) throw failure
    return hasher.digest()
  }

  /** `undefined` for a piece that is at home already, and still the same. */
  async #seal(index: number, content: Uint8Array): Promise<Uint8Array | undefined> {
    const piece = sealPiece(this.#keys, index, content)
    const mark = this.#marks.get(index)
    if (mark !== undefined && !equalBytes(mark.nonce, piece.nonce)) throw changed()
    if (this.#atHome.has(index)) return undefined
    const { expiryHour } = this.#file
    const box = { writeKeys: this.#writeKeys, readKey: this.#readKeys.publicKey, expiryHour }
    const envelope = pieceEnvelope(box, piece)
    if (mark === undefined) {
      const fresh = { envelopeId: envelopeId(envelope), nonce: piece.nonce }
      const batch = new Batch()
      batch.put(fileKeysOf.piece(this.id, index), pieceMarkCodec, fresh)
      await batch.commit(this.#context.kv)
      this.#keepMark(index, fresh)
    }
    return envelope
  }

  /** Until home has signed for it. */
  async #put(index: number, envelope: Uint8Array): Promise<void> {
    for (let retries = 0; !this.#atHome.has(index); retries++) {
      await this.#opened()
      const held = await this.#uplink.request({ type: 'filePut', envelope }, 'fileHeld')
      this.#checkRunning()
      if (held.ok) {
        this.receive(held.value)
        if (this.#atHome.has(index)) return await this.#save()
      } else if (held.code === 'INBOX_GONE') {
        this.#isOpen = false
      }
      await this.#pause(held.ok ? 'FILE_PROOF' : held.code, retries)
    }
  }

  #take(receipt: Uint8Array): void {
    const verified = verifyStoreReceipt(receipt)
    if (!verified.ok) return
    const { nodeId, envelopeIds } = verified.value
    const { pieces } = this.#keys.shape
    const isHome = this.#homes.includes(nodeId)
    if (!isHome && !this.#replicas.includes(nodeId)) return
    const held = isHome ? this.#atHome : this.#holders.get(nodeId) ?? new PieceSet(pieces)
    for (const id of envelopeIds) {
      const index = this.#indexes.get(id)
      if (index !== undefined) held.add(index)
    }
    if (!isHome) this.#holders.set(nodeId, held)
  }

  /** Replicas that have all of it. */
  get #complete(): NodeId[] {
    const { pieces } = this.#keys.shape
    return this.#replicas.filter((nodeId) => this.#holders.get(nodeId)?.size === pieces)
  }

  get #want(): number {
    return Math.min(limits.replicasNeeded, this.#replicas.length)
  }

  #isEnough(): boolean {
    return this.#atHome.size === this.#keys.shape.pieces && this.#complete.length >= this.#want
  }

  /** The box is known to the node in this session. */
  async #opened(): Promise<void> {
    if (this.#isOpen) return
    this.#opening ??= this.#openBox().finally(() => { this.#opening = undefined })
    await this.#opening
  }

  /** @throws HomeLost */
  async #openBox(): Promise<void> {
    for (let retries = 0; !this.#isOpen; retries++) {
      this.#checkRunning()
      const opened = await this.#askBox(fileBoxActions.open)
      this.#checkRunning()
      if (opened.ok) {
        this.#isOpen = true
        this.#code = ''
        this.receive(opened.value)
        if (opened.value.pieces >= this.#atHome.size) return
        // Its disk was lost, or it was restored from a backup, which holds no pieces.
        this.#atHome = new PieceSet(this.#keys.shape.pieces)
        throw new HomeLost()
      } else {
        await this.#pause(opened.code, retries)
      }
    }
  }

  #askBox(action: FileBoxAction): Promise<Result<FileHeldFrame>> {
    const { shape } = this.#keys
    return this.#uplink.request({
      type: 'fileBox',
      action,
      writeKey: this.#writeKeys.publicKey,
      readSeed: this.#record.readSeed,
      itemsMax: shape.pieces,
      bytesMax: fileBoxBytes(shape),
      expiryHour: this.#file.expiryHour,
    }, 'fileHeld')
  }

  /** Told to the person, then tried again. @throws what nothing will change */
  async #pause(code: string, retries = 0): Promise<void> {
    if (finalCodes.has(code)) throw new OpenIMError(code, 'the node does not take the file')
    this.#code = code
    this.#tell()
    const pauseMs = Math.min(limits.errandMaxMs, retryMinMs * 2 ** Math.min(retries, 16))
    const woken = this.#wake.promise
    await Promise.race([sleep(this.#context.clock, pauseMs, this.#abort.signal).catch(() => {}), woken])
    this.#checkRunning()
  }

  async #woken(): Promise<void> {
    await this.#wake.promise
    this.#checkRunning()
  }

  #stir(): void {
    const { resolve } = this.#wake
    this.#wake = Promise.withResolvers<void>()
    resolve()
  }

  #checkRunning(): void {
    if (this.#abort.signal.aborted) throw new OpenIMError('CLIENT_STOPPED', 'the transfer was stopped')
  }

  #tell(): void {
    const { length, pieceBytes } = this.#keys.shape
    const sizes = this.#replicas.map((nodeId) => this.#holders.get(nodeId)?.size ?? 0).sort((a, b) => b - a)
    // As far as the message could be sent for it: home, and the slowest of those that are needed.
    const pieces = Math.min(this.#atHome.size, sizes[this.#want - 1] ?? Infinity)
    const done = Math.min(length, pieces * pieceBytes)
    this.#onNews({ done, have: this.#complete.length, want: this.#want, code: this.#code })
  }

  async #save(): Promise<void> {
    const batch = new Batch()
    const record = { ...this.#record, atHome: this.#atHome.bytes.slice() }
    batch.put(fileKeysOf.upload(this.id), uploadCodec, record)
    await batch.commit(this.#context.kv)
  }

  #body(hash: Uint8Array): FileBody {
    const { key, pieceBytes, readSeed } = this.#record
    const complete = this.#complete
    const others = this.#replicas.filter((nodeId) => !complete.includes(nodeId))
    return {
      type: 'file',
      ...this.#file.note,
      hash,
      pieceBytes,
      key,
      writeKey: this.#writeKeys.publicKey,
      readSeed,
      expiryHour: this.#file.expiryHour,
      homes: this.#homes,
      replicas: [...complete, ...others],
    }
  }
}

function changed(): OpenIMError {
  return new OpenIMError('FILE_CHANGED', 'the file changed while it was being sent: send it again')
}

/**
 * One file on its way here: asked of its holders piece by piece, opened, written where the app
 * wants it, and checked as a whole before it gets its final name.
 *
 * Holders got the pieces in order, so piece 7 is asked for as what comes behind position 7; several
 * are under way at once. A holder whose order is another one is read from its beginning. One that
 * does not answer, lacks a piece or returns something else is left for the next; when all were
 * tried it begins anew after a pause, until the box lapses.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { Sha256 } from '../../crypto/hasher.ts'
import { crypto } from '../../crypto/index.ts'
import { boxId, expiryMs, parseEnvelope } from '../envelope.ts'
import { fileKeys, fileShape, openPiece, pieceRange } from '../file-piece.ts'
import type { FileKeys } from '../file-piece.ts'
import type { FileFetchedFrame } from '../frame/file.ts'
import type { BoxId, MessageId, NodeId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { FileBody } from '../message/file.ts'
import { signReadProof } from '../service/fetch.ts'
import { sleep } from '../timers.ts'
import type { FileSink } from './api.ts'
import { Batch } from './batch.ts'
import type { Context } from './context.ts'
import { downloadCodec, fileKeysOf, PieceSet } from './file-records.ts'
import type { DownloadRecord } from './file-records.ts'
import type { Uplink } from './uplink.ts'

/** The next round of holders begins after this, doubling up to `limits.errandMaxMs`. */
const retryMinMs = 1_000
/** Read back for the hash in parts of this. */
const hashStepBytes = 1024 * 1024

export interface DownloadJob {
  readonly id: MessageId
  readonly file: Omit<FileBody, 'type'>
  readonly record: DownloadRecord
  readonly sink: FileSink
}

export interface DownloadComponents {
  readonly context: Context
  readonly uplink: Uplink
  /** Our own node, once it is known. */
  readonly home: () => NodeId | undefined
}

export interface DownloadNews {
  readonly done: number
  readonly code: string
}

/** Why a holder is left: `order` means that it has pieces, elsewhere. */
type HolderResult = { readonly ok: true } | { readonly ok: false, readonly code: string }

export class Download {
  readonly #components: DownloadComponents
  readonly #onNews: (news: DownloadNews) => void
  readonly #job: DownloadJob
  readonly #keys: FileKeys
  readonly #box: BoxId
  readonly #readKeys
  readonly #abort = new AbortController()
  #held: PieceSet
  #unsavedBytes = 0
  #wake = Promise.withResolvers<void>()

  constructor(components: DownloadComponents, job: DownloadJob, onNews: (news: DownloadNews) => void) {
    const { file, record } = job
    const shape = fileShape(file)!
    this.#components = components
    this.#onNews = onNews
    this.#job = job
    this.#keys = fileKeys(shape, file.key)
    this.#readKeys = crypto.signingKeyPair(file.readSeed)
    this.#box = boxId({ writeKey: file.writeKey, readKey: this.#readKeys.publicKey })
    this.#held = new PieceSet(shape.pieces, record.held)
  }

  /**
   * Settles with where the file is. @throws FILE_EXPIRED, FILE_GONE, FILE_HASH, CLIENT_STOPPED,
   * and what the sink throws
   */
  async run(): Promise<string> {
    const { record, sink } = this.#job
    if (record.isChecked) return await sink.finish()
    await this.#fetchAll()
    await sink.sync()
    if (!await this.#isWhole()) {
      throw new OpenIMError('FILE_HASH', 'the file is not what its sender said: nothing was saved')
    }
    await this.#save(true)
    return await sink.finish()
  }

  /** Ends `run` with CLIENT_STOPPED; what is written down stays. */
  stop(): void {
    this.#abort.abort()
    this.#wake.resolve()
  }

  /** A new session with our node: try now. */
  reset(): void {
    const { resolve } = this.#wake
    this.#wake = Promise.withResolvers<void>()
    resolve()
  }

  async #fetchAll(): Promise<void> {
    const { file } = this.#job
    const { clock } = this.#components.context
    const holders = [...file.homes, ...file.replicas]
    for (let rounds = 0; !this.#isComplete; rounds++) {
      if (expiryMs(file.expiryHour) <= clock.now()) {
        throw new OpenIMError('FILE_EXPIRED', 'the time of the file is over: ask for it again')
      }
      const before = this.#held.size
      const codes: string[] = []
      for (const holder of holders) {
        if (this.#isComplete) return
        const result = await this.#fetchFrom(holder)
        this.#checkRunning()
        if (!result.ok) codes.push(result.code)
      }
      if (this.#isComplete) return
      if (codes.length === holders.length && codes.every((code) => code === 'INBOX_GONE')) {
        throw new OpenIMError('FILE_GONE', 'nobody has the file any more: ask for it again')
      }
      if (this.#held.size > before) rounds = 0
      await this.#pause(codes[0] ?? 'FILE_PIECE', rounds)
    }
  }

  get #isComplete(): boolean {
    return this.#held.size === this.#keys.shape.pieces
  }

  async #fetchFrom(holder: NodeId): Promise<HolderResult> {
    const inOrder = await this.#fetchByRank(holder)
    return !inOrder.ok && inOrder.code === 'order' ? await this.#fetchFromStart(holder) : inOrder
  }

  /** Each missing piece by its place; ends at the first that is not there. */
  async #fetchByRank(holder: NodeId): Promise<HolderResult> {
    const { pieces } = this.#keys.shape
    let next = 0
    let failure: HolderResult | undefined
    let problem: unknown
    const worker = async (): Promise<void> => {
      while (failure === undefined) {
        while (next < pieces && this.#held.has(next)) next++
        if (next >= pieces) return
        const index = next++
        const fetched = await this.#request(holder, { after: index, itemsMax: 1 })
        const taken = fetched.ok ? await this.#take(fetched.value, index) : fetched
        if (!taken.ok) failure ??= taken
      }
    }
    const guarded = (): Promise<void> => worker().catch((error: unknown) => {
      problem ??= error
      failure ??= { ok: false, code: 'FILE_FAILED' }
    })
    // All of them come to their end before the next holder is asked, or the sink is closed.
    await Promise.all(Array.from({ length: limits.filePiecesUnderWay }, guarded))
    if (problem !== undefined) throw problem
    return failure ?? { ok: true }
  }

  /** All it has, page by page; bounded, because it may never end. */
  async #fetchFromStart(holder: NodeId): Promise<HolderResult> {
    const { pieces } = this.#keys.shape
    let after = 0
    for (let seen = 0; seen <= 2 * pieces && !this.#isComplete;) {
      const fetched = await this.#request(holder, { after, itemsMax: limits.fetchItemsMax })
      if (!fetched.ok) return fetched
      const taken = await this.#take(fetched.value)
      if (!taken.ok) return taken
      const { entries, more } = fetched.value
      const last = entries.at(-1)?.position ?? 0
      if (!more || last <= after) break
      after = last
      seen += entries.length
    }
    return this.#isComplete ? { ok: true } : { ok: false, code: 'FILE_PIECE' }
  }

  #request(
    holder: NodeId,
    page: { readonly after: number, readonly itemsMax: number },
  ): Promise<Result<FileFetchedFrame>> {
    this.#checkRunning()
    const { context, uplink, home } = this.#components
    const reader = home()
    if (reader === undefined) return Promise.resolve({ ok: false, code: 'REQUEST_LOST' })
    const proof = signReadProof({
      writeKey: this.#job.file.writeKey,
      readKey: this.#readKeys.publicKey,
      holder,
      reader,
      timeMs: context.clock.now(),
    }, this.#readKeys)
    return uplink.request({ type: 'fileFetch', holder, proof, ...page }, 'fileFetched')
  }

  /** Writes what is good and new; anything else ends the work with this holder. */
  async #take({ entries }: FileFetchedFrame, wanted?: number): Promise<HolderResult> {
    if (wanted !== undefined && entries.length === 0) return { ok: false, code: 'FILE_PIECE' }
    let isInOrder = true
    for (const { envelope } of entries) {
      const parsed = parseEnvelope(envelope)
      if (!parsed.ok || parsed.value.box !== this.#box) return { ok: false, code: 'FILE_PIECE' }
      const piece = openPiece(this.#keys, parsed.value.envelope.ciphertext)
      if (!piece.ok) return piece
      const { index, content } = piece.value
      isInOrder &&= wanted === undefined || index === wanted
      if (!this.#held.has(index)) await this.#write(index, content)
    }
    return isInOrder ? { ok: true } : { ok: false, code: 'order' }
  }

  async #write(index: number, content: Uint8Array): Promise<void> {
    this.#checkRunning()
    await this.#job.sink.write(pieceRange(this.#keys.shape, index).offset, content)
    this.#held.add(index)
    this.#unsavedBytes += content.length
    this.#tell('')
    if (this.#unsavedBytes >= limits.fileCheckpointBytes && !this.#isComplete) {
      this.#unsavedBytes = 0
      await this.#job.sink.sync()
      await this.#save(false)
    }
  }

  /** Read back: what counts is what lies on the disk. */
  async #isWhole(): Promise<boolean> {
    const { file, sink } = this.#job
    const hasher = new Sha256()
    for (let offset = 0; offset < file.length; offset += hashStepBytes) {
      this.#checkRunning()
      const wanted = Math.min(hashStepBytes, file.length - offset)
      const bytes = await sink.read(offset, wanted)
      if (bytes.length !== wanted) return false
      hasher.update(bytes)
    }
    return equalBytes(hasher.digest(), file.hash)
  }

  /** After the sink synced: the record never says more than the disk has. */
  async #save(isChecked: boolean): Promise<void> {
    const { record, id } = this.#job
    if (record.ref === '') return
    const batch = new Batch()
    const held = this.#held.bytes.slice()
    batch.put(fileKeysOf.download(id), downloadCodec, { ref: record.ref, held, isChecked })
    await batch.commit(this.#components.context.kv)
  }

  async #pause(code: string, rounds: number): Promise<void> {
    this.#tell(code)
    const pauseMs = Math.min(limits.errandMaxMs, retryMinMs * 2 ** Math.min(rounds, 16))
    const slept = sleep(this.#components.context.clock, pauseMs, this.#abort.signal)
    await Promise.race([slept, this.#wake.promise])
    this.#checkRunning()
  }

  #checkRunning(): void {
    if (this.#abort.signal.aborted) throw new OpenIMError('CLIENT_STOPPED', 'the transfer was stopped')
  }

  #tell(code: string): void {
    const { length, pieceBytes } = this.#keys.shape
    this.#onNews({ done: Math.min(length, this.#held.size * pieceBytes), code })
  }
}

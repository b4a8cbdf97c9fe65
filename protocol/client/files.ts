/**
 * Files of the account: what was sent and offered, and the transfers under way. Each transfer is
 * on disk before it begins, so it goes on by itself after a restart as long as the app can open
 * its source or sink again by the `ref` it gave.
 *
 * ```text
 *   send ─► sending ─► sent              cancel: the box is given up, nobody can fetch it any more
 *   offered ─► fetching ─► saved         cancel, wrong hash: back to offered, nothing was saved
 * ```
 */
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { decode } from '../codec/struct.ts'
import { expiryHour, expiryMs } from '../envelope.ts'
import { pieceBytesFor } from '../file-piece.ts'
import { fileBoxActions } from '../frame/file.ts'
import type { FileHeldFrame } from '../frame/file.ts'
import type { MessageId, NodeId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import { sleep } from '../timers.ts'
import type {
  FileOpener, FilesApi, FileSink, FileSource, FileStatus, FileTransfer, SaveFileOptions, SendFileOptions,
} from './api.ts'
import { Batch } from './batch.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import { checkedNote, checkedRef, cutRef } from './file-checks.ts'
import { Download } from './file-download.ts'
import {
  downloadCodec, fileFace, fileKeysOf, fileRecordCodec, uploadCodec,
} from './file-records.ts'
import type { DownloadRecord, FileRecord, UploadRecord } from './file-records.ts'
import { FileQueue } from './file-queue.ts'
import { Upload } from './file-upload.ts'
import { lastPart } from './keys.ts'
import { readRecord } from './records.ts'
import { newMessageId } from './sealing.ts'
import type { Sending } from './sending.ts'
import { checkTrust } from './trust.ts'
import type { Turns } from './turns.ts'
import type { Uplink } from './uplink.ts'

/** A source or sink that cannot be opened now is tried again after this, doubling. */
const reopenMinMs = 1_000
const listedMax = 1_000

export interface FilesParts {
  readonly uplink: Uplink
  readonly turns: Turns
  readonly sending: Sending
  readonly book: ContactBook
  /** Our own node, once it is known. */
  readonly home: () => NodeId | undefined
  /** How the app finds its files again after a restart. */
  readonly opener: FileOpener | undefined
}

/** What is told of a transfer between its records. */
interface News {
  readonly done: number
  readonly code: string
  readonly have?: number
  readonly want?: number
}

interface Running {
  readonly direction: 'in' | 'out'
  readonly abort: AbortController
  transfer: Upload | Download | undefined
  news: News | undefined
  toldMs: number
  readonly listener: ((status: FileStatus) => void) | undefined
  done: Promise<FileStatus>
}

export class Files implements FilesApi {
  readonly #context: Context
  readonly #parts: FilesParts
  readonly #running = new Map<MessageId, Running>()
  /** Being written down. */
  readonly #starting = new Set<MessageId>()
  readonly #queues = { out: new FileQueue(limits.filesUnderWay), in: new FileQueue(limits.filesUnderWay) }
  #isStopped = false

  constructor(context: Context, parts: FilesParts) {
    this.#context = context
    this.#parts = parts
  }

  /** Goes on with what a restart interrupted. */
  start(): void {
    this.#resumeAll().catch((error: unknown) => this.#warn(error))
  }

  async #resumeAll(): Promise<void> {
    for await (const entry of kvEntries(this.#context.kv, fileKeysOf.uploads)) {
      const id = lastPart(entry.key) as MessageId
      if (!this.#running.has(id)) this.#resume(id, decode(uploadCodec, entry.value))
    }
    for await (const entry of kvEntries(this.#context.kv, fileKeysOf.downloads)) {
      const id = lastPart(entry.key) as MessageId
      if (!this.#running.has(id)) this.#resumeSaving(id, decode(downloadCodec, entry.value))
    }
    await this.#sweepPieces()
  }

  /** Marks of transfers that ended in the same moment as the program. */
  async #sweepPieces(): Promise<void> {
    const owners = new Set<string>()
    for await (const { key } of kvEntries(this.#context.kv, fileKeysOf.allPieces)) {
      owners.add(key.split('/')[1]!)
    }
    for (const owner of owners) {
      const id = owner as MessageId
      if (!this.#running.has(id)) await this.#forgetPieces(id)
    }
  }

  /** Settles when nothing is under way; what is written down goes on after the next start. */
  async stop(): Promise<void> {
    this.#isStopped = true
    for (const { abort, transfer } of this.#running.values()) {
      abort.abort()
      transfer?.stop()
    }
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done))
  }

  reset(): void {
    for (const { transfer } of this.#running.values()) transfer?.reset()
  }

  /** The node tells who holds a file box. */
  receive(frame: FileHeldFrame): void {
    for (const { transfer } of this.#running.values()) {
      if (transfer instanceof Upload && transfer.box === frame.box) transfer.receive(frame)
    }
  }

  /** @throws CONTACT_UNKNOWN, TRUST_CHANGED, FILE_NAME, FILE_TOO_LARGE, STORE_* */
  async send(name: string, source: FileSource, options: SendFileOptions): Promise<FileTransfer> {
    const { clock, random } = this.#context
    const { id: contact } = this.#parts.book.find(name)
    const note = checkedNote(source, options)
    const id = newMessageId(this.#context)
    const nowMs = clock.now()
    const file: FileRecord = {
      contact, isOutgoing: true, note, startedAtMs: nowMs,
      expiryHour: expiryHour(nowMs + limits.envelopeTtlMs), state: 'sending', code: '', done: 0, have: 0,
      want: 0, savedAs: '', savedAtMs: 0, body: undefined,
    }
    const record: UploadRecord = {
      ref: checkedRef(options.ref),
      key: random.bytes(32),
      writeSeed: random.bytes(32),
      readSeed: random.bytes(32),
      pieceBytes: pieceBytesFor(note.length),
      atHome: new Uint8Array(0),
    }
    await this.#parts.turns.run(contact, ({ contact: known, batch }) => {
      if (known === undefined) throw new OpenIMError('CONTACT_UNKNOWN', 'the contact was removed meanwhile')
      checkTrust(known)
      batch.put(fileKeysOf.file(id), fileRecordCodec, file)
      batch.put(fileKeysOf.upload(id), uploadCodec, record)
    })
    const open = async (): Promise<FileSource> => source
    return this.#begin(id, file, { direction: 'out', ...options }, (running) =>
      this.#upload(running, { id, file, record, open }))
  }

  /** @throws FILE_UNKNOWN, FILE_EXPIRED, FILE_BUSY, STORE_* */
  async save(id: MessageId, sink: FileSink, options: SaveFileOptions = {}): Promise<FileTransfer> {
    const file = await this.#record(id)
    if (file?.body === undefined) throw unknown(id)
    if (this.#running.has(id) || this.#starting.has(id)) {
      throw new OpenIMError('FILE_BUSY', 'this file is being transferred already: wait, or cancel that')
    }
    if (expiryMs(file.expiryHour) <= this.#context.clock.now()) {
      throw new OpenIMError('FILE_EXPIRED', 'the time of the file is over: ask for it again')
    }
    const record = { ref: checkedRef(options.ref), held: new Uint8Array(0), isChecked: false }
    const fetching: FileRecord = {
      ...file, state: file.isOutgoing ? file.state : 'fetching', code: '', done: 0, savedAs: '', savedAtMs: 0,
    }
    const batch = new Batch()
    if (record.ref !== '') batch.put(fileKeysOf.download(id), downloadCodec, record)
    this.#starting.add(id)
    try {
      await this.#write(id, fetching, batch)
    } finally {
      this.#starting.delete(id)
    }
    const open = async (): Promise<FileSink> => sink
    return this.#begin(id, fetching, { direction: 'in', ...options }, (running) =>
      this.#download(running, { id, file: fetching, record, open }))
  }

  /** Ends a transfer; an outgoing file cannot be fetched any more. @throws FILE_UNKNOWN */
  async cancel(id: MessageId): Promise<FileStatus> {
    const running = this.#running.get(id)
    if (running !== undefined) {
      running.abort.abort(new OpenIMError('FILE_CANCELLED', 'the transfer was cancelled'))
      running.transfer?.stop()
      await running.done.catch(() => {})
    }
    const file = await this.#record(id)
    if (file === undefined) throw unknown(id)
    const isOurs = file.isOutgoing && running?.direction !== 'in'
    if (isOurs && file.state !== 'cancelled') await this.#withdraw(id, file)
    return await this.status(id)
  }

  /** @throws FILE_UNKNOWN */
  async status(id: MessageId): Promise<FileStatus> {
    const status = await this.of(id)
    if (status === undefined) throw unknown(id)
    return status
  }

  /** `undefined` for a file that another device of ours told of, and no more. */
  async of(id: MessageId): Promise<FileStatus | undefined> {
    const record = await this.#record(id)
    return record === undefined ? undefined : this.#face(id, record)
  }

  /** The newest first. */
  async list(): Promise<FileStatus[]> {
    const all: FileStatus[] = []
    for await (const entry of kvEntries(this.#context.kv, fileKeysOf.files)) {
      all.push(this.#face(lastPart(entry.key) as MessageId, decode(fileRecordCodec, entry.value)))
    }
    return all.sort((a, b) => b.startedAtMs - a.startedAtMs).slice(0, listedMax)
  }

  #record(id: MessageId): Promise<FileRecord | undefined> {
    return readRecord(this.#context.kv, fileRecordCodec, fileKeysOf.file(id))
  }

  #face(id: MessageId, record: FileRecord): FileStatus {
    const news = this.#running.get(id)?.news
    const { clock } = this.#context
    return fileFace(
      id,
      news === undefined ? record : { ...record, ...news },
      { contact: this.#parts.book.nameOf(record.contact), nowMs: clock.now() },
    )
  }

  #begin(
    id: MessageId,
    file: FileRecord,
    options: { direction: 'in' | 'out', signal?: AbortSignal, progress?: (status: FileStatus) => void },
    work: (running: Running) => Promise<FileRecord>,
  ): FileTransfer {
    const running: Running = {
      direction: options.direction, abort: new AbortController(), transfer: undefined, news: undefined,
      toldMs: -Infinity, listener: options.progress, done: Promise.resolve(this.#face(id, file)),
    }
    this.#running.set(id, running)
    const cancel = (): void => { void this.cancel(id).catch(() => {}) }
    options.signal?.addEventListener('abort', cancel, { once: true })
    running.done = this.#queues[options.direction].run(() => work(running), running.abort.signal).then(
      (record) => {
        this.#running.delete(id)
        const status = this.#face(id, record)
        options.progress?.(status)
        this.#context.emit({ type: 'file', file: status })
        return status
      },
      async (error: unknown) => {
        this.#running.delete(id)
        await this.#failed(id, running, error)
        throw error
      },
    ).finally(() => options.signal?.removeEventListener('abort', cancel))
    // Whoever cares waits for it; the others hear the event.
    running.done.catch(() => {})
    if (options.signal?.aborted === true) cancel()
    this.#context.emit({ type: 'file', file: this.#face(id, file) })
    return { status: this.#face(id, file), done: running.done }
  }

  #resume(id: MessageId, record: UploadRecord): void {
    void this.#record(id).then((file) => {
      if (file === undefined || this.#isStopped) return
      const open = (signal: AbortSignal): Promise<FileSource> =>
        this.#reopened(id, { ref: record.ref, expiryHour: file.expiryHour, signal }, (opener) =>
          opener.source(record.ref))
      this.#begin(id, file, { direction: 'out' }, (running) =>
        this.#upload(running, { id, file, record, open }))
    }).catch((error: unknown) => this.#warn(error))
  }

  #resumeSaving(id: MessageId, record: DownloadRecord): void {
    void this.#record(id).then((file) => {
      if (file?.body === undefined || this.#isStopped) return
      const open = (signal: AbortSignal): Promise<FileSink> =>
        this.#reopened(id, { ref: record.ref, expiryHour: file.expiryHour, signal }, (opener) =>
          opener.sink(record.ref, record.isChecked ? 'finish' : 'resume'))
      this.#begin(id, file, { direction: 'in' }, (running) =>
        this.#download(running, { id, file, record, open }))
    }).catch((error: unknown) => this.#warn(error))
  }

  /** What is away now (a disk that is not plugged in) may come back. @throws FILE_SOURCE, FILE_EXPIRED */
  async #reopened<T>(
    id: MessageId,
    place: { ref: string, expiryHour: number, signal: AbortSignal },
    open: (opener: FileOpener) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#context
    const { opener } = this.#parts
    if (place.ref === '' || opener === undefined) {
      throw new OpenIMError('FILE_SOURCE', 'what was being transferred cannot be opened again')
    }
    for (let pauseMs = reopenMinMs; ; pauseMs = Math.min(limits.errandMaxMs, 2 * pauseMs)) {
      try {
        return await open(opener)
      } catch (error) {
        if (expiryMs(place.expiryHour) <= clock.now()) throw error
        this.#tell(id, { done: 0, code: errorCode(error) ?? 'FILE_SOURCE' })
        await sleep(clock, pauseMs, place.signal)
        if (place.signal.aborted) throw stopped()
      }
    }
  }

  async #upload(running: Running, job: {
    id: MessageId, file: FileRecord, record: UploadRecord, open: (signal: AbortSignal) => Promise<FileSource>
  }): Promise<FileRecord> {
    const { id, file, record } = job
    if (running.abort.signal.aborted) throw stopped()
    const source = await job.open(running.abort.signal)
    try {
      if (source.size !== file.note.length) {
        throw new OpenIMError('FILE_CHANGED', 'the file has another size now: send it again')
      }
      const components = { context: this.#context, uplink: this.#parts.uplink }
      const upload = new Upload(components, { id, file, record, source }, (news) => this.#tell(id, news))
      running.transfer = upload
      if (running.abort.signal.aborted) throw stopped()
      const body = await upload.run()
      const { have = 0, want = 0 } = running.news ?? {}
      const sent: FileRecord = { ...file, state: 'sent', code: '', done: file.note.length, have, want, body }
      await this.#parts.sending.sendFile(file.contact, {
        id,
        body,
        write: (batch) => {
          batch.put(fileKeysOf.file(id), fileRecordCodec, sent)
          batch.delete(fileKeysOf.upload(id))
        },
      })
      await this.#forgetPieces(id)
      return sent
    } finally {
      await source.close().catch((error: unknown) => this.#warn(error))
    }
  }

  async #download(running: Running, job: {
    id: MessageId, file: FileRecord, record: DownloadRecord, open: (signal: AbortSignal) => Promise<FileSink>
  }): Promise<FileRecord> {
    const { id, file } = job
    if (running.abort.signal.aborted) throw stopped()
    const sink = await job.open(running.abort.signal)
    let isKept = false
    try {
      const { uplink, home } = this.#parts
      const record = sink.isFresh && !job.record.isChecked
        ? { ...job.record, held: new Uint8Array(0) }
        : job.record
      const download = new Download(
        { context: this.#context, uplink, home },
        { id, file: file.body!, record, sink },
        (news) => this.#tell(id, news),
      )
      running.transfer = download
      if (running.abort.signal.aborted) throw stopped()
      const savedAs = await download.run()
      isKept = true
      const saved: FileRecord = {
        ...file, state: file.isOutgoing ? file.state : 'saved', code: '', done: file.note.length,
        savedAs: cutRef(savedAs), savedAtMs: this.#context.clock.now(),
      }
      const batch = new Batch()
      batch.delete(fileKeysOf.download(id))
      await this.#write(id, saved, batch)
      return saved
    } catch (error) {
      isKept = this.#isInterrupted(running, error)
      throw error
    } finally {
      if (!isKept) await sink.discard().catch((error: unknown) => this.#warn(error))
      await sink.close().catch((error: unknown) => this.#warn(error))
    }
  }

  /** The program stops: what is written down goes on at its next start. */
  #isInterrupted({ abort }: Running, error: unknown): boolean {
    const isCancelled = errorCode(abort.signal.reason) === 'FILE_CANCELLED'
    const code = errorCode(error)
    return !isCancelled && (this.#isStopped || code === 'CLIENT_STOPPED' || code === 'STORE_CLOSED')
  }

  /** Durable again after a transfer that did not come to its end. */
  async #failed(id: MessageId, running: Running, error: unknown): Promise<void> {
    if (this.#isInterrupted(running, error)) return
    const file = await this.#record(id)
    if (file === undefined) return
    const isCancelled = errorCode(running.abort.signal.reason) === 'FILE_CANCELLED'
    const code = isCancelled ? '' : errorCode(error) ?? 'FILE_FAILED'
    if (errorCode(error) === undefined) this.#warn(error)
    const batch = new Batch()
    try {
      if (running.direction === 'in') {
        batch.delete(fileKeysOf.download(id))
        const state = file.isOutgoing ? file.state : 'offered'
        await this.#write(id, { ...file, state, code, done: 0 }, batch)
      } else {
        await this.#withdraw(id, { ...file, code, state: isCancelled ? 'cancelled' : 'failed' }, running)
      }
      this.#context.emit({ type: 'file', file: await this.status(id) })
    } catch (problem) {
      this.#warn(problem)
    }
  }

  /** The box is given up; without the node it lapses by itself. */
  async #withdraw(id: MessageId, file: FileRecord, running?: Running): Promise<void> {
    const state = file.state === 'failed' ? 'failed' : 'cancelled'
    const batch = new Batch()
    batch.delete(fileKeysOf.upload(id))
    await this.#write(id, { ...file, state }, batch)
    await this.#forgetPieces(id)
    if (running?.transfer instanceof Upload) {
      await running.transfer.close()
    } else if (file.body !== undefined) {
      const { writeKey, readSeed } = file.body
      await this.#parts.uplink.request({
        type: 'fileBox', action: fileBoxActions.close, writeKey, readSeed, itemsMax: 0, bytesMax: 0,
        expiryHour: 0,
      }, 'fileHeld')
    }
  }

  async #forgetPieces(id: MessageId): Promise<void> {
    for (;;) {
      const page = await this.#context.kv.list({ prefix: fileKeysOf.pieces(id), limit: listedMax })
      if (page.length === 0) return
      const batch = new Batch()
      for (const { key } of page) batch.delete(key)
      await batch.commit(this.#context.kv)
    }
  }

  async #write(id: MessageId, record: FileRecord, batch = new Batch()): Promise<void> {
    batch.put(fileKeysOf.file(id), fileRecordCodec, record)
    await batch.commit(this.#context.kv)
  }

  /** At most every `limits.fileProgressMs`, and whenever the reason to wait changes. */
  #tell(id: MessageId, news: News): void {
    const running = this.#running.get(id)
    if (running === undefined) return
    const isOther = running.news?.code !== news.code
    running.news = news
    const nowMs = this.#context.clock.monotonicMs()
    if (!isOther && nowMs - running.toldMs < limits.fileProgressMs) return
    running.toldMs = nowMs
    void this.status(id).then((status) => {
      if (this.#running.get(id) !== running) return
      running.listener?.(status)
      this.#context.emit({ type: 'file', file: status })
    }).catch((error: unknown) => this.#warn(error))
  }

  #warn(error: unknown): void {
    this.#context.log.warn({ err: error }, 'a transfer of a file met a problem')
  }
}

function unknown(id: MessageId): OpenIMError {
  return new OpenIMError('FILE_UNKNOWN', `there is no file ${id} here`)
}

function stopped(): OpenIMError {
  return new OpenIMError('CLIENT_STOPPED', 'the transfer was stopped')
}

/**
 * Files that people of this domain uploaded (XEP-0363): the content on disk, who brought it and until
 * when in the key-value store.
 *
 * ```text
 *   kv  upload/ID           account, name, media type, size, day
 *   DIRECTORY/ID            the content, once all of it is durable
 *   DIRECTORY/ID.part       on its way; gone at the next start
 *   ID                      32 hex digits drawn at random: whoever has it may read the file
 * ```
 *
 * A slot is a promise of room for one file, in memory and short-lived: a client that finds it gone
 * asks for another.
 */
import { createReadStream } from 'node:fs'
import type { ReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { equalBytes, hex } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import { decode, encode, struct, text, u32, u64 } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'

export const uploadNs = 'urn:xmpp:http:upload:0'
const dayMs = 86_400_000
const idForm = /^[0-9a-f]{32}$/

export interface UploadLimits {
  /** Bytes of one file, of all files of one account, of an account in one day (UTC), and of all. */
  readonly fileBytesMax: number
  readonly accountBytesMax: number
  readonly dayBytesMax: number
  readonly totalBytesMax: number
  /** Then a file goes. */
  readonly keptDays: number
}

/** A family's pictures and films, on the disk of a small machine. */
export const defaultUploads: UploadLimits = {
  fileBytesMax: 100 * 1024 * 1024,
  accountBytesMax: 2 * 1024 ** 3,
  dayBytesMax: 500 * 1024 * 1024,
  totalBytesMax: 10 * 1024 ** 3,
  keptDays: 30,
}

export interface UploadRequest {
  readonly account: string
  readonly name: string
  readonly mediaType: string
  readonly size: number
}

/** A file that is here, or is to come. */
export interface Upload extends UploadRequest {
  readonly id: string
  readonly atMs: number
}

export interface Slot {
  readonly upload: Upload
  /** 32 bytes: who shows them may put the file. */
  readonly token: Uint8Array
  readonly expiresAtMs: number
}

type UploadRecord = Omit<Upload, 'id'>
const recordCodec = struct<UploadRecord>({
  account: text(64), name: text(255), mediaType: text(127), size: u64, atMs: u64,
})
const dayCodec = struct<{ readonly day: number, readonly bytes: number }>({ day: u32, bytes: u64 })

export class UploadStore {
  readonly #kv: KvStore
  readonly #clock: Clock
  readonly #random: Random
  readonly #directory: string
  readonly #limits: UploadLimits
  readonly #slots = new Map<string, Slot>()
  /** Uploads under way. */
  readonly #coming = new Set<string>()
  /** Bytes kept, by account. */
  readonly #kept = new Map<string, number>()
  #total = 0

  constructor(
    { kv, clock, random }: { readonly kv: KvStore, readonly clock: Clock, readonly random: Random },
    { directory, limits }: { readonly directory: string, readonly limits: UploadLimits },
  ) {
    this.#kv = kv
    this.#clock = clock
    this.#random = random
    this.#directory = directory
    this.#limits = limits
  }

  get limits(): UploadLimits {
    return this.#limits
  }

  get bytesKept(): number {
    return this.#total
  }

  /** Counts what is there, and removes files that nothing knows of. */
  async load(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const known = new Set<string>()
    for await (const { key, value } of kvEntries(this.#kv, 'upload/')) {
      known.add(key.slice('upload/'.length))
      const { account, size } = decode(recordCodec, value)
      this.#count(account, size)
    }
    for (const name of await readdir(this.#directory)) {
      if (!known.has(name)) await rm(join(this.#directory, name), { force: true })
    }
  }

  /** Room for one file. @throws StanzaError */
  async slot(request: UploadRequest): Promise<Slot> {
    const { fileBytesMax, accountBytesMax, dayBytesMax, totalBytesMax } = this.#limits
    const { account, size } = request
    if (size > fileBytesMax) {
      throw new StanzaError('not-acceptable', {
        text: `a file has at most ${fileBytesMax} bytes`,
        extra: el(uploadNs, 'file-too-large', {}, el(uploadNs, 'max-file-size', {}, String(fileBytesMax))),
      })
    }
    this.#forgetSlots()
    const promised = [...this.#slots.values()].map(({ upload }) => upload)
    const ofAccount = promised.filter((one) => one.account === account)
    const { uploadSlotsPerAccountMax, uploadSlotsMax } = xmppLimits
    if (ofAccount.length >= uploadSlotsPerAccountMax || promised.length >= uploadSlotsMax) {
      throw this.#full('too many uploads wait already', xmppLimits.uploadSlotMs)
    }
    const bytes = bytesOf(ofAccount) + size
    if ((this.#kept.get(account) ?? 0) + bytes > accountBytesMax) {
      throw this.#full(`the files of one account have at most ${accountBytesMax} bytes`, dayMs)
    }
    if (this.#total + bytesOf(promised) + size > totalBytesMax) {
      throw this.#full('there is no room for more files on this node', dayMs)
    }
    const nowMs = this.#clock.now()
    if (await this.#today(account) + bytes > dayBytesMax) {
      throw this.#full(`an account uploads at most ${dayBytesMax} bytes a day`, dayMs - nowMs % dayMs)
    }
    const upload = { ...request, id: hex(this.#random.bytes(16)), atMs: nowMs }
    const slot = { upload, token: this.#random.bytes(32), expiresAtMs: nowMs + xmppLimits.uploadSlotMs }
    this.#slots.set(upload.id, slot)
    return slot
  }

  /** The slot that this token opens; `undefined`: none, or it is over, or being used. */
  open(id: string, token: Uint8Array): Upload | undefined {
    this.#forgetSlots()
    const slot = this.#slots.get(id)
    if (slot === undefined || this.#coming.has(id) || !equalBytes(slot.token, token)) return undefined
    return slot.upload
  }

  /** Uploads under way, of one account and of all. */
  coming(account: string): { readonly own: number, readonly all: number } {
    const own = [...this.#coming].filter((id) => this.#slots.get(id)?.upload.account === account).length
    return { own, all: this.#coming.size }
  }

  /**
   * Takes the content; durable when it settles with true. False: it had another size, and the slot
   * may be used again. Rejects as `content` does, or with the error of the disk.
   */
  async put(upload: Upload, content: AsyncIterable<Uint8Array>): Promise<boolean> {
    const { id, account, name, mediaType, size, atMs } = upload
    const path = join(this.#directory, id)
    this.#coming.add(id)
    try {
      const file = await open(`${path}.part`, 'w', 0o600)
      const isWhole = await written(file, content, size).finally(() => file.close())
      if (!isWhole) return false
      await rename(`${path}.part`, path)
      await syncDirectory(this.#directory)
      const day = Math.floor(this.#clock.now() / dayMs)
      const bytes = await this.#today(account) + size
      const record = encode(recordCodec, { account, name, mediaType, size, atMs })
      await this.#kv.write([
        { type: 'put', key: `upload/${id}`, value: record },
        { type: 'put', key: `upload-day/${account}`, value: encode(dayCodec, { day, bytes }) },
      ])
      this.#slots.delete(id)
      this.#count(account, size)
      return true
    } finally {
      // In this order: whoever tries again has the same path.
      await rm(`${path}.part`, { force: true })
      this.#coming.delete(id)
    }
  }

  async find(id: string): Promise<Upload | undefined> {
    if (!idForm.test(id)) return undefined
    const entry = await this.#kv.get(`upload/${id}`)
    if (entry === undefined) return undefined
    const upload = { ...decode(recordCodec, entry.value), id }
    return this.#isOver(upload) ? undefined : upload
  }

  /** Its bytes from `start` to `end`, both inclusive. */
  read({ id }: Upload, { start, end }: { readonly start: number, readonly end: number }): ReadStream {
    return createReadStream(join(this.#directory, id), { start, end })
  }

  /** Files that are over go. Gives how many. */
  async expire(): Promise<number> {
    let gone = 0
    for await (const { key, value } of kvEntries(this.#kv, 'upload/')) {
      const id = key.slice('upload/'.length)
      const upload = { ...decode(recordCodec, value), id }
      if (!this.#isOver(upload)) continue
      await this.#remove(upload)
      gone++
    }
    return gone
  }

  /** All that an account has: it is being removed. */
  async removeAll(account: string): Promise<void> {
    for await (const { key, value } of kvEntries(this.#kv, 'upload/')) {
      const upload = { ...decode(recordCodec, value), id: key.slice('upload/'.length) }
      if (upload.account === account) await this.#remove(upload)
    }
  }

  /** The record first: a file without one goes at the next start. */
  async #remove({ id, account, size }: Upload): Promise<void> {
    await this.#kv.write([{ type: 'delete', key: `upload/${id}` }])
    await rm(join(this.#directory, id), { force: true })
    this.#count(account, -size)
  }

  #isOver({ atMs }: Upload): boolean {
    return this.#clock.now() - atMs >= this.#limits.keptDays * dayMs
  }

  #count(account: string, bytes: number): void {
    this.#total += bytes
    const kept = (this.#kept.get(account) ?? 0) + bytes
    if (kept > 0) this.#kept.set(account, kept)
    else this.#kept.delete(account)
  }

  async #today(account: string): Promise<number> {
    const entry = await this.#kv.get(`upload-day/${account}`)
    if (entry === undefined) return 0
    const { day, bytes } = decode(dayCodec, entry.value)
    return day === Math.floor(this.#clock.now() / dayMs) ? bytes : 0
  }

  #forgetSlots(): void {
    const nowMs = this.#clock.now()
    for (const [id, { expiresAtMs }] of this.#slots) {
      if (expiresAtMs <= nowMs && !this.#coming.has(id)) this.#slots.delete(id)
    }
  }

  /** XEP-0363 §5: when it is worth asking again. */
  #full(why: string, afterMs: number): StanzaError {
    const stamp = new Date(this.#clock.now() + afterMs).toISOString().replace(/\.\d+Z$/, 'Z')
    return new StanzaError('resource-constraint', { text: why, extra: el(uploadNs, 'retry', { stamp }) })
  }
}

function bytesOf(uploads: readonly Upload[]): number {
  return uploads.reduce((sum, { size }) => sum + size, 0)
}

/** Whether exactly `size` bytes came; then they are on the disk. */
async function written(file: FileHandle, content: AsyncIterable<Uint8Array>, size: number): Promise<boolean> {
  let bytes = 0
  for await (const chunk of content) {
    bytes += chunk.length
    if (bytes > size) return false
    await file.writeFile(chunk)
  }
  if (bytes !== size) return false
  await file.sync()
  return true
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  await directory.sync().finally(() => directory.close())
}

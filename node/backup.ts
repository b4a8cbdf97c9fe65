/**
 * A backup: one encrypted file from which the same person goes on elsewhere. It holds the keys
 * file as it is (sealed or not), the settings, and everything of our own in the store: contacts,
 * sessions, messages, what waits to go out and what came in. What we hold for other people stays
 * out: it is not ours, and has its other replicas.
 *
 * ```text
 *   opaque magic[8]      "openim-b"
 *   u8     version = 1
 *   then, to the end:    u32 length, opaque chunk[length]
 *     first:    32-byte archive key under the passphrase (crypto/vault.ts)
 *     others:   XChaCha20-Poly1305 under the archive key, ad = label ‖ u64 index ‖ bool last
 *               content of index 0: BackupHead; of the others: StorePart (storage/store-parts.ts)
 * ```
 *
 * Chunks are numbered and the last one says so: nothing can be cut off, swapped or repeated
 * unseen. Alternative weighed: packing the database's files. Refused: they hold mail of other
 * people by the hundred megabytes, and only the same database could read them back.
 */
import { open, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { concat, equalBytes, utf8, wipe } from '../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import type { Random } from '../crypto/random.ts'
import { openValue, openVault, sealValue, sealVault } from '../crypto/vault.ts'
import {
  bool, encode, fixed, oneOf, opaque, struct, text, tryDecode, u32, u64,
} from '../protocol/codec/struct.ts'
import type { Codec } from '../protocol/codec/struct.ts'
import { limits } from '../protocol/limits.ts'
import { fileError } from './data-dir.ts'
import type { Store } from './ports.ts'
import { emptyPart, storePartCodec, storeParts } from './storage/store-parts.ts'
import type { StorePart } from './storage/store-parts.ts'

export interface BackupHead {
  readonly createdAtMs: number
  /** `keys.bin` as it stood. */
  readonly keysFile: Uint8Array
  /** `config.toml` as it stood; empty when there was none. */
  readonly config: string
}

export interface BackupSummary {
  readonly records: number
  readonly mail: number
  readonly bytes: number
}

/** Records about what we hold for others, or that anybody can tell us again. */
const othersPrefixes = ['lent/', 'shelf/', 'location/held/', 'directory/']
const lentPrefix = 'lent/'
/** In a household these are kept by each process for itself. */
const processPrefix = /^process\/[^/]+\//

const magic = utf8('openim-b')
const label = utf8('openim backup v1')
const lengthBytes = 4
const vaultBytesMax = 1_024
const chunkBytesMax = 8 * 1024 * 1024

const openingBytes = magic.length + 1
const openingCodec = struct<{ magic: Uint8Array, version: 1 }>({
  magic: fixed(magic.length),
  version: oneOf([1], 'backup version'),
})
const headCodec = struct<BackupHead>({
  createdAtMs: u64,
  keysFile: opaque(8_192),
  config: text(limits.configBytesMax),
})
const chunkAdCodec = struct<{ index: number, last: boolean }>({ index: u64, last: bool })

function chunkAd(index: number, last: boolean): Uint8Array {
  return concat(label, encode(chunkAdCodec, { index, last }))
}

// ── Writing ─────────────────────────────────────────────────────────────────────────────────

/**
 * Writes a new file of mode 0600; nothing is left of it when that fails.
 * @throws USAGE_EXISTS, STORE_*, DATA_DIR_*
 */
export async function writeBackup(input: {
  readonly path: string
  readonly passphrase: Uint8Array
  readonly head: BackupHead
  readonly store: Store
  readonly random: Random
  /** Called after each chunk, so far. */
  readonly onProgress?: (done: BackupSummary) => void
}): Promise<BackupSummary> {
  const { path, passphrase, head, store, random, onProgress } = input
  const file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
    if (errorCode(cause) !== 'EEXIST') throw fileError(cause, path)
    throw new OpenIMError('USAGE_EXISTS', `${path} exists already`, { cause })
  })
  const key = random.bytes(32)
  try {
    let bytes = 0
    const write = async (chunk: Uint8Array): Promise<void> => {
      await file.appendFile(concat(encode(u32, chunk.length), chunk))
      bytes += lengthBytes + chunk.length
    }
    let index = 0
    const append = (content: Uint8Array, last: boolean): Promise<void> =>
      write(sealValue({ key, plaintext: content, ad: chunkAd(index++, last), random }))

    await file.appendFile(encode(openingCodec, { magic, version: 1 }))
    await write(sealVault({ passphrase, plaintext: key, random }))
    await append(encode(headCodec, head), false)
    let records = 0
    let mail = 0
    for await (const part of ownParts(store)) {
      records += part.records.length
      mail += part.mail.length
      await append(encode(storePartCodec, part), false)
      onProgress?.({ records, mail, bytes })
    }
    await append(encode(storePartCodec, emptyPart), true)
    await file.sync()
    return { records, mail, bytes: (await file.stat()).size }
  } catch (cause) {
    await unlink(path).catch(() => {})
    throw fileError(cause, path)
  } finally {
    wipe(key)
    await file.close()
  }
}

/** Our own: what we hold for others has its other replicas. */
function ownParts(store: Store): AsyncGenerator<StorePart> {
  const lent = new Set<string>()
  return storeParts(store, {
    // All records come before the first box.
    record(key) {
      const name = key.replace(processPrefix, '')
      if (name.startsWith(lentPrefix)) lent.add(name.slice(lentPrefix.length))
      return !othersPrefixes.some((prefix) => name.startsWith(prefix))
    },
    box: (box) => !lent.has(box),
    files: false,
  })
}

// ── Reading ─────────────────────────────────────────────────────────────────────────────────

/** An opened backup. */
export class BackupReader {
  readonly head: BackupHead
  readonly #chunks: ChunkReader

  private constructor(head: BackupHead, chunks: ChunkReader) {
    this.head = head
    this.#chunks = chunks
  }

  /** @throws BACKUP_CORRUPT, BACKUP_PASSPHRASE, USAGE_FILE */
  static async open(path: string, passphrase: Uint8Array): Promise<BackupReader> {
    const file = await open(path, 'r').catch((cause: unknown) => {
      throw new OpenIMError('USAGE_FILE', `cannot read the backup ${path}`, { cause })
    })
    try {
      const chunks = await ChunkReader.open(file, passphrase)
      const head = await chunks.next(headCodec)
      if (head.last) throw corrupt('it holds no data')
      chunks.markStart()
      return new BackupReader(head.content, chunks)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** Reads all of it and keeps nothing: after this it can be restored. @throws BACKUP_CORRUPT */
  async verify(onProgress?: (done: BackupSummary) => void): Promise<BackupSummary> {
    let [records, mail] = [0, 0]
    for await (const part of this.parts()) {
      records += part.records.length
      mail += part.mail.length
      onProgress?.({ records, mail, bytes: this.#chunks.position })
    }
    return { records, mail, bytes: this.#chunks.position }
  }

  /** In order, from the first each time. @throws BACKUP_CORRUPT */
  async *parts(): AsyncGenerator<StorePart> {
    this.#chunks.rewind()
    for (;;) {
      const { content, last } = await this.#chunks.next(storePartCodec)
      yield content
      if (!last) continue
      await this.#chunks.expectEnd()
      return
    }
  }

  /** Bytes read of the file. */
  get position(): number {
    return this.#chunks.position
  }

  async close(): Promise<void> {
    await this.#chunks.close()
  }
}

class ChunkReader {
  readonly #file: FileHandle
  #key: Uint8Array = new Uint8Array()
  #at = 0
  #index = 0
  #start = { at: 0, index: 0 }

  private constructor(file: FileHandle) {
    this.#file = file
  }

  get position(): number {
    return this.#at
  }

  /** Where `rewind` goes back to. */
  markStart(): void {
    this.#start = { at: this.#at, index: this.#index }
  }

  rewind(): void {
    this.#at = this.#start.at
    this.#index = this.#start.index
  }

  static async open(file: FileHandle, passphrase: Uint8Array): Promise<ChunkReader> {
    const reader = new ChunkReader(file)
    const opening = tryDecode(openingCodec, await reader.#take(openingBytes))
    if (!opening.ok || !equalBytes(opening.value.magic, magic)) throw corrupt('it does not begin as one')
    const key = openVault({ passphrase, vault: await reader.#chunk(vaultBytesMax) })
    if (!key.ok && key.code === 'VAULT_FORMAT') throw corrupt('its key is damaged')
    if (!key.ok) throw new OpenIMError('BACKUP_PASSPHRASE', 'the passphrase does not open this backup')
    reader.#key = key.value
    return reader
  }

  async next<T>(codec: Codec<T>): Promise<{ content: T, last: boolean }> {
    const sealed = await this.#chunk(chunkBytesMax)
    const index = this.#index++
    for (const last of [false, true]) {
      const plain = openValue({ key: this.#key, sealed, ad: chunkAd(index, last) })
      if (plain === undefined) continue
      const decoded = tryDecode(codec, plain)
      if (!decoded.ok) throw corrupt(`chunk ${index} holds something else (${decoded.code})`)
      return { content: decoded.value, last }
    }
    throw corrupt(`chunk ${index} is damaged`)
  }

  async expectEnd(): Promise<void> {
    if ((await readAt(this.#file, this.#at, 1)).length > 0) throw corrupt('there is something behind its end')
  }

  async close(): Promise<void> {
    wipe(this.#key)
    await this.#file.close()
  }

  async #chunk(bytesMax: number): Promise<Uint8Array> {
    const length = tryDecode(u32, await this.#take(lengthBytes))
    if (length.ok && length.value <= bytesMax) return await this.#take(length.value)
    throw corrupt(`chunk ${this.#index} has no sensible length`)
  }

  async #take(length: number): Promise<Uint8Array> {
    const bytes = await readAt(this.#file, this.#at, length)
    if (bytes.length < length) throw corrupt('its end is missing')
    this.#at += length
    return bytes
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return buffer.subarray(0, done)
}

function corrupt(why: string): OpenIMError {
  return new OpenIMError('BACKUP_CORRUPT', `the backup is damaged: ${why}`)
}

/**
 * An archive: a whole store in one file, from which any database can be filled (`openim db export`,
 * `openim db import`). Records in it are as they lie in the database, sealed where they are sealed
 * there; mail is what its senders encrypted. It belongs to one node and its keys, which are not in
 * it: a backup (backup.ts) is the file to keep, an archive the way from here to there.
 *
 * ```text
 *   opaque magic[8]      "openim-s"
 *   u8     version = 1
 *   u32    length, then a StorePart (storage/store-parts.ts) of so many bytes; as often as needed
 *   u32    0
 *   u64    entries
 *   opaque hash[32]      SHA-256 chain over all entries
 * ```
 */
import { open, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { concat, equalBytes, hex, utf8 } from '../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import { encode, fixed, oneOf, struct, tryDecode, u32, u64 } from '../protocol/codec/struct.ts'
import { fileError } from './data-dir.ts'
import type { Store } from './ports.ts'
import {
  addCounts, noCounts, PartsDigest, StoreFiller, storePartCodec, storeParts,
} from './storage/store-parts.ts'
import type { StoreCounts, StorePart } from './storage/store-parts.ts'

export interface ArchiveSummary extends StoreCounts {
  readonly bytes: number
  /** Of what is in it: the same for every store that holds the same. */
  readonly digest: string
}

/** So far. */
export type ArchiveProgress = (done: StoreCounts & { readonly bytes: number }) => void

const magic = utf8('openim-s')
const openingBytes = magic.length + 1
const openingCodec = struct<{ magic: Uint8Array, version: 1 }>({
  magic: fixed(magic.length), version: oneOf([1], 'archive version'),
})
const endCodec = struct<{ entries: number, hash: Uint8Array }>({ entries: u64, hash: fixed(32) })
const endBytes = 40
const lengthBytes = 4
const partBytesMax = 8 * 1024 * 1024
/** Says which archive a store is being filled from; gone when all of it is in. */
const unfinishedKey = 'import/unfinished'
const isOurs = (key: string): boolean => key !== unfinishedKey

// ── Writing ─────────────────────────────────────────────────────────────────────────────────

/**
 * Writes a new file of mode 0600; nothing is left of it when that fails.
 * @throws USAGE_EXISTS, STORE_*, DATA_DIR_*
 */
export async function writeArchive(
  store: Store,
  path: string,
  onProgress?: ArchiveProgress,
): Promise<ArchiveSummary> {
  const file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
    if (errorCode(cause) !== 'EEXIST') throw fileError(cause, path)
    throw new OpenIMError('USAGE_EXISTS', `${path} exists already`, { cause })
  })
  try {
    const digest = new PartsDigest()
    let counts = noCounts
    let bytes = 0
    const write = async (chunk: Uint8Array): Promise<void> => {
      await file.appendFile(chunk)
      bytes += chunk.length
    }
    await write(encode(openingCodec, { magic, version: 1 }))
    for await (const part of storeParts(store, { record: isOurs })) {
      const encoded = encode(storePartCodec, part)
      await write(concat(encode(u32, encoded.length), encoded))
      digest.add(part)
      counts = addCounts(counts, part)
      onProgress?.({ ...counts, bytes })
    }
    const { entries, hash } = digest
    await write(concat(encode(u32, 0), encode(endCodec, { entries, hash })))
    await file.sync()
    return { ...counts, bytes, digest: hex(hash) }
  } catch (cause) {
    await unlink(path).catch(() => {})
    throw fileError(cause, path)
  } finally {
    await file.close()
  }
}

// ── Reading ─────────────────────────────────────────────────────────────────────────────────

/** Reads all of it and keeps nothing. @throws ARCHIVE_CORRUPT, USAGE_FILE */
export async function checkArchive(path: string, onProgress?: ArchiveProgress): Promise<ArchiveSummary> {
  return await readArchive(path, async () => {}, onProgress)
}

/**
 * Fills an empty store, or goes on with one that the same archive has filled in part. The file is
 * read and checked to its end before the first write.
 * @throws ARCHIVE_CORRUPT, USAGE_FILE, STORE_NOT_EMPTY, STORE_*
 */
export async function importArchive(
  store: Store,
  path: string,
  progress: { onCheck?: ArchiveProgress, onWrite?: ArchiveProgress } = {},
): Promise<ArchiveSummary> {
  const checked = await checkArchive(path, progress.onCheck)
  await beginFilling(store, checked.digest)
  const filler = new StoreFiller(store)
  const filled = await readArchive(path, (part) => filler.add(part), progress.onWrite)
  if (filled.digest !== checked.digest) throw corrupt('it was changed meanwhile')
  await filler.finish()
  await endFilling(store)
  return filled
}

/** The same straight from another store. Nobody may write to that one meanwhile. @throws STORE_* */
export async function copyStore(
  from: Store,
  to: Store,
  onProgress?: (done: StoreCounts) => void,
): Promise<StoreCounts & { readonly digest: string }> {
  await beginFilling(to, await firstRecord(from))
  const filler = new StoreFiller(to)
  const digest = new PartsDigest()
  let counts = noCounts
  for await (const part of storeParts(from, { record: isOurs })) {
    await filler.add(part)
    digest.add(part)
    counts = addCounts(counts, part)
    onProgress?.(counts)
  }
  await filler.finish()
  await endFilling(to)
  return { ...counts, digest: hex(digest.hash) }
}

/** Tells one database from another, so that a copy that was cut off goes on from the same one. */
async function firstRecord({ kv }: Store): Promise<string> {
  const [first] = await kv.list({ prefix: '', limit: 1 })
  return first === undefined ? '' : hex(crypto.sha256(concat(utf8(first.key), first.value)))
}

/** @throws STORE_UNFINISHED when an import into this store did not come to its end */
export async function assertFilled({ kv }: Store): Promise<void> {
  if (await kv.get(unfinishedKey) === undefined) return
  throw new OpenIMError('STORE_UNFINISHED', 'an import into this database was cut off: do it again')
}

async function beginFilling({ kv, mailbox, pieces }: Store, from: string): Promise<void> {
  const begun = await kv.get(unfinishedKey)
  const isSame = begun !== undefined && equalBytes(begun.value, utf8(from))
  const isUsed = (await kv.list({ prefix: '', limit: 1 })).length > 0
    || (await mailbox.boxes()).length > 0 || (await pieces.boxes()).length > 0
  if (isUsed && !isSame) {
    throw new OpenIMError('STORE_NOT_EMPTY', 'the database is in use already: only an empty one is filled')
  }
  await kv.write([{ type: 'put', key: unfinishedKey, value: utf8(from) }])
}

async function endFilling({ kv }: Store): Promise<void> {
  await kv.write([{ type: 'delete', key: unfinishedKey }])
}

async function readArchive(
  path: string,
  take: (part: StorePart) => Promise<void>,
  onProgress?: ArchiveProgress,
): Promise<ArchiveSummary> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new OpenIMError('USAGE_FILE', `cannot read the archive ${path}`, { cause })
  })
  try {
    const reader = new FileReader(file)
    const opening = tryDecode(openingCodec, await reader.take(openingBytes))
    if (!opening.ok || !equalBytes(opening.value.magic, magic)) throw corrupt('it does not begin as one')
    const digest = new PartsDigest()
    let counts = noCounts
    for (let number = 1; ; number++) {
      const length = tryDecode(u32, await reader.take(lengthBytes))
      if (!length.ok || length.value > partBytesMax) throw corrupt(`part ${number} has no sensible length`)
      if (length.value === 0) break
      const part = tryDecode(storePartCodec, await reader.take(length.value))
      if (!part.ok) throw corrupt(`part ${number} holds something else (${part.code})`)
      digest.add(part.value)
      await take(part.value)
      counts = addCounts(counts, part.value)
      onProgress?.({ ...counts, bytes: reader.position })
    }
    const end = tryDecode(endCodec, await reader.take(endBytes))
    const isWhole = end.ok && end.value.entries === digest.entries && equalBytes(end.value.hash, digest.hash)
    if (!isWhole) throw corrupt('its content is not what was written')
    if (!await reader.isAtEnd()) throw corrupt('there is something behind its end')
    return { ...counts, bytes: reader.position, digest: hex(digest.hash) }
  } finally {
    await file.close()
  }
}

class FileReader {
  readonly #file: FileHandle
  position = 0

  constructor(file: FileHandle) {
    this.#file = file
  }

  async take(length: number): Promise<Uint8Array> {
    const bytes = await this.#read(length)
    if (bytes.length < length) throw corrupt('its end is missing')
    this.position += length
    return bytes
  }

  async isAtEnd(): Promise<boolean> {
    return (await this.#read(1)).length === 0
  }

  async #read(length: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(length)
    let done = 0
    while (done < length) {
      const { bytesRead } = await this.#file.read(buffer, done, length - done, this.position + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return buffer.subarray(0, done)
  }
}

function corrupt(why: string): OpenIMError {
  return new OpenIMError('ARCHIVE_CORRUPT', `the archive is damaged: ${why}`)
}

/**
 * Files of the person on this machine, as sources and sinks of transfers. What is fetched is
 * written beside its final place under a name of its own, and gets that place when it is whole and
 * checked. Nothing is overwritten unless that was asked for, and nothing becomes executable.
 *
 * ```text
 *   ref of a source   the absolute path
 *   ref of a sink     JSON { path, overwrite, part }
 * ```
 */
import { link, open, rename, stat, statfs, unlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, extname, isAbsolute, join } from 'node:path'
import * as v from 'valibot'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import type { FileOpener, FileSink, FileSource } from '../protocol/client/api.ts'
import type { MessageId } from '../protocol/ids.ts'
import { buffersMoved } from './buffer-collector.ts'

const namesMax = 1_000
const mode = 0o600

export interface SinkPlace {
  readonly path: string
  readonly overwrite: boolean
  /** The name while it is incomplete. */
  readonly part: string
}

const placeSchema = v.strictObject({ path: v.string(), overwrite: v.boolean(), part: v.string() })

/** @throws FILE_PATH, FILE_KIND, FILE_ACCESS, FILE_IO */
export async function openSource(path: string): Promise<FileSource> {
  checkAbsolute(path)
  try {
    // Before it is opened: a pipe would wait for its writer.
    checkRegular(path, await stat(path))
    const file = await open(path, 'r')
    const found = await file.stat()
    return {
      size: found.size,
      read: (offset, length) => readUpTo(file, offset, length),
      close: () => file.close(),
    }
  } catch (cause) {
    throw fileError(cause, path)
  }
}

/** Where a file of this id is written, and how it is found again. */
export function sinkPlace(path: string, options: { id: MessageId, overwrite: boolean }): SinkPlace {
  const part = join(dirname(path), `.${basename(path)}.${options.id.slice(0, 8)}.openim-part`)
  return { path, overwrite: options.overwrite, part }
}

/**
 * @param size what will be written
 * @throws FILE_PATH, FILE_EXISTS, FILE_KIND, FILE_ACCESS, FILE_IO, STORE_FULL
 */
export async function openSink(place: SinkPlace, size = 0): Promise<{ sink: FileSink, ref: string }> {
  const { path, overwrite, part } = place
  checkAbsolute(path)
  try {
    const found = await statOf(path)
    if (found !== undefined) checkRegular(path, found)
    if (found !== undefined && !overwrite) throw new OpenIMError('FILE_EXISTS', `${path} exists already`)
    await checkRoom(path, size)
    return { sink: new DiskSink(place, await openPart(part), true), ref: JSON.stringify(place) }
  } catch (cause) {
    throw fileError(cause, path)
  }
}

/** For transfers that a restart interrupted. */
export const diskFiles: FileOpener = {
  source: openSource,
  async sink(ref, stage) {
    const place = v.parse(placeSchema, JSON.parse(ref))
    if (stage === 'finish') return new DiskSink(place, undefined, true)
    try {
      return new DiskSink(place, await open(place.part, 'r+'), false)
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return (await openSink(place)).sink
      throw fileError(cause, place.path)
    }
  },
}

class DiskSink implements FileSink {
  readonly isFresh: boolean
  readonly #place: SinkPlace
  /** Absent when nothing more is written. */
  readonly #file: FileHandle | undefined
  #isClosed = false

  constructor(place: SinkPlace, file: FileHandle | undefined, isFresh: boolean) {
    this.#place = place
    this.#file = file
    this.isFresh = isFresh
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#guarded(async () => {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await this.#opened.write(bytes, at, bytes.length - at, offset + at)
        at += bytesWritten
      }
    })
  }

  async sync(): Promise<void> {
    await this.#guarded(() => this.#opened.datasync())
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return this.#guarded(() => readUpTo(this.#opened, offset, length))
  }

  async finish(): Promise<string> {
    const { path, overwrite, part } = this.#place
    return await this.#guarded(async () => {
      await this.close()
      if (await statOf(part) === undefined) return path
      if (overwrite) {
        await rename(part, path)
        return path
      }
      const final = await linkAs(part, path)
      await unlink(part)
      return final
    })
  }

  async discard(): Promise<void> {
    await this.close()
    await unlink(this.#place.part).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#file?.close()
  }

  get #opened(): FileHandle {
    if (this.#file === undefined) throw new OpenIMError('FILE_IO', `${this.#place.path} is not open`)
    return this.#file
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (cause) {
      throw fileError(cause, this.#place.path)
    }
  }
}

/** A link never replaces: should somebody have taken the name meanwhile, the next free one is used. */
async function linkAs(part: string, path: string): Promise<string> {
  const end = extname(path)
  const stem = path.slice(0, path.length - end.length)
  for (let i = 1; i < namesMax; i++) {
    const name = i === 1 ? path : `${stem}-${i}${end}`
    try {
      await link(part, name)
      return name
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
    }
  }
  throw new OpenIMError('FILE_EXISTS', `${path} exists already`)
}

/** Said now rather than after an hour. */
async function checkRoom(path: string, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path))
  if (bavail * bsize >= size) return
  throw new OpenIMError('STORE_FULL', `${size} bytes do not fit on the disk of ${path}`)
}

/** Fresh: what an earlier try left under this name is of no use. */
async function openPart(part: string): Promise<FileHandle> {
  try {
    return await open(part, 'wx+', mode)
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
    await unlink(part)
    return await open(part, 'wx+', mode)
  }
}

async function readUpTo(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  buffersMoved(length)
  const bytes = new Uint8Array(length)
  let at = 0
  while (at < length) {
    const { bytesRead } = await file.read(bytes, at, length - at, offset + at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return at === length ? bytes : bytes.subarray(0, at)
}

async function statOf(path: string): Promise<Awaited<ReturnType<typeof stat>> | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function checkRegular(path: string, found: { isFile(): boolean, isDirectory(): boolean }): void {
  if (found.isFile()) return
  const kind = found.isDirectory() ? 'a directory' : 'no ordinary file'
  throw new OpenIMError('FILE_KIND', `${path} is ${kind}`)
}

function checkAbsolute(path: string): void {
  if (!isAbsolute(path)) throw new OpenIMError('FILE_PATH', `${path} is no absolute path`)
}

function fileError(cause: unknown, path: string): OpenIMError {
  if (cause instanceof OpenIMError) return cause
  const code = errorCode(cause)
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR': return new OpenIMError('FILE_PATH', `there is no ${path}`, { cause })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS': return new OpenIMError('FILE_ACCESS', `no permission to use ${path} (${code})`, { cause })
    case 'ENOSPC':
    case 'EDQUOT': return new OpenIMError('STORE_FULL', `no room left on the disk of ${path}`, { cause })
    default: return new OpenIMError('FILE_IO', `${path} cannot be used (${code ?? 'unknown'})`, { cause })
  }
}

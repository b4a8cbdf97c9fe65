/**
 * One LevelDB and its ways to fail: the only file that opens `level`. It turns LevelDB's errors
 * into `STORE_*` codes, and can be closed and opened again under its readers.
 *
 * That is needed because LevelDB 1.20 must not go on after a failed write: its log writer counts
 * the bytes that never reached the file, so later records straddle block borders and are dropped
 * when the log is read again. Synced or not, they would be lost at the next start. For the same
 * reason nothing unsynced and unwatched may share this log: data that may be lost (libp2p's peer
 * store) gets a LevelDB of its own.
 */
import { rm } from 'node:fs/promises'
import { Level } from 'level'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'

export type LevelHandle = Level<string, Uint8Array>

export type LevelBatch =
  | { type: 'put', key: string, value: Uint8Array }
  | { type: 'del', key: string }

interface Compactable {
  compactRange(start: string, end: string): Promise<void>
}

export interface LevelOpenOptions {
  readonly location: string
  /** False once a store was there: LevelDB makes a new one in place of a damaged one. */
  readonly createIfMissing: boolean
  readonly writeBufferBytes: number
  /** A power cut may take what was said to be written: for measuring what syncing costs. */
  readonly unsynced?: boolean
}

export class LevelDatabase {
  readonly location: string
  readonly #handle: LevelHandle
  readonly #unsynced: boolean
  #readers = 0
  #readersGone: (() => void) | undefined
  #reopening: Promise<void> | undefined
  /** Why it is not open. */
  #broken: OpenIMError | undefined

  private constructor(options: LevelOpenOptions) {
    this.location = options.location
    this.#unsynced = options.unsynced === true
    this.#handle = new Level<string, Uint8Array>(options.location, {
      keyEncoding: 'utf8',
      valueEncoding: 'view',
      createIfMissing: options.createIfMissing,
      writeBufferSize: options.writeBufferBytes,
    })
  }

  /** @throws STORE_LOCKED, STORE_CORRUPT, STORE_FULL, STORE_IO */
  static async open(options: LevelOpenOptions): Promise<LevelDatabase> {
    const database = new LevelDatabase(options)
    try {
      await database.#handle.open()
    } catch (error) {
      throw storeError(error, options.location)
    }
    return database
  }

  /** Runs `work` while the database stays open. @throws STORE_* */
  async read<T>(work: (handle: LevelHandle) => Promise<T>): Promise<T> {
    while (this.#reopening !== undefined) await this.#reopening
    if (this.#broken !== undefined) throw this.#broken
    this.#readers++
    try {
      return await work(this.#handle)
    } catch (error) {
      // Without a code it is a bug of ours, and must look like one.
      throw errorCode(error) === undefined ? error : storeError(error, this.location)
    } finally {
      this.#readers--
      if (this.#readers === 0) this.#readersGone?.()
    }
  }

  /** All or nothing, on disk when it settles. After a throw only `reopen` may follow. */
  async write(batch: LevelBatch[]): Promise<void> {
    try {
      await this.#handle.batch(batch, { sync: !this.#unsynced })
    } catch (error) {
      throw storeError(error, this.location)
    }
  }

  /** Lets LevelDB give back the space of deleted rows whose keys start with `prefix`. */
  async compact(prefix: string): Promise<void> {
    // `level` types only what browsers have too.
    await this.read((handle) => (handle as unknown as Compactable).compactRange(prefix, `${prefix}~`))
  }

  /** Closes and opens; readers wait. On failure the database stays closed until the next try. */
  async reopen(): Promise<void> {
    const reopening = this.#closeAndOpen()
    this.#reopening = reopening.catch(() => {})
    try {
      await reopening
    } finally {
      this.#reopening = undefined
    }
  }

  async #closeAndOpen(): Promise<void> {
    await this.#untilUnread()
    try {
      await this.#handle.close()
      await this.#handle.open({ createIfMissing: false })
      this.#broken = undefined
    } catch (error) {
      this.#broken = storeError(error, this.location)
      throw this.#broken
    }
  }

  async close(): Promise<void> {
    this.#broken ??= new OpenIMError('STORE_CLOSED', 'the store is closed')
    await this.#reopening
    await this.#untilUnread()
    await this.#handle.close()
  }

  async #untilUnread(): Promise<void> {
    if (this.#readers === 0) return
    await new Promise<void>((resolve) => { this.#readersGone = resolve })
    this.#readersGone = undefined
  }
}

/** LevelDB's own repair, in place: rebuilds its list of tables and keeps every block it can read. */
export async function repairFiles(location: string): Promise<void> {
  try {
    // `level` types only what browsers have too.
    await (Level as unknown as { repair(location: string): Promise<void> }).repair(location)
  } catch (error) {
    throw storeError(error, location)
  }
}

/** For data that may be lost: whatever is wrong with it, it is made anew. */
export async function openScratch(location: string): Promise<LevelHandle> {
  const open = async (): Promise<LevelHandle> => {
    const handle = new Level<string, Uint8Array>(location, { keyEncoding: 'utf8', valueEncoding: 'view' })
    await handle.open()
    return handle
  }
  try {
    return await open()
  } catch (error) {
    const failure = storeError(error, location)
    if (failure.code !== 'STORE_CORRUPT') throw failure
    await rm(location, { recursive: true, force: true })
    return await open()
  }
}

const signs: readonly { code: string, pattern: RegExp }[] = [
  { code: 'STORE_LOCKED', pattern: /LEVEL_LOCKED/ },
  { code: 'STORE_FULL', pattern: /ENOSPC|EDQUOT|No space left on device|Disk quota exceeded/ },
  { code: 'STORE_CORRUPT', pattern: /LEVEL_CORRUPTION|Corruption|does not exist|No such file|ENOENT/ },
  { code: 'STORE_CLOSED', pattern: /LEVEL_(DATABASE|ITERATOR)_NOT_OPEN/ },
]

/** What LevelDB or the file system threw, as one of ours. */
export function storeError(error: unknown, location: string): OpenIMError {
  if (error instanceof OpenIMError) return error
  // The reason lies in the innermost cause; LEVEL_DATABASE_NOT_OPEN only wraps it.
  let text = ''
  let reason = String(error)
  for (let at = error; at instanceof Error; at = at.cause) {
    text += `${errorCode(at) ?? ''} ${at.message}; `
    reason = at.message
  }
  const code = signs.find(({ pattern }) => pattern.test(text))?.code ?? 'STORE_IO'
  return new OpenIMError(code, message(code, location, reason), { cause: error, details: { location } })
}

function message(code: string, location: string, reason: string): string {
  switch (code) {
    case 'STORE_LOCKED':
      return `another openIM node runs on this data directory (${location}); stop it first`
    case 'STORE_FULL':
      return `the disk of ${location} is full; make room, the node goes on by itself`
    case 'STORE_CORRUPT':
      return `the database ${location} is damaged (${reason}); repair it or restore a backup`
    case 'STORE_CLOSED':
      return 'the store is closed'
    default:
      return `the database ${location} cannot be used (${reason}); check the disk and its permissions`
  }
}

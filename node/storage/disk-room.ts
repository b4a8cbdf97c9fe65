/**
 * Room on the disk of a store. LevelDB needs room even to delete and to open, so a disk must
 * never be used up to its last byte:
 *
 * - below `reserveBytes` of free space the store takes nothing new (it can still delete);
 * - should the disk run full all the same (somebody else filled it), a ballast file of that size
 *   is removed, which leaves room to open the database and to delete;
 * - once there is room for both, the ballast is laid down again.
 *
 * The reserve is at most an eighth of the disk, so that a small one (or a test's) scales
 * everything down. The ballast holds random bytes: file systems that compress would keep no room
 * behind zeros.
 */
import { open, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { systemRandom } from '../../crypto/random.ts'
import { errorCode } from '../../crypto/errors.ts'

const ballastName = 'ballast'
const chunkBytes = 1024 * 1024
const smallestBytes = 256 * 1024

export class DiskRoom {
  /** Size of the ballast, and the free space below which the store counts as full. */
  readonly reserveBytes: number
  readonly #directory: string
  #hasBallast: boolean
  #filling: Promise<void> | undefined
  #stopped = false

  private constructor(directory: string, reserveBytes: number, hasBallast: boolean) {
    this.#directory = directory
    this.reserveBytes = reserveBytes
    this.#hasBallast = hasBallast
  }

  static async open(directory: string, ballastBytesMax: number): Promise<DiskRoom> {
    const { blocks, bsize } = await statfs(directory)
    const reserve = Math.max(Math.min(ballastBytesMax, Math.floor((blocks * bsize) / 8)), smallestBytes)
    return new DiskRoom(directory, reserve, await sizeOf(join(directory, ballastName)) >= reserve)
  }

  /** Whether anything new may be written: the reserve is free, besides the ballast. */
  async hasRoom(): Promise<boolean> {
    return await this.#hasFree(1)
  }

  /** After the disk was full: whether there is room again, with some more, not to go back and forth. */
  async hasRoomAgain(): Promise<boolean> {
    if (!await this.#hasFree(1.25)) return false
    await this.layBallast()
    return this.#hasBallast
  }

  async #hasFree(reserves: number): Promise<boolean> {
    return await freeBytes(this.#directory) >= this.reserveBytes * (reserves + (this.#hasBallast ? 0 : 1))
  }

  /** Settles when the ballast is there, or cannot be. */
  async layBallast(): Promise<void> {
    if (this.#hasBallast || this.#stopped) return
    this.#filling ??= this.#fill().finally(() => { this.#filling = undefined })
    await this.#filling
  }

  async #fill(): Promise<void> {
    const path = join(this.#directory, ballastName)
    const partPath = `${path}.part`
    try {
      await this.#writeRandom(partPath)
      if (this.#stopped) return await rm(partPath)
      await rename(partPath, path)
      this.#hasBallast = true
    } catch (error) {
      await rm(partPath, { force: true })
      if (errorCode(error) !== 'ENOSPC' && errorCode(error) !== 'EDQUOT') throw error
    }
  }

  async #writeRandom(path: string): Promise<void> {
    const chunk = systemRandom.bytes(Math.min(chunkBytes, this.reserveBytes))
    const file = await open(path, 'w', 0o600)
    try {
      for (let left = this.reserveBytes; left > 0 && !this.#stopped;) {
        const { bytesWritten } = await file.write(chunk, 0, Math.min(left, chunk.length))
        left -= bytesWritten
      }
      await file.sync()
    } finally {
      await file.close()
    }
  }

  /** Gives the ballast's room to the database. */
  async releaseBallast(): Promise<void> {
    await this.#filling
    await rm(join(this.#directory, ballastName), { force: true })
    this.#hasBallast = false
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#filling
  }
}

async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory)
  return bavail * bsize
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch {
    return 0
  }
}

/**
 * The embedded store, default of every node: mailbox and key-value records in one LevelDB, every
 * answer after its synced group commit (DESIGN §11).
 *
 * ```text
 *   <directory>/
 *     marker        "creating" or "ready": LevelDB makes a new store in place of a damaged one
 *                   unless it is told that there was one
 *     level/        the database (level-rows.ts)
 *     ballast       room for the worst moment (disk-room.ts)
 *     pieces/       pieces of files (disk-pieces.ts)
 *     scratch-*     LevelDBs of their own for data that may be lost
 * ```
 *
 * What goes wrong on disks, and what happens then:
 *
 * | event                        | answer                                                    |
 * |------------------------------|-----------------------------------------------------------|
 * | second node on the directory | STORE_LOCKED                                              |
 * | disk full                    | STORE_FULL for what needs room, until there is some again |
 * | database damaged or gone     | STORE_CORRUPT; `repairLevelStore` works on a copy         |
 * | written by a newer openIM    | STORE_NEWER                                               |
 * | a mail body damaged          | dropped, counted, logged; replicas still have it          |
 * | a record damaged             | STORE_CORRUPT with its key, when it is read               |
 * | part of LevelDB's log lost   | logged and counted; what is left is made to fit again     |
 */
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { encode } from '../../protocol/codec/struct.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { Log, Store } from '../ports.ts'
import { DiskPieces } from './disk-pieces.ts'
import { DiskRoom } from './disk-room.ts'
import { CommitQueue } from './level-commit.ts'
import { LevelDatabase, openScratch, storeError } from './level-database.ts'
import type { LevelHandle } from './level-database.ts'
import { emptyState } from './level-draft.ts'
import { LevelKv } from './level-kv.ts'
import { LevelMailbox } from './level-mailbox.ts'
import { rebuildRows } from './level-rebuild.ts'
import { rowKey, schemaVersion, sealRow, stateRow } from './level-rows.ts'
import { loadState } from './level-state.ts'
import { isKnown, writeMarker } from './store-marker.ts'

export interface LevelStoreOptions {
  /** Made if missing, mode 0700. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Log
  /** At most an eighth of the disk. */
  readonly ballastBytes?: number
  /** A power cut may take what was said to be written: for measuring what syncing costs. */
  readonly unsynced?: boolean
}

export interface LevelStore extends Store {
  /**
   * A LevelDB of its own, with text keys and byte values, for data that may be lost (libp2p's peer
   * store, wrapped with `datastore-level`). A damaged one is made anew. Closed with the store.
   * @throws STORE_FULL, STORE_IO
   */
  scratch(name: string): Promise<LevelHandle>
  health(): LevelStoreHealth
}

export interface LevelStoreHealth {
  /** Damaged rows met since the start. */
  readonly corrupt: number
  /** Bytes of LevelDB's log that could not be read at the start. */
  readonly logBytesLost: number
  /** True while only deletions are taken. */
  readonly full: boolean
}

const reportedRowsMax = 10_000

/** @throws STORE_LOCKED, STORE_CORRUPT, STORE_NEWER, STORE_FULL, STORE_IO */
export async function openLevelStore(options: LevelStoreOptions): Promise<LevelStore> {
  const { directory, clock, log, ballastBytes = limits.ballastBytes } = options
  let corrupt = 0
  const reported = new Set<string>()
  const onCorrupt = (key: string): void => {
    // Readers may meet a row again before it is dropped; records stay until they are written.
    if (reported.has(key)) return
    if (reported.size >= reportedRowsMax) reported.clear()
    reported.add(key)
    corrupt++
    log.error({ code: 'STORE_CORRUPT', row: key }, 'a damaged record was met and left out')
  }

  const { database, room } = await openDatabase(options, ballastBytes)
  try {
    let state = await loadState(database, onCorrupt)
    const logBytesLost = await bytesLostAtStart(database.location)
    if (logBytesLost > 0) {
      // Some groups are gone and later ones are not: make what is left fit again.
      const { items, itemsLost } = await rebuildRows(database)
      log.error({ code: 'STORE_CORRUPT', bytes: logBytesLost, items, itemsLost },
        'a part of the database log could not be read; mail in it comes back from its replicas')
      state = await loadState(database, onCorrupt)
    }
    const load = (one: LevelDatabase) => loadState(one, onCorrupt)
    const queue = new CommitQueue({ database, room, log, load, onCorrupt }, state)
    await queue.watchRoom()
    // Beside the rest: it takes a second on a slow card, and nothing waits for it.
    if (!queue.full) {
      room.layBallast().catch((error: unknown) => {
        log.warn({ code: errorCode(error) }, 'the ballast could not be laid down')
      })
    }

    const piecesOptions = { directory: join(directory, 'pieces'), reserveBytes: room.reserveBytes }
    const pieces = await DiskPieces.open({ clock, log }, piecesOptions)
    const scratches: Promise<LevelHandle>[] = []
    let closing: Promise<void> | undefined
    return {
      mailbox: new LevelMailbox({ database, queue, clock, onCorrupt }),
      pieces,
      kv: new LevelKv({ database, queue, clock, onCorrupt }),
      scratch(name) {
        if (!queue.accepts) return Promise.reject(new OpenIMError('STORE_CLOSED', 'the store is closed'))
        const scratch = openScratch(join(directory, `scratch-${name}`))
        scratches.push(scratch)
        return scratch
      },
      health: () => ({ corrupt, logBytesLost, full: queue.full }),
      close() {
        closing ??= (async () => {
          await Promise.all([queue.close(), pieces.close()])
          for (const scratch of await Promise.allSettled(scratches)) {
            if (scratch.status === 'fulfilled') await scratch.value.close()
          }
          await room.stop()
          await database.close()
        })()
        return closing
      },
    }
  } catch (error) {
    await database.close()
    throw error
  }
}

async function openDatabase(
  { directory, unsynced = false }: LevelStoreOptions,
  ballastBytes: number,
): Promise<{ database: LevelDatabase, room: DiskRoom }> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const known = await isKnown(directory)
    const room = await DiskRoom.open(directory, ballastBytes)
    const location = join(directory, 'level')
    const writeBufferBytes = Math.min(limits.writeBufferBytes, Math.floor(room.reserveBytes * 2 / 3))
    const openIt = () =>
      LevelDatabase.open({ location, createIfMissing: !known, writeBufferBytes, unsynced })
    let database: LevelDatabase
    try {
      database = await openIt()
    } catch (error) {
      if (errorCode(error) !== 'STORE_FULL') throw error
      await room.releaseBallast()
      database = await openIt()
    }
    if (!known) await initialize(directory, database)
    return { database, room }
  } catch (error) {
    throw storeError(error, directory)
  }
}

async function initialize(directory: string, database: LevelDatabase): Promise<void> {
  const { nextNumber, expiryMarkMs } = emptyState()
  const row = encode(stateRow, { schema: schemaVersion, nextNumber, expiryMarkMs })
  try {
    await database.write([{ type: 'put', key: rowKey.state, value: sealRow(rowKey.state, row) }])
    await writeMarker(directory, 'ready')
  } catch (error) {
    await database.close()
    throw error
  }
}

/** LevelDB skips what it cannot read of its log and says so in its own notes alone. */
async function bytesLostAtStart(location: string): Promise<number> {
  const notes = await readFile(join(location, 'LOG'), 'latin1')
  let bytes = 0
  for (const [, count] of notes.matchAll(/dropping (\d+) bytes/g)) bytes += Number(count)
  return bytes
}

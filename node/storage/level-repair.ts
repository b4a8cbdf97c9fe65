/**
 * Repair of a damaged embedded store: on a copy, which takes the place of the damaged database
 * only when all is done; that one is kept beside it.
 *
 * LevelDB's own repair puts its files in order and keeps every block it can read. It knows nothing
 * of what rows mean to each other, so then every row is read, checked and made to fit again: mail
 * whose body is damaged goes (its replicas have it), index rows are rebuilt from bodies, usage is
 * counted anew. Key-value records are never dropped: a damaged one stays, named in the report, and
 * reading it says so.
 *
 * What LevelDB lost, nobody can list; deletions may have been among it, so mail may come back.
 * Clients drop doubles.
 */
import { cp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { LevelDatabase, repairFiles, storeError } from './level-database.ts'
import { rebuildRows } from './level-rebuild.ts'
import type { RebuildReport } from './level-rebuild.ts'
import { writeMarker } from './store-marker.ts'

export interface RepairReport extends RebuildReport {
  /** Where the damaged database was moved. */
  readonly keptAt: string
}

/**
 * The store must be closed. Needs room for a second copy.
 * @throws STORE_LOCKED, STORE_FULL, STORE_IO, STORE_CORRUPT when there is nothing to repair
 */
export async function repairLevelStore(directory: string): Promise<RepairReport> {
  const location = join(directory, 'level')
  const working = join(directory, 'level.repairing')
  const repaired = join(directory, 'level.repaired')
  try {
    await finishSwap(directory)
    await assertClosed(location)
    await rm(working, { recursive: true, force: true })
    await cp(location, working, { recursive: true, filter: (source) => !source.endsWith('LOCK') })
    await repairFiles(working)
    const report = await rebuild(working)
    await rm(repaired, { recursive: true, force: true })
    await rename(working, repaired)
    const keptAt = await unusedName(directory)
    await rename(location, keptAt)
    await rename(repaired, location)
    await writeMarker(directory, 'ready')
    return { ...report, keptAt }
  } catch (error) {
    await rm(working, { recursive: true, force: true })
    throw storeError(error, location)
  }
}

async function rebuild(location: string): Promise<RebuildReport> {
  const { writeBufferBytes } = limits
  const database = await LevelDatabase.open({ location, createIfMissing: false, writeBufferBytes })
  try {
    return await rebuildRows(database)
  } finally {
    await database.close()
  }
}

/** A repair that was cut off between its last two renames. */
async function finishSwap(directory: string): Promise<void> {
  const location = join(directory, 'level')
  if (await hasData(location)) return
  if (!await hasData(join(directory, 'level.repaired'))) {
    throw new OpenIMError('STORE_CORRUPT', `there is no database in ${directory}; restore a backup`)
  }
  await rm(location, { recursive: true, force: true })
  await rename(join(directory, 'level.repaired'), location)
}

/** LevelDB makes a directory, its lock and its notes also where it then refuses to open. */
async function hasData(location: string): Promise<boolean> {
  try {
    return (await readdir(location)).some((name) => !/^(LOCK|LOG|LOG\.old)$/.test(name))
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw error
  }
}

/** LevelDB takes its lock before it reads anything. */
async function assertClosed(location: string): Promise<void> {
  try {
    const writeBufferBytes = limits.writeBufferBytes
    await (await LevelDatabase.open({ location, createIfMissing: false, writeBufferBytes })).close()
  } catch (error) {
    if (errorCode(error) !== 'STORE_CORRUPT') throw error
  }
}

async function unusedName(directory: string): Promise<string> {
  const names = await readdir(directory)
  let number = 1
  while (names.includes(`level.damaged-${number}`)) number++
  return join(directory, `level.damaged-${number}`)
}

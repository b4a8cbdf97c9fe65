/**
 * The marker beside an embedded database. LevelDB makes a new store where its CURRENT file is
 * missing, and deletes the tables of the old one (measured: 16,000 of 20,000 records gone, past
 * repair). So the marker remembers that there was one, and LevelDB is told not to.
 */
import { open, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from '../../crypto/errors.ts'

const markerName = 'marker'
const markerTexts = { creating: 'openIM store: creating\n', ready: 'openIM store: ready\n' } as const

/** Whether there has been a store here. Nothing was ever written to one still "creating". */
export async function isKnown(directory: string): Promise<boolean> {
  let text: string
  try {
    text = await readFile(join(directory, markerName), 'utf8')
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
    // A database without its marker is still a database.
    if ((await readdir(directory)).includes('level')) return true
    await writeMarker(directory, 'creating')
    return false
  }
  return text !== markerTexts.creating
}

/** On disk, with its directory entry, when it settles. */
export async function writeMarker(directory: string, state: keyof typeof markerTexts): Promise<void> {
  const path = join(directory, markerName)
  const file = await open(`${path}.part`, 'w', 0o600)
  try {
    await file.writeFile(markerTexts[state])
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.part`, path)
  const folder = await open(directory, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}


/**
 * Where the control socket of a data directory stands: `control.sock` inside it or, when that
 * path is too long for a socket, in a private directory with a short name; which one is written
 * to `control.path`, because the environment of the CLI may differ from the node's.
 */
import { createHash } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorCode } from '../../crypto/errors.ts'
import { dataFiles, ensurePrivateDir, fileError, socketPathBytesMax, writeFileAtomic } from '../data-dir.ts'

/** Chooses and records the path for a node that is about to listen. @throws DATA_DIR_* */
export async function claimSocketPath(dataDir: string): Promise<string> {
  const inside = join(dataDir, dataFiles.socket)
  const record = join(dataDir, dataFiles.socketPath)
  if (Buffer.byteLength(inside) <= socketPathBytesMax) {
    await rm(record, { force: true })
    return inside
  }
  const runtimeDir = process.env['XDG_RUNTIME_DIR']
  const base = runtimeDir !== undefined && runtimeDir.startsWith('/') ? runtimeDir : tmpdir()
  const dir = join(base, `openim-${process.getuid?.() ?? 'user'}`)
  await ensurePrivateDir(dir)
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 32)
  const path = join(dir, `${name}.sock`)
  await writeFileAtomic(record, Buffer.from(path), 0o600)
  return path
}

/** The path a CLI should try. */
export async function findSocketPath(dataDir: string): Promise<string> {
  try {
    return (await readFile(join(dataDir, dataFiles.socketPath), 'utf8')).trim()
  } catch (cause) {
    const absent = errorCode(cause) === 'ENOENT' || errorCode(cause) === 'ENOTDIR'
    if (absent) return join(dataDir, dataFiles.socket)
    throw fileError(cause, dataDir)
  }
}

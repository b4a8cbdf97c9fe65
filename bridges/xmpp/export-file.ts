/** Writes an export (XEP-0227) where the operator said: for its owner's eyes, whole or not at all. */
import { open, rm } from 'node:fs/promises'
import { OpenIMError } from '../../crypto/errors.ts'

/** Bytes written. @throws FILE_EXISTS, and what the disk says */
export async function writePieces(path: string, pieces: AsyncIterable<string>): Promise<number> {
  const file = await open(path, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST') throw cause
    throw new OpenIMError('FILE_EXISTS', `${path} exists already; name another file`, { cause })
  })
  let bytes = 0
  try {
    for await (const piece of pieces) bytes += (await file.write(piece)).bytesWritten
    await file.sync()
    await file.close()
  } catch (error) {
    await file.close().catch(() => {})
    await rm(path, { force: true })
    throw error
  }
  return bytes
}

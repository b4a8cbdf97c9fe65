/** Files are named by the beginning of their id, as `openim files` shows it. */
import { OpenIMError } from '../crypto/errors.ts'
import type { FileStatus } from '../protocol/client/api.ts'
import type { ControlClient } from './control-client.ts'

const shownChars = 8
const givenCharsMin = 4

export function shortId(id: string): string {
  return id.slice(0, shownChars)
}

/** @throws FILE_UNKNOWN, USAGE_ARGUMENT when several files begin so */
export async function findFile(node: ControlClient, given: string): Promise<FileStatus> {
  const wanted = given.toLowerCase()
  const all = await node.call('files', {})
  const found = wanted.length < givenCharsMin ? [] : all.filter(({ id }) => id.startsWith(wanted))
  if (found.length > 1) {
    throw new OpenIMError('USAGE_ARGUMENT', `${found.length} files have an id that begins with ${wanted}`)
  }
  if (found[0] === undefined) throw new OpenIMError('FILE_UNKNOWN', `no file has the id ${wanted}`)
  return found[0]
}

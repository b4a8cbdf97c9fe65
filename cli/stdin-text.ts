/** Text from stdin as one value: strict UTF-8, bounded, without the line end that every program adds. */
import { OpenIMError } from '../crypto/errors.ts'
import type { Terminal } from './terminal.ts'

/** @throws USAGE_ARGUMENT for what is no text, and what `tooLong` makes above `bytesMax` */
export async function readStdinText(
  terminal: Terminal,
  limit: { readonly bytesMax: number, readonly tooLong: (bytes: number) => OpenIMError },
): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of terminal.streams.stdin) {
    bytes += (chunk as Buffer).length
    // The line end does not count.
    if (bytes > limit.bytesMax + 2) throw limit.tooLong(bytes)
    chunks.push(chunk as Buffer)
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch (cause) {
    throw new OpenIMError('USAGE_ARGUMENT', 'stdin is not UTF-8 text', { cause })
  }
  return text.replace(/\r?\n$/, '')
}

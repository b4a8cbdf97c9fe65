/**
 * Cuts a stream of bytes into lines, with a limit on the length of one. Used by both ends of the
 * control socket. A line is complete at its line feed; what comes after the last one waits.
 */

export type LineResult =
  | { readonly ok: true, readonly lines: readonly string[] }
  /** The line under way is longer than the limit; the stream cannot go on. */
  | { readonly ok: false }

export class LineReader {
  readonly #lineBytesMax: number
  #parts: Buffer[] = []
  #partBytes = 0

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax
  }

  push(chunk: Buffer): LineResult {
    const lines: string[] = []
    let from = 0
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, from)) {
      const last = chunk.subarray(from, end)
      if (this.#partBytes + last.length > this.#lineBytesMax) return { ok: false }
      lines.push(Buffer.concat([...this.#parts, last]).toString('utf8'))
      this.#parts = []
      this.#partBytes = 0
      from = end + 1
    }
    const rest = chunk.subarray(from)
    if (rest.length > 0) this.#parts.push(rest)
    this.#partBytes += rest.length
    return this.#partBytes > this.#lineBytesMax ? { ok: false } : { ok: true, lines }
  }
}

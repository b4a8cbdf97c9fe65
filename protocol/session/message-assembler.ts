/**
 * Puts together a piece of known length from chunks of any size. A piece that lies whole in one
 * chunk is handed out as a view of it; otherwise it is copied once. Memory follows the bytes that
 * really came (a few times as much), not the length that a peer announced, and the work is linear
 * even when a piece drips in byte by byte.
 */
const firstBytes = 1_024
const growth = 4

export class MessageAssembler {
  /** Whether a piece is done with before the next is begun, so that one buffer serves all. */
  readonly #reuse: boolean
  #length = -1
  #buffer = new Uint8Array(0)
  #filled = 0

  constructor(options: { reuse: boolean }) {
    this.#reuse = options.reuse
  }

  /** Whether a length is set and its bytes are still coming. */
  get busy(): boolean {
    return this.#length >= 0
  }

  begin(length: number): void {
    this.#length = length
    this.#filled = 0
  }

  /** Takes from `chunk` at `offset` what it can; `piece` is set when it is complete. */
  take(chunk: Uint8Array, offset: number): { offset: number, piece: Uint8Array | undefined } {
    const missing = this.#length - this.#filled
    const end = Math.min(offset + missing, chunk.length)
    if (this.#filled === 0 && end - offset === missing) {
      this.#length = -1
      return { offset: end, piece: chunk.subarray(offset, end) }
    }
    this.#reserve(this.#filled + end - offset)
    this.#buffer.set(chunk.subarray(offset, end), this.#filled)
    this.#filled += end - offset
    if (this.#filled < this.#length) return { offset: end, piece: undefined }
    const piece = this.#buffer.subarray(0, this.#length)
    this.#length = -1
    if (!this.#reuse) this.#buffer = new Uint8Array(0)
    return { offset: end, piece }
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#buffer.length) return
    const grown = new Uint8Array(Math.min(this.#length, Math.max(bytes * growth, firstBytes)))
    grown.set(this.#buffer.subarray(0, this.#filled))
    this.#buffer = grown
  }
}

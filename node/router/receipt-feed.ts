/**
 * Receipts on their way to one device: only the latest of each envelope matters, so a slow device
 * costs one entry per envelope and never a growing queue.
 */
import type { ReceiptFrame } from '../../protocol/frame/receipt.ts'
import type { EnvelopeId } from '../../protocol/ids.ts'

export class ReceiptFeed {
  readonly #send: (frame: ReceiptFrame) => Promise<void>
  readonly #latest = new Map<EnvelopeId, ReceiptFrame>()
  #running = false

  /** @param send settles when the session has room; rejects when it has ended */
  constructor(send: (frame: ReceiptFrame) => Promise<void>) {
    this.#send = send
  }

  push(receipt: ReceiptFrame): void {
    this.#latest.set(receipt.envelopeId, receipt)
    if (this.#running) return
    this.#running = true
    void this.#run()
  }

  async #run(): Promise<void> {
    // Steps that follow each other in one tick are told as one.
    await Promise.resolve()
    try {
      for (const [id, receipt] of this.#latest) {
        this.#latest.delete(id)
        await this.#send(receipt)
      }
    } catch {
      // The session ended; the next one asks for what it still needs.
      this.#latest.clear()
    }
    this.#running = false
  }
}

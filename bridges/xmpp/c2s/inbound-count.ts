/**
 * What a client's stanzas came to: `handled` grows only when a stanza and all before it are handled
 * durably, so what we acknowledge (XEP-0198 §4) is never lost with us.
 */
export class InboundCount {
  #received = 0
  #handled = 0
  /** Settled before one that came earlier. */
  readonly #ahead = new Set<number>()
  readonly #waiting: { readonly upTo: number, readonly done: () => void }[] = []

  /** Of stanzas; not yet modulo 2³². */
  get received(): number {
    return this.#received
  }

  get handled(): number {
    return this.#handled
  }

  get pending(): number {
    return this.#received - this.#handled
  }

  /** `h` on the wire. */
  get h(): number {
    return this.#handled % 2 ** 32
  }

  /** Another came; its number is for `settle`. */
  begin(): number {
    this.#received++
    return this.#received
  }

  settle(number: number): void {
    this.#ahead.add(number)
    while (this.#ahead.delete(this.#handled + 1)) this.#handled++
    while (this.#waiting.length > 0 && this.#waiting[0]!.upTo <= this.#handled) {
      this.#waiting.shift()!.done()
    }
  }

  /** Calls back as soon as all that came until now are handled: at once, if they are. */
  whenHandled(done: () => void): void {
    if (this.pending === 0) done()
    else this.#waiting.push({ upTo: this.#received, done })
  }
}

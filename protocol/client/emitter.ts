/** Listeners of one kind of event. One that throws does not keep the others from hearing. */

export class Emitter<E> {
  readonly #listeners = new Set<(event: E) => void>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  /** Returns a function that ends it. */
  on(listener: (event: E) => void): () => void {
    // The same function may listen twice.
    const own = (event: E): void => listener(event)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  emit(event: E): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#onError(error)
      }
    }
  }
}

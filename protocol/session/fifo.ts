/**
 * A first-in-first-out queue with constant work per item: an array and the index of its first
 * live entry, compacted when half of it is dead (`shift()` moves the whole array every time).
 */
export class Fifo<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** The item `index` places behind the first; it must be there. */
  at(index: number): T {
    return this.#items[this.#head + index] as T
  }

  /** Takes the first item out; it must be there. */
  shift(): T {
    const item = this.#items[this.#head] as T
    this.#items[this.#head++] = undefined
    if (this.#head * 2 > this.#items.length) {
      this.#items.splice(0, this.#head)
      this.#head = 0
    }
    return item
  }

  clear(): void {
    this.#items = []
    this.#head = 0
  }
}

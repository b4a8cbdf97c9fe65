/**
 * A first-in-first-out queue with constant work per item: an array and the index of its first live
 * entry, cut when the used-up front is long and half of it (`Array.shift` moves the whole array
 * every time). A taken entry is let go of at once.
 */

/** Shorter fronts are not worth a copy. */
const cutMin = 64

export class Fifo<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  peek(): T | undefined {
    return this.#items[this.#head]
  }

  /** The item `index` places behind the first; it must be there. */
  at(index: number): T {
    return this.#items[this.#head + index] as T
  }

  /** Takes the first item out; `undefined` when there is none. */
  shift(): T | undefined {
    const { length } = this
    if (length === 0) return undefined
    // The last one: the used-up front stays for the next, which costs nothing.
    if (length === 1 && this.#head < cutMin) return this.#items.pop()
    const item = this.#items[this.#head]
    this.#items[this.#head++] = undefined
    if (length === 1) this.clear()
    else if (this.#head >= cutMin && this.#head * 2 >= this.#items.length) this.#cut()
    return item
  }

  /** Keeps the items that pass, in their order. */
  keep(test: (item: T) => boolean): void {
    this.#cut()
    this.#items = (this.#items as T[]).filter(test)
  }

  clear(): void {
    this.#items = []
    this.#head = 0
  }

  #cut(): void {
    this.#items = this.#items.slice(this.#head)
    this.#head = 0
  }
}

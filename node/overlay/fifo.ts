/**
 * First in, first out, without `Array.shift`'s cost: a head index over an array that is cut now and
 * then.
 */

/** The used-up front is cut off when it is this long and half of the array. */
const cutMin = 64

export class Fifo<T> {
  #items: T[] = []
  #head = 0

  get size(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  peek(): T | undefined {
    return this.#items[this.#head]
  }

  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#head++
    if (this.#head === this.#items.length) this.clear()
    else if (this.#head >= cutMin && this.#head * 2 >= this.#items.length) this.#cut()
    return item
  }

  #cut(): void {
    this.#items = this.#items.slice(this.#head)
    this.#head = 0
  }

  /** Keeps the items that pass, in their order. */
  keep(test: (item: T) => boolean): void {
    this.#items = this.#items.slice(this.#head).filter(test)
    this.#head = 0
  }

  clear(): void {
    this.#items = []
    this.#head = 0
  }
}

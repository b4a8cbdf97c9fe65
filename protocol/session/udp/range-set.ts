/**
 * A set of whole numbers as ranges in order: bytes of a stream that came, that were acknowledged or
 * that have to go again, and numbers of packets that came. Few ranges, so an array.
 */
export interface Range {
  readonly start: number
  /** The first number behind it. */
  readonly end: number
}

export class RangeSet {
  #ranges: Range[] = []

  get count(): number {
    return this.#ranges.length
  }

  /** Lowest first; not to be kept beyond the next change. */
  get ranges(): readonly Range[] {
    return this.#ranges
  }

  has(value: number): boolean {
    const range = this.#ranges[this.#firstEndingAfter(value)]
    return range !== undefined && range.start <= value
  }

  add(start: number, end: number): void {
    if (start >= end) return
    // Ranges that touch become one.
    const from = this.#firstEndingAfter(start - 1)
    let to = from
    let low = start
    let high = end
    for (; to < this.#ranges.length && this.#ranges[to]!.start <= end; to++) {
      low = Math.min(low, this.#ranges[to]!.start)
      high = Math.max(high, this.#ranges[to]!.end)
    }
    this.#ranges.splice(from, to - from, { start: low, end: high })
  }

  remove(start: number, end: number): void {
    if (start >= end) return
    const from = this.#firstEndingAfter(start)
    const left: Range[] = []
    let to = from
    for (; to < this.#ranges.length && this.#ranges[to]!.start < end; to++) {
      const range = this.#ranges[to]!
      if (range.start < start) left.push({ start: range.start, end: start })
      if (range.end > end) left.push({ start: end, end: range.end })
    }
    this.#ranges.splice(from, to - from, ...left)
  }

  /** The parts of [start, end) that are not in the set. */
  missing(start: number, end: number): Range[] {
    const parts: Range[] = []
    let at = start
    for (let i = this.#firstEndingAfter(start); at < end; i++) {
      const range = this.#ranges[i]
      if (range === undefined || range.start >= end) {
        parts.push({ start: at, end })
        break
      }
      if (range.start > at) parts.push({ start: at, end: range.start })
      at = range.end
    }
    return parts
  }

  /** Forgets the lowest ranges until at most `count` are left. */
  trim(count: number): void {
    if (this.#ranges.length > count) this.#ranges.splice(0, this.#ranges.length - count)
  }

  /** Index of the first range that ends behind `value`. */
  #firstEndingAfter(value: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#ranges[middle]!.end > value) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** Runs a few jobs at once; the others wait for their turn, in the order they came. */
export class FileQueue {
  readonly #atOnceMax: number
  readonly #waiting = new Set<() => void>()
  #underWay = 0

  constructor(atOnceMax: number) {
    this.#atOnceMax = atOnceMax
  }

  /** A job that is aborted while it waits begins at once, to see that for itself. */
  async run<T>(job: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const hasTurn = await this.#turn(signal)
    try {
      return await job()
    } finally {
      if (hasTurn) this.#next()
    }
  }

  async #turn(signal: AbortSignal): Promise<boolean> {
    if (this.#underWay < this.#atOnceMax) {
      this.#underWay++
      return true
    }
    return await new Promise((resolve) => {
      const begin = (): void => resolve(true)
      this.#waiting.add(begin)
      const abort = (): void => { if (this.#waiting.delete(begin)) resolve(false) }
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  #next(): void {
    const [begin] = this.#waiting
    if (begin === undefined) {
      this.#underWay--
      return
    }
    this.#waiting.delete(begin)
    begin()
  }
}

/** A second process on a shared database that does what it is told, all at once (race-child.ts). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { BoxId } from '../../../protocol/ids.ts'
import type { KillPlace } from './kill-place.ts'

export interface RaceTask {
  readonly do: 'put' | 'acknowledge' | 'expire'
  readonly box: BoxId
  /** Of items (`itemOf`). */
  readonly numbers: readonly number[]
  readonly expiresAtMs: number | null
}

export class RaceProcess {
  readonly #child
  readonly #lines

  private constructor(place: KillPlace) {
    const script = new URL('./race-child.ts', import.meta.url).pathname
    this.#child = spawn(process.execPath, [script, JSON.stringify(place)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  static async start(place: KillPlace): Promise<RaceProcess> {
    const child = new RaceProcess(place)
    const ready = await child.#line()
    if (ready !== 'ready') throw new Error(`the child said ${ready}`)
    return child
  }

  /** What it answers to a task. */
  async ask<T>(task: RaceTask): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(task)}\n`)
    return JSON.parse(await this.#line()) as T
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await ended
    this.#child.stdin.destroy()
  }

  async #line(): Promise<string> {
    return (await this.#lines.next()).value as string
  }
}

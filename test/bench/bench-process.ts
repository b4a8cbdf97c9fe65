/**
 * The other processes of a benchmark, driven over IPC: each plays one role, answers commands, and
 * tells what CPU and memory it used, so that two sides are told apart.
 *
 * ```ts
 * // in the process
 * await serveCommands({ taker: startTaker })
 * // in the bench
 * const taker = await BenchProcess.start<Command>(script, 'taker')
 * await taker.ask({ op: 'forget' })
 * ```
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** What every process answers besides its own commands. */
export type CommonCommand = { readonly op: 'cpu' | 'rss' }

export type Answerer<Command> = (command: Command) => Promise<unknown>

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

/** CPU µs used so far, as `process.cpuUsage` says. */
export interface CpuSample {
  readonly user: number
  readonly system: number
}

export class BenchProcess<Command> {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #nextId = 1

  /** @param script calls `serveCommands` with that role */
  static async start<Command>(script: URL, role: string): Promise<BenchProcess<Command>> {
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const
    const child = fork(script, [role], { execArgv: ['--expose-gc'], stdio: [...stdio] })
    const peer = new BenchProcess<Command>(child)
    const ready = Promise.withResolvers<void>()
    peer.#waiting.set(0, () => ready.resolve())
    child.once('exit', () => ready.reject(new Error(`the ${role} process ended`)))
    await ready.promise
    return peer
  }

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer)
      this.#waiting.delete(answer.id)
    })
    child.once('exit', () => {
      for (const [id, settle] of this.#waiting) settle({ id, error: 'the process ended' })
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  ask<T = void>(command: Command | CommonCommand): Promise<T> {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result as T)
        else reject(new Error(error))
      })
      this.#child.send({ id, command })
    })
  }

  /** CPU µs so far. */
  async cpu(): Promise<number> {
    const { user, system } = await this.ask<CpuSample>({ op: 'cpu' })
    return user + system
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}

/** Of a process that `BenchProcess.start` made: plays the role it was started for. */
export async function serveCommands<Command>(
  roles: Readonly<Record<string, () => Promise<Answerer<Command>>>>,
): Promise<void> {
  if (process.send === undefined) return
  const run = await roles[process.argv[2]!]!()
  process.on('disconnect', () => process.exit())
  process.on('message', ({ id, command }: { id: number, command: Command | CommonCommand }) => {
    answerOne(run, command).then(
      (result) => process.send!({ id, result }),
      (error: unknown) => process.send!({ id, error: error instanceof Error ? error.stack : String(error) }),
    )
  })
  process.send({ id: 0 })
}

async function answerOne<Command>(
  run: Answerer<Command>,
  command: Command | CommonCommand,
): Promise<unknown> {
  const { op } = command as { op: string }
  if (op === 'cpu') return process.cpuUsage()
  if (op !== 'rss') return await run(command as Command)
  for (let i = 0; i < 3; i++) globalThis.gc?.()
  return process.memoryUsage.rss()
}

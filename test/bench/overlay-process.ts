/** Starts and drives the other processes of the overlay bench (overlay-peer.ts) over IPC. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { PeerCommand, PeerRole } from './overlay-peer.ts'

const peerPath = new URL('./overlay-peer.ts', import.meta.url)

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

export class PeerProcess {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #nextId = 1

  static async start(role: PeerRole): Promise<PeerProcess> {
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const
    const child = fork(peerPath, [role], { execArgv: ['--expose-gc'], stdio: [...stdio] })
    const peer = new PeerProcess(child)
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
  }

  ask<T = void>(command: PeerCommand): Promise<T> {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result as T)
        else reject(new Error(error))
      })
      this.#child.send({ id, command })
    })
  }

  async end(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}

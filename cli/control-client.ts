/**
 * The CLI's side of the control socket: typed calls to the running node, and its events.
 */
import { createConnection } from 'node:net'
import type { Socket } from 'node:net'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import { findSocketPath } from '../node/control/control-path.ts'
import type { ControlMethod, ControlReply, ParamsOf, ResultOf } from '../node/control/control-protocol.ts'
import { LineReader } from '../node/control/line-reader.ts'
import type { ClientEvent } from '../protocol/client/api.ts'
import { limits } from '../protocol/limits.ts'

interface Waiting {
  resolve(result: unknown): void
  reject(error: OpenIMError): void
}

export class ControlClient {
  readonly #socket: Socket
  readonly #reader = new LineReader(limits.controlReplyBytesMax)
  readonly #waiting = new Map<number, Waiting>()
  readonly #closed = Promise.withResolvers<void>()
  #listener: ((event: ClientEvent) => void) | undefined
  #lastId = 0

  /** @throws NODE_NOT_RUNNING, DATA_DIR_ACCESS */
  static async connect(dataDir: string): Promise<ControlClient> {
    const path = await findSocketPath(dataDir)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const socket = createConnection(path, resolve)
    socket.once('error', reject)
    try {
      await promise
    } catch (cause) {
      const code = errorCode(cause)
      if (code === 'EACCES' || code === 'EPERM') {
        throw new OpenIMError('DATA_DIR_ACCESS', `no permission to talk to the node in ${dataDir}`, { cause })
      }
      throw new OpenIMError('NODE_NOT_RUNNING', `no node is running in ${dataDir}`, { cause })
    }
    socket.off('error', reject)
    return new ControlClient(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      for (const waiting of this.#waiting.values()) waiting.reject(nodeStopped())
      this.#waiting.clear()
      this.#closed.resolve()
    })
  }

  /** Settles when the connection is over, whoever ended it. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** @throws whatever the method throws in the node, by code; NODE_STOPPED when it went away */
  async call<M extends ControlMethod>(
    method: M,
    params: ParamsOf<M>,
    signal?: AbortSignal,
  ): Promise<ResultOf<M>> {
    if (!this.#socket.writable) throw nodeStopped()
    const id = ++this.#lastId
    const cancel = (): void => { this.#socket.write(`{"cancel":${id}}\n`) }
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      return await new Promise<ResultOf<M>>((resolve, reject) => {
        this.#waiting.set(id, { resolve: (result) => resolve(result as ResultOf<M>), reject })
        this.#socket.write(`${JSON.stringify({ id, method, params })}\n`)
        if (signal?.aborted) cancel()
      })
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  /** From when it settles, every event of the account reaches `listener`, in order. */
  async follow(listener: (event: ClientEvent) => void): Promise<void> {
    this.#listener = listener
    await this.call('follow', {})
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    const result = this.#reader.push(chunk)
    if (!result.ok) {
      this.#socket.destroy()
      return
    }
    for (const line of result.lines) this.#reply(JSON.parse(line) as ControlReply)
  }

  #reply(reply: ControlReply): void {
    if ('event' in reply) {
      this.#listener?.(reply.event)
      return
    }
    if (reply.id === null) return
    const waiting = this.#waiting.get(reply.id)
    if (waiting === undefined) return
    this.#waiting.delete(reply.id)
    if ('result' in reply) {
      waiting.resolve(reply.result)
    } else {
      const { code, message, details } = reply.error
      waiting.reject(new OpenIMError(code, message, details === undefined ? {} : { details }))
    }
  }
}

function nodeStopped(): OpenIMError {
  return new OpenIMError('NODE_STOPPED', 'the node stopped while we were talking to it')
}

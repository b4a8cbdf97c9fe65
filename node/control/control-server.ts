/**
 * The node's side of the control socket (control-protocol.ts): a UNIX socket of mode 0600 on which
 * the CLI calls the hosted account and the node.
 *
 * Everything is bounded: connections, the length of a line, calls under way, and what a reader
 * leaves lying. A connection over a limit is told why, if it can still hear it, and closed.
 */
import { chmod, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import * as v from 'valibot'
import { errorCode, OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { Log } from '../ports.ts'
import { controlMethods } from './control-methods.ts'
import type {
  BridgeControl, ControlError, ControlledNode, ControlMethod, ControlReply,
} from './control-protocol.ts'
import { LineReader } from './line-reader.ts'

export interface ControlComponents {
  readonly node: ControlledNode
  readonly clock: Clock
  readonly log: Log
  readonly bridges?: ReadonlyMap<string, BridgeControl>
}

const noBridges: ReadonlyMap<string, BridgeControl> = new Map()

export class ControlServer {
  readonly #components: ControlComponents
  readonly #path: string
  readonly #connections = new Set<ControlConnection>()
  #server: Server | undefined

  /** @param options.path from `claimSocketPath`; the data directory's lock must be held */
  constructor(components: ControlComponents, options: { readonly path: string }) {
    this.#components = components
    this.#path = options.path
  }

  /** @throws CONTROL_LISTEN */
  async start(): Promise<void> {
    // The lock is ours, so a socket that stands here was left by a node that died.
    await rm(this.#path, { force: true })
    const server = createServer((socket) => this.#accept(socket))
    server.maxConnections = limits.controlConnectionsMax
    this.#server = server
    try {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      server.once('error', reject)
      server.listen(this.#path, resolve)
      await promise
      await chmod(this.#path, 0o600)
    } catch (cause) {
      const code = errorCode(cause) ?? 'unknown'
      throw new OpenIMError('CONTROL_LISTEN', `cannot listen on ${this.#path} (${code})`, { cause })
    }
    server.on('error', (error) => this.#components.log.error({ err: error }, 'control socket'))
  }

  /** Ends every connection and removes the socket. Idempotent. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const connection of this.#connections) connection.close()
    await closed
  }

  #accept(socket: Socket): void {
    const ended = (): void => { this.#connections.delete(connection) }
    const connection = new ControlConnection(this.#components, socket, ended)
    this.#connections.add(connection)
  }
}

const callId = v.pipe(v.number(), v.safeInteger())
const requestSchema = v.union([
  v.strictObject({ id: callId, method: v.string(), params: v.optional(v.unknown(), {}) }),
  v.strictObject({ cancel: callId }),
])

class ControlConnection {
  readonly #components: ControlComponents
  readonly #socket: Socket
  readonly #reader = new LineReader(limits.controlLineBytesMax)
  readonly #calls = new Map<number, AbortController>()
  #unfollow: (() => void) | undefined

  constructor(components: ControlComponents, socket: Socket, ended: () => void) {
    this.#components = components
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    // A CLI that went away in the middle is no news.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#unfollow?.()
      for (const call of this.#calls.values()) call.abort()
      ended()
    })
  }

  close(): void {
    this.#socket.destroySoon()
  }

  #read(chunk: Buffer): void {
    const result = this.#reader.push(chunk)
    if (!result.ok) {
      this.#refuse(null, 'CONTROL_REQUEST', `a request line has at most ${limits.controlLineBytesMax} bytes`)
      this.close()
      return
    }
    for (const line of result.lines) this.#request(line)
  }

  #request(line: string): void {
    const parsed = v.safeParse(requestSchema, parseJson(line))
    if (!parsed.success) {
      this.#refuse(null, 'CONTROL_REQUEST', 'a request is {"id", "method", "params"} or {"cancel"}')
      return
    }
    if ('cancel' in parsed.output) {
      this.#calls.get(parsed.output.cancel)?.abort()
      return
    }
    const { id, method, params } = parsed.output
    if (!Object.hasOwn(controlMethods, method)) {
      this.#refuse(id, 'CONTROL_METHOD', `there is no method ${method.slice(0, 64)}`)
    } else if (this.#calls.has(id)) {
      this.#refuse(id, 'CONTROL_REQUEST', `call ${id} is still under way`)
    } else if (this.#calls.size >= limits.controlCallsMax) {
      this.#refuse(id, 'CONTROL_BUSY', `at most ${limits.controlCallsMax} calls at once`)
    } else {
      void this.#call(id, method as ControlMethod, params)
    }
  }

  async #call<M extends ControlMethod>(id: number, method: M, params: unknown): Promise<void> {
    const { node, clock, log, bridges = noBridges } = this.#components
    const abort = new AbortController()
    this.#calls.set(id, abort)
    try {
      const handler = controlMethods[method]
      const checked = v.safeParse(handler.params, params)
      if (!checked.success) {
        const key = v.getDotPath(checked.issues[0]) ?? 'params'
        throw new OpenIMError('CONTROL_PARAMS', `${method}: ${key}: ${checked.issues[0].message}`)
      }
      const context = { node, clock, bridges, signal: abort.signal, follow: () => this.#follow() }
      this.#send({ id, result: await handler.run(context, checked.output) })
    } catch (error) {
      const told = controlError(error)
      if (told.code === 'CONTROL_FAILED') log.error({ method, err: error }, 'control call failed')
      this.#send({ id, error: told })
    } finally {
      this.#calls.delete(id)
    }
  }

  #follow(): void {
    this.#unfollow ??= this.#components.node.client.on((event) => this.#send({ event }))
  }

  #refuse(id: number | null, code: string, message: string): void {
    this.#send({ id, error: { code, message } })
  }

  #send(reply: ControlReply): void {
    if (!this.#socket.writable) return
    if (this.#socket.writableLength > limits.controlQueueBytesMax) {
      const bytes = this.#socket.writableLength
      this.#components.log.warn({ bytes }, 'control connection does not read: closed')
      this.#socket.destroy()
      return
    }
    this.#socket.write(`${JSON.stringify(reply)}\n`)
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** Ours travel whole; anything else is a bug, named but not spread out. */
function controlError(error: unknown): ControlError {
  if (error instanceof OpenIMError) {
    const { code, message, details } = error
    return Object.keys(details).length === 0 ? { code, message } : { code, message, details }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'CONTROL_FAILED', message: `the node could not do it: ${message}` }
}

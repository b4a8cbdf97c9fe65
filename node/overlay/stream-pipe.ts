/**
 * The only place that touches a libp2p stream: makes a `BytePipe` of it for a `PeerLink`. Streams
 * of @libp2p/utils 7.4 have traps that all callers would have to know otherwise (each one has a
 * test in test/node/overlay/stream-pipe.test.ts):
 *
 * - `onDrain()` waits only once in a stream's life, so nothing awaits it: what may be written is
 *   judged by `writeBufferLength`, looked at again on `drain` and `idle` (and by the link's timer,
 *   because those events may never come).
 * - An `idle` listener that sends at once sends nothing: the stream is still inside its own loop.
 *   So the listeners act one job later.
 * - `for await` reads without bound and `pause()` inside a `message` listener breaks flow control,
 *   so neither is used: the link has its own credit and always reads.
 * - An exception in a listener ends the process, so none leaves one.
 * - `send` on a closing stream throws; a closed pipe takes nothing instead.
 */
import type { Stream } from '@libp2p/interface'
import type { Clock, Timer } from '../../protocol/ports.ts'
import type { Log } from '../ports.ts'
import type { BytePipe } from './peer-link.ts'

/** A frozen peer never takes what is queued; the stream is cut this long after `close`. */
const closeGraceMs = 500

export interface StreamPipeListener {
  /** Bytes of the peer, in order, never changed afterwards. */
  data(chunk: Uint8Array): void
  drained(): void
  /** The stream ended, in order or not. Once, and not after `close` or `abort`. */
  ended(): void
}

export class StreamPipe implements BytePipe {
  readonly #stream: Stream
  readonly #clock: Clock
  readonly #log: Log
  #listener: StreamPipeListener | undefined
  #drainScheduled = false
  #closed = false
  #graceTimer: Timer | undefined
  /** Settles when both ends are closed. */
  readonly closed: Promise<void>

  /** @param stream open; nobody else may use it */
  constructor(components: { clock: Clock, log: Log }, stream: Stream) {
    this.#stream = stream
    this.#clock = components.clock
    this.#log = components.log
    this.closed = new Promise((resolve) => {
      if (stream.status === 'open') stream.addEventListener('close', () => resolve(), { once: true })
      else resolve()
    })
  }

  /** Starts the flow of bytes. Call once. */
  listen(listener: StreamPipeListener): void {
    this.#listener = listener
    const stream = this.#stream
    stream.addEventListener('drain', this.#onDrain)
    stream.addEventListener('idle', this.#onDrain)
    stream.addEventListener('close', this.#onEnd)
    stream.addEventListener('remoteCloseWrite', this.#onEnd)
    stream.addEventListener('message', (event) => this.#guard(() => {
      const { data } = event
      if (data instanceof Uint8Array) listener.data(plain(data))
      else for (const chunk of data) listener.data(plain(chunk))
    }))
    if (stream.status !== 'open') queueMicrotask(this.#onEnd)
  }

  get bufferedBytes(): number {
    return this.#stream.writeBufferLength
  }

  write(bytes: Uint8Array): void {
    if (this.#closed || this.#stream.status !== 'open' || this.#stream.writeStatus !== 'writable') return
    try {
      this.#stream.send(bytes)
    } catch (error) {
      this.#log.debug({ error: String(error) }, 'a stream refused a write')
      this.abort('LINK_RESET')
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    const finish = (): void => this.#graceTimer?.cancel()
    this.#graceTimer = this.#clock.after(closeGraceMs, () => this.#cut('LINK_CLOSED'))
    this.#stream.close().then(finish, finish)
  }

  abort(code: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#cut(code)
  }

  #cut(code: string): void {
    this.#graceTimer?.cancel()
    try {
      this.#stream.abort(new Error(code))
    } catch (error) {
      this.#log.debug({ error: String(error) }, 'a stream refused to be cut')
    }
  }

  readonly #onDrain = (): void => {
    if (this.#drainScheduled || this.#closed) return
    this.#drainScheduled = true
    queueMicrotask(() => {
      this.#drainScheduled = false
      if (!this.#closed) this.#guard(() => this.#listener!.drained())
    })
  }

  readonly #onEnd = (): void => {
    if (this.#closed) return
    this.#closed = true
    this.#guard(() => this.#listener!.ended())
    // Half-closed by the peer: a link needs both ways.
    this.#stream.close().catch(() => this.#cut('LINK_RESET'))
  }

  #guard(action: () => void): void {
    try {
      action()
    } catch (error) {
      const { message, stack } = error instanceof Error ? error : new Error(String(error))
      this.#log.error({ error: message, stack }, 'a link failed on what it received')
      this.abort('LINK_BUG')
      this.#listener?.ended()
    }
  }
}

/** Node's sockets give `Buffer`s, whose `slice` shares memory where a `Uint8Array`'s copies. */
function plain(chunk: Uint8Array): Uint8Array {
  return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}

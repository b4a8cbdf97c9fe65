/**
 * The client's end of the session with its node: frames out, and requests that are paired with
 * their replies by number. What the network refuses is a result, never a throw.
 */
import { errorCode } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import type { Frame } from '../frame/frame.ts'
import { limits } from '../limits.ts'
import type { Clock, Timer } from '../ports.ts'
import type { DeviceSessionApi, DeviceSessionListener } from '../session/types.ts'
import type { ClientLog } from './context.ts'

/** Makes the session with the node; `DeviceSession` behind it in production. */
export type Connect = (listener: DeviceSessionListener) => DeviceSessionApi

type Reply = Extract<Frame, { request: number }>
type Unnumbered<F> = F extends { request: number } ? Omit<F, 'request'> : never
type RequestType =
  | 'fileBox' | 'filePut' | 'fileFetch'
  | 'inbox' | 'shelfHolders' | 'shelfPut' | 'shelfTake' | 'publish' | 'locate' | 'devices' | 'linkOpen'
export type Request = Unnumbered<Extract<Frame, { type: RequestType }>>

interface Pending {
  readonly reply: Frame['type']
  readonly timer: Timer
  settle(result: Result<Frame>): void
}

export class Uplink {
  readonly #clock: Clock
  readonly #log: ClientLog
  readonly #pending = new Map<number, Pending>()
  #session: DeviceSessionApi | undefined
  #nextRequest = 1
  #allowed: ReadonlySet<Frame['type']> | undefined

  constructor(components: { clock: Clock, log: ClientLog }) {
    this.#clock = components.clock
    this.#log = components.log
  }

  start(session: DeviceSessionApi): void {
    this.#session = session
    session.start()
  }

  async stop(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    this.reset()
    await session?.stop()
  }

  get online(): boolean {
    return this.#session?.online ?? false
  }

  /** From now on only these leave, the others are as lost as with a session that ended; or all again. */
  restrict(allowed: ReadonlySet<Frame['type']> | undefined): void {
    this.#allowed = allowed
  }

  /** Settles when the session took the frame; false when it is lost with a session that ended. */
  async send(frame: Frame): Promise<boolean> {
    if (this.#session === undefined || this.#allowed?.has(frame.type) === false) return false
    try {
      await this.#session.send(frame)
      return true
    } catch (error) {
      this.#log.debug({ type: frame.type, code: errorCode(error) }, 'a frame did not leave')
      return false
    }
  }

  /** For frames that the next session repeats anyway. */
  post(frame: Frame): void {
    void this.send(frame)
  }

  /** Refuses with the node's code, REQUEST_TIMEOUT, REQUEST_LOST or REQUEST_TOO_MANY. */
  request<T extends Reply['type']>(
    request: Request,
    reply: T,
  ): Promise<Result<Extract<Frame, { type: T }>>> {
    if (this.#pending.size >= limits.clientRequestsMax) {
      return Promise.resolve({ ok: false, code: 'REQUEST_TOO_MANY' })
    }
    const number = this.#nextRequest++
    return new Promise((resolve) => {
      const settle = (result: Result<Frame>): void => {
        this.#pending.delete(number)
        timer.cancel()
        resolve(result as Result<Extract<Frame, { type: T }>>)
      }
      const timer = this.#clock.after(
        limits.clientRequestMs,
        () => settle({ ok: false, code: 'REQUEST_TIMEOUT' }),
      )
      this.#pending.set(number, { reply, timer, settle })
      void this.send({ ...request, request: number } as Frame).then((taken) => {
        if (!taken) settle({ ok: false, code: 'REQUEST_LOST' })
      })
    })
  }

  /** True when the frame answered a request. */
  answer(frame: Frame): boolean {
    if (!('request' in frame) || frame.request === 0) return false
    const pending = this.#pending.get(frame.request)
    if (pending === undefined) return true
    if (frame.type === 'refusal') pending.settle({ ok: false, code: frame.code, detail: frame.detail })
    else if (frame.type === pending.reply) pending.settle({ ok: true, value: frame })
    else pending.settle({ ok: false, code: 'REQUEST_REPLY', detail: `a ${frame.type} in reply` })
    return true
  }

  /** Nothing of the old session is answered any more. */
  reset(): void {
    for (const pending of [...this.#pending.values()]) pending.settle({ ok: false, code: 'REQUEST_LOST' })
  }
}

/**
 * The calls that one link answers: rates, how many handlers run at once, and the credit that
 * gives back what they took. A request's credit returns when its handler is done, so a node that
 * is slow to answer slows its callers down instead of filling up.
 *
 * Requests wait here while `linkHandlersMax` run or while `linkQueueBytesMax` of replies have not
 * left: a peer that asks for much and reads nothing gets nothing more.
 */
import { utf8 } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import type { Log, ServiceHandler } from '../ports.ts'
import { Fifo } from '../../protocol/fifo.ts'
import { replyStatus } from './link-frames.ts'
import type { LinkBuckets } from './peer-buckets.ts'

/** What one request costs of the window besides its body: its frame and our bookkeeping. */
export const requestOverheadBytes = 64

export type ServiceTable = ReadonlyMap<ServiceCode, ServiceHandler>

interface ServiceRequest {
  readonly id: number
  readonly handler: ServiceHandler
  readonly body: Uint8Array
}

interface WaitingRequest extends ServiceRequest {
  /** The caller gave up after this. */
  readonly untilMs: number
}

/** A reply on its way out. */
export interface Reply {
  readonly id: number
  readonly status: number
  readonly body: Uint8Array
  /** Body bytes sent; −1 before the first frame. */
  sent: number
}

export interface ServiceComponents {
  readonly clock: Clock
  readonly log: Log
  readonly services: ServiceTable
  readonly buckets: LinkBuckets
}

export class ServiceDesk {
  readonly #components: ServiceComponents
  readonly #remote: NodeId
  /** Something to send appeared. */
  readonly #wake: () => void
  #running = 0
  readonly #waiting = new Fifo<WaitingRequest>()
  readonly #replies = new Fifo<Reply>()
  #closed = false
  /** Encoded size of the queued replies, roughly; sizes the next write and holds up requests. */
  queuedBytes = 0
  /** Request bytes done with and not yet given back. */
  owedBytes = 0

  constructor(components: ServiceComponents, remote: NodeId, wake: () => void) {
    this.#components = components
    this.#remote = remote
    this.#wake = wake
  }

  /** Requests not answered yet. */
  get open(): number {
    return this.#running + this.#waiting.length + this.#replies.length
  }

  /** Takes in a whole request. */
  accept(request: { id: number, service: number, body: Uint8Array, patienceMs: number }): void {
    const { id, body, patienceMs } = request
    const cost = requestOverheadBytes + body.length
    const { calls, bytes } = this.#components.buckets
    if (!calls.take(1) || !bytes.take(cost)) {
      this.#refuse(request, 'PEER_RATE_LIMITED', 'too many calls or bytes; slow down')
      return
    }
    if (this.#running + this.#waiting.length >= limits.linkCallsMax) {
      this.#refuse(request, 'OVERLAY_OVERLOADED', `${limits.linkCallsMax} of your calls are under way here`)
      return
    }
    const handler = this.#components.services.get(request.service as ServiceCode)
    if (handler === undefined) {
      this.#refuse(request, 'SERVICE_UNKNOWN', `no service ${request.service} here`)
      return
    }
    if (this.#running < limits.linkHandlersMax && this.queuedBytes <= limits.linkQueueBytesMax) {
      this.#run({ id, handler, body })
    } else {
      const untilMs = this.#components.clock.monotonicMs() + patienceMs
      this.#waiting.push({ id, handler, body, untilMs })
    }
  }

  #run(request: ServiceRequest): void {
    const { id, handler, body } = request
    this.#running++
    let answer: Promise<Result<Uint8Array>>
    try {
      answer = handler(this.#remote, body)
    } catch (error) {
      answer = Promise.reject(error)
    }
    answer.then(
      (result) => {
        this.#running--
        if (!result.ok) this.#refuse({ id, body }, result.code, result.detail)
        else if (result.value.length > limits.callBodyBytesMax) {
          this.#failed(new RangeError(`a reply of ${result.value.length} bytes`))
          this.#refuse({ id, body }, 'SERVICE_FAILED')
        } else this.#reply({ id, status: replyStatus.ok, body: result.value, sent: -1 }, body.length)
      },
      (error: unknown) => {
        this.#running--
        this.#failed(error)
        this.#refuse({ id, body }, 'SERVICE_FAILED')
      },
    )
  }

  #failed(error: unknown): void {
    const { message, stack } = error instanceof Error ? error : new Error(String(error))
    this.#components.log.error(
      { peer: this.#remote, code: errorCode(error), error: message, stack },
      'a service handler failed',
    )
  }

  #refuse(request: { id: number, body: Uint8Array }, code: string, detail = ''): void {
    const body = encodeRefusal(code, detail)
    this.#reply({ id: request.id, status: replyStatus.refused, body, sent: -1 }, request.body.length)
  }

  #reply(reply: Reply, requestBytes: number): void {
    this.owedBytes += requestOverheadBytes + requestBytes
    if (this.#closed) return
    this.#replies.push(reply)
    this.queuedBytes += reply.body.length
    this.#startWaiting()
    this.#wake()
  }

  #startWaiting(): void {
    while (
      this.#waiting.length > 0
      && this.#running < limits.linkHandlersMax
      && this.queuedBytes <= limits.linkQueueBytesMax
    ) {
      const request = this.#waiting.shift()!
      if (request.untilMs > this.#components.clock.monotonicMs()) this.#run(request)
      else this.owedBytes += requestOverheadBytes + request.body.length
    }
  }

  /** The reply whose frames go out next. */
  next(): Reply | undefined {
    return this.#replies.peek()
  }

  /** `bytes` more of the body of `next()` went out. */
  advance(reply: Reply, bytes: number): void {
    reply.sent = Math.max(reply.sent, 0) + bytes
    if (reply.sent < reply.body.length) return
    this.queuedBytes -= reply.body.length
    this.#replies.shift()
    if (this.#waiting.length > 0) this.#startWaiting()
  }

  /** What was owed; the caller tells the peer. */
  takeOwed(): number {
    const owed = this.owedBytes
    this.owedBytes = 0
    return owed
  }

  /** Handlers under way run on; their replies go nowhere. */
  close(): void {
    this.#closed = true
    this.#waiting.clear()
    this.#replies.clear()
    this.queuedBytes = 0
  }
}

function encodeRefusal(code: string, detail: string): Uint8Array {
  const codeBytes = utf8(code).subarray(0, limits.refusalCodeBytesMax)
  const detailBytes = utf8(detail)
  const room = limits.refusalDetailBytesMax
  const body = new Uint8Array(1 + codeBytes.length + Math.min(room, detailBytes.length))
  body[0] = codeBytes.length
  body.set(codeBytes, 1)
  body.set(detailBytes.subarray(0, room), 1 + codeBytes.length)
  return body
}

const lenientUtf8 = new TextDecoder()
const codePattern = /^[A-Z][A-Z0-9_]*$/

/** What the peer refused with; `SERVICE_REFUSED` when it does not name a code we could match. */
export function decodeRefusal(body: Uint8Array): { ok: false, code: string, detail?: string } {
  const length = body[0] ?? 0
  const code = lenientUtf8.decode(body.subarray(1, 1 + length))
  const detail = lenientUtf8.decode(body.subarray(1 + length, 1 + length + limits.refusalDetailBytesMax))
  const known = length <= limits.refusalCodeBytesMax && codePattern.test(code)
  return {
    ok: false,
    code: known ? code : 'SERVICE_REFUSED',
    ...(detail === '' ? {} : { detail }),
  }
}

/**
 * What one link has to send, turned into writes: control frames first, then replies and requests
 * in turn, as far as the peer's credit and the room of a write go. Bodies stay where they are until
 * their bytes are copied into a write.
 */
import { utf8 } from '../../crypto/bytes.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock } from '../../protocol/ports.ts'
import type { Call, CallTable } from './link-calls.ts'
import {
  FrameBuffer, frameHeadBytesMax, frameTypes, linkVersion, messageHeadBytesMax, varintSize,
} from './link-frames.ts'
import { requestOverheadBytes } from './link-service.ts'
import type { Reply, ServiceDesk } from './link-service.ts'

/** Bodies up to this are not cut in two to fill a write. */
const wholeBodyBytes = 8 * 1024
/** Credit goes back in quarters of the window. */
const creditStepBytes = limits.linkWindowBytes / 4
/** Room for control frames, and for the head of each message. */
const controlBytes = 256
const messageBytes = 32

export interface LinkOutboxComponents {
  readonly clock: Clock
  readonly calls: CallTable
  readonly desk: ServiceDesk
  /** Request bytes the peer may send once the credit frame with them is written. */
  readonly onCredit: (bytes: number) => void
}

export class LinkOutbox {
  readonly #clock: Clock
  readonly #calls: CallTable
  readonly #desk: ServiceDesk
  readonly #onCredit: (bytes: number) => void
  /** Request bytes we may still send. */
  credit = 0
  #helloDue = true
  #pingDue = false
  #pongDue: number | undefined
  #byeDue: string | undefined
  #nonce = 0
  #pingSentAtMs: number | undefined

  constructor(components: LinkOutboxComponents) {
    this.#clock = components.clock
    this.#calls = components.calls
    this.#desk = components.desk
    this.#onCredit = components.onCredit
  }

  ping(): void {
    this.#pingDue = true
  }

  /** One answer is enough for any number of pings that could not be answered yet. */
  pong(nonce: number): void {
    this.#pongDue = nonce
  }

  bye(code: string): void {
    this.#byeDue = code
  }

  /** When the ping of this nonce was sent; undefined for any but the last, and the second time. */
  takePing(nonce: number): number | undefined {
    if (nonce !== this.#nonce) return undefined
    const sentAtMs = this.#pingSentAtMs
    this.#pingSentAtMs = undefined
    return sentAtMs
  }

  get controlDue(): boolean {
    return this.#helloDue || this.#pingDue || this.#pongDue !== undefined || this.#byeDue !== undefined
      || this.#desk.owedBytes >= creditStepBytes
  }

  get bodiesDue(): boolean {
    if (this.#desk.next() !== undefined) return true
    return this.credit > requestOverheadBytes && this.#calls.next() !== undefined
  }

  /** The next write; empty when nothing may go out now. */
  write(options: { bodies: boolean }): Uint8Array {
    const { desk, calls } = { desk: this.#desk, calls: this.#calls }
    const queued = calls.queuedBytes + desk.queuedBytes + (calls.open + desk.open) * messageBytes
    const buffer = new FrameBuffer(Math.min(limits.linkWriteBytesMax, controlBytes + queued))
    this.#writeControl(buffer)
    if (options.bodies) this.#writeBodies(buffer)
    return buffer.finish()
  }

  #writeControl(buffer: FrameBuffer): void {
    if (this.#helloDue) {
      this.#helloDue = false
      buffer.head(frameTypes.hello, 1 + varintSize(limits.linkWindowBytes))
      buffer.u8(linkVersion)
      buffer.varint(limits.linkWindowBytes)
    }
    if (this.#pongDue !== undefined) {
      writeNumber(buffer, frameTypes.pong, this.#pongDue)
      this.#pongDue = undefined
    }
    if (this.#pingDue) {
      this.#pingDue = false
      this.#pingSentAtMs = this.#clock.monotonicMs()
      writeNumber(buffer, frameTypes.ping, ++this.#nonce)
    }
    if (this.#desk.owedBytes >= creditStepBytes) {
      const owed = this.#desk.takeOwed()
      this.#onCredit(owed)
      writeNumber(buffer, frameTypes.credit, owed)
    }
    if (this.#byeDue !== undefined) {
      const code = utf8(this.#byeDue)
      this.#byeDue = undefined
      buffer.head(frameTypes.bye, code.length)
      buffer.raw(code)
    }
  }

  /** Replies and requests in turn, so that neither starves the other. */
  #writeBodies(buffer: FrameBuffer): void {
    let replying = true
    let requesting = true
    while (replying || requesting) {
      const reply: Reply | undefined = replying ? this.#desk.next() : undefined
      replying = reply !== undefined && this.#writeReply(buffer, reply)
      const call: Call | undefined = requesting ? this.#calls.next() : undefined
      requesting = call !== undefined && this.#writeRequest(buffer, call)
    }
  }

  /** False when it does not fit into this write. */
  #writeReply(buffer: FrameBuffer, reply: Reply): boolean {
    const { id, status, body } = reply
    const first = reply.sent < 0
    const head = first ? varintSize(id) + 1 + varintSize(body.length) : 0
    const from = Math.max(reply.sent, 0)
    const part = partThatFits(buffer, { head, left: body.length - from })
    if (part < 0) return false
    if (first) {
      buffer.head(frameTypes.reply, head + part)
      buffer.varint(id)
      buffer.u8(status)
      buffer.varint(body.length)
    } else buffer.head(frameTypes.replyMore, part)
    buffer.raw(body, from, from + part)
    this.#desk.advance(reply, part)
    return true
  }

  /** False when it does not fit into this write, or into the peer's window. */
  #writeRequest(buffer: FrameBuffer, call: Call): boolean {
    const { id, service, body } = call
    const first = call.sent < 0
    const overhead = first ? requestOverheadBytes : 0
    const patienceMs = first ? Math.max(0, Math.ceil(call.deadlineMs - this.#clock.monotonicMs())) : 0
    const head = first ? varintSize(id) + 1 + varintSize(patienceMs) + varintSize(body.length) : 0
    const from = Math.max(call.sent, 0)
    const left = body.length - from
    const credit = this.credit - overhead
    if (credit < Math.min(left, wholeBodyBytes)) return false
    const fits = partThatFits(buffer, { head, left })
    if (fits < 0) return false
    const part = Math.min(fits, credit)
    if (first) {
      buffer.head(frameTypes.request, head + part)
      buffer.varint(id)
      buffer.u8(service)
      buffer.varint(patienceMs)
      buffer.varint(body.length)
    } else buffer.head(frameTypes.requestMore, part)
    buffer.raw(body, from, from + part)
    this.credit -= overhead + part
    this.#calls.advance(call, part)
    return true
  }
}

function writeNumber(buffer: FrameBuffer, type: number, value: number): void {
  buffer.head(type, varintSize(value))
  buffer.varint(value)
}

/** How much of a body fits behind `head`; −1 when it should wait for the next write. */
function partThatFits(buffer: FrameBuffer, input: { head: number, left: number }): number {
  const { head, left } = input
  const room = buffer.room - frameHeadBytesMax - head
  if (left <= room) return left
  const mayCut = left > wholeBodyBytes || buffer.length === 0
  return mayCut && room > messageHeadBytesMax ? room : -1
}

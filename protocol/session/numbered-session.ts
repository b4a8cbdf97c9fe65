/**
 * The numbered, resumable stream of payloads between a device and its node (DESIGN §4): one
 * machine for both ends, without sockets, told the time by a `Clock`.
 *
 * ```text
 *   send ──► waiting ──► unconsumed by the peer ──► link          peer's window bounds the middle
 *                        (kept for a resume)
 *   link ──► inbox ──► listener.payload ──► ack                   our window bounds the inbox
 * ```
 *
 * Frames are numbered from 1 in each direction. `ack` says what the peer's application has
 * consumed, and so both frees the copies here and opens the window: one number serves reliability
 * and back-pressure. A window counts `limits.sessionFrameOverheadBytes` for each frame besides
 * its bytes. After a new greeting (`attach`) the frames that the peer has not received are sent
 * again; what it has already is dropped by number.
 *
 * Alternatives weighed: pausing the link for back-pressure. Refused: a paused link hides pings,
 * acks and errors behind the data, and a slow reader looks dead.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../limits.ts'
import type { Clock, MessageLink, Timer } from '../ports.ts'
import {
  decodeControl, encodeControl, encodeData, errorDetailBytesMax, payloadBytesMax,
} from './control-frames.ts'
import type { DataFrame } from './control-frames.ts'
import { Fifo } from '../fifo.ts'
import { KeepAlive } from './keep-alive.ts'

export interface NumberedSessionListener {
  /** In order, one at a time. The bytes are the listener's to read, never to write. */
  payload(payload: Uint8Array): void | Promise<void>
  /** `writable` again after it was not. */
  drain(): void
  /** Nothing comes over the link any more: give it up, the session goes on. */
  linkFailed(code: string): void
  /**
   * The session is over; the last call. What is to be said to the peer is on the link already.
   * `cause` is what our own application threw when `code` is SESSION_FAILED.
   */
  ended(code: string, cause: unknown): void
}

interface Waiting {
  readonly payload: Uint8Array
  readonly taken: () => void
  readonly refused: (error: OpenIMError) => void
}

interface InTransit {
  /** Encoded `data` frame, never written again: a loopback peer reads these very bytes. */
  readonly message: Uint8Array
  readonly cost: number
}

const settled = Promise.resolve()
const largestCost = payloadBytesMax + limits.sessionFrameOverheadBytes
/** Consumed bytes that are acknowledged without waiting for company. */
const ackBytes = limits.sessionWindowBytes / 8
const pingMessage = encodeControl({ type: 'ping' })
const pongMessage = encodeControl({ type: 'pong' })

function cost(payload: Uint8Array): number {
  return payload.length + limits.sessionFrameOverheadBytes
}

/** Whether a peer's window lets the largest frame through. */
export function isWindow(windowBytes: number): boolean {
  return windowBytes >= largestCost
}

export class NumberedSession {
  readonly #clock: Clock
  readonly #listener: NumberedSessionListener
  readonly #keepAlive: KeepAlive
  #link: MessageLink | undefined
  #endCode: string | undefined

  // Sending. Frame `#acknowledged + 1 + i` is `#unconsumed.at(i)`.
  readonly #waiting = new Fifo<Waiting>()
  #waitingBytes = 0
  readonly #unconsumed = new Fifo<InTransit>()
  #unconsumedBytes = 0
  #acknowledged = 0
  #transmitted = 0
  #peerWindowBytes = 0
  #drainWanted = false

  // Receiving.
  readonly #inbox = new Fifo<Uint8Array>()
  #inboxBytes = 0
  #received = 0
  #consumed = 0
  #consuming = false
  #ackOwedBytes = 0
  #ackTimer: Timer | undefined
  #byeCode: string | undefined

  constructor(clock: Clock, listener: NumberedSessionListener) {
    this.#clock = clock
    this.#listener = listener
    this.#keepAlive = new KeepAlive(clock, {
      ping: () => this.#link?.send(pingMessage),
      dead: () => this.#listener.linkFailed('LINK_DEAD'),
    })
  }

  /** Last frame number received: what a greeting tells the peer. */
  get received(): number {
    return this.#received
  }

  /** Frames consumed on either side: grows when the session gets anywhere. */
  get progress(): number {
    return this.#acknowledged + this.#consumed
  }

  get online(): boolean {
    return this.#link !== undefined
  }

  get bufferedBytes(): number {
    return this.#unconsumedBytes + this.#waitingBytes
  }

  /** The largest frame would be taken at once. */
  get writable(): boolean {
    return this.#waiting.length === 0 && this.#hasRoom(largestCost)
  }

  /**
   * Settles when taken into the window. `payload` is the caller's again when it returns.
   * @throws SESSION_FRAME_SIZE, SESSION_QUEUE_FULL, SESSION_ENDED
   */
  send(payload: Uint8Array): Promise<void> {
    if (this.#endCode !== undefined) return Promise.reject(endError(this.#endCode))
    if (payload.length > payloadBytesMax) {
      return Promise.reject(new OpenIMError('SESSION_FRAME_SIZE',
        `a frame of ${payload.length} bytes, the limit is ${payloadBytesMax}; split it`))
    }
    if (this.#waiting.length === 0 && this.#hasRoom(cost(payload))) {
      this.#take(payload)
      this.#transmit()
      return settled
    }
    this.#drainWanted = true
    const full = this.#waiting.length >= limits.sessionQueueFramesMax
      || this.#waitingBytes + payload.length > limits.sessionQueueBytesMax
    if (full) {
      return Promise.reject(new OpenIMError('SESSION_QUEUE_FULL',
        `${this.#waiting.length} sends wait for the window already; await each before the next`))
    }
    this.#waitingBytes += payload.length
    const kept = payload.slice()
    return new Promise((taken, refused) => this.#waiting.push({ payload: kept, taken, refused }))
  }

  /** Whether a peer that has received up to `received` can go on with this session. */
  canResume(received: number): boolean {
    return this.#endCode === undefined && received >= this.#acknowledged
      && received <= this.#lastNumber
  }

  /**
   * Goes on over a link whose greeting is done. The link's messages go to `receive`, its drain to
   * `linkDrained`. `canResume(peer.received)` must hold.
   */
  attach(link: MessageLink, peer: { received: number, windowBytes: number }): void {
    this.detach()
    this.#link = link
    this.#peerWindowBytes = Math.min(peer.windowBytes, limits.resendBytesMax)
    this.#transmitted = peer.received
    this.#keepAlive.start()
    // The last one may have died with the old link, and the peer's window with it.
    if (this.#consumed > 0) this.#acknowledge()
    this.#takeWaiting()
    this.#transmit()
  }

  /** The link is gone; everything else stays. */
  detach(): void {
    this.#link = undefined
    this.#keepAlive.stop()
    this.#ackTimer?.cancel()
    this.#ackTimer = undefined
  }

  /** The link's buffer has room again. */
  linkDrained(): void {
    this.#transmit()
  }

  /** One message of the attached link. */
  receive(message: Uint8Array): void {
    if (this.#endCode !== undefined || this.#link === undefined) return
    this.#keepAlive.heard()
    const decoded = decodeControl(message)
    if (!decoded.ok) return this.fail('SESSION_FRAME_INVALID', decoded.detail ?? decoded.code)
    const frame = decoded.value
    switch (frame.type) {
      case 'data': return this.#receiveData(frame)
      case 'ack': return this.#receiveAck(frame.number)
      case 'ping': return this.#link.send(pongMessage)
      case 'pong': return
      case 'error': return this.#end(frame.code)
      case 'bye':
        this.#byeCode = frame.code
        return this.#consume()
      case 'hello':
      case 'welcome': return this.fail('SESSION_UNEXPECTED', `a ${frame.type} after the greeting`)
    }
  }

  /** Ends the session and tells the peer why. */
  fail(code: string, detail: string): void {
    if (this.#endCode !== undefined) return
    this.#link?.send(errorMessage(code, detail))
    this.#end(code)
  }

  /** Ends the session in good order: what the window holds leaves first, what waits is refused. */
  bye(code: string): void {
    if (this.#endCode !== undefined) return
    if (this.#link !== undefined) {
      while (this.#transmitted < this.#lastNumber) this.#transmitNext(this.#link)
      if (this.#consumed > 0) this.#acknowledge()
      this.#link.send(encodeControl({ type: 'bye', code }))
    }
    this.#end(code)
  }

  /** Ends the session on this side alone. */
  discard(code: string): void {
    if (this.#endCode === undefined) this.#end(code)
  }

  #end(code: string, cause?: unknown): void {
    this.#endCode = code
    this.detach()
    while (this.#waiting.length > 0) this.#waiting.shift()!.refused(endError(code))
    this.#unconsumed.clear()
    this.#inbox.clear()
    this.#unconsumedBytes = this.#waitingBytes = this.#inboxBytes = 0
    this.#listener.ended(code, cause)
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────

  get #lastNumber(): number {
    return this.#acknowledged + this.#unconsumed.length
  }

  #hasRoom(bytes: number): boolean {
    return this.#endCode === undefined
      && this.#unconsumedBytes + bytes <= this.#peerWindowBytes
      && this.#unconsumed.length < limits.resendFramesMax
  }

  #take(payload: Uint8Array): void {
    const bytes = cost(payload)
    this.#unconsumed.push({ message: encodeData(this.#lastNumber + 1, payload), cost: bytes })
    this.#unconsumedBytes += bytes
    if (!this.#hasRoom(largestCost)) this.#drainWanted = true
  }

  #takeWaiting(): void {
    while (this.#waiting.length > 0 && this.#hasRoom(cost(this.#waiting.at(0).payload))) {
      const { payload, taken } = this.#waiting.shift()!
      this.#waitingBytes -= payload.length
      this.#take(payload)
      taken()
    }
  }

  #transmit(): void {
    const link = this.#link
    if (link === undefined) return
    while (this.#transmitted < this.#lastNumber && link.bufferedBytes < limits.deviceLinkHighBytes) {
      this.#transmitNext(link)
    }
  }

  #transmitNext(link: MessageLink): void {
    const { message } = this.#unconsumed.at(this.#transmitted - this.#acknowledged)
    this.#transmitted++
    link.send(message)
  }

  #receiveAck(number: number): void {
    if (number < this.#acknowledged || number > this.#transmitted) {
      return this.fail('SESSION_ACK',
        `frame ${number} acknowledged, expected ${this.#acknowledged} to ${this.#transmitted}`)
    }
    for (; this.#acknowledged < number; this.#acknowledged++) {
      this.#unconsumedBytes -= this.#unconsumed.shift()!.cost
    }
    this.#takeWaiting()
    this.#transmit()
    if (this.#drainWanted && this.writable) {
      this.#drainWanted = false
      this.#listener.drain()
    }
  }

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────

  #receiveData(frame: DataFrame): void {
    if (frame.number <= this.#received) return
    if (frame.number > this.#received + 1) {
      return this.fail('SESSION_GAP', `frame ${frame.number} came after ${this.#received}`)
    }
    this.#inboxBytes += cost(frame.payload)
    if (this.#inboxBytes > limits.sessionWindowBytes) {
      return this.fail('SESSION_WINDOW',
        `${this.#inboxBytes} bytes unconsumed, the window is ${limits.sessionWindowBytes}`)
    }
    this.#received = frame.number
    this.#inbox.push(frame.payload)
    this.#consume()
  }

  /** Hands over what is there until the application asks to wait. */
  #consume(): void {
    if (this.#consuming) return
    this.#consuming = true
    while (this.#inbox.length > 0) {
      const payload = this.#inbox.shift()!
      let pending: void | Promise<void>
      try {
        pending = this.#listener.payload(payload)
      } catch (error) {
        return this.#applicationFailed(error)
      }
      if (pending !== undefined) return this.#consumeAfter(pending, payload)
      if (this.#endCode !== undefined) return
      this.#payloadConsumed(payload)
    }
    this.#consuming = false
    if (this.#byeCode !== undefined) this.#end(this.#byeCode)
  }

  #consumeAfter(pending: Promise<void>, payload: Uint8Array): void {
    pending.then(
      () => {
        if (this.#endCode !== undefined) return
        this.#consuming = false
        this.#payloadConsumed(payload)
        this.#consume()
      },
      (error: unknown) => this.#applicationFailed(error),
    )
  }

  #payloadConsumed(payload: Uint8Array): void {
    const bytes = cost(payload)
    this.#consumed++
    this.#inboxBytes -= bytes
    this.#ackOwedBytes += bytes
    if (this.#ackOwedBytes >= ackBytes) this.#acknowledge()
    else if (this.#link !== undefined && this.#ackTimer === undefined) {
      this.#ackTimer = this.#clock.after(limits.sessionAckMs, () => this.#acknowledge())
    }
  }

  #acknowledge(): void {
    this.#ackTimer?.cancel()
    this.#ackTimer = undefined
    this.#ackOwedBytes = 0
    this.#link?.send(encodeControl({ type: 'ack', number: this.#consumed }))
  }

  /** Our own bug; the peer learns that the session is over, not what broke. */
  #applicationFailed(cause: unknown): void {
    if (this.#endCode !== undefined) return
    this.#link?.send(errorMessage('SESSION_FAILED', 'the other side could not handle a frame'))
    this.#end('SESSION_FAILED', cause)
  }
}

/** An `error` frame; what is not printable ASCII in `detail` is masked, and it is cut to size. */
export function errorMessage(code: string, detail: string): Uint8Array {
  const printable = detail.replace(/[^ -~]/g, '?')
  return encodeControl({ type: 'error', code, detail: printable.slice(0, errorDetailBytesMax) })
}

function endError(code: string): OpenIMError {
  return new OpenIMError('SESSION_ENDED', 'the session is over; say in the next one what still matters', {
    details: { reason: code },
  })
}

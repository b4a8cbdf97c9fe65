/**
 * `PeerLink`: the one long-lived, two-way byte pipe to another node, over which all calls go
 * (docs/protocol.md, "Links between nodes"; the layout is in link-frames.ts). Sans I/O: bytes come
 * in through `receive`, leave through a `BytePipe`, time comes from the `Clock`. The same class
 * serves both ends, and anything that moves bytes can stand behind it.
 *
 * Why not a stream per call: a stream costs a negotiation and a datastore write, so a long-lived
 * one carries 10 to 200 times the calls. What is sent in one tick leaves in one write of at most
 * `linkWriteBytesMax`, because the transport's cost is per write, not per byte.
 *
 * Three limits hold memory. Nothing is encoded while the transport holds `linkQueueBytesMax`:
 * calls wait as objects of their callers. Request bytes need credit, which returns when the
 * handler is done (link-service.ts), so reading never has to stop and heartbeats, credit and
 * replies always get through. Replies are held by the requests that they answer.
 *
 * Life: hello both ways, then up; `retire` (no new calls, finish the open ones) or `close`; a link
 * that is silent for `linkDeadMs` is cut. One timer a link.
 *
 * Codes given to `down`: LINK_CLOSED, LINK_DUPLICATE, LINK_REPLACED (orderly); LINK_RESET,
 * LINK_DEAD, LINK_HANDSHAKE, LINK_VERSION, LINK_FRAME, LINK_CREDIT.
 */
import { utf8 } from '../../crypto/bytes.ts'
import { OpenIMError } from '../../crypto/errors.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import type { CallOptions } from '../ports.ts'
import { CallTable, sweepMs } from './link-calls.ts'
import type { Call, CallResult } from './link-calls.ts'
import {
  BodyAssembly, FrameBuffer, FrameCursor, FrameSplitter, frameHeadBytesMax, frameTypes, linkVersion,
  messageHeadBytesMax, replyStatus, varintSize,
} from './link-frames.ts'
import { decodeRefusal, requestOverheadBytes, ServiceDesk } from './link-service.ts'
import type { Reply, ServiceComponents } from './link-service.ts'

/** What carries the bytes of a link. */
export interface BytePipe {
  /** Queues bytes, which the link never touches again. Must not throw once closed. */
  write(bytes: Uint8Array): void
  /** Bytes queued and not yet taken by the transport. */
  readonly bufferedBytes: number
  /** Orderly: what is queued still leaves. Idempotent. */
  close(): void
  /** At once. Idempotent. */
  abort(code: string): void
}

export interface PeerLinkEvents {
  /** The peer's hello is here. Once, if at all. */
  up(link: PeerLink): void
  /** The link is over; its calls have failed. Once. */
  down(link: PeerLink, code: string): void
}

export interface PeerLinkOptions {
  readonly remote: NodeId
  /** Which end opened it: decides which of two links stays. */
  readonly opener: 'local' | 'remote'
}

type State = 'opening' | 'up' | 'closed'

/** Bodies up to this are not cut in two to fill a write. */
const wholeBodyBytes = 8 * 1024
/** Credit goes back in quarters of the window. */
const creditStepBytes = limits.linkWindowBytes / 4
/** A write queue is full above the limit and open again below half of it. */
const resumeBytes = limits.linkQueueBytesMax / 2
/** The transport's drain event has been seen to fail; look again after this. */
const blockedPollMs = 250
/** Weight of a new sample in the smoothed round trip (RFC 6298 §2.3). */
const rttGain = 1 / 8
const codePattern = /^[A-Z0-9_]{1,64}$/

export class PeerLink {
  readonly remote: NodeId
  readonly opener: 'local' | 'remote'
  readonly #clock: Clock
  readonly #pipe: BytePipe
  readonly #events: PeerLinkEvents
  readonly #calls = new CallTable()
  readonly #desk: ServiceDesk
  readonly #splitter: FrameSplitter
  readonly #cursor = new FrameCursor()
  #state: State = 'opening'
  #timer: Timer | undefined
  #timerDueMs = Infinity
  #earliestDeadlineMs = Infinity
  #flushScheduled = false
  #blocked = false
  #retiring: string | undefined
  #retireAtMs = Infinity
  #remoteRetired = false
  /** Request bytes we may still send, and the peer may still send. */
  #credit = 0
  #window = limits.linkWindowBytes
  #request: { id: number, service: number, patienceMs: number, body: BodyAssembly } | undefined
  #reply: { id: number, status: number, body: BodyAssembly } | undefined
  readonly #openedAtMs: number
  #heardAtMs: number
  #pingDueMs: number
  #nonce = 0
  #pingSentAtMs: number | undefined
  #helloDue = true
  #pingDue = false
  #pongDue: number | undefined
  #byeDue: string | undefined
  #rttMs: number | undefined
  /** Chunks received so far. */
  #heard = 0
  #probes: { readonly since: number, readonly untilMs: number, readonly done: (alive: boolean) => void }[] = []

  constructor(components: ServiceComponents, pipe: BytePipe, options: PeerLinkOptions & { events: PeerLinkEvents }) {
    this.remote = options.remote
    this.opener = options.opener
    this.#clock = components.clock
    this.#pipe = pipe
    this.#events = options.events
    this.#desk = new ServiceDesk(components, options.remote, () => this.#scheduleFlush())
    this.#splitter = new FrameSplitter((type, bytes, start, end) => this.#onFrame(type, bytes, start, end))
    const nowMs = this.#clock.monotonicMs()
    this.#openedAtMs = nowMs
    this.#heardAtMs = nowMs
    this.#pingDueMs = nowMs + limits.linkHeartbeatMs
    this.#arm(nowMs + limits.linkHandshakeMs)
    this.#scheduleFlush()
  }

  get state(): State {
    return this.#state
  }

  /** Smoothed round trip of the heartbeat. */
  get rttMs(): number | undefined {
    return this.#rttMs
  }

  /** Calls open in either direction. */
  get open(): number {
    return this.#calls.open + this.#desk.open
  }

  /**
   * Calls a service of the peer. Settles with its reply, its refusal, OVERLAY_TIMEOUT (also when
   * the signal aborts), OVERLAY_OVERLOADED, or OVERLAY_UNREACHABLE when the link ends first.
   * `body` must not change until then.
   */
  call(service: ServiceCode, body: Uint8Array, options: CallOptions): Promise<CallResult> {
    if (this.#state === 'closed') {
      return Promise.resolve({ ok: false, code: 'OVERLAY_UNREACHABLE', detail: 'the link is closed' })
    }
    const nowMs = this.#clock.monotonicMs()
    const result = this.#calls.add({ service, body, options, nowMs })
    const deadlineMs = nowMs + options.timeoutMs
    if (deadlineMs < this.#earliestDeadlineMs) {
      this.#earliestDeadlineMs = deadlineMs
      this.#arm(Math.max(deadlineMs, nowMs))
    }
    this.#scheduleFlush()
    return result
  }

  /** Bytes from the peer. The link keeps views of `chunk`, which must not change. */
  receive(chunk: Uint8Array): void {
    if (this.#state === 'closed') return
    this.#heardAtMs = this.#clock.monotonicMs()
    this.#heard++
    try {
      this.#splitter.push(chunk)
    } catch (error) {
      if (!(error instanceof OpenIMError)) throw error
      this.fail(error.code)
      return
    }
    if (this.#probes.length > 0) this.#settleProbes()
  }

  /** The pipe took what was queued. */
  drained(): void {
    if (this.#blocked && this.#pipe.bufferedBytes <= resumeBytes) this.#flush()
  }

  /** Asks the peer for a sign of life; `done(false)` when none comes within `limits.linkProbeMs`. */
  probe(done: (alive: boolean) => void): void {
    if (this.#state !== 'up') {
      done(false)
      return
    }
    const nowMs = this.#clock.monotonicMs()
    const untilMs = nowMs + limits.linkProbeMs
    this.#probes.push({ since: this.#heard, untilMs, done })
    this.#arm(untilMs)
    this.#ping(nowMs)
  }

  /** No new calls here; the open ones finish, within `limits.linkRetireMs`. Then `down(code)`. */
  retire(code: string): void {
    if (this.#state === 'closed' || this.#retiring !== undefined) return
    this.#retiring = code
    this.#byeDue = code
    this.#retireAtMs = this.#clock.monotonicMs() + limits.linkRetireMs
    this.#arm(this.#retireAtMs)
    this.#scheduleFlush()
  }

  /** Says goodbye and closes the pipe in order; open calls end with `callsCode`. */
  close(code = 'LINK_CLOSED', callsCode = 'OVERLAY_UNREACHABLE'): void {
    if (this.#state === 'closed') return
    this.#byeDue = code
    this.#flush(true)
    this.#end(code, callsCode)
    this.#pipe.close()
  }

  /** Cuts the link: the peer broke the protocol, or the transport is gone. */
  fail(code: string): void {
    if (this.#state === 'closed') return
    this.#end(code, 'OVERLAY_UNREACHABLE')
    this.#pipe.abort(code)
  }

  #end(code: string, callsCode: string): void {
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#timer = undefined
    this.#request = undefined
    this.#reply = undefined
    this.#desk.close()
    this.#calls.fail({ ok: false, code: callsCode, detail: code })
    const probes = this.#probes
    this.#probes = []
    for (const probe of probes) probe.done(false)
    this.#events.down(this, code)
  }

  // ── Receiving ─────────────────────────────────────────────────────────────────────────────

  /** @throws LINK_FRAME, LINK_CREDIT, LINK_VERSION */
  #onFrame(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    const cursor = this.#cursor
    cursor.reset(bytes, start, end)
    if (this.#state === 'opening') {
      if (type !== frameTypes.hello) throw new OpenIMError('LINK_FRAME', 'the first frame must be a hello')
      this.#onHello(cursor)
      return (this.#state as State) !== 'closed'
    }
    switch (type) {
      case frameTypes.request: this.#onRequest(cursor); break
      case frameTypes.requestMore: this.#onRequestMore(cursor); break
      case frameTypes.reply: this.#onReply(cursor); break
      case frameTypes.replyMore: this.#onReplyMore(cursor); break
      case frameTypes.credit: this.#onCredit(cursor); break
      case frameTypes.ping:
        // One answer is enough for any number of pings that we could not answer yet.
        this.#pongDue = cursor.varint()
        this.#scheduleFlush()
        break
      case frameTypes.pong: this.#onPong(cursor.varint()); break
      case frameTypes.bye: this.#onBye(cursor); break
      default: throw new OpenIMError('LINK_FRAME', `a frame of type ${type} at the wrong time`)
    }
    cursor.end()
    return (this.#state as State) !== 'closed'
  }

  #onHello(cursor: FrameCursor): void {
    const version = cursor.u8()
    if (version !== linkVersion) {
      throw new OpenIMError('LINK_VERSION', `the peer speaks link version ${version}, we speak ${linkVersion}`)
    }
    this.#credit = cursor.varint()
    cursor.end()
    this.#state = 'up'
    this.#events.up(this)
    this.#scheduleFlush()
  }

  #onRequest(cursor: FrameCursor): void {
    if (this.#request !== undefined) throw new OpenIMError('LINK_FRAME', 'a request inside another')
    const id = cursor.varint()
    const service = cursor.u8()
    const patienceMs = cursor.varint()
    const total = bodyLength(cursor.varint())
    const part = cursor.rest()
    this.#spend(requestOverheadBytes + part.length)
    if (part.length === total) this.#desk.accept({ id, service, body: part, patienceMs })
    else this.#request = { id, service, patienceMs, body: new BodyAssembly(total, part) }
  }

  #onRequestMore(cursor: FrameCursor): void {
    const request = this.#request
    if (request === undefined) throw new OpenIMError('LINK_FRAME', 'a part of no request')
    const part = cursor.rest()
    this.#spend(part.length)
    request.body.add(part)
    const body = request.body.finished()
    if (body === undefined) return
    this.#request = undefined
    this.#desk.accept({ id: request.id, service: request.service, body, patienceMs: request.patienceMs })
  }

  /** @throws LINK_CREDIT */
  #spend(bytes: number): void {
    this.#window -= bytes
    if (this.#window < 0) throw new OpenIMError('LINK_CREDIT', 'the peer sent more than its credit')
  }

  #onReply(cursor: FrameCursor): void {
    if (this.#reply !== undefined) throw new OpenIMError('LINK_FRAME', 'a reply inside another')
    const id = cursor.varint()
    const status = cursor.u8()
    const total = bodyLength(cursor.varint())
    const part = cursor.rest()
    if (!this.#calls.issued(id)) throw new OpenIMError('LINK_FRAME', 'a reply to no call')
    if (part.length === total) this.#settle(id, status, part)
    else this.#reply = { id, status, body: new BodyAssembly(total, part) }
  }

  #onReplyMore(cursor: FrameCursor): void {
    const reply = this.#reply
    if (reply === undefined) throw new OpenIMError('LINK_FRAME', 'a part of no reply')
    reply.body.add(cursor.rest())
    const body = reply.body.finished()
    if (body === undefined) return
    this.#reply = undefined
    this.#settle(reply.id, reply.status, body)
  }

  #settle(id: number, status: number, body: Uint8Array): void {
    const call = this.#calls.get(id)
    // The caller gave up meanwhile.
    if (call === undefined) return
    this.#calls.settle(call, status === replyStatus.ok ? { ok: true, value: body } : decodeRefusal(body))
    // A place among the unanswered calls is free again.
    if (this.#calls.queuedBytes > 0 || this.#retiring !== undefined) this.#scheduleFlush()
  }

  #onCredit(cursor: FrameCursor): void {
    this.#credit += cursor.varint()
    if (this.#credit > Number.MAX_SAFE_INTEGER) throw new OpenIMError('LINK_CREDIT', 'a credit without end')
    this.#scheduleFlush()
  }

  #onPong(nonce: number): void {
    if (this.#pingSentAtMs === undefined || nonce !== this.#nonce) return
    const sampleMs = this.#heardAtMs - this.#pingSentAtMs
    this.#pingSentAtMs = undefined
    this.#rttMs = this.#rttMs === undefined ? sampleMs : this.#rttMs + rttGain * (sampleMs - this.#rttMs)
  }

  #onBye(cursor: FrameCursor): void {
    const said = new TextDecoder().decode(cursor.rest())
    const code = codePattern.test(said) ? said : 'LINK_CLOSED'
    this.#remoteRetired = true
    if (code === 'LINK_DUPLICATE') {
      this.retire(code)
      this.#scheduleFlush()
      return
    }
    this.#end(code, 'OVERLAY_UNREACHABLE')
    this.#pipe.close()
  }

  // ── Sending ───────────────────────────────────────────────────────────────────────────────

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#blocked) return
    this.#flushScheduled = true
    // Two jobs later, so that handlers that answer in the same tick share the write.
    queueMicrotask(() => queueMicrotask(() => {
      this.#flushScheduled = false
      this.#flush()
    }))
  }

  /** Encodes and writes until nothing may go out or the transport is full. */
  #flush(force = false): void {
    if (this.#state === 'closed') return
    this.#blocked = false
    while (this.#controlDue() || (this.#state === 'up' && !force && this.#bodiesDue())) {
      if (!force && this.#pipe.bufferedBytes >= limits.linkQueueBytesMax) {
        this.#blocked = true
        this.#arm(this.#clock.monotonicMs() + blockedPollMs)
        return
      }
      const queued = this.#calls.queuedBytes + this.#desk.queuedBytes + (this.#calls.open + this.#desk.open) * 32
      const buffer = new FrameBuffer(Math.min(limits.linkWriteBytesMax, 256 + queued))
      this.#writeControl(buffer)
      if (this.#state === 'up' && !force) this.#writeBodies(buffer)
      if (buffer.length === 0) break
      this.#pipe.write(buffer.finish())
      if (force) return
    }
    if (this.#retiring !== undefined) this.#finishRetiring()
  }

  #controlDue(): boolean {
    return this.#helloDue || this.#pingDue || this.#pongDue !== undefined || this.#byeDue !== undefined
      || this.#desk.owedBytes >= creditStepBytes
  }

  #bodiesDue(): boolean {
    return this.#desk.next() !== undefined || (this.#credit > requestOverheadBytes && this.#calls.next() !== undefined)
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
      this.#window += owed
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
    const credit = this.#credit - overhead
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
    this.#credit -= overhead + part
    this.#calls.advance(call, part)
    return true
  }

  #finishRetiring(): void {
    if (!this.#remoteRetired || this.open > 0) return
    const code = this.#retiring!
    this.#end(code, 'OVERLAY_UNREACHABLE')
    this.#pipe.close()
  }

  // ── Time ──────────────────────────────────────────────────────────────────────────────────

  #arm(dueMs: number): void {
    if (this.#timerDueMs <= dueMs) return
    this.#timer?.cancel()
    this.#timerDueMs = dueMs
    this.#timer = this.#clock.after(Math.max(0, dueMs - this.#clock.monotonicMs()), () => this.#tick())
  }

  #tick(): void {
    this.#timerDueMs = Infinity
    const nowMs = this.#clock.monotonicMs()
    if (this.#state === 'opening' && nowMs >= this.#openedAtMs + limits.linkHandshakeMs) {
      this.fail('LINK_HANDSHAKE')
      return
    }
    if (nowMs >= this.#heardAtMs + limits.linkDeadMs) {
      this.fail('LINK_DEAD')
      return
    }
    if (nowMs >= this.#retireAtMs) {
      this.close(this.#retiring)
      return
    }
    if (nowMs >= this.#pingDueMs) this.#ping(nowMs)
    if (this.#blocked) this.drained()
    if (this.#probes.length > 0) this.#settleProbes()
    if (nowMs >= this.#earliestDeadlineMs) this.#earliestDeadlineMs = this.#calls.expire(nowMs)
    if ((this.#state as State) !== 'closed') this.#arm(this.#nextDueMs(nowMs))
  }

  #nextDueMs(nowMs: number): number {
    let dueMs = Math.min(this.#pingDueMs, this.#heardAtMs + limits.linkDeadMs, this.#retireAtMs)
    if (this.#state === 'opening') dueMs = Math.min(dueMs, this.#openedAtMs + limits.linkHandshakeMs)
    if (this.#blocked) dueMs = Math.min(dueMs, nowMs + blockedPollMs)
    for (const probe of this.#probes) dueMs = Math.min(dueMs, probe.untilMs)
    return Math.max(Math.min(dueMs, this.#earliestDeadlineMs), nowMs + sweepMs)
  }

  #ping(nowMs: number): void {
    this.#pingDueMs = nowMs + limits.linkHeartbeatMs
    this.#pingDue = true
    this.#scheduleFlush()
  }

  #settleProbes(): void {
    const nowMs = this.#clock.monotonicMs()
    const probes = this.#probes
    this.#probes = []
    for (const probe of probes) {
      if (this.#heard > probe.since) probe.done(true)
      else if (nowMs >= probe.untilMs) probe.done(false)
      else this.#probes.push(probe)
    }
  }
}

/** @throws LINK_FRAME */
function bodyLength(total: number): number {
  if (total <= limits.callBodyBytesMax) return total
  throw new OpenIMError('LINK_FRAME', `a body of ${total} bytes, the limit is ${limits.callBodyBytesMax}`)
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

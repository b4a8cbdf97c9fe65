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
import { OpenIMError } from '../../crypto/errors.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { limits } from '../../protocol/limits.ts'
import type { Clock, Timer } from '../../protocol/ports.ts'
import type { ServiceCode } from '../../protocol/service/codes.ts'
import type { CallOptions } from '../ports.ts'
import { CallTable, sweepMs } from './link-calls.ts'
import type { CallResult } from './link-calls.ts'
import {
  BodyAssembly, FrameCursor, FrameSplitter, frameTypes, linkVersion, replyStatus,
} from './link-frames.ts'
import { LinkOutbox } from './link-outbox.ts'
import { decodeRefusal, requestOverheadBytes, ServiceDesk } from './link-service.ts'
import type { ServiceComponents } from './link-service.ts'

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
  readonly events: PeerLinkEvents
}

interface Probe {
  /** Chunks received before it. */
  readonly since: number
  readonly untilMs: number
  readonly done: (alive: boolean) => void
}

type State = 'opening' | 'up' | 'closed'

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
  readonly #outbox: LinkOutbox
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
  /** Request bytes the peer may still send. */
  #window = limits.linkWindowBytes
  #request: { id: number, service: number, patienceMs: number, body: BodyAssembly } | undefined
  #reply: { id: number, status: number, body: BodyAssembly } | undefined
  readonly #openedAtMs: number
  #heardAtMs: number
  #pingDueMs: number
  #rttMs: number | undefined
  /** Chunks received so far. */
  #heard = 0
  #probes: Probe[] = []

  constructor(components: ServiceComponents, pipe: BytePipe, options: PeerLinkOptions) {
    this.remote = options.remote
    this.opener = options.opener
    this.#clock = components.clock
    this.#pipe = pipe
    this.#events = options.events
    this.#desk = new ServiceDesk(components, options.remote, () => this.#scheduleFlush())
    this.#outbox = new LinkOutbox({
      clock: this.#clock,
      calls: this.#calls,
      desk: this.#desk,
      onCredit: (bytes) => { this.#window += bytes },
    })
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
    this.#outbox.bye(code)
    this.#retireAtMs = this.#clock.monotonicMs() + limits.linkRetireMs
    this.#arm(this.#retireAtMs)
    this.#scheduleFlush()
  }

  /** Says goodbye and closes the pipe in order; open calls end with `callsCode`. */
  close(code = 'LINK_CLOSED', callsCode = 'OVERLAY_UNREACHABLE'): void {
    if (this.#state === 'closed') return
    this.#outbox.bye(code)
    // Also into a full transport: it is the last that it gets.
    this.#pipe.write(this.#outbox.write({ bodies: false }))
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
        this.#outbox.pong(cursor.varint())
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
      throw new OpenIMError('LINK_VERSION', `the peer speaks version ${version}, we speak ${linkVersion}`)
    }
    this.#outbox.credit = cursor.varint()
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
    const credit = this.#outbox.credit + cursor.varint()
    if (credit > Number.MAX_SAFE_INTEGER) throw new OpenIMError('LINK_CREDIT', 'a credit without end')
    this.#outbox.credit = credit
    this.#scheduleFlush()
  }

  #onPong(nonce: number): void {
    const sentAtMs = this.#outbox.takePing(nonce)
    if (sentAtMs === undefined) return
    const sampleMs = this.#heardAtMs - sentAtMs
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
  #flush(): void {
    if (this.#state === 'closed') return
    this.#blocked = false
    while (this.#outbox.controlDue || (this.#state === 'up' && this.#outbox.bodiesDue)) {
      if (this.#pipe.bufferedBytes >= limits.linkQueueBytesMax) {
        this.#blocked = true
        this.#arm(this.#clock.monotonicMs() + blockedPollMs)
        return
      }
      const bytes = this.#outbox.write({ bodies: this.#state === 'up' })
      if (bytes.length === 0) break
      this.#pipe.write(bytes)
    }
    if (this.#retiring !== undefined) this.#finishRetiring()
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
    this.#outbox.ping()
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

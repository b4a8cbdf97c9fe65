/**
 * A connection between a device and its node over datagrams, once the handshake is done: one
 * machine for both ends, without sockets (DESIGN §4). Datagrams go in and out; upwards it is an
 * ordered stream of bytes, so that a `StreamLink` makes messages of it as over TCP.
 *
 * ```text
 *   write ─► OutgoingStream ─┐                            ┌─► LossRecovery (ack)
 *                            ├─► packet ─► seal ─► datagram ─► open ─► frames
 *   AckTracker, PathKeeper ──┘     ▲                      └─► IncomingStream ─► bytes
 *                                  └ LossRecovery: may one leave now?
 * ```
 *
 * Ending is of the stream: `end` sends what is queued and its end; the other side reads up to it,
 * says close and is done, and our side when the end is acknowledged. A close that comes before the
 * end, a reset, silence for `limits.udpIdleMs`: the connection is lost. Only packets that
 * authenticate, and resets with the token, have a say in any of this.
 */
import { equalBytes } from '../../../crypto/bytes.ts'
import { assert } from '../../../crypto/errors.ts'
import type { NoiseCipher } from '../../../crypto/noise.ts'
import type { Random } from '../../../crypto/random.ts'
import { Writer } from '../../codec/writer.ts'
import { limits } from '../../limits.ts'
import type { Clock, Timer } from '../../ports.ts'
import type { ByteTransport, ByteTransportListener } from '../byte-transport.ts'
import { AckTracker } from './ack-tracker.ts'
import type { DropReason, UdpCounters } from './counters.ts'
import { closeReasons, decodeFrames, writeFrame, writeStreamHead } from './frames.ts'
import type { UdpFrame } from './frames.ts'
import { IncomingStream } from './incoming-stream.ts'
import { LossRecovery } from './loss-recovery.ts'
import type { SentPacket } from './loss-recovery.ts'
import { OutgoingStream } from './outgoing-stream.ts'
import { PacketOpener, PacketSealer } from './packet-keys.ts'
import { counterOf, dataHeader, dataHeaderBytes, plaintextBytesMax, plaintextBytesMin } from './packets.ts'
import { PathKeeper } from './path-keeper.ts'
import type { UdpAddress } from './path-keeper.ts'
import type { Range } from './range-set.ts'
import { ReplayWindow } from './replay-window.ts'

/** Type, offset and length of a stream frame, and an `ackNow` behind it. */
const streamFrameOverhead = 1 + 8 + 2 + 1
/** A tail of a packet shorter than this is left empty. */
const streamBytesMin = 16
/** Packets with these want an acknowledgement, `end` and `ackNow` at once. */
const askingFrames: ReadonlySet<UdpFrame['type']> = new Set(['ping', 'stream', 'maxData'])
/** What a probe may send beyond the window (RFC 9002 §6.2.4). */
const probePackets = 2

/** The plaintext of one packet after the other: each is sealed before the next is begun. */
const packet = new Writer(plaintextBytesMax)

function freshPacket(): Writer {
  packet.reset()
  return packet
}

export interface UdpConnectionOptions<A extends UdpAddress> {
  readonly role: 'device' | 'node'
  /** From the handshake; owned by the connection from now on. */
  readonly keys: { readonly send: NoiseCipher, readonly receive: NoiseCipher }
  /** The other end's connection id, in every packet to it. */
  readonly peerId: Uint8Array
  readonly address: A
  /** Of a device: what a node that lost the connection proves itself with. */
  readonly resetToken?: Uint8Array
  /** A round trip that the handshake measured. */
  readonly roundTripMs?: number
}

export interface UdpConnectionListener<A extends UdpAddress> {
  send(datagram: Uint8Array, to: A): void
  /** The first authentic packet, before anything in it. */
  confirmed(): void
  /** Probes go unanswered: on a device, its own address may be gone. */
  stuck(): void
  /** Last call; `closed` of the stream follows. */
  gone(): void
}

export class UdpConnection<A extends UdpAddress> implements ByteTransport {
  readonly #clock: Clock
  readonly #counters: UdpCounters
  readonly #role: 'device' | 'node'
  readonly #peerId: Uint8Array
  readonly #resetToken: Uint8Array | undefined
  readonly #listener: UdpConnectionListener<A>
  readonly #sealer: PacketSealer
  readonly #opener: PacketOpener
  readonly #replay = new ReplayWindow()
  readonly #acks = new AckTracker()
  readonly #recovery: LossRecovery
  readonly #paths: PathKeeper<A>
  readonly #outgoing = new OutgoingStream()
  readonly #incoming: IncomingStream
  #stream: ByteTransportListener | undefined
  #state: 'unconfirmed' | 'open' | 'ending' | 'closed'
  #handling = false
  #pingDue = false
  #maxDataDue = false
  #probesDue = 0
  #heardAtMs: number
  #sentAtMs: number
  #timer: Timer | undefined
  #timerDueMs = Number.POSITIVE_INFINITY

  constructor(
    components: { clock: Clock, random: Random, counters: UdpCounters },
    options: UdpConnectionOptions<A>,
    listener: UdpConnectionListener<A>,
  ) {
    this.#clock = components.clock
    this.#counters = components.counters
    this.#listener = listener
    this.#role = options.role
    this.#peerId = options.peerId
    this.#resetToken = options.resetToken
    this.#sealer = new PacketSealer(options.keys.send)
    this.#opener = new PacketOpener(options.keys.receive)
    this.#recovery = new LossRecovery(components.random)
    this.#paths = new PathKeeper(components.random, options.address)
    this.#incoming = new IncomingStream((bytes) => {
      if (this.#state === 'open') this.#stream?.bytes(bytes)
    })
    this.#state = options.role === 'device' ? 'open' : 'unconfirmed'
    const nowMs = this.#clock.monotonicMs()
    this.#heardAtMs = this.#sentAtMs = nowMs
    if (options.roundTripMs !== undefined) this.#recovery.roundTrip.sample(options.roundTripMs, 0, nowMs)
  }

  /** On a device: the node believes in it with its first packet, so one goes out at once. */
  start(): void {
    this.#pingDue = true
    this.#flush()
  }

  /** Where packets go. */
  get address(): A {
    return this.#paths.address
  }

  // ── The stream ────────────────────────────────────────────────────────────────────────────

  listen(listener: ByteTransportListener): void {
    assert(this.#stream === undefined, 'a transport has one listener')
    this.#stream = listener
  }

  /** Not sent once; what is under way is bounded by the windows. */
  get bufferedBytes(): number {
    return this.#state === 'closed' ? 0 : this.#outgoing.unsentBytes
  }

  write(bytes: Uint8Array): void {
    if (this.#state === 'ending' || this.#state === 'closed') return
    this.#outgoing.write(bytes)
    this.#flush()
  }

  pause(): void {
    this.#incoming.pause()
  }

  resume(): void {
    if (this.#state === 'closed') return
    this.#handle(() => this.#incoming.resume())
  }

  end(): void {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    this.#outgoing.end()
    this.#handle(() => this.#incoming.resume())
  }

  destroy(): void {
    if (this.#state === 'closed') return
    this.#sayClose(closeReasons.broken)
    this.#finish(false)
  }

  // ── Datagrams in ──────────────────────────────────────────────────────────────────────────

  /** A data packet with our connection id. @returns why it was thrown away, if it was */
  receive(datagram: Uint8Array, from: A): DropReason | undefined {
    if (this.#state === 'closed') return 'unknown'
    const counter = counterOf(datagram)
    if (counter === undefined) return 'forged'
    if (!this.#replay.isNew(counter)) return 'replayed'
    const header = datagram.subarray(0, dataHeaderBytes)
    const plaintext = this.#opener.open(counter, header, datagram.subarray(dataHeaderBytes))
    if (plaintext === undefined) {
      if (this.#opener.exhausted) this.destroy()
      return 'forged'
    }
    const newest = counter > this.#replay.highest
    this.#replay.mark(counter)
    const nowMs = this.#clock.monotonicMs()
    this.#heardAtMs = nowMs
    if (this.#state === 'unconfirmed') {
      this.#state = 'open'
      this.#listener.confirmed()
    }
    if (this.#role === 'node') this.#paths.heard(from, { newest, bytes: datagram.length }, nowMs)
    this.#handle(() => this.#receiveFrames(plaintext, { counter, from, nowMs }))
    return undefined
  }

  /** The node says that it does not know this connection. Believed only with the token. */
  receiveReset(token: Uint8Array): boolean {
    if (this.#resetToken === undefined || !equalBytes(token, this.#resetToken)) return false
    if (this.#state !== 'closed') this.#finish(false)
    return true
  }

  /** On a device: packets leave from another address now. */
  rebound(): void {
    if (this.#state === 'closed') return
    this.#requeue(this.#recovery.restart())
    this.#pingDue = true
    this.#flush()
  }

  /** What callers do while frames are worked on goes out once, with all answers, at the end. */
  #handle(work: () => void): void {
    if (this.#handling) return work()
    this.#handling = true
    work()
    this.#handling = false
    if (this.#state === 'closed') return
    const nowMs = this.#clock.monotonicMs()
    if (this.#incoming.raise(nowMs, this.#recovery.roundTrip.knownMs) !== undefined) this.#maxDataDue = true
    if (this.#incoming.finished) {
      this.#sayClose(closeReasons.done)
      this.#finish(true)
    } else if (this.#outgoing.finished) {
      this.#finish(true)
    } else {
      this.#flush()
    }
  }

  /**
   * A device that acknowledges to a sender who waits asks for an acknowledgement itself: if nothing
   * comes, it probes, and so a node learns of an address that changed behind the device's back.
   */
  #receiveFrames(plaintext: Uint8Array, packet: { counter: number, from: A, nowMs: number }): void {
    const decoded = decodeFrames(plaintext)
    if (!decoded.ok) return this.destroy()
    let asks: 'no' | 'soon' | 'now' = 'no'
    for (const frame of decoded.value) {
      const taken = this.#apply(frame, packet)
      // Gone, or not to be acknowledged because it has to come again.
      if (this.#state === 'closed' || taken === 'refused') return
      if (taken === 'broken') return this.destroy()
      if (frame.type === 'ackNow' && this.#role === 'device') this.#pingDue = true
      if (frame.type === 'end' || frame.type === 'ackNow') asks = 'now'
      else if (asks === 'no' && askingFrames.has(frame.type)) asks = 'soon'
    }
    this.#acks.received(packet.counter, asks, packet.nowMs)
  }

  #apply(frame: UdpFrame, packet: { from: A, nowMs: number }): 'ok' | 'broken' | 'refused' {
    switch (frame.type) {
      case 'ack': return this.#applyAck(frame, packet.nowMs)
      case 'stream': return this.#incoming.receive(frame.offset, frame.data)
      case 'end': return this.#incoming.receiveEnd(frame.offset)
      case 'maxData':
        this.#outgoing.allow(frame.offset)
        return 'ok'
      case 'challenge':
        if (this.#role === 'device') this.#sendAside({ type: 'answer', data: frame.data }, packet.from)
        return 'ok'
      case 'answer':
        if (this.#paths.answered(packet.from, frame.data)) this.#moved(packet.nowMs)
        return 'ok'
      case 'close':
        this.#finish(this.#incoming.finished)
        return 'ok'
      default:
        return 'ok'
    }
  }

  #applyAck(frame: UdpFrame & { type: 'ack' }, nowMs: number): 'ok' | 'broken' {
    const outcome = this.#recovery.acknowledged(frame, nowMs)
    if (outcome === undefined) return 'broken'
    for (const { stream, end } of outcome.acked) this.#outgoing.acknowledged(stream, end)
    this.#requeue(outcome.lost)
    if (outcome.acked.length > 0) this.#probesDue = 0
    return 'ok'
  }

  #requeue(lost: readonly SentPacket[]): void {
    this.#counters.lost += lost.length
    for (const { stream, end, maxData } of lost) {
      this.#outgoing.lost(stream, end)
      if (maxData) this.#maxDataDue = true
    }
  }

  #moved(nowMs: number): void {
    this.#counters.migrations++
    this.#acks.repeat(nowMs)
    this.#requeue(this.#recovery.restart())
    this.#pingDue = true
  }

  // ── Datagrams out ─────────────────────────────────────────────────────────────────────────

  #flush(nowMs = this.#clock.monotonicMs()): void {
    if (this.#handling || this.#state === 'unconfirmed' || this.#state === 'closed') return
    const unsent = this.#outgoing.unsentBytes
    for (;;) {
      const challenge = this.#paths.takeChallenge(nowMs)
      if (challenge === undefined) break
      this.#sendAside({ type: 'challenge', data: challenge.data }, challenge.to)
    }
    while (this.#sendNext(nowMs)) { /* each packet may open or close the way for the next */ }
    this.#recovery.limited = this.#wantsToAsk
    this.#arm(nowMs)
    if (this.#outgoing.unsentBytes < unsent) this.#stream?.drain()
  }

  /** Whether there is something that wants an acknowledgement. */
  get #wantsToAsk(): boolean {
    return this.#probesDue > 0 || this.#pingDue || this.#maxDataDue || this.#outgoing.ready
  }

  #sendNext(nowMs: number): boolean {
    const mayAsk = this.#wantsToAsk && (this.#probesDue > 0 || this.#recovery.waitMs(nowMs) === 0)
    const ackDue = (this.#acks.dueAtMs ?? Number.POSITIVE_INFINITY) <= nowMs
    if (!mayAsk && !ackDue) return false
    const writer = freshPacket()
    if (this.#acks.owed) writeFrame(writer, this.#acks.take(nowMs))
    if (!mayAsk) {
      this.#sendPlaintext(writer, this.#recovery.takeNumber(), this.#paths.address)
      return true
    }
    const content = this.#fill(writer)
    const number = this.#recovery.takeNumber()
    const bytes = this.#sendPlaintext(writer, number, this.#paths.address)
    this.#recovery.sent({ number, sentMs: nowMs, bytes, ...content })
    if (this.#probesDue > 0) this.#probesDue--
    return true
  }

  /** Puts what waits into the packet, and says what of it has to go again if it is lost. */
  #fill(writer: Writer): { stream: Range[], end: boolean, maxData: boolean } {
    const maxData = this.#maxDataDue
    if (maxData) writeFrame(writer, { type: 'maxData', offset: this.#incoming.allowed })
    this.#maxDataDue = false
    const stream: Range[] = []
    for (;;) {
      const room = plaintextBytesMax - writer.length - streamFrameOverhead
      const range = room < streamBytesMin ? undefined : this.#outgoing.next(room)
      if (range === undefined) break
      stream.push(range)
      writeStreamHead(writer, { offset: range.start, length: range.end - range.start })
      this.#outgoing.copyTo(writer, range)
    }
    const roomForEnd = plaintextBytesMax - writer.length >= 1 + 8 + 1
    const endOffset = roomForEnd ? this.#outgoing.takeEnd() : undefined
    if (endOffset !== undefined) writeFrame(writer, { type: 'end', offset: endOffset })
    if (!maxData && stream.length === 0 && endOffset === undefined) writeFrame(writer, { type: 'ping' })
    this.#pingDue = false
    if (this.#isLastForNow) writeFrame(writer, { type: 'ackNow' })
    return { stream, end: endOffset !== undefined, maxData }
  }

  /** More waits, but only an acknowledgement will let it go. */
  get #isLastForNow(): boolean {
    if (this.#outgoing.blocked) return true
    const { inFlightBytes, windowBytes } = this.#recovery
    return this.#outgoing.ready && inFlightBytes + 2 * limits.udpDatagramBytes > windowBytes
  }

  #sendPlaintext(writer: Writer, number: number, to: A): number {
    const missing = plaintextBytesMin - writer.length
    if (missing > 0) writeFrame(writer, { type: 'padding', length: missing - 1 })
    const header = dataHeader(this.#peerId, number)
    const datagram = this.#sealer.seal(number, header, writer.finish())
    this.#sentAtMs = this.#clock.monotonicMs()
    this.#listener.send(datagram, to)
    return datagram.length
  }

  /** A packet of one small frame that is not sent again by itself. */
  #sendAside(frame: UdpFrame, to: A): void {
    const writer = freshPacket()
    writeFrame(writer, frame)
    this.#sendPlaintext(writer, this.#recovery.takeNumber(), to)
  }

  #sayClose(reason: number): void {
    if (this.#state === 'unconfirmed') return
    const writer = freshPacket()
    if (this.#acks.owed) writeFrame(writer, this.#acks.take(this.#clock.monotonicMs()))
    writeFrame(writer, { type: 'close', reason })
    this.#sendPlaintext(writer, this.#recovery.takeNumber(), this.#paths.address)
  }

  /** Never from within a call of the stream's user. */
  #finish(orderly: boolean): void {
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#sealer.wipe()
    this.#opener.wipe()
    this.#listener.gone()
    queueMicrotask(() => this.#stream?.closed(orderly))
  }

  // ── Time ──────────────────────────────────────────────────────────────────────────────────

  /** One timer for all; one that is set too early only looks again. */
  #arm(nowMs: number): void {
    const dueMs = this.#dueMs(nowMs)
    if (this.#timer !== undefined && this.#timerDueMs <= dueMs) return
    this.#timer?.cancel()
    this.#timerDueMs = dueMs
    this.#timer = this.#clock.after(Math.max(0, dueMs - nowMs), () => this.#fire())
  }

  #dueMs(nowMs: number): number {
    const never = Number.POSITIVE_INFINITY
    const waitMs = this.#wantsToAsk ? this.#recovery.waitMs(nowMs) : undefined
    return Math.min(
      this.#heardAtMs + limits.udpIdleMs,
      this.#role === 'device' ? this.#sentAtMs + limits.udpKeepAliveMs : never,
      this.#recovery.deadlineMs ?? never,
      this.#acks.dueAtMs ?? never,
      this.#paths.deadlineMs ?? never,
      waitMs === undefined ? never : nowMs + waitMs,
    )
  }

  #fire(): void {
    this.#timer = undefined
    // A timer may come a rounding too early; what it was set for is due.
    const nowMs = Math.max(this.#clock.monotonicMs(), this.#timerDueMs)
    if (this.#heardAtMs + limits.udpIdleMs <= nowMs) return this.#finish(false)
    if (this.#role === 'device' && this.#sentAtMs + limits.udpKeepAliveMs <= nowMs) this.#pingDue = true
    if ((this.#recovery.deadlineMs ?? Number.POSITIVE_INFINITY) <= nowMs) this.#recover(nowMs)
    this.#flush(nowMs)
  }

  #recover(nowMs: number): void {
    const { lost, probe } = this.#recovery.due(nowMs)
    this.#requeue(lost)
    if (!probe) return
    this.#counters.probes++
    this.#probesDue = probePackets
    const { oldest, probes } = this.#recovery
    if (oldest !== undefined) this.#requeueForProbe(oldest)
    if (probes % limits.udpRebindProbes === 0) this.#listener.stuck()
  }

  /** What waits longest for its acknowledgement goes again, though nothing says that it is lost. */
  #requeueForProbe(oldest: SentPacket): void {
    this.#outgoing.lost(oldest.stream, oldest.end)
    if (oldest.maxData) this.#maxDataDue = true
  }
}

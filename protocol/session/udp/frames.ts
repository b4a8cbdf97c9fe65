/**
 * The inside of a data packet: frames one after the other until the plaintext ends (DESIGN §4).
 *
 * ```text
 *   padding       (0)   zeros up to the end of the packet
 *   ping          (1)   nothing; asks for an acknowledgement, as 3, 4, 5 and 9 do
 *   ack           (2)
 *     varint  largest           highest counter received
 *     varint  delayUs           how long ago that was, microseconds
 *     varint  first             how many counters below it came without a gap
 *     ranges<V>                 at most 63, downwards
 *       varint gap              counters missing, less one
 *       varint length           counters received below the gap, less one
 *   stream        (3)   varint offset, opaque data<V>     a piece of the sender's stream
 *   end           (4)   varint offset                     the stream ends here; acknowledged at once
 *   maxData       (5)   varint offset                     the receiver of this may send up to here
 *   challenge     (6)   opaque data[8]                    answer from where you got this
 *   answer        (7)   opaque data[8]
 *   close         (8)   varint reason                     the connection is over: 0 done, 1 broken rule
 *   ackNow        (9)   nothing; the sender waits: do not delay the acknowledgement
 * ```
 *
 * Ranges are as in RFC 9000 §19.3.1. Frames are not numbered: what was lost goes into a new packet,
 * as far as it still matters. `ackNow` spares a sender whose window is full the receiver's delay,
 * so that a receiver need not acknowledge every second packet just in case.
 */
import { OpenIMError } from '../../../crypto/errors.ts'
import type { Result } from '../../../crypto/errors.ts'
import { Reader } from '../../codec/reader.ts'
import { fixed, opaque, struct, varint, vector } from '../../codec/struct.ts'
import type { Codec } from '../../codec/struct.ts'
import type { Writer } from '../../codec/writer.ts'
import { limits } from '../../limits.ts'

export const challengeBytes = 8
export const closeReasons = { done: 0, broken: 1 } as const

export interface AckFrame {
  readonly type: 'ack'
  readonly largest: number
  readonly delayUs: number
  readonly first: number
  readonly ranges: readonly { readonly gap: number, readonly length: number }[]
}

export interface StreamFrame {
  readonly type: 'stream'
  readonly offset: number
  /** View of the decoded packet. */
  readonly data: Uint8Array
}

export interface EndFrame { readonly type: 'end', readonly offset: number }
export interface MaxDataFrame { readonly type: 'maxData', readonly offset: number }
export interface ChallengeFrame { readonly type: 'challenge', readonly data: Uint8Array }
export interface AnswerFrame { readonly type: 'answer', readonly data: Uint8Array }
export interface CloseFrame { readonly type: 'close', readonly reason: number }
export interface PaddingFrame { readonly type: 'padding', readonly length: number }
export interface PingFrame { readonly type: 'ping' }
export interface AckNowFrame { readonly type: 'ackNow' }

export type UdpFrame =
  | PaddingFrame | PingFrame | AckFrame | StreamFrame | EndFrame | MaxDataFrame
  | ChallengeFrame | AnswerFrame | CloseFrame | AckNowFrame

const nothing: Codec<object> = { write: () => {}, read: () => ({}) }

/** The rest of the packet; the type byte was its first zero. */
const zeros: Codec<number> = {
  write: (w, length) => w.raw(new Uint8Array(length)),
  read(r) {
    const rest = r.rest()
    if (rest.some((byte) => byte !== 0)) throw r.refuse('CODEC_PADDING', 'padding that is not zero')
    return rest.length
  },
}

type UdpFrameCodecs = {
  readonly [T in UdpFrame['type']]: {
    readonly code: number
    readonly codec: Codec<Omit<Extract<UdpFrame, { type: T }>, 'type'>>
  }
}

export const udpFrameCodecs: UdpFrameCodecs = {
  padding: { code: 0, codec: struct({ length: zeros }) },
  ping: { code: 1, codec: nothing },
  ack: {
    code: 2,
    codec: struct({
      largest: varint,
      delayUs: varint,
      first: varint,
      ranges: vector(struct<{ gap: number, length: number }>({ gap: varint, length: varint }),
        limits.udpAckRangesMax - 1) as Codec<AckFrame['ranges']>,
    }),
  },
  stream: { code: 3, codec: struct({ offset: varint, data: opaque(limits.udpDatagramBytes) }) },
  end: { code: 4, codec: struct({ offset: varint }) },
  maxData: { code: 5, codec: struct({ offset: varint }) },
  challenge: { code: 6, codec: struct({ data: fixed(challengeBytes) }) },
  answer: { code: 7, codec: struct({ data: fixed(challengeBytes) }) },
  close: { code: 8, codec: struct({ reason: varint }) },
  ackNow: { code: 9, codec: nothing },
}

const byCode = new Map(
  Object.entries(udpFrameCodecs).map(([type, { code, codec }]) => [code, { type, codec }]),
)

export function writeFrame(writer: Writer, frame: UdpFrame): void {
  const { code, codec } = udpFrameCodecs[frame.type]
  writer.u8(code)
  ;(codec as Codec<UdpFrame>).write(writer, frame)
}

/** What stands before the data of a stream frame, which the caller writes behind it. */
export function writeStreamHead(
  writer: Writer,
  { offset, length }: { offset: number, length: number },
): void {
  writer.u8(udpFrameCodecs.stream.code)
  writer.varint(offset)
  writer.varint(length)
}

/** All of a packet's plaintext, or a refusal with code and offset. */
export function decodeFrames(plaintext: Uint8Array): Result<UdpFrame[]> {
  const reader = new Reader(plaintext)
  const frames: UdpFrame[] = []
  try {
    while (reader.remaining > 0) {
      const code = reader.u8()
      const entry = byCode.get(code)
      if (entry === undefined) throw reader.refuse('CODEC_UNKNOWN', `UDP frame type ${code} is not known`)
      frames.push({ type: entry.type, ...entry.codec.read(reader) } as UdpFrame)
    }
    return { ok: true, value: frames }
  } catch (error) {
    if (error instanceof OpenIMError && error.code.startsWith('CODEC_')) {
      return { ok: false, code: error.code, detail: error.message }
    }
    throw error
  }
}

/** Counters that a frame acknowledges, highest range first, both ends included; undefined below 0. */
export function ackedRanges(frame: AckFrame): { first: number, last: number }[] | undefined {
  let last = frame.largest
  let first = last - frame.first
  const ranges = [{ first, last }]
  for (const { gap, length } of frame.ranges) {
    last = first - gap - 2
    first = last - length
    ranges.push({ first, last })
  }
  return first < 0 ? undefined : ranges
}

/**
 * The session's own frames, each one message of a link (DESIGN §4). Types below 16 are taken here;
 * application frames (protocol/frame/) travel as the payload of `data`.
 *
 * ```text
 *   hello   (1)  device → node, first message of a link
 *     u8      version = 1
 *     optional opaque session[16]   the session to go on with
 *     varint  received              last frame number received in it, else 0
 *     varint  windowBytes           what this side takes in unconsumed
 *
 *   welcome (2)  node → device, the answer
 *     opaque  session[16]
 *     bool    resumed               the session asked for goes on; else this is a new one
 *     varint  received
 *     varint  windowBytes
 *
 *   data    (3)  both ways
 *     varint  number                1, 2, 3, … in each direction, without gaps
 *     opaque  payload               the rest of the message
 *
 *   ack     (4)  varint number      all frames up to this one are consumed
 *   ping    (5)  nothing
 *   pong    (6)  nothing
 *   error   (7)  opaque code<V>, opaque detail<V>     the session is over: you broke it, or I did
 *   bye     (8)  opaque code<V>                       the session is over, in good order
 * ```
 */
import { OpenIMError } from '../../crypto/errors.ts'
import type { Result } from '../../crypto/errors.ts'
import { Reader } from '../codec/reader.ts'
import { bool, fixed, mapped, oneOf, optional, struct, text, varint } from '../codec/struct.ts'
import type { Codec } from '../codec/struct.ts'
import { putVarint, varintLength, Writer } from '../codec/writer.ts'
import { limits } from '../limits.ts'

export const sessionIdBytes = 16

/** Type and the longest varint. */
const dataHeaderBytesMax = 1 + 8
/** The largest payload whose `data` frame still fits in a link message. */
export const payloadBytesMax = limits.frameBytesMax - dataHeaderBytesMax

export interface HelloFrame {
  readonly type: 'hello'
  readonly version: 1
  readonly session: Uint8Array | undefined
  readonly received: number
  readonly windowBytes: number
}

export interface WelcomeFrame {
  readonly type: 'welcome'
  readonly session: Uint8Array
  readonly resumed: boolean
  readonly received: number
  readonly windowBytes: number
}

export interface DataFrame {
  readonly type: 'data'
  readonly number: number
  /** View of the decoded message. */
  readonly payload: Uint8Array
}

export interface AckFrame {
  readonly type: 'ack'
  readonly number: number
}

export interface ErrorFrame {
  readonly type: 'error'
  readonly code: string
  readonly detail: string
}

export interface ByeFrame {
  readonly type: 'bye'
  readonly code: string
}

export interface PingFrame { readonly type: 'ping' }
export interface PongFrame { readonly type: 'pong' }

export type ControlFrame =
  | HelloFrame | WelcomeFrame | DataFrame | AckFrame | PingFrame | PongFrame | ErrorFrame | ByeFrame

/** Codes go to logs and callers as they are, so only their own alphabet comes in. */
const codeText = mapped(text(64), {
  to: (code: string) => code,
  from(code) {
    if (/^[A-Z][A-Z0-9_]*$/.test(code)) return code
    throw new OpenIMError('CODEC_VALUE', 'an error code is upper-case text')
  },
})
export const errorDetailBytesMax = 256

const rest: Codec<Uint8Array> = { write: (w, v) => w.raw(v), read: (r) => r.rest() }
const nothing: Codec<object> = { write: () => {}, read: () => ({}) }

type ControlCodecs = {
  readonly [T in ControlFrame['type']]: {
    readonly code: number
    readonly codec: Codec<Omit<Extract<ControlFrame, { type: T }>, 'type'>>
  }
}

/** The wire code of each frame; all below 16. */
export const controlCodecs: ControlCodecs = {
  hello: {
    code: 1,
    codec: struct({
      version: oneOf([1], 'session version'),
      session: optional(fixed(sessionIdBytes)),
      received: varint,
      windowBytes: varint,
    }),
  },
  welcome: {
    code: 2,
    codec: struct({ session: fixed(sessionIdBytes), resumed: bool, received: varint, windowBytes: varint }),
  },
  data: { code: 3, codec: struct({ number: varint, payload: rest }) },
  ack: { code: 4, codec: struct({ number: varint }) },
  ping: { code: 5, codec: nothing },
  pong: { code: 6, codec: nothing },
  error: { code: 7, codec: struct({ code: codeText, detail: text(errorDetailBytesMax) }) },
  bye: { code: 8, codec: struct({ code: codeText }) },
}

const byCode = new Map(
  Object.entries(controlCodecs).map(([type, { code, codec }]) => [code, { type, codec }]),
)

export function encodeControl(frame: ControlFrame): Uint8Array {
  const { code, codec } = controlCodecs[frame.type]
  const writer = new Writer()
  writer.u8(code)
  ;(codec as Codec<ControlFrame>).write(writer, frame)
  return writer.finish()
}

const dataCode = controlCodecs.data.code

/**
 * Short messages share their memory, which is cut off a slab: an array of its own costs several
 * times as much. Small, because one message that is kept long keeps its slab.
 */
const slabBytes = 8 * 1_024
const slabShareMax = 2 * 1_024
let slab = new Uint8Array(0)
let slabUsed = 0

function messageBytes(length: number): Uint8Array {
  if (length > slabShareMax) return new Uint8Array(length)
  if (slabUsed + length > slab.length) {
    slab = new Uint8Array(slabBytes)
    slabUsed = 0
  }
  slabUsed += length
  return slab.subarray(slabUsed - length, slabUsed)
}

/** Encodes `data` with one copy of the payload: the path of every application frame. */
export function encodeData(number: number, payload: Uint8Array): Uint8Array {
  const message = messageBytes(1 + varintLength(number) + payload.length)
  message[0] = dataCode
  const headBytes = 1 + putVarint(message, 1, number)
  message.set(payload, headBytes)
  return message
}

/** All of `message`, or a refusal with code and offset. */
export function decodeControl(message: Uint8Array): Result<ControlFrame> {
  const reader = new Reader(message)
  try {
    const code = reader.u8()
    // Nearly all messages are this one; what the table says of it costs several times as much.
    if (code === dataCode) {
      return { ok: true, value: { type: 'data', number: reader.varint(), payload: reader.rest() } }
    }
    const entry = byCode.get(code)
    if (entry === undefined) throw reader.refuse('CODEC_UNKNOWN', `session frame type ${code} is not known`)
    const body = entry.codec.read(reader)
    reader.end()
    return { ok: true, value: { type: entry.type, ...body } as ControlFrame }
  } catch (error) {
    if (error instanceof OpenIMError && error.code.startsWith('CODEC_')) {
      return { ok: false, code: error.code, detail: error.message }
    }
    throw error
  }
}

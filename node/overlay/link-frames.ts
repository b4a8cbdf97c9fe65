/**
 * Frames of a `PeerLink`, the one long-lived byte pipe between two nodes (docs/protocol.md, "Links
 * between nodes"). Hand-written instead of a codec struct: a link carries tens of thousands of
 * frames a second, bodies are handed out as views, and parts of a frame arrive in any cut.
 *
 * ```text
 *   frame        u8 type, varint length, payload[length]        length ≤ linkFrameBytesMax
 *
 *   1 hello        u8 version = 1, varint window        request bytes it takes at first
 *   2 request      varint id, u8 service, varint patienceMs, varint total, first part of the body
 *   3 requestMore  next part of the request under way
 *   4 reply        varint id, u8 status (0 ok, 1 refused), varint total, first part of the body
 *   5 replyMore    next part of the reply under way
 *   6 credit       varint bytes                                  request bytes the peer may send
 *   7 ping         varint nonce
 *   8 pong         varint nonce
 *   9 bye          code as ASCII                                 no more requests follow
 *
 *   refusal body   u8 length, code as ASCII, detail as UTF-8
 * ```
 *
 * Varints are QUIC's (RFC 9000 §16), shortest form, as everywhere in openIM. A body is `total`
 * bytes long; its parts follow each other without another request (reply) in between, while the
 * two directions of talk, requests and replies, may alternate: a request that waits for credit
 * never holds up a reply. `patienceMs` is how long the caller still waits, so that nobody works on
 * what nobody waits for.
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { limits } from '../../protocol/limits.ts'

export const linkVersion = 1

export const frameTypes = {
  hello: 1,
  request: 2,
  requestMore: 3,
  reply: 4,
  replyMore: 5,
  credit: 6,
  ping: 7,
  pong: 8,
  bye: 9,
} as const

export const replyStatus = { ok: 0, refused: 1 } as const

/** Type and length varint of a frame of at most `linkFrameBytesMax` bytes. */
export const frameHeadBytesMax = 5
/** Head plus the longest fields before a body. */
export const messageHeadBytesMax = frameHeadBytesMax + 8 + 1 + 8 + 4

export function varintSize(value: number): number {
  if (value < 2 ** 6) return 1
  if (value < 2 ** 14) return 2
  return value < 2 ** 30 ? 4 : 8
}

function malformed(what: string): OpenIMError {
  return new OpenIMError('LINK_FRAME', what)
}

/** Reads the fields of one frame in place. One cursor serves a whole link. */
export class FrameCursor {
  #bytes: Uint8Array = new Uint8Array(0)
  #at = 0
  #end = 0

  reset(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
  }

  get remaining(): number {
    return this.#end - this.#at
  }

  /** @throws LINK_FRAME at the end of the frame */
  u8(): number {
    if (this.#at >= this.#end) throw malformed('a frame is shorter than its fields')
    return this.#bytes[this.#at++]!
  }

  /** @throws LINK_FRAME when cut off, not in the shortest form or above 2^53 - 1 */
  varint(): number {
    const first = this.u8()
    const prefix = first >> 6
    if (prefix === 0) return first
    const more = (1 << prefix) - 1
    if (this.remaining < more) throw malformed('a frame is shorter than its fields')
    let value = first & 0x3f
    for (let i = 0; i < more; i++) value = value * 256 + this.#bytes[this.#at++]!
    if (varintSize(value) !== more + 1) throw malformed('a varint is not in its shortest form')
    if (value > Number.MAX_SAFE_INTEGER) throw malformed('a varint is above 2^53 - 1')
    return value
  }

  /** What is left, as a view. */
  rest(): Uint8Array {
    const rest = this.#bytes.subarray(this.#at, this.#end)
    this.#at = this.#end
    return rest
  }

  /** @throws LINK_FRAME when bytes are left over */
  end(): void {
    if (this.#at !== this.#end) throw malformed(`${this.remaining} bytes too many in a frame`)
  }
}

/** Gets each whole frame; false ends the reading. */
export type FrameListener = (type: number, bytes: Uint8Array, start: number, end: number) => boolean

/**
 * Cuts a byte stream into frames. A frame that lies in one chunk is handed out in place; one that
 * spans chunks is gathered once. Never holds more than one frame, and no more than was received.
 */
export class FrameSplitter {
  readonly #listener: FrameListener
  /** A head that a chunk cut through. */
  readonly #head = new Uint8Array(frameHeadBytesMax)
  #headLength = 0
  #type = 0
  #length = 0
  #payload: Uint8Array | undefined
  #filled = 0

  constructor(listener: FrameListener) {
    this.#listener = listener
  }

  /** @throws LINK_FRAME, and whatever the listener throws; not usable afterwards */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#payload !== undefined) {
        at = this.#fill(chunk, at)
        if (this.#filled < this.#length) return
        const payload = this.#payload
        this.#payload = undefined
        if (!this.#listener(this.#type, payload, 0, payload.length)) return
        continue
      }
      at = this.#readHead(chunk, at)
      if (this.#headLength > 0) return
      const end = at + this.#length
      if (end <= chunk.length) {
        if (!this.#listener(this.#type, chunk, at, end)) return
        at = end
      } else {
        this.#payload = new Uint8Array(this.#length)
        this.#filled = 0
      }
    }
  }

  #fill(chunk: Uint8Array, at: number): number {
    const take = Math.min(this.#length - this.#filled, chunk.length - at)
    this.#payload!.set(chunk.subarray(at, at + take), this.#filled)
    this.#filled += take
    return at + take
  }

  /** Sets type and length and clears `#headLength` once the head is whole. */
  #readHead(chunk: Uint8Array, from: number): number {
    const head = this.#head
    let at = from
    for (;;) {
      if (at === chunk.length) return at
      head[this.#headLength++] = chunk[at++]!
      if (this.#headLength >= 2 && this.#headLength === 1 + (1 << (head[1]! >> 6))) break
      if (this.#headLength === frameHeadBytesMax) throw malformed('a frame length takes more than 4 bytes')
    }
    let length = head[1]! & 0x3f
    for (let i = 2; i < this.#headLength; i++) length = length * 256 + head[i]!
    if (varintSize(length) !== this.#headLength - 1) throw malformed('a varint is not in its shortest form')
    if (length > limits.linkFrameBytesMax) {
      throw malformed(`a frame of ${length} bytes, the limit is ${limits.linkFrameBytesMax}`)
    }
    this.#type = head[0]!
    // Before the rest arrives: whoever talks another protocol is told so at once.
    if (this.#type < frameTypes.hello || this.#type > frameTypes.bye) {
      throw malformed(`frame type ${this.#type} is not known`)
    }
    this.#length = length
    this.#headLength = 0
    return at
  }
}

/** One write to the transport, filled frame by frame. */
export class FrameBuffer {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(capacity: number) {
    // Not zeroed: only what was written is handed out.
    this.#bytes = Buffer.allocUnsafe(capacity)
  }

  get room(): number {
    return this.#bytes.length - this.#at
  }

  get length(): number {
    return this.#at
  }

  head(type: number, payloadLength: number): void {
    this.#bytes[this.#at++] = type
    this.varint(payloadLength)
  }

  u8(value: number): void {
    this.#bytes[this.#at++] = value
  }

  varint(value: number): void {
    const bytes = this.#bytes
    const size = varintSize(value)
    let rest = value
    for (let i = size - 1; i > 0; i--) {
      bytes[this.#at + i] = rest % 256
      rest = Math.floor(rest / 256)
    }
    bytes[this.#at] = rest | (size === 1 ? 0 : size === 2 ? 0x40 : size === 4 ? 0x80 : 0xc0)
    this.#at += size
  }

  raw(bytes: Uint8Array, start = 0, end = bytes.length): void {
    this.#bytes.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.#at)
    this.#at += end - start
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset, this.#at)
  }
}

/**
 * A body that arrives in parts. Grows with what arrives, so that a claimed length alone costs
 * nothing.
 */
export class BodyAssembly {
  readonly total: number
  #bytes: Uint8Array
  #filled = 0

  constructor(total: number, first: Uint8Array) {
    this.total = total
    this.#bytes = new Uint8Array(Math.min(total, Math.max(2 * first.length, limits.linkFrameBytesMax)))
    this.add(first)
  }

  /** @throws LINK_FRAME when the parts are longer than `total`, or empty */
  add(part: Uint8Array): void {
    const filled = this.#filled + part.length
    if (filled > this.total) throw malformed(`a body of ${this.total} bytes got ${filled}`)
    if (part.length === 0) throw malformed('an empty part of a body')
    if (filled > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(this.total, Math.max(filled, 2 * this.#bytes.length)))
      grown.set(this.#bytes.subarray(0, this.#filled))
      this.#bytes = grown
    }
    this.#bytes.set(part, this.#filled)
    this.#filled = filled
  }

  /** The whole body once all of it is here. */
  finished(): Uint8Array | undefined {
    return this.#filled === this.total ? this.#bytes : undefined
  }
}

/**
 * The private channel between a device and its node over any ordered transport (DESIGN §4):
 * Noise_IK_25519_ChaChaPoly_SHA256 (Noise revision 34, §7.5). The device is the initiator and
 * knows the node's door key beforehand; the node learns the device's key from the first message.
 * One machine for both roles, without sockets: bytes in, bytes and messages out.
 *
 * ```text
 *   outside    Noise messages of at most 65,535 bytes; on a stream of bytes (TCP, HTTP/2) each is
 *              u16 length ‖ bytes, on a transport of messages (WebSocket) one message
 *     1st      device → node   e, es, s, ss   96 bytes, empty payload
 *     2nd      node → device   e, ee, se      48 bytes, empty payload
 *     then     both ways       ciphertext ‖ tag[16], at least one byte of plaintext
 *   plaintext  of all messages of one direction joined: an inner stream of
 *              varint length ‖ message, length ≤ limits.frameBytesMax
 *   prologue   "openim channel" ‖ u8 version = 1 ‖ opaque transport<V>
 * ```
 *
 * The inner stream splits messages that are larger than a Noise message and joins small ones, so
 * that a burst of frames costs one encryption. The lengths seen on the wire say no more.
 *
 * The first message of IK can be replayed by whoever recorded it (Noise §7.7, source property 1),
 * so the node does not believe in the device before the first message after the handshake.
 *
 * Alternatives weighed: a more/last flag in each Noise message. Refused: it joins nothing, and an
 * encryption costs more than the rest of a small frame together.
 */
import { assert } from '../../crypto/errors.ts'
import { NoiseHandshake } from '../../crypto/noise.ts'
import type { NoiseCipher } from '../../crypto/noise.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import type { Random } from '../../crypto/random.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { varintBytes, varintLength, Writer } from '../codec/writer.ts'
import { limits } from '../limits.ts'
import { MessageAssembler } from './message-assembler.ts'
import { MessageSplitter, putMessage, streamBytes } from './message-framing.ts'

const version = 1
const tagBytes = 16
const lengthBytes = 2
const plaintextBytesMax = limits.noiseMessageBytesMax - tagBytes
/** Keys and tags of the two handshake messages with empty payloads: nothing else is let in. */
const deviceHelloBytes = 32 + 32 + tagBytes + tagBytes
const nodeHelloBytes = 32 + tagBytes

export interface NoiseChannelOptions {
  /** Name of the transport, bound into the handshake: `tcp`, `ws`, `http2`. */
  readonly transport: string
  /** How Noise messages are told apart: by a length before each, or by the transport itself. */
  readonly framing: 'length' | 'message'
  /** The device's key, or the node's door key. */
  readonly own: DhKeyPair
  readonly random: Random
  /** The node's door key: given, this is the device's end; absent, it is the node's. */
  readonly nodeKey?: Uint8Array
}

export interface NoiseChannelListener {
  /** Handshake bytes to write now, framed. */
  write(bytes: Uint8Array): void
  /** The peer has proven its key; before any message. */
  opened(peerKey: Uint8Array): void
  message(message: Uint8Array): void
  /** Last call: CHANNEL_LENGTH, CHANNEL_HANDSHAKE, CHANNEL_MESSAGE or CHANNEL_FRAMING. Drop the stream. */
  failed(code: string, detail: string): void
}

type State = 'handshake' | 'confirming' | 'open' | 'failed'

export class NoiseChannel {
  readonly #listener: NoiseChannelListener
  readonly #role: 'initiator' | 'responder'
  readonly #isStream: boolean
  readonly #handshake: NoiseHandshake
  #state: State = 'handshake'
  #send: NoiseCipher | undefined
  #receive: NoiseCipher | undefined

  readonly #outer = new MessageAssembler({ reuse: true })
  readonly #outerLength = new Uint8Array(lengthBytes)
  #outerLengthFilled = 0
  readonly #inner: MessageSplitter

  constructor(options: NoiseChannelOptions, listener: NoiseChannelListener) {
    this.#listener = listener
    this.#inner = new MessageSplitter((message) => listener.message(message))
    this.#isStream = options.framing === 'length'
    this.#role = options.nodeKey === undefined ? 'responder' : 'initiator'
    this.#handshake = new NoiseHandshake({
      pattern: 'IK',
      role: this.#role,
      prologue: prologue(options.transport),
      own: options.own,
      ...(options.nodeKey === undefined ? {} : { remoteStaticKey: options.nodeKey }),
      random: options.random,
    })
  }

  /** Begins the handshake on the device's end; the node's end waits. */
  start(): void {
    if (this.#role === 'initiator') this.#writeHandshake()
  }

  /** Whether `seal` may be called. */
  get open(): boolean {
    return this.#state === 'open'
  }

  /**
   * Messages of at most `limits.frameBytesMax` bytes as what is to be written, in order: on a
   * stream one run of bytes, else one piece for each Noise message.
   */
  seal(messages: readonly Uint8Array[]): Uint8Array[] {
    assert(this.#send !== undefined && this.#state === 'open', 'sealing on a channel that is not open')
    const total = streamBytes(messages)
    return this.#isStream ? [sealStream(this.#send, messages, total)] : sealApart(this.#send, messages)
  }

  /**
   * Bytes of the stream in any pieces, or one message of the transport. They are not kept beyond
   * the call unless copied.
   */
  receive(chunk: Uint8Array): void {
    if (this.#isStream) this.#receiveStream(chunk)
    else if (this.#state !== 'failed' && this.#admits(chunk.length)) this.#receiveNoise(chunk)
  }

  #receiveStream(chunk: Uint8Array): void {
    let offset = 0
    while (offset < chunk.length && this.#state !== 'failed') {
      if (!this.#outer.busy) {
        this.#outerLength[this.#outerLengthFilled++] = chunk[offset++]!
        if (this.#outerLengthFilled === lengthBytes) this.#beginOuter()
        continue
      }
      const taken = this.#outer.take(chunk, offset)
      offset = taken.offset
      if (taken.piece !== undefined) this.#receiveNoise(taken.piece)
    }
  }

  #beginOuter(): void {
    const length = this.#outerLength[0]! * 256 + this.#outerLength[1]!
    this.#outerLengthFilled = 0
    if (this.#admits(length)) this.#outer.begin(length)
  }

  /** Whether a Noise message may have this length now; if not, the channel has failed. */
  #admits(length: number): boolean {
    if (this.#state === 'handshake') {
      const expected = this.#role === 'initiator' ? nodeHelloBytes : deviceHelloBytes
      if (length === expected) return true
      this.#fail('CHANNEL_LENGTH', `a handshake message of ${length} bytes, expected ${expected}`)
    } else if (length <= tagBytes || length > limits.noiseMessageBytesMax) {
      this.#fail('CHANNEL_LENGTH', `a message of ${length} bytes is too short or too long`)
    } else {
      return true
    }
    return false
  }

  #writeHandshake(): void {
    const message = this.#handshake.write(new Uint8Array(0))
    this.#listener.write(this.#isStream ? framed(message) : message)
  }

  #receiveNoise(message: Uint8Array): void {
    if (this.#state === 'handshake') return this.#receiveHandshake(message)
    const plaintext = this.#receive!.decrypt(message)
    if (plaintext === undefined) return this.#fail('CHANNEL_MESSAGE', 'a message does not authenticate')
    if (this.#state === 'confirming') this.#opened()
    const broken = this.#inner.push(plaintext)
    if (broken !== undefined) this.#fail('CHANNEL_FRAMING', broken)
  }

  #receiveHandshake(message: Uint8Array): void {
    const read = this.#handshake.read(message)
    if (!read.ok) {
      return this.#fail('CHANNEL_HANDSHAKE', 'the handshake does not authenticate; compare keys and versions')
    }
    if (this.#role === 'responder') this.#writeHandshake()
    const { send, receive } = this.#handshake.split()
    this.#send = send
    this.#receive = receive
    if (this.#role === 'initiator') this.#opened()
    else this.#state = 'confirming'
  }

  #opened(): void {
    this.#state = 'open'
    this.#listener.opened(this.#handshake.remoteStaticKey!)
  }

  #fail(code: string, detail: string): void {
    this.#state = 'failed'
    this.#listener.failed(code, detail)
  }
}

export function prologue(transport: string): Uint8Array {
  const writer = new Writer()
  writer.raw(utf8('openim channel'))
  writer.u8(version)
  writer.opaque(utf8(transport))
  return writer.finish()
}

function framed(message: Uint8Array): Uint8Array {
  const writer = new Writer(lengthBytes + message.length)
  writer.u16(message.length)
  writer.raw(message)
  return writer.finish()
}

/** Messages as a stretch of the inner stream, `total` bytes, in Noise messages with their lengths. */
function sealStream(cipher: NoiseCipher, messages: readonly Uint8Array[], total: number): Uint8Array {
  const out = new Uint8Array(total + Math.ceil(total / plaintextBytesMax) * (lengthBytes + tagBytes))
  let outAt = 0
  fillEach(messages, (plaintext) => {
    const length = plaintext.length + tagBytes
    out[outAt] = length >> 8
    out[outAt + 1] = length & 0xff
    outAt += lengthBytes + length
    cipher.encrypt(plaintext, noData, out.subarray(outAt - length, outAt))
  })
  return out
}

/** The same, each Noise message by itself. */
function sealApart(cipher: NoiseCipher, messages: readonly Uint8Array[]): Uint8Array[] {
  const sealed: Uint8Array[] = []
  fillEach(messages, (plaintext) => sealed.push(cipher.encrypt(plaintext)))
  return sealed
}

const noData = new Uint8Array(0)
/** Plaintext on its way into a Noise message. Encryption is synchronous, so all channels share it. */
const scratch = new Uint8Array(plaintextBytesMax)

/** One plaintext after the other, in memory that the next one overwrites. */
function fillEach(messages: readonly Uint8Array[], seal: (plaintext: Uint8Array) => void): void {
  let filled = 0
  const fill = (piece: Uint8Array): void => {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + plaintextBytesMax - filled)
      scratch.set(part, filled)
      filled += part.length
      at += part.length
      if (filled < plaintextBytesMax) continue
      seal(scratch)
      filled = 0
    }
  }
  for (const message of messages) {
    if (filled + varintLength(message.length) + message.length < plaintextBytesMax) {
      filled = putMessage(scratch, filled, message)
    } else {
      fill(varintBytes(message.length))
      fill(message)
    }
  }
  if (filled > 0) seal(scratch.subarray(0, filled))
}

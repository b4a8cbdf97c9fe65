/**
 * The private channel between a device and its node over any ordered stream of bytes (DESIGN §4):
 * Noise_IK_25519_ChaChaPoly_SHA256 (Noise revision 34, §7.5). The device is the initiator and
 * knows the node's door key beforehand; the node learns the device's key from the first message.
 * One machine for both roles, without sockets: bytes in, bytes and messages out.
 *
 * ```text
 *   stream     Noise messages, each  u16 length ‖ bytes, length ≤ 65,535
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
import { Writer } from '../codec/writer.ts'
import { limits } from '../limits.ts'
import { MessageAssembler } from './message-assembler.ts'

const version = 1
const tagBytes = 16
const lengthBytes = 2
/** A varint up to `limits.frameBytesMax`. */
const innerLengthBytesMax = 4
const plaintextBytesMax = limits.noiseMessageBytesMax - tagBytes
/** Keys and tags of the two handshake messages with empty payloads: nothing else is let in. */
const deviceHelloBytes = 32 + 32 + tagBytes + tagBytes
const nodeHelloBytes = 32 + tagBytes

export interface NoiseChannelOptions {
  /** Name of the transport, bound into the handshake: `tcp`, `http2`. */
  readonly transport: string
  /** The device's key, or the node's door key. */
  readonly own: DhKeyPair
  readonly random: Random
  /** The node's door key: given, this is the device's end; absent, it is the node's. */
  readonly nodeKey?: Uint8Array
}

export interface NoiseChannelListener {
  /** Handshake bytes to write now. */
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
  readonly #handshake: NoiseHandshake
  #state: State = 'handshake'
  #send: NoiseCipher | undefined
  #receive: NoiseCipher | undefined

  readonly #outer = new MessageAssembler({ reuse: true })
  readonly #outerLength = new Uint8Array(lengthBytes)
  #outerLengthFilled = 0
  readonly #inner = new MessageAssembler({ reuse: false })
  readonly #innerLength = new InnerLength()

  constructor(options: NoiseChannelOptions, listener: NoiseChannelListener) {
    this.#listener = listener
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
    if (this.#role === 'initiator') this.#listener.write(framed(this.#handshake.write(new Uint8Array(0))))
  }

  /** Whether `seal` may be called. */
  get open(): boolean {
    return this.#state === 'open'
  }

  /** Messages of at most `limits.frameBytesMax` bytes as bytes of the stream, in order. */
  seal(messages: readonly Uint8Array[]): Uint8Array {
    assert(this.#send !== undefined && this.#state === 'open', 'sealing on a channel that is not open')
    const pieces: Uint8Array[] = []
    for (const message of messages) {
      const { length } = message
      assert(length > 0 && length <= limits.frameBytesMax, `a link message of ${length} bytes`)
      const prefix = new Writer(innerLengthBytesMax)
      prefix.varint(length)
      pieces.push(prefix.finish(), message)
    }
    return sealStream(this.#send, pieces)
  }

  /** Bytes of the stream, in any pieces. They are not kept beyond the call unless copied. */
  receive(chunk: Uint8Array): void {
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
    if (this.#state === 'handshake') {
      const expected = this.#role === 'initiator' ? nodeHelloBytes : deviceHelloBytes
      if (length !== expected) {
        return this.#fail('CHANNEL_LENGTH', `a handshake message of ${length} bytes, expected ${expected}`)
      }
    } else if (length <= tagBytes) {
      return this.#fail('CHANNEL_LENGTH', `a message of ${length} bytes holds nothing`)
    }
    this.#outer.begin(length)
  }

  #receiveNoise(message: Uint8Array): void {
    if (this.#state === 'handshake') return this.#receiveHandshake(message)
    const plaintext = this.#receive!.decrypt(message)
    if (plaintext === undefined) return this.#fail('CHANNEL_MESSAGE', 'a message does not authenticate')
    if (this.#state === 'confirming') this.#opened()
    this.#receiveInner(plaintext)
  }

  #receiveHandshake(message: Uint8Array): void {
    const read = this.#handshake.read(message)
    if (!read.ok) {
      return this.#fail('CHANNEL_HANDSHAKE', 'the handshake does not authenticate; compare keys and versions')
    }
    if (this.#role === 'responder') {
      this.#listener.write(framed(this.#handshake.write(new Uint8Array(0))))
    }
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

  #receiveInner(plaintext: Uint8Array): void {
    let offset = 0
    while (offset < plaintext.length && this.#state === 'open') {
      if (!this.#inner.busy) {
        const length = this.#innerLength.push(plaintext[offset++]!)
        if (length === undefined) continue
        if (length === 0 || length > limits.frameBytesMax) {
          return this.#fail('CHANNEL_FRAMING',
            `a message of ${length} bytes, the limit is ${limits.frameBytesMax}`)
        }
        this.#inner.begin(length)
        continue
      }
      const taken = this.#inner.take(plaintext, offset)
      offset = taken.offset
      if (taken.piece !== undefined) this.#listener.message(taken.piece)
    }
  }

  #fail(code: string, detail: string): void {
    this.#state = 'failed'
    this.#listener.failed(code, detail)
  }
}

/** A varint (RFC 9000 §16) byte by byte; one that is not in its shortest form counts as 0. */
class InnerLength {
  #value = 0
  #size = 0
  #missing = 0

  push(byte: number): number | undefined {
    if (this.#missing === 0) {
      this.#size = 1 << (byte >> 6)
      this.#missing = this.#size - 1
      this.#value = byte & 0x3f
    } else {
      this.#missing--
      this.#value = this.#value * 256 + byte
    }
    if (this.#missing > 0) return undefined
    const smallest = this.#size === 1 ? 0 : this.#size === 2 ? 2 ** 6 : this.#size === 4 ? 2 ** 14 : 2 ** 30
    return this.#value < smallest ? 0 : this.#value
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

/** Plaintext on its way into a Noise message. Encryption is synchronous, so all channels share it. */
const plaintext = new Uint8Array(plaintextBytesMax)

/** A stretch of the inner stream, in pieces, as Noise messages with their lengths. */
export function sealStream(cipher: NoiseCipher, pieces: readonly Uint8Array[]): Uint8Array {
  let total = 0
  for (const piece of pieces) total += piece.length
  const out = new Uint8Array(total + Math.ceil(total / plaintextBytesMax) * (lengthBytes + tagBytes))
  let outAt = 0
  let filled = 0
  const sealFilled = (): void => {
    const ciphertext = cipher.encrypt(plaintext.subarray(0, filled))
    out[outAt] = ciphertext.length >> 8
    out[outAt + 1] = ciphertext.length & 0xff
    out.set(ciphertext, outAt + lengthBytes)
    outAt += lengthBytes + ciphertext.length
    filled = 0
  }
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + plaintextBytesMax - filled)
      plaintext.set(part, filled)
      filled += part.length
      at += part.length
      if (filled === plaintextBytesMax) sealFilled()
    }
  }
  if (filled > 0) sealFilled()
  return out
}

/**
 * The channel between the two devices of a linking, end to end through a node that passes its
 * messages on and reads none of them.
 *
 * ```text
 *   Noise_XX_25519_ChaChaPoly_SHA256, fresh static keys on both sides, the new device initiates
 *   prologue   "openim link" ‖ u8 version = 1
 *   then       transport messages, one LinkMessage each
 *   proof      HMAC(proof key of the link code, "openim link proof" ‖ u8 side ‖ handshake hash)
 *              side: 1 the new device, 2 the old one; both prove before anything else counts
 *   binding    SHA-256("openim link binding v1" ‖ handshake hash), what people compare stands for it
 * ```
 *
 * The proof keeps everybody out who does not have the code; the comparison, everybody who has it
 * from somewhere (a photograph of the screen).
 */
import { concat, equalBytes, utf8 } from '../../crypto/bytes.ts'
import { crypto } from '../../crypto/index.ts'
import { NoiseHandshake } from '../../crypto/noise.ts'
import type { NoiseCipher } from '../../crypto/noise.ts'
import type { Random } from '../../crypto/random.ts'
import { decodeLinkMessage, encodeLinkMessage } from './link-messages.ts'
import type { LinkMessage } from './link-messages.ts'

export type LinkSide = 'new' | 'old'

const prologue = concat(utf8('openim link'), new Uint8Array([1]))
const proofLabel = utf8('openim link proof')
const bindingLabel = utf8('openim link binding v1')
const sideCodes = { new: 1, old: 2 } as const
const empty = new Uint8Array(0)

/** What came of bytes: more to send, a message, that the channel stands, or that it is broken. */
export type ChannelEvent =
  | { readonly type: 'send', readonly bytes: Uint8Array }
  | { readonly type: 'open' }
  | { readonly type: 'message', readonly message: LinkMessage }
  | { readonly type: 'broken', readonly code: string }

export class LinkChannel {
  readonly #side: LinkSide
  readonly #proofKey: Uint8Array
  readonly #handshake: NoiseHandshake
  #ciphers: { readonly send: NoiseCipher, readonly receive: NoiseCipher } | undefined
  #hash: Uint8Array = empty
  /** Whether the handshake waits for the other side; what comes at another time breaks it. */
  #isListening: boolean

  constructor(options: { side: LinkSide, proofKey: Uint8Array, random: Random }) {
    this.#side = options.side
    this.#proofKey = options.proofKey
    this.#isListening = options.side === 'old'
    this.#handshake = new NoiseHandshake({
      pattern: 'XX',
      role: options.side === 'new' ? 'initiator' : 'responder',
      prologue,
      own: crypto.dhKeyPair(options.random.bytes(32)),
      random: options.random,
    })
  }

  /** The new device's first message. */
  begin(): Uint8Array {
    this.#isListening = true
    return this.#handshake.write(empty)
  }

  get open(): boolean {
    return this.#ciphers !== undefined
  }

  seal(message: LinkMessage): Uint8Array {
    return this.#ciphers!.send.encrypt(encodeLinkMessage(message))
  }

  receive(bytes: Uint8Array): ChannelEvent[] {
    if (this.#ciphers === undefined) return this.#receiveHandshake(bytes)
    const plaintext = this.#ciphers.receive.decrypt(bytes)
    if (plaintext === undefined) return broken('LINK_CHANNEL')
    const message = decodeLinkMessage(plaintext)
    return message.ok ? [{ type: 'message', message: message.value }] : broken(message.code)
  }

  /** Ours, over this very channel. */
  get proof(): Uint8Array {
    return this.#proofOf(this.#side)
  }

  /** Whether the other side knows the token of the link code. */
  isProven(proof: Uint8Array): boolean {
    return equalBytes(proof, this.#proofOf(this.#side === 'new' ? 'old' : 'new'))
  }

  /** 32 bytes, for crypto/short-auth.ts. */
  get binding(): Uint8Array {
    return crypto.sha256(concat(bindingLabel, this.#hash))
  }

  #proofOf(side: LinkSide): Uint8Array {
    const message = concat(proofLabel, new Uint8Array([sideCodes[side]]), this.#hash)
    return crypto.hmacSha256(this.#proofKey, message)
  }

  #receiveHandshake(bytes: Uint8Array): ChannelEvent[] {
    // No payloads: each message has one length.
    const read = this.#isListening ? this.#handshake.read(bytes) : undefined
    if (read?.ok !== true || read.value.length > 0) {
      this.#isListening = false
      return broken('LINK_CHANNEL')
    }
    const events: ChannelEvent[] = []
    if (!this.#handshake.done) events.push({ type: 'send', bytes: this.#handshake.write(empty) })
    if (!this.#handshake.done) return events
    const { handshakeHash, ...ciphers } = this.#handshake.split()
    this.#hash = handshakeHash
    this.#ciphers = ciphers
    return [...events, { type: 'open' }]
  }
}

function broken(code: string): ChannelEvent[] {
  return [{ type: 'broken', code }]
}

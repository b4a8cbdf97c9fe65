/**
 * The Noise protocol framework (revision 34) for `25519_ChaChaPoly_SHA256`: the three objects of
 * §5, named as there, over a table of patterns. openIM's channel between device and node uses IK
 * (protocol/session/noise-channel.ts and udp/); every two-party pattern without pre-shared keys can be a
 * line of the table, and the ones here are checked against public vectors.
 *
 * ```text
 *   handshake message   its tokens in order, then the payload
 *     e                 ephemeral key[32]
 *     s                 static key[32], with a tag[16] once there is a key
 *     payload           as given, with a tag[16] once there is a key
 *   transport message   ciphertext ‖ tag[16]; no lengths on the wire; counters only with UDP (§11.4)
 * ```
 *
 * No message is longer than 65,535 bytes. Stricter than §12.1: an all-zero DH result, from a key
 * of small order, fails the handshake.
 */
import { concat, utf8, wipe } from './bytes.ts'
import { assert, OpenIMError } from './errors.ts'
import type { Result } from './errors.ts'
import { crypto } from './index.ts'
import type { DhKeyPair } from './provider.ts'
import type { Random } from './random.ts'

export type NoiseRole = 'initiator' | 'responder'
export type NoisePattern = keyof typeof patterns

type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss'

interface Pattern {
  /** Static keys known beforehand (pre-messages, §7.1). */
  readonly known: readonly NoiseRole[]
  /** Alternating, the initiator's first (§7.5). */
  readonly messages: readonly (readonly Token[])[]
}

const patterns = {
  NK: { known: ['responder'], messages: [['e', 'es'], ['e', 'ee']] },
  XX: { known: [], messages: [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']] },
  IK: { known: ['responder'], messages: [['e', 'es', 's', 'ss'], ['e', 'ee', 'se']] },
} as const satisfies Record<string, Pattern>

const messageBytesMax = 65_535
const keyBytes = 32
const tagBytes = 16
const empty = new Uint8Array(0)

/**
 * One direction of a finished handshake (CipherState, §5.1): messages in order, none left out, or,
 * with `encryptAt` and `decryptAt`, in whatever order a transport brings them (§11.4).
 */
export class NoiseCipher {
  #key: Uint8Array
  #counter = 0

  /** @param key 32 bytes, owned by the cipher from now on */
  constructor(key: Uint8Array) {
    this.#key = key
  }

  /**
   * @param into where it goes, 16 bytes longer than the plaintext and apart from it
   * @throws BUG_ASSERTION for a message that would be longer than 65,535 bytes
   */
  encrypt(plaintext: Uint8Array, ad: Uint8Array = empty, into?: Uint8Array): Uint8Array {
    assertFits(plaintext)
    const nonce = this.#nonce()
    this.#counter++
    return crypto.seal({ key: this.#key, nonce, plaintext, ad, into })
  }

  /** `undefined`: altered, out of order or another key. The counter stays, as §5.1 asks. */
  decrypt(ciphertext: Uint8Array, ad: Uint8Array = empty): Uint8Array | undefined {
    if (ciphertext.length > messageBytesMax) return undefined
    const plaintext = crypto.open({ key: this.#key, nonce: this.#nonce(), ciphertext, ad })
    if (plaintext !== undefined) this.#counter++
    return plaintext
  }

  /** §11.4, for transports that reorder: the counter travels with the message. Never one twice. */
  encryptAt(counter: number, input: { plaintext: Uint8Array, ad: Uint8Array, into: Uint8Array }): Uint8Array {
    assertFits(input.plaintext)
    return crypto.seal({ key: this.#key, nonce: nonceOf(counter), ...input })
  }

  /** §11.4. The caller keeps a window against replays; `undefined` as for `decrypt`. */
  decryptAt(counter: number, ciphertext: Uint8Array, ad: Uint8Array): Uint8Array | undefined {
    return crypto.open({ key: this.#key, nonce: nonceOf(counter), ciphertext, ad })
  }

  /** §4.2 REKEY: the first 32 bytes of encrypting zeros under the largest nonce. */
  rekey(): void {
    const next = this.#nextKey()
    wipe(this.#key)
    this.#key = next
  }

  /** The cipher under the next key, while this one stays as it is: packets of both may be under way. */
  rekeyed(): NoiseCipher {
    return new NoiseCipher(this.#nextKey())
  }

  /** The key is gone; the cipher must not be used any more. */
  wipe(): void {
    wipe(this.#key)
  }

  #nextKey(): Uint8Array {
    const nonce = new Uint8Array(12).fill(0xff, 4)
    const sealedZeros = crypto.seal({ key: this.#key, nonce, plaintext: new Uint8Array(keyBytes) })
    return sealedZeros.slice(0, keyBytes)
  }

  #nonce(): Uint8Array {
    return nonceOf(this.#counter)
  }
}

function assertFits({ length }: Uint8Array): void {
  // The text is made only when it is needed: this stands in front of every call.
  if (length + tagBytes > messageBytesMax) assert(false, `${length} bytes in one Noise message`)
}

/** 32 zero bits, then the counter, little-endian (§12.3). 2⁵³ is never reached. */
function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12)
  // Byte by byte: a `DataView` costs more than the rest.
  let rest = counter
  for (let at = 4; rest > 0; at++) {
    nonce[at] = rest
    rest = Math.floor(rest / 2 ** 8)
  }
  return nonce
}

/** Chaining key and transcript hash (SymmetricState, §5.2). */
class SymmetricState {
  #chainingKey: Uint8Array
  #hash: Uint8Array
  #cipher: NoiseCipher | undefined

  constructor(protocolName: string) {
    const name = utf8(protocolName)
    const padding = new Uint8Array(Math.max(0, keyBytes - name.length))
    this.#hash = name.length > keyBytes ? crypto.sha256(name) : concat(name, padding)
    this.#chainingKey = this.#hash
  }

  get hasKey(): boolean {
    return this.#cipher !== undefined
  }

  get handshakeHash(): Uint8Array {
    return this.#hash.slice()
  }

  mixHash(data: Uint8Array): void {
    this.#hash = crypto.sha256(concat(this.#hash, data))
  }

  mixKey(secret: Uint8Array): void {
    const [chainingKey, key] = this.#derive(secret)
    this.#chainingKey = chainingKey
    this.#cipher = new NoiseCipher(key)
    wipe(secret)
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const out = this.#cipher?.encrypt(plaintext, this.#hash) ?? plaintext
    this.mixHash(out)
    return out
  }

  decryptAndHash(data: Uint8Array): Uint8Array | undefined {
    const plaintext = this.#cipher === undefined ? data : this.#cipher.decrypt(data, this.#hash)
    if (plaintext !== undefined) this.mixHash(data)
    return plaintext
  }

  /** The initiator's sending cipher first. */
  split(): [NoiseCipher, NoiseCipher] {
    const [first, second] = this.#derive(empty)
    wipe(this.#chainingKey)
    return [new NoiseCipher(first), new NoiseCipher(second)]
  }

  /** Noise's HKDF with two outputs (§4.3) is HKDF of RFC 5869 with an empty info. */
  #derive(secret: Uint8Array): [Uint8Array, Uint8Array] {
    const out = crypto.hkdf({ secret, salt: this.#chainingKey, info: empty, length: 2 * keyBytes })
    return [out.slice(0, keyBytes), out.slice(keyBytes)]
  }
}

export interface NoiseHandshakeOptions {
  readonly pattern: NoisePattern
  readonly role: NoiseRole
  /** Both ends must give the same, or the handshake fails (§6). */
  readonly prologue: Uint8Array
  /** Own static key, where the pattern has one. */
  readonly own?: DhKeyPair
  /** The other end's, where the pattern knows it beforehand. */
  readonly remoteStaticKey?: Uint8Array
  readonly random: Random
}

/** One handshake (HandshakeState, §5.3): `write` and `read` in turn until `done`, then `split`. */
export class NoiseHandshake {
  readonly #role: NoiseRole
  readonly #messages: readonly (readonly Token[])[]
  readonly #symmetric: SymmetricState
  readonly #random: Random
  readonly #own: DhKeyPair | undefined
  #ownEphemeral: DhKeyPair | undefined
  #remoteStaticKey: Uint8Array | undefined
  #remoteEphemeralKey: Uint8Array | undefined
  #next = 0
  #state: 'running' | 'failed' | 'split' = 'running'

  constructor(options: NoiseHandshakeOptions) {
    const pattern: Pattern = patterns[options.pattern]
    this.#role = options.role
    this.#messages = pattern.messages
    this.#random = options.random
    this.#own = options.own
    this.#remoteStaticKey = options.remoteStaticKey
    this.#symmetric = new SymmetricState(`Noise_${options.pattern}_25519_ChaChaPoly_SHA256`)
    this.#symmetric.mixHash(options.prologue)
    for (const role of pattern.known) {
      const key = role === this.#role ? this.#own?.publicKey : this.#remoteStaticKey
      assert(key?.length === keyBytes, `the pattern ${options.pattern} needs the static key of the ${role}`)
      this.#symmetric.mixHash(key)
    }
  }

  /** Every message of the pattern was written or read. */
  get done(): boolean {
    return this.#state !== 'failed' && this.#next === this.#messages.length
  }

  /** Proven only as far as the pattern's messages so far go (§7.7). */
  get remoteStaticKey(): Uint8Array | undefined {
    return this.#remoteStaticKey
  }

  /** @throws BUG_ASSERTION out of turn; NOISE_KEY when the remote static key given is of small order */
  write(payload: Uint8Array): Uint8Array {
    const parts = this.#turn('write').map((token) => this.#writeToken(token))
    parts.push(this.#symmetric.encryptAndHash(payload))
    this.#next++
    const message = concat(...parts)
    assert(message.length <= messageBytesMax, `a Noise message of ${message.length} bytes`)
    return message
  }

  /** The payload. Refuses NOISE_MESSAGE, whatever the cause; the handshake is dead after that. */
  read(message: Uint8Array): Result<Uint8Array> {
    let rest: Uint8Array | undefined = message.length <= messageBytesMax ? message : undefined
    for (const token of this.#turn('read')) rest = rest && this.#readToken(token, rest)
    const payload = rest && this.#symmetric.decryptAndHash(rest)
    if (payload === undefined) {
      this.#state = 'failed'
      return { ok: false, code: 'NOISE_MESSAGE', detail: 'a Noise handshake message does not authenticate' }
    }
    this.#next++
    return { ok: true, value: payload }
  }

  /** Once, when `done`. `handshakeHash` names this handshake (channel binding, §11.2). */
  split(): { send: NoiseCipher, receive: NoiseCipher, handshakeHash: Uint8Array } {
    assert(this.done && this.#state === 'running', 'split before the end of the handshake, or twice')
    this.#state = 'split'
    this.#ownEphemeral = undefined
    const { handshakeHash } = this.#symmetric
    const [first, second] = this.#symmetric.split()
    return this.#role === 'initiator'
      ? { send: first, receive: second, handshakeHash }
      : { send: second, receive: first, handshakeHash }
  }

  #turn(action: 'write' | 'read'): readonly Token[] {
    const tokens = this.#messages[this.#next]
    const ours = (this.#next % 2 === 0) === (this.#role === 'initiator')
    assert(this.#state === 'running' && tokens !== undefined, `${action} after the end of the handshake`)
    assert(ours === (action === 'write'), `${action} out of turn`)
    return tokens
  }

  #writeToken(token: Token): Uint8Array {
    if (token === 'e') {
      this.#ownEphemeral = crypto.dhKeyPair(this.#random.bytes(keyBytes))
      this.#symmetric.mixHash(this.#ownEphemeral.publicKey)
      return this.#ownEphemeral.publicKey
    }
    if (token === 's') {
      assert(this.#own !== undefined, 'the pattern needs an own static key')
      return this.#symmetric.encryptAndHash(this.#own.publicKey)
    }
    if (!this.#mixDh(token)) {
      this.#state = 'failed'
      throw new OpenIMError('NOISE_KEY', 'the other end\'s static key is of small order: get its right key')
    }
    return empty
  }

  /** What is left of the message; `undefined` when it cannot be right. */
  #readToken(token: Token, message: Uint8Array): Uint8Array | undefined {
    if (token !== 'e' && token !== 's') return this.#mixDh(token) ? message : undefined
    const length = token === 's' && this.#symmetric.hasKey ? keyBytes + tagBytes : keyBytes
    if (message.length < length) return undefined
    const field = message.slice(0, length)
    if (token === 'e') {
      this.#remoteEphemeralKey = field
      this.#symmetric.mixHash(field)
    } else {
      this.#remoteStaticKey = this.#symmetric.decryptAndHash(field)
      if (this.#remoteStaticKey === undefined) return undefined
    }
    return message.subarray(length)
  }

  /** The first letter names the initiator's key, the second the responder's. */
  #mixDh(token: 'ee' | 'es' | 'se' | 'ss'): boolean {
    const [initiators, responders] = token
    const [ours, theirs] = this.#role === 'initiator' ? [initiators, responders] : [responders, initiators]
    const own = ours === 'e' ? this.#ownEphemeral : this.#own
    const remote = theirs === 'e' ? this.#remoteEphemeralKey : this.#remoteStaticKey
    assert(own !== undefined && remote !== undefined, `the key for ${token} is missing`)
    const secret = crypto.dh(own, remote)
    if (secret === undefined) return false
    this.#symmetric.mixKey(secret)
    return true
  }
}

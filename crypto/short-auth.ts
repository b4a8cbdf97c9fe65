/**
 * Short authentication strings: two devices that talk through somebody they do not trust show
 * their people the same 6 digits and 5 pictures, or different ones if anybody stands between.
 * For linking a device: an attacker gets one guess of a million, in plain sight of two people.
 *
 * ```text
 *   initiator                                                responder
 *     1  u8 version = 1 ‖ u8 step = 1 ‖ commitment[32]  ────────────►
 *     ◄────────────  2  u8 version = 1 ‖ u8 step = 2 ‖ responder nonce[32]
 *     3  u8 version = 1 ‖ u8 step = 3 ‖ initiator nonce[32]  ───────►
 *
 *   commitment = SHA-256("openim short auth commitment v1" ‖ initiator nonce)
 *   code       = SHA-256("openim short auth code v1" ‖ binding[32] ‖ commitment
 *                        ‖ responder nonce ‖ initiator nonce)
 *     digits     bytes 0 to 7 as a number, mod 1,000,000
 *     pictures   30 bits from byte 8 on, 6 for each
 * ```
 *
 * The *binding* is a hash of everything that must be the same on both sides: every message of the
 * exchange so far, both ends' public keys, who plays which part. It is fixed before the first byte
 * here is sent. Who sits in the middle needs two exchanges with two bindings; its nonce towards
 * the responder is committed before it sees the responder's, and its nonce towards the initiator
 * is sent before it sees the initiator's. So it learns both codes when it can change neither: they
 * are equal with probability 10⁻⁶ (2⁻²⁰).
 *
 * ```ts
 * const { auth, message } = ShortAuth.initiate({ binding, random })   // send message
 * const step = auth.receive(answer)      // send step.value.send, show step.value.code
 * auth.confirm(theyAreTheSame)           // from then on auth.state is 'confirmed' or 'failed'
 * ```
 *
 * No I/O, one run for each object: whatever comes out of order, is malformed or does not open the
 * commitment ends it for good, and `state` alone says whether two people confirmed. What the
 * caller still has to do: draw the binding from all that was exchanged; send nothing secret before
 * `confirmed` on *this* side; let a person start each run, one at a time, and count those that
 * failed, since every run (also one of several beside each other) is one more guess for an attacker.
 */
import { concat, equalBytes, wipe } from './bytes.ts'
import { assert } from './errors.ts'
import type { Result } from './errors.ts'
import { crypto } from './index.ts'
import { labels } from './labels.ts'
import type { Random } from './random.ts'

/** The same on both screens, unless somebody stands between. */
export interface ShortCode {
  /** Six, with leading zeros. */
  readonly digits: string
  /** Five; names are for screens that cannot draw, and for reading aloud. */
  readonly pictures: readonly Picture[]
}

export interface Picture {
  readonly symbol: string
  readonly name: string
}

/**
 * - `waiting`: for the other side's next message;
 * - `comparing`: the code is known; two people compare;
 * - `confirmed`: the person here said that they are the same;
 * - `failed`: for good, and nothing that was exchanged may be used.
 */
export type ShortAuthState = 'waiting' | 'comparing' | 'confirmed' | 'failed'

export interface ShortAuthStep {
  /** To the other side. */
  readonly send?: Uint8Array
  /** To the person. */
  readonly code?: ShortCode
}

export interface ShortAuthInput {
  /** 32 bytes: SHA-256 over everything both sides must agree on. */
  readonly binding: Uint8Array
  readonly random: Random
}

const version = 1
const steps = { commitment: 1, answer: 2, reveal: 3 } as const
const headBytes = 2
const valueBytes = 32

export class ShortAuth {
  readonly #binding: Uint8Array
  /** Ours; public once it was sent. */
  readonly #nonce: Uint8Array
  readonly #isInitiator: boolean
  #commitment: Uint8Array | undefined
  #state: ShortAuthState = 'waiting'

  private constructor(input: ShortAuthInput, isInitiator: boolean) {
    const { binding, random } = input
    assert(binding.length === valueBytes, `a binding has ${valueBytes} bytes, got ${binding.length}`)
    this.#binding = binding.slice()
    this.#nonce = random.bytes(valueBytes)
    this.#isInitiator = isInitiator
  }

  /** The side that speaks first; `message` goes to the other. */
  static initiate(input: ShortAuthInput): { auth: ShortAuth, message: Uint8Array } {
    const auth = new ShortAuth(input, true)
    auth.#commitment = commitmentTo(auth.#nonce)
    return { auth, message: encode(steps.commitment, auth.#commitment) }
  }

  /** The side that is spoken to: `receive` its first message. */
  static respond(input: ShortAuthInput): ShortAuth {
    return new ShortAuth(input, false)
  }

  get state(): ShortAuthState {
    return this.#state
  }

  /**
   * The other side's next message. Refuses, and fails for good, with SHORT_AUTH_MESSAGE (not the
   * message that belongs here) or SHORT_AUTH_COMMITMENT (the nonce is not the one that was
   * committed to: somebody tried to choose the code). SHORT_AUTH_OVER: the run ended before.
   */
  receive(message: Uint8Array): Result<ShortAuthStep> {
    if (this.#state === 'failed' || this.#state === 'confirmed') {
      return refuse('SHORT_AUTH_OVER', 'this comparison is over: begin a new one')
    }
    const step = this.#isInitiator ? steps.answer
      : this.#commitment === undefined ? steps.commitment : steps.reveal
    const value = this.#state === 'waiting' ? decode(step, message) : undefined
    if (value === undefined) {
      return this.#fail('SHORT_AUTH_MESSAGE', `${message.length} bytes are not the message that belongs here`)
    }
    if (step === steps.commitment) {
      this.#commitment = value
      return { ok: true, value: { send: encode(steps.answer, this.#nonce) } }
    }
    if (step === steps.answer) {
      const send = encode(steps.reveal, this.#nonce)
      return { ok: true, value: { send, code: this.#compare({ initiator: this.#nonce, responder: value }) } }
    }
    if (!equalBytes(commitmentTo(value), this.#commitment!)) {
      return this.#fail('SHORT_AUTH_COMMITMENT', 'the other side changed its mind about its nonce')
    }
    return { ok: true, value: { code: this.#compare({ initiator: value, responder: this.#nonce }) } }
  }

  /** What the person says. Before there is a code to compare it fails the run: SHORT_AUTH_MESSAGE. */
  confirm(isSame: boolean): Result<undefined> {
    if (this.#state !== 'comparing') {
      return this.#state === 'waiting'
        ? this.#fail('SHORT_AUTH_MESSAGE', 'there is no code to compare yet')
        : refuse('SHORT_AUTH_OVER', 'this comparison is over: begin a new one')
    }
    this.#state = isSame ? 'confirmed' : 'failed'
    wipe(this.#nonce)
    return { ok: true, value: undefined }
  }

  /** The exchange was given up (time-out, lost connection). */
  abort(): void {
    if (this.#state !== 'confirmed') this.#state = 'failed'
    wipe(this.#nonce)
  }

  #compare(nonces: { initiator: Uint8Array, responder: Uint8Array }): ShortCode {
    this.#state = 'comparing'
    const { initiator, responder } = nonces
    return codeOf(
      crypto.sha256(concat(labels.shortAuthCode, this.#binding, this.#commitment!, responder, initiator)),
    )
  }

  #fail(code: string, detail: string): Result<never> {
    this.abort()
    return refuse(code, detail)
  }
}

function commitmentTo(nonce: Uint8Array): Uint8Array {
  return crypto.sha256(concat(labels.shortAuthCommitment, nonce))
}

function codeOf(hash: Uint8Array): ShortCode {
  const view = new DataView(hash.buffer, hash.byteOffset)
  const digits = (view.getBigUint64(0) % 1_000_000n).toString().padStart(6, '0')
  const bits = view.getUint32(8)
  const names = Array.from({ length: 5 }, (_, i) => pictures[(bits >>> (26 - 6 * i)) & 63]!)
  return { digits, pictures: names.map(([symbol, name]) => ({ symbol, name })) }
}

function encode(step: number, value: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(version, step), value)
}

function decode(step: number, message: Uint8Array): Uint8Array | undefined {
  const fits = message.length === headBytes + valueBytes && message[0] === version && message[1] === step
  return fits ? message.slice(headBytes) : undefined
}

function refuse(code: string, detail: string): Result<never> {
  return { ok: false, code, detail }
}

/**
 * 64 things that look different when small, are called by one short word, and are in every font
 * since Unicode 9 without variation selectors. Part of the protocol: their order never changes.
 */
export const pictures: readonly (readonly [symbol: string, name: string])[] = [
  ['🐝', 'bee'], ['🐻', 'bear'], ['🐪', 'camel'], ['🐈', 'cat'],
  ['🐄', 'cow'], ['🐊', 'crocodile'], ['🐬', 'dolphin'], ['🦆', 'duck'],
  ['🐘', 'elephant'], ['🦊', 'fox'], ['🐸', 'frog'], ['🐐', 'goat'],
  ['🦍', 'gorilla'], ['🐙', 'octopus'], ['🦉', 'owl'], ['🐼', 'panda'],
  ['🐧', 'penguin'], ['🐇', 'rabbit'], ['🦂', 'scorpion'], ['🦈', 'shark'],
  ['🐌', 'snail'], ['🐢', 'turtle'], ['🐳', 'whale'], ['🐺', 'wolf'],
  ['🍎', 'apple'], ['🍌', 'banana'], ['🍞', 'bread'], ['🥕', 'carrot'],
  ['🧀', 'cheese'], ['🍒', 'cherry'], ['🌽', 'corn'], ['🍇', 'grapes'],
  ['🍋', 'lemon'], ['🍄', 'mushroom'], ['🍕', 'pizza'], ['🍓', 'strawberry'],
  ['🌵', 'cactus'], ['🌹', 'rose'], ['🌻', 'sunflower'], ['🌴', 'palm tree'],
  ['🚲', 'bicycle'], ['🚌', 'bus'], ['🚁', 'helicopter'], ['🚀', 'rocket'],
  ['🚜', 'tractor'], ['🚂', 'train'], ['⛵', 'sailboat'], ['🛶', 'canoe'],
  ['🔔', 'bell'], ['📖', 'book'], ['📷', 'camera'], ['⏰', 'alarm clock'],
  ['🥁', 'drum'], ['🎸', 'guitar'], ['🔨', 'hammer'], ['🔑', 'key'],
  ['💡', 'light bulb'], ['🔒', 'padlock'], ['🎺', 'trumpet'], ['⌛', 'hourglass'],
  ['👑', 'crown'], ['🎩', 'top hat'], ['🌂', 'umbrella'], ['🌍', 'globe'],
]

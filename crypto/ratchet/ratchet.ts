/**
 * The Double Ratchet with header encryption (Signal's specification, §4): one session between two
 * devices, from the keys of a handshake (../handshake/pqxdh.ts).
 *
 * Each message moves a hash chain on, so its key is gone once used (forward secrecy); each change
 * of direction mixes in a fresh DH, so a stolen state heals (post-compromise security).
 *
 * ```text
 *   sending     rootKey ─ fresh own key × remote key ─▶ chain ─▶ message keys
 *   receiving   rootKey ─ own key × new remote key ───▶ chain ─▶ message keys
 * ```
 *
 * Now and then an ML-KEM-768 secret is mixed in beside the DH output (kem-step.ts).
 *
 * Deviations from the specification, each for a reason:
 * - The sending half of a step waits for the next `encrypt`: the new key is fresher, `decrypt`
 *   needs no randomness, and an own private key is gone as soon as it was used.
 * - So a second step of the other device before we answered is refused; no honest one makes it.
 *   Steps strictly alternate, and both ends count them alike.
 * - The nonce of a message is random, though its key is used once: a restored state may repeat a
 *   key (header.ts).
 * - Chains that ended keep their header key until pushed out, so that a replay is told from
 *   garbage (SESSION_DUPLICATE from SESSION_UNDECRYPTABLE).
 *
 * Nothing here reads a clock or the network, and a refused message leaves no trace. A message that
 * makes us walk far along a chain must have opened first, as far as that can be: what ends the
 * chain before (previousCount) is looked at last. One that says less than we have already read
 * is taken: a device that was restored from a backup counts so.
 */
import { wipe } from '../bytes.ts'
import { assert } from '../errors.ts'
import type { Result } from '../errors.ts'
import type { FieldReader, FieldWriter } from '../fields.ts'
import { crypto } from '../index.ts'
import type { DhKeyPair } from '../provider.ts'
import type { Random } from '../random.ts'
import { drawNonceAndSalt, openBody, openHeader, sealMessage, splitMessage } from './header.ts'
import type { Header, MessageParts } from './header.ts'
import {
  chainModes, isKemPublicKey, kemSeedBytes, kemStepHash, modeOfStep, stepsSinceKem,
} from './kem-step.ts'
import type { ChainMode } from './kem-step.ts'
import { nextChainKey, nextMessageKey, stepRoot } from './key-schedule.ts'
import type { KemInput, RootStep } from './key-schedule.ts'
import { ratchetLimits } from './limits.ts'
import {
  cloneState, encodeSettled, freshOwnKey, ownKemPart, readState, wipeKem, wipeOwnKey, wipeState, writeState,
} from './ratchet-state.ts'
import type { KemState, RatchetState, SendingChain } from './ratchet-state.ts'
import { ReceivingChain } from './receiving-chain.ts'
import type { ReadPlan } from './receiving-chain.ts'

/** What a handshake gives both ends; 32 bytes each, owned by the ratchet from then on. */
export interface SessionKeys {
  readonly rootKey: Uint8Array
  /** Of the initiator's first chain. */
  readonly headerKey: Uint8Array
  /** Of the responder's first chain. */
  readonly nextHeaderKey: Uint8Array
  /** Transcript hash; not secret. */
  readonly binding: Uint8Array
}

interface OpenedHeader {
  readonly header: Header
  readonly parts: MessageParts
}

/** A message being tried. */
interface Attempt extends OpenedHeader {
  readonly ad: Uint8Array
}

const numberMax = 2 ** 32 - 1
const nothing = new Uint8Array(0)

export class Ratchet {
  readonly #state: RatchetState
  /** The part of the stored form that only a step changes (ratchet-state.ts). */
  #settled: Uint8Array | undefined

  private constructor(state: RatchetState) {
    this.#state = state
  }

  /** The end that can send at once. `undefined` when the remote prekey is of small order. */
  static initiator(input: {
    keys: SessionKeys
    remotePrekey: Uint8Array
    random: Random
  }): Ratchet | undefined {
    const { keys: { binding, rootKey, headerKey, nextHeaderKey }, remotePrekey, random } = input
    const own = freshOwnKey(random)
    const dhOutput = crypto.dh(own.keys, remotePrekey)
    if (dhOutput === undefined) return undefined
    const step = stepRoot(rootKey, { dhOutput, mode: modeOfStep(0, binding) })
    wipe(rootKey)
    return new Ratchet({
      binding,
      rootKey: step.rootKey,
      steps: 1,
      own,
      remoteKey: remotePrekey.slice(),
      kem: undefined,
      sending: { headerKey, chainKey: step.chainKey, next: 0 },
      nextSendingHeaderKey: step.nextHeaderKey,
      previousCount: 0,
      receiving: undefined,
      nextReceivingHeaderKey: nextHeaderKey,
      past: [],
    })
  }

  /** The end that must read a message before it can send. @param input.own the signed prekey that was used */
  static responder({ keys, own }: { keys: SessionKeys, own: DhKeyPair }): Ratchet {
    return new Ratchet({
      binding: keys.binding,
      rootKey: keys.rootKey,
      steps: 0,
      own: { keys: own, secret: own.exportSecret() },
      remoteKey: undefined,
      kem: undefined,
      sending: undefined,
      nextSendingHeaderKey: keys.nextHeaderKey,
      previousCount: 0,
      receiving: undefined,
      nextReceivingHeaderKey: keys.headerKey,
      past: [],
    })
  }

  /** Root steps made by either side; the handshake's own chain is the first. */
  get steps(): number {
    return this.#state.steps
  }

  /** How many root steps are newer than the last secret of an ML-KEM that went into the root key. */
  get pqAgeSteps(): number {
    return stepsSinceKem(this.#state.steps, this.#state.binding)
  }

  /**
   * 101 bytes longer than the plaintext; 1,285 or 1,189 in a KEM step (kem-step.ts). The new state
   * must be durable before the result leaves.
   *
   * @param input.prefix stands before the message, as it is
   */
  encrypt(input: {
    plaintext: Uint8Array
    ad: Uint8Array
    random: Random
    prefix?: Uint8Array
  }): Uint8Array {
    const { plaintext, ad, random, prefix = nothing } = input
    const state = this.#state
    const sending = state.sending ?? this.#stepSending(random)
    assert(state.own !== undefined && sending.next < numberMax, 'a sending chain without key or at its end')
    const { binding, own, kem } = state
    const { nonce, salt } = drawNonceAndSalt(random)
    const header: Header = {
      mode: modeOfStep(state.steps - 1, binding),
      ratchetKey: own.keys.publicKey,
      previousCount: state.previousCount,
      number: sending.next,
      salt,
      kem: ownKemPart(kem),
    }
    const { headerKey } = sending
    const messageKey = nextMessageKey(sending.chainKey)
    const chainKey = nextChainKey(sending.chainKey)
    const message = sealMessage({ headerKey, messageKey, binding }, { header, nonce, plaintext, ad, prefix })
    wipe(messageKey, sending.chainKey)
    sending.chainKey = chainKey
    sending.next++
    return message
  }

  /**
   * Refuses, with nothing changed:
   * - SESSION_FORMAT: too short, or of another mode than its chain must have;
   * - SESSION_DUPLICATE: read before, or so late that its key is kept no longer;
   * - SESSION_TOO_FAR: more than chainJumpMax messages are missing before it;
   * - SESSION_UNDECRYPTABLE: not of this session, altered, or with another AD.
   */
  decrypt({ message, ad }: { message: Uint8Array, ad: Uint8Array }): Result<Uint8Array> {
    const found = this.#find(message)
    if (found === undefined) {
      return splitMessage(message) === undefined
        ? refuse('SESSION_FORMAT', `${message.length} bytes are no message`)
        : refuse('SESSION_UNDECRYPTABLE', 'no key of this session opens the header')
    }
    const { header, parts, chain } = found
    const mode = chain === undefined ? this.#nextMode : chain.mode
    if (header.mode !== mode) return refuse('SESSION_FORMAT', `a message of mode ${header.mode}, not ${mode}`)
    const attempt = { header, parts, ad }
    return chain === undefined ? this.#readStep(attempt) : this.#read(chain, attempt)
  }

  /** An independent copy: what happens to one is unknown to the other. */
  clone(): Ratchet {
    return new Ratchet(cloneState(this.#state))
  }

  /** Overwrites every key; the session must not be used afterwards. */
  wipe(): void {
    this.#unsettle()
    wipeState(this.#state)
  }

  toJSON(): string {
    return '[Ratchet]'
  }

  /** All secrets in the clear; the caller seals them. The layout is in ratchet-state.ts. */
  write(writer: FieldWriter): void {
    this.#settled ??= encodeSettled(this.#state)
    writeState(writer, this.#settled, this.#state)
  }

  /** `undefined` for anything that `write` did not write; `complete` of the reader says the rest. */
  static read(reader: FieldReader): Ratchet | undefined {
    const state = readState(reader)
    return state && new Ratchet(state)
  }

  get #nextMode(): ChainMode {
    return modeOfStep(this.#state.steps, this.#state.binding)
  }

  /** The chain of a message, or a header without one: the first message of the next chain. */
  #find(message: Uint8Array): OpenedHeader & { chain?: ReceivingChain } | undefined {
    const { binding, receiving, nextReceivingHeaderKey, past } = this.#state
    const tryKey = (headerKey: Uint8Array, mode: ChainMode): OpenedHeader | undefined => {
      const parts = splitMessage(message, mode)
      const header = parts && openHeader(parts, { headerKey, binding })
      return header && { header, parts }
    }
    const current = receiving && tryKey(receiving.headerKey, receiving.mode)
    if (current !== undefined) return { ...current, chain: receiving! }
    const next = tryKey(nextReceivingHeaderKey, this.#nextMode)
    if (next !== undefined) return next
    for (let i = past.length - 1; i >= 0; i--) {
      const chain = past[i]!
      const late = tryKey(chain.headerKey, chain.mode)
      if (late !== undefined) return { ...late, chain }
    }
    return undefined
  }

  #read(chain: ReceivingChain, attempt: Attempt): Result<Uint8Array> {
    const plan = this.#plan(chain, attempt)
    if (!plan.ok) return plan
    const opened = this.#open(plan.value, attempt)
    if (!opened.ok) {
      chain.discard(plan.value)
      return opened
    }
    chain.commit(plan.value)
    if (chain !== this.#state.receiving) this.#unsettle()
    if (plan.value.advance?.skipped.length) this.#trimSkipped()
    return opened
  }

  /** A message of the other device's next chain: the receiving half of a ratchet step. */
  #readStep(attempt: Attempt): Result<Uint8Array> {
    const { own, receiving, rootKey, nextReceivingHeaderKey } = this.#state
    const { header } = attempt
    if (own === undefined) return refuse('SESSION_UNDECRYPTABLE', 'a second ratchet step before our answer')
    const mode = this.#nextMode
    if (mode === chainModes.offer && !isKemPublicKey(header.kem)) {
      return refuse('SESSION_UNDECRYPTABLE', 'an offer that is no ML-KEM-768 key')
    }
    const dhOutput = crypto.dh(own.keys, header.ratchetKey)
    if (dhOutput === undefined) return refuse('SESSION_UNDECRYPTABLE', 'a ratchet key of small order')
    const step = stepRoot(rootKey, { dhOutput, mode, kem: this.#answerTo(header, mode) })
    const chain = new ReceivingChain({
      headerKey: nextReceivingHeaderKey.slice(), mode, chainKey: step.chainKey,
    })
    const plan = this.#plan(chain, attempt)
    const opened = plan.ok ? this.#open(plan.value, attempt) : plan
    // Last, because the way to the end may be long: only for a message that opened.
    const end = opened.ok ? receiving?.planEnd(header.previousCount) : undefined
    if (!plan.ok || !opened.ok || end === 'tooFar') {
      if (plan.ok) chain.discard(plan.value)
      chain.wipe()
      wipe(step.rootKey, step.nextHeaderKey)
      return opened.ok ? tooFar(header.previousCount) : opened
    }
    if (end !== undefined) receiving!.end(end)
    chain.commit(plan.value)
    this.#enterChain(chain, step, header)
    return opened
  }

  /** What an answer to our offer adds to the root step. Changes nothing. */
  #answerTo(header: Header, mode: ChainMode): KemInput | undefined {
    if (mode !== chainModes.answer) return undefined
    const { kem } = this.#state
    assert(kem?.kind === 'offered', 'the step before an answer was our offer')
    const { keys } = kem
    return {
      secret: crypto.kemDecapsulate(keys, header.kem),
      hash: kemStepHash({ publicKey: keys.publicKey, ciphertext: header.kem }),
    }
  }

  #plan(chain: ReceivingChain, { header }: Attempt): Result<ReadPlan> {
    const plan = chain.plan(header.number)
    if (plan === 'used') return refuse('SESSION_DUPLICATE', 'the message was read before, or is too late')
    if (plan === 'tooFar') return tooFar(header.number)
    if (plan === 'beyond') return refuse('SESSION_UNDECRYPTABLE', 'a message beyond the end of its chain')
    return { ok: true, value: plan }
  }

  #open(plan: ReadPlan, { header, parts, ad }: Attempt): Result<Uint8Array> {
    const { binding } = this.#state
    const plaintext = openBody(parts, { messageKey: plan.key, salt: header.salt, binding, ad })
    if (plaintext === undefined) return refuse('SESSION_UNDECRYPTABLE', 'altered, or of another context')
    return { ok: true, value: plaintext }
  }

  #enterChain(chain: ReceivingChain, step: RootStep, header: Header): void {
    const state = this.#state
    this.#unsettle()
    if (state.receiving !== undefined) state.past.push(state.receiving)
    this.#trimPast()
    wipe(state.rootKey, state.nextReceivingHeaderKey)
    state.receiving = chain
    state.rootKey = step.rootKey
    state.nextReceivingHeaderKey = step.nextHeaderKey
    state.steps++
    state.remoteKey = header.ratchetKey
    wipeOwnKey(state.own)
    state.own = undefined
    wipeKem(state.kem)
    state.kem = chain.mode === chainModes.offer ? { kind: 'offer', publicKey: header.kem } : undefined
    if (state.sending !== undefined) {
      state.previousCount = state.sending.next
      wipe(state.sending.headerKey, state.sending.chainKey)
      state.sending = undefined
    }
    this.#trimSkipped()
  }

  /** The sending half of a step, with a fresh key. */
  #stepSending(random: Random): SendingChain {
    const state = this.#state
    const { binding, remoteKey } = state
    assert(remoteKey !== undefined && state.own === undefined, 'a responder reads before it sends')
    assert(state.steps < numberMax, 'a ratchet at its end')
    const mode = modeOfStep(state.steps, binding)
    const own = freshOwnKey(random)
    const dhOutput = crypto.dh(own.keys, remoteKey)
    assert(dhOutput !== undefined, 'the remote ratchet key was checked when it came')
    const { kem, input } = this.#beginKem(mode, random)
    const step = stepRoot(state.rootKey, { dhOutput, mode, kem: input })
    this.#unsettle()
    wipe(state.rootKey)
    const sending = { headerKey: state.nextSendingHeaderKey, chainKey: step.chainKey, next: 0 }
    state.steps++
    state.own = own
    state.kem = kem
    state.rootKey = step.rootKey
    state.nextSendingHeaderKey = step.nextHeaderKey
    state.sending = sending
    return sending
  }

  /** Our part of a KEM step: what to remember of it, and what an answer adds to the root step. */
  #beginKem(mode: ChainMode, random: Random): { kem: KemState | undefined, input?: KemInput } {
    if (mode === chainModes.plain) return { kem: undefined }
    if (mode === chainModes.offer) {
      const seed = random.bytes(kemSeedBytes)
      return { kem: { kind: 'offered', keys: crypto.kemKeyPair(seed), seed } }
    }
    const offer = this.#state.kem
    assert(offer?.kind === 'offer', 'the step before our answer was an offer')
    const encapsulated = crypto.kemEncapsulate(offer.publicKey, random)
    assert(encapsulated !== undefined, 'the offer was checked when it came')
    const { ciphertext, sharedSecret } = encapsulated
    const hash = kemStepHash({ publicKey: offer.publicKey, ciphertext })
    return { kem: { kind: 'answered', ciphertext }, input: { secret: sharedSecret, hash } }
  }

  /** Beyond the recent ones only chains that still miss something, and a bounded number of those. */
  #trimPast(): void {
    const { past } = this.#state
    const older = past.splice(0, Math.max(0, past.length - ratchetLimits.recentChainsMax))
    const wanted = older.filter((chain) => chain.skippedCount > 0)
    const kept = wanted.slice(Math.max(0, wanted.length + past.length - ratchetLimits.pastChainsMax))
    for (const chain of older) if (!kept.includes(chain)) chain.wipe()
    past.unshift(...kept)
  }

  #trimSkipped(): void {
    const { past, receiving } = this.#state
    const chains = receiving === undefined ? past : [...past, receiving]
    let excess = chains.reduce((sum, chain) => sum + chain.skippedCount, 0) - ratchetLimits.skippedKeysMax
    for (const chain of chains) {
      if (excess <= 0) return
      if (chain !== receiving) this.#unsettle()
      const before = chain.skippedCount
      chain.dropOldest(excess)
      excess -= before - chain.skippedCount
    }
  }

  /** What is stored of past chains and of the last step is no longer so. */
  #unsettle(): void {
    if (this.#settled !== undefined) wipe(this.#settled)
    this.#settled = undefined
  }
}

function tooFar(number: number): Result<never> {
  return refuse('SESSION_TOO_FAR', `message ${number} is more than ${ratchetLimits.chainJumpMax} ahead`)
}

function refuse(code: string, detail: string): Result<never> {
  return { ok: false, code, detail }
}

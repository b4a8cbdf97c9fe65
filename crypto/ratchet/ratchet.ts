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
 * Deviations from the specification, each for a reason:
 * - The sending half of a step waits for the next `encrypt`: the new key is fresher, `decrypt`
 *   needs no randomness, and an own private key is gone as soon as it was used.
 * - So a second step of the other device before we answered is refused; no honest one makes it.
 * - The key of a message depends on 16 random bytes of its header (key-schedule.ts).
 * - Chains that ended keep their header key until pushed out, so that a replay is told from
 *   garbage (SESSION_DUPLICATE from SESSION_UNDECRYPTABLE).
 *
 * Nothing here reads a clock or the network, and a refused message leaves no trace.
 */
import { concat, wipe } from '../bytes.ts'
import { assert } from '../errors.ts'
import type { Result } from '../errors.ts'
import { FieldReader, u32Bytes, u8Bytes } from '../fields.ts'
import { crypto } from '../index.ts'
import type { DhKeyPair } from '../provider.ts'
import type { Random } from '../random.ts'
import { freshSalt, openBody, openHeader, ratchetMode, sealBody, sealHeader, splitMessage } from './header.ts'
import type { Header, MessageParts } from './header.ts'
import { messageKey, stepChain, stepRoot } from './key-schedule.ts'
import type { RootStep } from './key-schedule.ts'
import { ratchetLimits } from './limits.ts'
import { ReceivingChain, wipeAdvance } from './receiving-chain.ts'
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

interface SendingChain {
  readonly headerKey: Uint8Array
  chainKey: Uint8Array
  next: number
}

interface State {
  readonly binding: Uint8Array
  rootKey: Uint8Array
  /** Own ratchet key; `undefined` from a receiving step to the next `encrypt`. */
  own: DhKeyPair | undefined
  remoteKey: Uint8Array | undefined
  /** Present exactly when `own` is, except at a responder that has read nothing yet. */
  sending: SendingChain | undefined
  nextSendingHeaderKey: Uint8Array
  /** Length of the sending chain before the current one. */
  previousCount: number
  receiving: ReceivingChain | undefined
  nextReceivingHeaderKey: Uint8Array
  /** Ended chains, the oldest first. */
  past: ReceivingChain[]
}

/** A message being tried, with its header opened. */
interface Attempt {
  readonly header: Header
  readonly parts: MessageParts
  readonly ad: Uint8Array
}

const stateVersion = 1
const keyBytes = 32
const numberMax = 2 ** 32 - 1

export class Ratchet {
  readonly #state: State

  private constructor(state: State) {
    this.#state = state
  }

  /** The end that can send at once. `undefined` when the remote prekey is of small order. */
  static initiator(input: {
    keys: SessionKeys
    remotePrekey: Uint8Array
    random: Random
  }): Ratchet | undefined {
    const { keys, remotePrekey, random } = input
    const own = crypto.dhKeyPair(random.bytes(keyBytes))
    const dhOutput = crypto.dh(own, remotePrekey)
    if (dhOutput === undefined) return undefined
    const step = stepRoot(keys.rootKey, dhOutput)
    wipe(keys.rootKey)
    return new Ratchet({
      binding: keys.binding,
      rootKey: step.rootKey,
      own,
      remoteKey: remotePrekey.slice(),
      sending: { headerKey: keys.headerKey, chainKey: step.chainKey, next: 0 },
      nextSendingHeaderKey: step.nextHeaderKey,
      previousCount: 0,
      receiving: undefined,
      nextReceivingHeaderKey: keys.nextHeaderKey,
      past: [],
    })
  }

  /** The end that must read a message before it can send. @param input.own the signed prekey that was used */
  static responder({ keys, own }: { keys: SessionKeys, own: DhKeyPair }): Ratchet {
    return new Ratchet({
      binding: keys.binding,
      rootKey: keys.rootKey,
      own,
      remoteKey: undefined,
      sending: undefined,
      nextSendingHeaderKey: keys.nextHeaderKey,
      previousCount: 0,
      receiving: undefined,
      nextReceivingHeaderKey: keys.headerKey,
      past: [],
    })
  }

  /** 101 bytes longer than the plaintext. The new state must be durable before the result leaves. */
  encrypt({ plaintext, ad, random }: { plaintext: Uint8Array, ad: Uint8Array, random: Random }): Uint8Array {
    const state = this.#state
    const sending = state.sending ?? this.#stepSending(random)
    assert(state.own !== undefined && sending.next < numberMax, 'a sending chain without key or at its end')
    const { binding } = state
    const header: Header = {
      mode: ratchetMode,
      ratchetKey: state.own.publicKey,
      previousCount: state.previousCount,
      number: sending.next,
      salt: freshSalt(random),
    }
    const head = sealHeader(header, { headerKey: sending.headerKey, binding, random })
    const { seed, chainKey } = stepChain(sending.chainKey)
    const key = messageKey(seed, header.salt)
    const body = sealBody({ key, head, binding, ad }, plaintext)
    wipe(key, seed, sending.chainKey)
    sending.chainKey = chainKey
    sending.next++
    return concat(head, body)
  }

  /**
   * Refuses, with nothing changed:
   * - SESSION_FORMAT: too short, or of a mode that we do not know;
   * - SESSION_DUPLICATE: read before, or so late that its key is kept no longer;
   * - SESSION_TOO_FAR: more than chainJumpMax messages are missing before it;
   * - SESSION_UNDECRYPTABLE: not of this session, altered, or with another AD.
   */
  decrypt({ message, ad }: { message: Uint8Array, ad: Uint8Array }): Result<Uint8Array> {
    const parts = splitMessage(message)
    if (parts === undefined) return refuse('SESSION_FORMAT', `${message.length} bytes are no message`)
    const found = this.#find(parts)
    if (found === undefined) return refuse('SESSION_UNDECRYPTABLE', 'no key of this session opens the header')
    const { header, chain } = found
    if (header.mode !== ratchetMode) return refuse('SESSION_FORMAT', `a message of mode ${header.mode}`)
    const attempt = { header, parts, ad }
    return chain === undefined ? this.#readStep(attempt) : this.#read(chain, attempt)
  }

  /** An independent copy: what happens to one is unknown to the other. */
  clone(): Ratchet {
    const state = this.#state
    const { sending } = state
    return new Ratchet({
      ...state,
      rootKey: state.rootKey.slice(),
      sending: sending && {
        headerKey: sending.headerKey.slice(),
        chainKey: sending.chainKey.slice(),
        next: sending.next,
      },
      nextSendingHeaderKey: state.nextSendingHeaderKey.slice(),
      receiving: state.receiving?.clone(),
      nextReceivingHeaderKey: state.nextReceivingHeaderKey.slice(),
      past: state.past.map((chain) => chain.clone()),
    })
  }

  /** Overwrites every key; the session must not be used afterwards. */
  wipe(): void {
    const { rootKey, sending, nextSendingHeaderKey, receiving, nextReceivingHeaderKey, past } = this.#state
    wipe(rootKey, nextSendingHeaderKey, nextReceivingHeaderKey)
    if (sending !== undefined) wipe(sending.headerKey, sending.chainKey)
    receiving?.wipe()
    for (const chain of past) chain.wipe()
    this.#state.own = undefined
  }

  toJSON(): string {
    return '[Ratchet]'
  }

  /**
   * All secrets in the clear; the caller seals them.
   *
   * ```text
   *   u8     version = 1
   *   opaque binding[32], rootKey[32], nextSendingHeaderKey[32], nextReceivingHeaderKey[32]
   *   bool, opaque own[32]            X25519 secret
   *   bool, opaque remoteKey[32]
   *   bool, opaque headerKey[32] chainKey[32] u32 next      sending chain
   *   u32    previousCount
   *   bool, receiving chain           receiving-chain.ts
   *   u32    count, past chains
   * ```
   */
  serialize(): Uint8Array {
    const { binding, rootKey, own, remoteKey, sending, receiving, past, ...state } = this.#state
    return concat(
      u8Bytes(stateVersion), binding, rootKey, state.nextSendingHeaderKey, state.nextReceivingHeaderKey,
      optionalBytes(own?.exportSecret()),
      optionalBytes(remoteKey),
      optionalBytes(sending && concat(sending.headerKey, sending.chainKey, u32Bytes(sending.next))),
      u32Bytes(state.previousCount),
      optionalBytes(receiving?.serialize()),
      u32Bytes(past.length), ...past.map((chain) => chain.serialize()),
    )
  }

  /** `undefined` for anything that `serialize` did not write. */
  static deserialize(bytes: Uint8Array): Ratchet | undefined {
    const reader = new FieldReader(bytes)
    if (reader.u8() !== stateVersion) return undefined
    const [binding, rootKey, nextSendingHeaderKey, nextReceivingHeaderKey] = [key(), key(), key(), key()]
    const own = reader.bool() ? crypto.dhKeyPair(key()) : undefined
    const remoteKey = reader.bool() ? key() : undefined
    const sending = reader.bool() ? { headerKey: key(), chainKey: key(), next: reader.u32() } : undefined
    const previousCount = reader.u32()
    const receiving = reader.bool() ? ReceivingChain.read(reader) : undefined
    const pastCount = reader.count(ratchetLimits.pastChainsMax)
    const past = Array.from({ length: pastCount }, () => ReceivingChain.read(reader))
    if (!reader.complete) return undefined
    return new Ratchet({
      binding, rootKey, own, remoteKey,
      sending, nextSendingHeaderKey, previousCount,
      receiving, nextReceivingHeaderKey, past,
    })

    function key(): Uint8Array {
      return reader.bytes(keyBytes)
    }
  }

  /** The chain of a message, or a header without one: the first message of the next chain. */
  #find(parts: MessageParts): { header: Header, chain?: ReceivingChain } | undefined {
    const { binding, receiving, nextReceivingHeaderKey, past } = this.#state
    const inChain = (chain: ReceivingChain): { header: Header, chain: ReceivingChain } | undefined => {
      const header = openHeader(parts, { headerKey: chain.headerKey, binding })
      return header && { header, chain }
    }
    const current = receiving && inChain(receiving)
    if (current !== undefined) return current
    const header = openHeader(parts, { headerKey: nextReceivingHeaderKey, binding })
    if (header !== undefined) return { header }
    for (let i = past.length - 1; i >= 0; i--) {
      const late = inChain(past[i]!)
      if (late !== undefined) return late
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
    this.#trimSkipped()
    return opened
  }

  /** A message of the other device's next chain: the receiving half of a ratchet step. */
  #readStep(attempt: Attempt): Result<Uint8Array> {
    const { own, receiving, rootKey, nextReceivingHeaderKey } = this.#state
    if (own === undefined) return refuse('SESSION_UNDECRYPTABLE', 'a second ratchet step before our answer')
    const end = receiving?.planEnd(attempt.header.previousCount)
    if (end === 'tooFar') return tooFar(attempt.header.previousCount)
    const dhOutput = crypto.dh(own, attempt.header.ratchetKey)
    if (dhOutput === undefined) {
      if (end !== undefined) wipeAdvance(end)
      return refuse('SESSION_UNDECRYPTABLE', 'a ratchet key of small order')
    }
    const step = stepRoot(rootKey, dhOutput)
    const chain = new ReceivingChain({ headerKey: nextReceivingHeaderKey.slice(), chainKey: step.chainKey })
    const plan = this.#plan(chain, attempt)
    const opened = plan.ok ? this.#open(plan.value, attempt) : plan
    if (!plan.ok || !opened.ok) {
      if (plan.ok) chain.discard(plan.value)
      if (end !== undefined) wipeAdvance(end)
      chain.wipe()
      wipe(step.rootKey, step.nextHeaderKey)
      return opened
    }
    if (end !== undefined) receiving!.end(end)
    chain.commit(plan.value)
    this.#enterChain(chain, step, attempt.header.ratchetKey)
    return opened
  }

  #plan(chain: ReceivingChain, { header }: Attempt): Result<ReadPlan> {
    const plan = chain.plan(header.number)
    if (plan === 'used') return refuse('SESSION_DUPLICATE', 'the message was read before, or is too late')
    if (plan === 'tooFar') return tooFar(header.number)
    if (plan === 'beyond') return refuse('SESSION_UNDECRYPTABLE', 'a message beyond the end of its chain')
    return { ok: true, value: plan }
  }

  #open(plan: ReadPlan, { header, parts, ad }: Attempt): Result<Uint8Array> {
    const key = messageKey(plan.seed, header.salt)
    const { binding } = this.#state
    const plaintext = openBody({ key, head: parts.head, binding, ad }, parts.sealedBody)
    wipe(key)
    if (plaintext === undefined) return refuse('SESSION_UNDECRYPTABLE', 'altered, or of another context')
    return { ok: true, value: plaintext }
  }

  #enterChain(chain: ReceivingChain, step: RootStep, remoteKey: Uint8Array): void {
    const state = this.#state
    if (state.receiving !== undefined) state.past.push(state.receiving)
    this.#trimPast()
    wipe(state.rootKey, state.nextReceivingHeaderKey)
    state.receiving = chain
    state.rootKey = step.rootKey
    state.nextReceivingHeaderKey = step.nextHeaderKey
    state.remoteKey = remoteKey
    state.own = undefined
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
    assert(state.remoteKey !== undefined && state.own === undefined, 'a responder reads before it sends')
    const own = crypto.dhKeyPair(random.bytes(keyBytes))
    const dhOutput = crypto.dh(own, state.remoteKey)
    assert(dhOutput !== undefined, 'the remote ratchet key was checked when it came')
    const step = stepRoot(state.rootKey, dhOutput)
    wipe(state.rootKey)
    const sending = { headerKey: state.nextSendingHeaderKey, chainKey: step.chainKey, next: 0 }
    state.own = own
    state.rootKey = step.rootKey
    state.nextSendingHeaderKey = step.nextHeaderKey
    state.sending = sending
    return sending
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
      const before = chain.skippedCount
      chain.dropOldest(excess)
      excess -= before - chain.skippedCount
    }
  }
}

function optionalBytes(bytes: Uint8Array | undefined): Uint8Array {
  return bytes === undefined ? u8Bytes(0) : concat(u8Bytes(1), bytes)
}

function tooFar(number: number): Result<never> {
  return refuse('SESSION_TOO_FAR', `message ${number} is more than ${ratchetLimits.chainJumpMax} ahead`)
}

function refuse(code: string, detail: string): Result<never> {
  return { ok: false, code, detail }
}

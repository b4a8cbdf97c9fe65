/**
 * What a ratchet (ratchet.ts) consists of, and its stored form.
 *
 * ```text
 *   u8     version = 1
 *   opaque binding[32], rootKey[32], nextSendingHeaderKey[32], nextReceivingHeaderKey[32]
 *   u32    steps
 *   bool, opaque own[32]            X25519 secret
 *   bool, opaque remoteKey[32]
 *   u8     kem                      0 nothing
 *                                   1 seed[64]           we offered, and wait for the answer
 *                                   2 publicKey[1184]    the other side offered, we answer next
 *                                   3 ciphertext[1088]   we answered, our headers carry it
 *   u32    previousCount
 *   u32    count, past chains       receiving-chain.ts
 *   bool, opaque headerKey[32] chainKey[32] u32 next      sending chain
 *   bool, receiving chain
 * ```
 *
 * All secrets in the clear; the caller seals them. The state is stored with every message, and a
 * message changes only the last two lines: what stands before is kept until a ratchet step.
 */
import { wipe } from '../bytes.ts'
import { FieldWriter } from '../fields.ts'
import type { FieldReader } from '../fields.ts'
import { crypto } from '../index.ts'
import type { DhKeyPair, KemKeyPair } from '../provider.ts'
import type { Random } from '../random.ts'
import { chainModes, kemPartBytes, kemSeedBytes, modeOfStep } from './kem-step.ts'
import type { ChainMode } from './kem-step.ts'
import { ratchetLimits } from './limits.ts'
import { ReceivingChain } from './receiving-chain.ts'

const stateVersion = 1
const keyBytes = 32

/** The secret stands beside its key pair, because it is stored with every message. */
export interface OwnRatchetKey {
  readonly keys: DhKeyPair
  readonly secret: Uint8Array
}

export interface SendingChain {
  readonly headerKey: Uint8Array
  chainKey: Uint8Array
  next: number
}

/** What is under way of a KEM step. */
export type KemState =
  | { readonly kind: 'offered', readonly keys: KemKeyPair, readonly seed: Uint8Array }
  | { readonly kind: 'offer', readonly publicKey: Uint8Array }
  | { readonly kind: 'answered', readonly ciphertext: Uint8Array }

export interface RatchetState {
  readonly binding: Uint8Array
  rootKey: Uint8Array
  /** Root steps made, by either side; the next one has this number. */
  steps: number
  /** `undefined` from a receiving step to the next `encrypt`. */
  own: OwnRatchetKey | undefined
  remoteKey: Uint8Array | undefined
  kem: KemState | undefined
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

export function freshOwnKey(random: Random): OwnRatchetKey {
  const secret = random.bytes(keyBytes)
  return { keys: crypto.dhKeyPair(secret), secret }
}

/** What the headers of our current chain carry of a KEM step. */
export function ownKemPart(kem: KemState | undefined): Uint8Array {
  if (kem?.kind === 'offered') return kem.keys.publicKey
  return kem?.kind === 'answered' ? kem.ciphertext : nothing
}
const nothing = new Uint8Array(0)

export function wipeOwnKey(own: OwnRatchetKey | undefined): void {
  if (own !== undefined) wipe(own.secret)
}

export function wipeKem(kem: KemState | undefined): void {
  if (kem?.kind === 'offered') wipe(kem.seed)
}

/** An independent copy. */
export function cloneState(state: RatchetState): RatchetState {
  const { own, kem, sending, receiving, past } = state
  return {
    ...state,
    rootKey: state.rootKey.slice(),
    own: own && { keys: own.keys, secret: own.secret.slice() },
    kem: kem?.kind === 'offered' ? { ...kem, seed: kem.seed.slice() } : kem,
    sending: sending && {
      headerKey: sending.headerKey.slice(), chainKey: sending.chainKey.slice(), next: sending.next,
    },
    nextSendingHeaderKey: state.nextSendingHeaderKey.slice(),
    receiving: receiving?.clone(),
    nextReceivingHeaderKey: state.nextReceivingHeaderKey.slice(),
    past: past.map((chain) => chain.clone()),
  }
}

export function wipeState(state: RatchetState): void {
  const { rootKey, own, kem, sending, nextSendingHeaderKey, receiving, nextReceivingHeaderKey } = state
  wipe(rootKey, nextSendingHeaderKey, nextReceivingHeaderKey)
  if (sending !== undefined) wipe(sending.headerKey, sending.chainKey)
  wipeOwnKey(own)
  wipeKem(kem)
  receiving?.wipe()
  for (const chain of state.past) chain.wipe()
  state.own = undefined
  state.kem = undefined
}

/** All before the sending chain: changes with a ratchet step or a late message only. */
export function encodeSettled(state: RatchetState): Uint8Array {
  const { past } = state
  settledWriter.begin()
  settledWriter.u8(stateVersion)
  for (const key of [
    state.binding, state.rootKey, state.nextSendingHeaderKey, state.nextReceivingHeaderKey,
  ]) settledWriter.bytes(key)
  settledWriter.u32(state.steps)
  writeOptional(state.own?.secret)
  writeOptional(state.remoteKey)
  writeKem(state.kem)
  settledWriter.u32(state.previousCount)
  settledWriter.u32(past.length)
  for (const chain of past) chain.write(settledWriter)
  return settledWriter.take()
}
const settledWriter = new FieldWriter()

function writeOptional(bytes: Uint8Array | undefined): void {
  settledWriter.bool(bytes !== undefined)
  if (bytes !== undefined) settledWriter.bytes(bytes)
}

function writeKem(kem: KemState | undefined): void {
  settledWriter.u8(kem === undefined ? 0 : kemTags[kem.kind])
  if (kem?.kind === 'offered') settledWriter.bytes(kem.seed)
  else if (kem !== undefined) settledWriter.bytes(kem.kind === 'offer' ? kem.publicKey : kem.ciphertext)
}
const kemTags = { offered: 1, offer: 2, answered: 3 } as const

/** @param settled what `encodeSettled` gave */
export function writeState(writer: FieldWriter, settled: Uint8Array, state: RatchetState): void {
  const { sending, receiving } = state
  writer.bytes(settled)
  writer.bool(sending !== undefined)
  if (sending !== undefined) {
    writer.bytes(sending.headerKey)
    writer.bytes(sending.chainKey)
    writer.u32(sending.next)
  }
  writer.bool(receiving !== undefined)
  receiving?.write(writer)
}

/** `undefined` for anything that `writeState` did not write. */
export function readState(reader: FieldReader): RatchetState | undefined {
  if (reader.u8() !== stateVersion) return undefined
  const key = (): Uint8Array => reader.bytes(keyBytes)
  const [binding, rootKey, nextSendingHeaderKey, nextReceivingHeaderKey] = [key(), key(), key(), key()]
  const steps = reader.u32()
  const own = reader.bool() ? ownKey(key()) : undefined
  const remoteKey = reader.bool() ? key() : undefined
  const kem = readKem(reader)
  const previousCount = reader.u32()
  const pastCount = reader.count(ratchetLimits.pastChainsMax)
  const past = Array.from({ length: pastCount }, () => ReceivingChain.read(reader))
  const sending = reader.bool() ? { headerKey: key(), chainKey: key(), next: reader.u32() } : undefined
  const receiving = reader.bool() ? ReceivingChain.read(reader) : undefined
  const state = {
    binding, rootKey, steps, own, remoteKey, kem, previousCount, past,
    sending, nextSendingHeaderKey, receiving, nextReceivingHeaderKey,
  }
  return holds(state) ? state : undefined
}

function ownKey(secret: Uint8Array): OwnRatchetKey {
  return { keys: crypto.dhKeyPair(secret), secret }
}

function readKem(reader: FieldReader): KemState | undefined {
  const publicKeyBytes = kemPartBytes(chainModes.offer)
  const ciphertextBytes = kemPartBytes(chainModes.answer)
  switch (reader.u8Max(kemTags.answered)) {
    case kemTags.offered: {
      const seed = reader.bytes(kemSeedBytes)
      return { kind: 'offered', keys: crypto.kemKeyPair(seed), seed }
    }
    case kemTags.offer: return { kind: 'offer', publicKey: reader.bytes(publicKeyBytes) }
    case kemTags.answered: return { kind: 'answered', ciphertext: reader.bytes(ciphertextBytes) }
    default: return undefined
  }
}

/** Whether the optional parts are those that belong to the number of steps. */
function holds({ binding, steps, own, remoteKey, kem, sending }: RatchetState): boolean {
  if (steps === 0) return own !== undefined && remoteKey === undefined && !sending && kem === undefined
  if ((own === undefined) !== (sending === undefined) || remoteKey === undefined) return false
  return kem?.kind === kemDue(modeOfStep(steps - 1, binding), sending !== undefined)
}

/** @param sent whether the last step was ours */
function kemDue(mode: ChainMode, sent: boolean): KemState['kind'] | undefined {
  if (mode === chainModes.plain) return undefined
  if (mode === chainModes.offer) return sent ? 'offered' : 'offer'
  return sent ? 'answered' : undefined
}

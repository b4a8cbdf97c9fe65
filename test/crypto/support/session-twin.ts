/**
 * A twin of `SecureSession` without any cryptography: the same sessions, chains and kept keys with
 * numbers in the place of secrets. Two secrets are equal when their numbers are. It is plain and
 * slow on purpose, and says of every message beforehand what must become of it.
 *
 * ```text
 *   chain     what one root step made: the root and the two ratchet keys that went in, the root
 *             and the next header key that came out; whoever has what went in has what came out
 *   message   its chain, its number in it, the length of the chain before
 * ```
 *
 * State is plain data, so `structuredClone` is a backup of it and a rolled back device is nothing
 * but an older value. The limits are those of crypto/ratchet/limits.ts.
 */
import { ratchetLimits as limits } from '../../../crypto/ratchet/limits.ts'
import type { PrekeyIds } from '../../../crypto/handshake/types.ts'

/** Stands for a secret. */
type Secret = number

let lastSecret = 0
export const freshSecret = (): Secret => ++lastSecret

interface Chain {
  readonly id: Secret
  readonly headerKey: Secret
  /** Went in. */
  readonly root: Secret
  readonly from: Secret
  readonly to: Secret
  /** Came out. */
  readonly nextRoot: Secret
  readonly nextHeaderKey: Secret
}

interface Receiving {
  readonly chain: Secret
  readonly headerKey: Secret
  next: number
  isEnded: boolean
  /** Numbers passed over whose keys are kept, rising. */
  missing: number[]
}

interface TwinRatchet {
  root: Secret
  own: Secret | undefined
  remote: Secret | undefined
  sending: { chain: Chain, next: number } | undefined
  nextSendingHeaderKey: Secret
  previousCount: number
  receiving: Receiving | undefined
  nextReceivingHeaderKey: Secret
  /** The oldest first. */
  past: Receiving[]
}

export interface TwinHandshake {
  readonly base: Secret
  readonly root: Secret
  readonly headerKey: Secret
  readonly nextHeaderKey: Secret
  /** The responder's signed prekey. */
  readonly signedPrekey: Secret
  readonly prekeyIds: PrekeyIds
}

export interface TwinMessage {
  readonly handshake: TwinHandshake | undefined
  readonly chain: Chain
  readonly previousCount: number
  readonly number: number
}

interface Entry {
  readonly handshake: TwinHandshake
  readonly ratchet: TwinRatchet
  /** Nothing was read yet by the one who began it. */
  isPending: boolean
  /** Its owner began anew after it. */
  isOutdated: boolean
  isSuperseded: boolean
}

/** A handshake of the other side that was taken. */
interface Seen {
  readonly base: Secret
  readonly isLastResort: boolean
  readonly signedPrekeyId: number
}

export interface TwinSession {
  entries: Entry[]
  seen: Seen[]
  /** Those from last-resort prekeys alone are taken from this signed prekey id on. */
  lastResortFrom: number
}

/** `read`, or the code of the refusal. */
export type Outcome = string
const undecryptable = 'SESSION_UNDECRYPTABLE'
const duplicate = 'SESSION_DUPLICATE'
const tooFar = 'SESSION_TOO_FAR'

export const newTwin = (): TwinSession => ({ entries: [], seen: [], lastResortFrom: 0 })

/** What is kept, to hold against the size of the stored form. */
export function twinCounts({ entries, seen }: TwinSession): {
  sessions: number, pending: number, chains: number, missing: number, seen: number
} {
  const chains = entries.flatMap(({ ratchet }) => chainsOf(ratchet))
  return {
    sessions: entries.length,
    pending: entries.filter((entry) => entry.isPending).length,
    chains: chains.length,
    missing: chains.reduce((sum, chain) => sum + chain.missing.length, 0),
    seen: seen.length,
  }
}

// ── Sessions ────────────────────────────────────────────────────────────────────────────────

export function twinInitiate(
  session: TwinSession,
  bundle: { signedPrekey: Secret, prekeyIds: PrekeyIds },
): void {
  const handshake: TwinHandshake = {
    base: freshSecret(), root: freshSecret(), headerKey: freshSecret(), nextHeaderKey: freshSecret(),
    ...bundle,
  }
  const own = freshSecret()
  const { headerKey, root, signedPrekey } = handshake
  const chain = newChain({ headerKey, root, from: own, to: signedPrekey })
  const ratchet: TwinRatchet = {
    root: chain.nextRoot, own, remote: signedPrekey,
    sending: { chain, next: 0 }, nextSendingHeaderKey: chain.nextHeaderKey, previousCount: 0,
    receiving: undefined, nextReceivingHeaderKey: handshake.nextHeaderKey, past: [],
  }
  for (const entry of session.entries) entry.isOutdated = true
  promote(session, { handshake, ratchet, isPending: true, isOutdated: false, isSuperseded: false })
}

export function twinEncrypt(session: TwinSession): TwinMessage {
  const { handshake, ratchet, isPending } = session.entries[0]!
  return { handshake: isPending ? handshake : undefined, ...write(ratchet) }
}

/** An initial message, at a device that may not know its handshake. */
export function twinRespond(
  session: TwinSession,
  message: TwinMessage,
  hasPrekeys: (ids: PrekeyIds) => boolean,
): { outcome: Outcome, used: PrekeyIds | undefined } {
  const handshake = message.handshake!
  if (knows(session, handshake)) return { outcome: twinDecrypt(session, message), used: undefined }
  const isBarred = isLastResort(handshake) && handshake.prekeyIds.signedPrekeyId < session.lastResortFrom
  if (isBarred || !hasPrekeys(handshake.prekeyIds)) return { outcome: 'HANDSHAKE_PREKEY', used: undefined }
  const ratchet: TwinRatchet = {
    root: handshake.root, own: handshake.signedPrekey, remote: undefined,
    sending: undefined, nextSendingHeaderKey: handshake.nextHeaderKey, previousCount: 0,
    receiving: undefined, nextReceivingHeaderKey: handshake.headerKey, past: [],
  }
  const outcome = read(ratchet, message)
  if (outcome !== 'read') return { outcome, used: undefined }
  for (const entry of session.entries) entry.isSuperseded ||= !entry.isPending
  promote(session, { handshake, ratchet, isPending: false, isOutdated: false, isSuperseded: false })
  remember(session, handshake)
  return { outcome, used: handshake.prekeyIds }
}

export function twinDecrypt(session: TwinSession, message: TwinMessage): Outcome {
  const { handshake } = message
  if (handshake !== undefined && !knows(session, handshake)) return 'SESSION_HANDSHAKE'
  const candidates = session.entries.filter((entry) =>
    handshake === undefined || entry.handshake.base === handshake.base)
  if (candidates.length === 0) return handshake === undefined ? undecryptable : duplicate
  let outcome = undecryptable
  for (const entry of candidates) {
    outcome = read(entry.ratchet, message)
    if (outcome === undecryptable) continue
    if (outcome === 'read') {
      if (entry.isPending) {
        entry.isPending = false
        for (const one of session.entries) {
          one.isSuperseded ||= one.isOutdated && !one.isPending && one !== entry
        }
      }
      if (!entry.isSuperseded) promote(session, entry)
    }
    break
  }
  return outcome
}

function knows({ entries, seen }: TwinSession, { base }: TwinHandshake): boolean {
  return seen.some((one) => one.base === base) || entries.some((entry) => entry.handshake.base === base)
}

function isLastResort({ prekeyIds }: TwinHandshake): boolean {
  return !prekeyIds.kemOneTime && prekeyIds.oneTimePrekeyId === undefined
}

/** Names that could run again are forgotten last, and then nothing like them is taken any more. */
function remember(session: TwinSession, handshake: TwinHandshake): void {
  const { base, prekeyIds: { signedPrekeyId } } = handshake
  session.seen.push({ base, isLastResort: isLastResort(handshake), signedPrekeyId })
  if (session.seen.length <= limits.seenHandshakesMax) return
  const oldest = session.seen.find((one) => !one.isLastResort) ?? session.seen[0]!
  session.seen = session.seen.filter((one) => one !== oldest)
  if (!oldest.isLastResort) return
  session.lastResortFrom = Math.max(session.lastResortFrom, oldest.signedPrekeyId + 1)
}

function promote(session: TwinSession, entry: Entry): void {
  const others = session.entries.filter((one) => one !== entry)
  session.entries = [entry, ...others].slice(0, 1 + limits.archivedSessionsMax)
}

// ── One ratchet ─────────────────────────────────────────────────────────────────────────────

function newChain(input: Pick<Chain, 'headerKey' | 'root' | 'from' | 'to'>): Chain {
  return { ...input, id: freshSecret(), nextRoot: freshSecret(), nextHeaderKey: freshSecret() }
}

function write(ratchet: TwinRatchet): Omit<TwinMessage, 'handshake'> {
  if (ratchet.sending === undefined) {
    const own = freshSecret()
    const { root, remote, nextSendingHeaderKey } = ratchet
    const chain = newChain({ headerKey: nextSendingHeaderKey, root, from: own, to: remote! })
    ratchet.own = own
    ratchet.root = chain.nextRoot
    ratchet.nextSendingHeaderKey = chain.nextHeaderKey
    ratchet.sending = { chain, next: 0 }
  }
  const { previousCount, sending } = ratchet
  return { chain: sending.chain, previousCount, number: sending.next++ }
}

/** A refusal changes nothing. */
function read(ratchet: TwinRatchet, message: TwinMessage): Outcome {
  const { headerKey } = message.chain
  if (ratchet.receiving?.headerKey === headerKey) return readIn(ratchet, ratchet.receiving, message)
  if (ratchet.nextReceivingHeaderKey === headerKey) return readStep(ratchet, message)
  const late = ratchet.past.findLast((chain) => chain.headerKey === headerKey)
  return late === undefined ? undecryptable : readIn(ratchet, late, message)
}

function readIn(ratchet: TwinRatchet, chain: Receiving, message: TwinMessage): Outcome {
  const { number } = message
  const isOurs = chain.chain === message.chain.id
  if (number < chain.next) {
    if (!chain.missing.includes(number)) return duplicate
    if (!isOurs) return undecryptable
    chain.missing = chain.missing.filter((one) => one !== number)
    return 'read'
  }
  if (chain.isEnded) return undecryptable
  if (number - chain.next > limits.chainJumpMax) return tooFar
  if (!isOurs) return undecryptable
  pass(chain, number)
  chain.next = number + 1
  forgetKeys(ratchet)
  return 'read'
}

function readStep(ratchet: TwinRatchet, { chain, previousCount, number }: TwinMessage): Outcome {
  const { receiving } = ratchet
  if (ratchet.own === undefined) return undecryptable
  const end = Math.max(previousCount, receiving?.next ?? 0)
  if (receiving !== undefined && end - receiving.next > limits.chainJumpMax) return tooFar
  if (number > limits.chainJumpMax) return tooFar
  if (chain.root !== ratchet.root || chain.to !== ratchet.own) return undecryptable
  if (receiving !== undefined) {
    pass(receiving, end)
    receiving.isEnded = true
    ratchet.past.push(receiving)
  }
  const { headerKey, id } = chain
  const begun: Receiving = { chain: id, headerKey, next: 0, isEnded: false, missing: [] }
  pass(begun, number)
  begun.next = number + 1
  ratchet.receiving = begun
  ratchet.root = chain.nextRoot
  ratchet.nextReceivingHeaderKey = chain.nextHeaderKey
  ratchet.remote = chain.from
  ratchet.own = undefined
  if (ratchet.sending !== undefined) ratchet.previousCount = ratchet.sending.next
  ratchet.sending = undefined
  forgetChains(ratchet)
  forgetKeys(ratchet)
  return 'read'
}

/** Up to, not including, `number`. */
function pass(chain: Receiving, number: number): void {
  for (let at = chain.next; at < number; at++) chain.missing.push(at)
  chain.missing = chain.missing.slice(-limits.skippedKeysPerChainMax)
  chain.next = Math.max(chain.next, number)
}

/** Of ended chains the recent ones stay, and older ones that still miss something. */
function forgetChains(ratchet: TwinRatchet): void {
  const recent = ratchet.past.slice(-limits.recentChainsMax)
  const older = ratchet.past.slice(0, -limits.recentChainsMax).filter((chain) => chain.missing.length > 0)
  ratchet.past = [...older, ...recent].slice(-limits.pastChainsMax)
}

/** The oldest of the oldest chains go first. */
function forgetKeys(ratchet: TwinRatchet): void {
  const chains = chainsOf(ratchet)
  let excess = chains.reduce((sum, chain) => sum + chain.missing.length, 0) - limits.skippedKeysMax
  for (const chain of chains) {
    if (excess <= 0) return
    excess -= chain.missing.splice(0, excess).length
  }
}

function chainsOf({ past, receiving }: TwinRatchet): Receiving[] {
  return receiving === undefined ? past : [...past, receiving]
}

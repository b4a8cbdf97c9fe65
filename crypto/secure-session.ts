/**
 * All that two devices need to talk: `SecureSession`, the handshake and the ratchets of one pair.
 *
 * ```text
 *   message   u8 kind ‖ u8 version = 1 ‖ …
 *     kind 1, initial    header[1262] (handshake/initial-header.ts) ‖ ratchet message
 *     kind 2, ratchet    ratchet message (ratchet/header.ts)
 * ```
 *
 * Usually there is one ratchet. There are more after both sides started at once, or after one lost
 * its state and started anew: the last one that a message was read with is current and is used to
 * send; the others are archived and tried in order. So both sides come to agree without a word, as
 * libsignal's do. One thing is stricter: a handshake of the other side supersedes the sessions it
 * had already answered. A late message is still read with those, but does not bring them back,
 * since the other side may have lost them (and somebody else may have stolen them). Late mail is not
 * late for ever: `expire` wipes what was superseded longer ago than a message can be under way.
 *
 * A handshake is named by its base key. An initial message that comes again finds its session; one
 * whose session is gone is refused, so that a replay never makes a second one. The names of the last
 * 64 are kept. Only a handshake from last-resort prekeys alone could run again after its name was
 * forgotten (a one-time prekey is gone with its first use), so those are forgotten last; and when
 * one must be, no further handshake from that signed prekey or an older one is taken without a
 * one-time prekey. Ids of signed prekeys rise, so the next rotation ends it.
 *
 * For the caller:
 * - durable before send: store `serialize()` in one batch with the message before it leaves;
 * - atomic receive: store `serialize()`, the plaintext and the deletion of used one-time prekeys
 *   in one batch; if that fails, forget this object and deserialize again (or work on a `clone`);
 * - the AD is what both sides know about the message besides (accounts, message id …); kind, version
 *   and the whole header of an initial message are bound to the body before it;
 * - call `expire` with the time before `decrypt` and before `serialize`.
 */
import { concat, equalBytes, hex, wipe } from './bytes.ts'
import { OpenIMError } from './errors.ts'
import type { Result } from './errors.ts'
import { FieldReader, FieldWriter } from './fields.ts'
import { decodeInitialHeader, initialHeaderBytes } from './handshake/initial-header.ts'
import type { InitialHeader } from './handshake/initial-header.ts'
import { initiateHandshake, isFromLastResort, respondHandshake, sameIdentity } from './handshake/pqxdh.ts'
import type { OwnIdentity, PrekeyBundle, PrekeyIds, PrekeyLookup, RemoteIdentity } from './handshake/types.ts'
import type { Random } from './random.ts'
import { ratchetLimits } from './ratchet/limits.ts'
import { Ratchet } from './ratchet/ratchet.ts'

const stateVersion = 1
const messageVersion = 1
const kinds = { initial: 1, ratchet: 2 } as const
const kindBytes = 2
const keyBytes = 32
const idMax = 2 ** 32 - 1
const ratchetPrefix = Uint8Array.of(kinds.ratchet, messageVersion)
const initialPrefix = Uint8Array.of(kinds.initial, messageVersion)
/** The initiator's first chain, the answer, and the initiator's next. */
const healedAfterSteps = 3

/** One handshake and the ratchet from it. */
interface Entry {
  readonly baseKey: Uint8Array
  /** No one-time prekey went into it. */
  readonly isLastResort: boolean
  readonly ratchet: Ratchet
  /** The initiator's, until something was read: the other device may not have it yet. */
  pendingHeader: Uint8Array | undefined
  /** We started anew after this one: superseded once the other device answers there. */
  outdated: boolean
  /** The other device is in a newer one: good for late messages only. */
  superseded: boolean
  /** When it was first seen behind the current one, or as superseded; 0 until `expire` looks. */
  archivedAtMs: number
  /** Not current for so long that no message of ours can lead the other device back to it. */
  isStale: boolean
}

/** A handshake of the other side that was taken. */
interface SeenHandshake {
  readonly baseKey: Uint8Array
  readonly isLastResort: boolean
  readonly signedPrekeyId: number
}

interface SessionState {
  readonly entries: Entry[]
  readonly seen: SeenHandshake[]
  readonly lastResortFrom: number
}

/** What an initial message says in the clear. Nothing of it is verified yet. */
export interface InitialPeek extends PrekeyIds {
  readonly remote: RemoteIdentity
}

/** For loading prekeys before `SecureSession.respond`. `undefined`: not an initial message. */
export function peekInitial(message: Uint8Array): InitialPeek | undefined {
  const parts = splitKind(message)
  return parts?.header && { ...parts.header.prekeyIds, remote: parts.header.initiator }
}

export class SecureSession {
  readonly #remote: RemoteIdentity
  /** The current one first, then archived ones, the last used first. */
  readonly #entries: Entry[]
  /** Handshakes of the other side, the oldest first. */
  readonly #seen: SeenHandshake[]
  /** Handshakes from last-resort prekeys alone are taken from this signed prekey id on. */
  #lastResortFrom: number
  /** Stored form of all but the current entry, until that changes. */
  #archive: Uint8Array | undefined

  private constructor(remote: RemoteIdentity, state: SessionState) {
    this.#remote = { signingKey: remote.signingKey.slice(), dhKey: remote.dhKey.slice() }
    this.#entries = state.entries
    this.#seen = state.seen
    this.#lastResortFrom = state.lastResortFrom
  }

  /**
   * Starts a session; its first message can be encrypted at once. With `existing` the new one goes
   * before the old ones in that object (a reset), which is then returned; a refusal changes nothing.
   *
   * Refuses HANDSHAKE_SIGNATURE, HANDSHAKE_KEY or HANDSHAKE_IDENTITY (our own bundle, or another
   * device than `existing` is with).
   */
  static initiate(input: {
    own: OwnIdentity
    bundle: PrekeyBundle
    existing?: SecureSession
    random: Random
  }): Result<SecureSession> {
    const { bundle: { identity }, existing } = input
    if (existing !== undefined && !sameIdentity(existing.#remote, identity)) return otherDevice()
    const initiated = initiateHandshake(input)
    if (!initiated.ok) return initiated
    const { baseKey, prekeyIds, ratchet, header } = initiated.value
    const session = existing ?? SecureSession.#empty(identity)
    const isLastResort = isFromLastResort(prekeyIds)
    session.#dropArchive()
    for (const entry of session.#entries) entry.outdated = true
    session.#promote({
      ...fresh, baseKey, isLastResort, ratchet, pendingHeader: header,
    })
    return { ok: true, value: session }
  }

  /**
   * Takes an initial message. With `existing`, that object takes up the new session and is
   * returned. When its handshake is known already, this is `decrypt` and nothing is `used`;
   * otherwise delete the one-time prekeys in `used` in the batch that stores the session.
   *
   * Refuses SESSION_FORMAT, HANDSHAKE_IDENTITY (not `remote`, not the device of `existing`, or
   * forged), HANDSHAKE_PREKEY (unknown, used up, or last-resort and used too often by this device),
   * HANDSHAKE_KEY, or as `decrypt`; nothing is changed then.
   *
   * @param input.remote the device that it must come from, when that is known
   */
  static respond(input: {
    own: OwnIdentity
    message: Uint8Array
    ad: Uint8Array
    prekeys: PrekeyLookup
    remote?: RemoteIdentity
    existing?: SecureSession
  }): Result<{ session: SecureSession, plaintext: Uint8Array, used: PrekeyIds | undefined }> {
    const { own, message, ad, prekeys, existing } = input
    const parts = splitKind(message)
    if (parts?.header === undefined) return notAMessage(message)
    const { header, body, prefix } = parts
    for (const expected of [input.remote, existing?.remote]) {
      if (expected !== undefined && !sameIdentity(expected, header.initiator)) return otherDevice()
    }
    if (existing !== undefined && existing.#knows(header.baseKey)) {
      const read = existing.decrypt({ message, ad })
      if (!read.ok) return read
      return { ok: true, value: { session: existing, plaintext: read.value, used: undefined } }
    }
    const isLastResort = isFromLastResort(header.prekeyIds)
    const { signedPrekeyId } = header.prekeyIds
    if (isLastResort && existing !== undefined && signedPrekeyId < existing.#lastResortFrom) {
      return refuse('HANDSHAKE_PREKEY', 'too many sessions of this device from one last-resort prekey')
    }
    const ratchet = respondHandshake({ own, header, prekeys })
    if (!ratchet.ok) return ratchet
    const opened = ratchet.value.decrypt({ message: body, ad: bound(prefix, ad) })
    if (!opened.ok) return opened
    const session = existing ?? SecureSession.#empty(header.initiator)
    const { baseKey } = header
    session.#supersede()
    session.#promote({ ...fresh, baseKey, isLastResort, ratchet: ratchet.value, pendingHeader: undefined })
    session.#remember({ baseKey, isLastResort, signedPrekeyId })
    return { ok: true, value: { session, plaintext: opened.value, used: header.prekeyIds } }
  }

  /** The device at the other end. */
  get remote(): RemoteIdentity {
    return this.#remote
  }

  /**
   * True while the current session rests on a handshake from last-resort prekeys alone: until both
   * sides have made a step of the ratchet, who steals those prekeys can read it. One-time prekeys
   * had run out, or somebody kept them back.
   */
  get weakForwardSecrecy(): boolean {
    const [current] = this.#entries
    return current !== undefined && current.isLastResort && current.ratchet.steps < healedAfterSteps
  }

  /**
   * Ratchet steps of either side since the current session last took an ML-KEM secret, its handshake
   * included: what a thief of the state with a quantum computer could follow. Always below
   * 2 × `kemPeriodTurns`, because a KEM step cannot be left out (ratchet/kem-step.ts).
   */
  get pqAgeSteps(): number {
    return this.#entries[0]?.ratchet.pqAgeSteps ?? 0
  }

  /**
   * 103 bytes longer than the plaintext; 1,365 until the first answer to our own handshake, 1,287
   * or 1,191 in a KEM step.
   */
  encrypt(input: { plaintext: Uint8Array, ad: Uint8Array, random: Random }): Uint8Array {
    const { ratchet, pendingHeader } = this.#entries[0]!
    const prefix = pendingHeader === undefined ? ratchetPrefix : concat(initialPrefix, pendingHeader)
    return ratchet.encrypt({ ...input, ad: bound(prefix, input.ad), prefix })
  }

  /**
   * Refuses, with nothing changed:
   * - SESSION_HANDSHAKE: an initial message of a handshake that is new here; give it to `respond`;
   * - SESSION_DUPLICATE: read before (also: an initial message whose session is gone);
   * - SESSION_TOO_FAR, SESSION_UNDECRYPTABLE, SESSION_FORMAT: see ratchet/ratchet.ts.
   */
  decrypt({ message, ad }: { message: Uint8Array, ad: Uint8Array }): Result<Uint8Array> {
    const parts = splitKind(message)
    if (parts === undefined) return notAMessage(message)
    const { header } = parts
    const input = { message: parts.body, ad: bound(parts.prefix, ad) }
    if (header === undefined) return this.#decryptWith(this.#entries, input)
    if (!this.#knows(header.baseKey)) return refuse('SESSION_HANDSHAKE', 'a handshake that is new here')
    const entries = this.#entries.filter((entry) => equalBytes(entry.baseKey, header.baseKey))
    if (entries.length === 0) return refuse('SESSION_DUPLICATE', 'a handshake that was done before')
    return this.#decryptWith(entries, input)
  }

  /**
   * Ends what is behind the current session. Wiped is one that was superseded `keptMs` ago, the longest
   * that a message of it may be under way: only a thief of an old state still writes there. One that
   * was left without that (both began at once, say) stays while the other device may still be in it: until
   * something is read elsewhere that was written when no message of ours could be there any more.
   */
  expire({ nowMs, keptMs }: { nowMs: number, keptMs: number }): void {
    for (const entry of this.#entries.slice(1)) {
      // A clock that was ahead for a while must not keep a session until that time.
      if (entry.archivedAtMs === 0 || entry.archivedAtMs > nowMs) {
        this.#dropArchive()
        entry.archivedAtMs = nowMs
      }
      const ageMs = nowMs - entry.archivedAtMs
      entry.isStale = ageMs > 2 * keptMs
      if (!entry.superseded || ageMs <= keptMs) continue
      this.#dropArchive()
      this.#entries.splice(this.#entries.indexOf(entry), 1)
      entry.ratchet.wipe()
    }
  }

  /** An independent copy. */
  clone(): SecureSession {
    const entries = this.#entries.map((entry) => ({ ...entry, ratchet: entry.ratchet.clone() }))
    const seen = [...this.#seen]
    return new SecureSession(this.#remote, { entries, seen, lastResortFrom: this.#lastResortFrom })
  }

  /** Overwrites every key; the session must not be used afterwards. */
  wipe(): void {
    this.#dropArchive()
    for (const { ratchet } of this.#entries.splice(0)) ratchet.wipe()
  }

  toJSON(): { remote: string } {
    return { remote: hex(this.#remote.signingKey) }
  }

  /**
   * All secrets in the clear; the caller seals them.
   *
   * ```text
   *   u8     version = 1
   *   opaque signingKey[32], dhKey[32]     the other device
   *   u32    count, then per session, the current one first
   *     opaque baseKey[32]
   *     bool isLastResort
   *     bool, opaque pendingHeader[1262]
   *     bool outdated, superseded
   *     u64  archivedAtMs                  0 for the current one, and until it is known
   *     ratchet                            ratchet/ratchet-state.ts
   *   u32    lastResortFrom
   *   u32    count, handshakes done, the oldest first
   *     opaque baseKey[32]
   *     bool isLastResort
   *     u32 signedPrekeyId
   * ```
   */
  serialize(): Uint8Array {
    this.#archive ??= this.#encodeArchive()
    const [current] = this.#entries
    writer.begin()
    writer.u8(stateVersion)
    writer.bytes(this.#remote.signingKey)
    writer.bytes(this.#remote.dhKey)
    writer.u32(this.#entries.length)
    if (current !== undefined) writeEntry(current)
    writer.bytes(this.#archive)
    return writer.take()
  }

  /** @throws SESSION_CORRUPT for anything that `serialize` did not write */
  static deserialize(bytes: Uint8Array): SecureSession {
    const reader = new FieldReader(bytes)
    const isKnownVersion = reader.u8() === stateVersion
    const remote = { signingKey: reader.bytes(keyBytes), dhKey: reader.bytes(keyBytes) }
    const entries: Entry[] = []
    const count = reader.count(1 + ratchetLimits.archivedSessionsMax)
    for (let i = 0; i < count; i++) {
      const baseKey = reader.bytes(keyBytes)
      const isLastResort = reader.bool()
      const pendingHeader = reader.bool() ? reader.bytes(initialHeaderBytes) : undefined
      const outdated = reader.bool()
      const superseded = reader.bool()
      const archivedAtMs = reader.u64()
      const ratchet = Ratchet.read(reader)
      if (ratchet === undefined) break
      entries.push({
        baseKey, isLastResort, pendingHeader, outdated, superseded, archivedAtMs, isStale: false, ratchet,
      })
    }
    const lastResortFrom = reader.u32()
    const seenCount = reader.count(ratchetLimits.seenHandshakesMax)
    const seen = Array.from({ length: seenCount }, () => ({
      baseKey: reader.bytes(keyBytes), isLastResort: reader.bool(), signedPrekeyId: reader.u32(),
    }))
    if (!isKnownVersion || entries.length !== count || count === 0 || !reader.complete) {
      throw new OpenIMError('SESSION_CORRUPT', `a stored session cannot be read (${bytes.length} bytes)`)
    }
    return new SecureSession(remote, { entries, seen, lastResortFrom })
  }

  static #empty(remote: RemoteIdentity): SecureSession {
    return new SecureSession(remote, { entries: [], seen: [], lastResortFrom: 0 })
  }

  #knows(baseKey: Uint8Array): boolean {
    return this.#seen.some((seen) => equalBytes(seen.baseKey, baseKey))
      || this.#entries.some((entry) => equalBytes(entry.baseKey, baseKey))
  }

  /** A refusal that names a message of that very session ends the search. */
  #decryptWith(
    entries: readonly Entry[],
    input: { message: Uint8Array, ad: Uint8Array },
  ): Result<Uint8Array> {
    let refusal: Result<Uint8Array> = refuse('SESSION_UNDECRYPTABLE', 'there is no session')
    for (const entry of entries) {
      const opened = entry.ratchet.decrypt(input)
      if (opened.ok) {
        if (entry !== this.#entries[0]) this.#dropArchive()
        if (entry.pendingHeader !== undefined) this.#answered(entry)
        if (entry.superseded) return opened
        this.#promote(entry)
        for (const other of this.#entries) if (other.isStale) this.#leave(other)
        return opened
      }
      refusal = opened
      if (opened.code !== 'SESSION_UNDECRYPTABLE') break
    }
    return refusal
  }

  /** The first answer: the other device has left what there was when we started this one. */
  #answered(entry: Entry): void {
    this.#dropArchive()
    entry.pendingHeader = undefined
    for (const other of this.#entries) {
      if (other.outdated && other.pendingHeader === undefined && other !== entry) this.#leave(other)
    }
  }

  /** Not those that the other device may not know yet: both may have started at once. */
  #supersede(): void {
    this.#dropArchive()
    for (const entry of this.#entries) if (entry.pendingHeader === undefined) this.#leave(entry)
  }

  /** From now on for late messages only. */
  #leave(entry: Entry): void {
    if (entry.superseded) return
    this.#dropArchive()
    entry.superseded = true
    entry.archivedAtMs = 0
  }

  /** Makes an entry, known or new, the current one. */
  #promote(entry: Entry): void {
    const at = this.#entries.indexOf(entry)
    if (at === 0) return
    this.#dropArchive()
    entry.archivedAtMs = 0
    entry.isStale = false
    if (at > 0) this.#entries.splice(at, 1)
    this.#entries.unshift(entry)
    for (const { ratchet } of this.#entries.splice(1 + ratchetLimits.archivedSessionsMax)) ratchet.wipe()
  }

  #remember(handshake: SeenHandshake): void {
    this.#dropArchive()
    this.#seen.push(handshake)
    if (this.#seen.length <= ratchetLimits.seenHandshakesMax) return
    const oneTime = this.#seen.findIndex(({ isLastResort }) => !isLastResort)
    const [forgotten] = this.#seen.splice(Math.max(0, oneTime), 1)
    if (!forgotten!.isLastResort) return
    this.#lastResortFrom = Math.max(this.#lastResortFrom, Math.min(forgotten!.signedPrekeyId + 1, idMax))
  }

  #encodeArchive(): Uint8Array {
    writer.begin()
    for (const entry of this.#entries.slice(1)) writeEntry(entry)
    writer.u32(this.#lastResortFrom)
    writer.u32(this.#seen.length)
    for (const { baseKey, isLastResort, signedPrekeyId } of this.#seen) {
      writer.bytes(baseKey)
      writer.bool(isLastResort)
      writer.u32(signedPrekeyId)
    }
    return writer.take()
  }

  #dropArchive(): void {
    if (this.#archive !== undefined) wipe(this.#archive)
    this.#archive = undefined
  }
}

const writer = new FieldWriter()

/** An entry that becomes the current one. */
const fresh = { outdated: false, superseded: false, archivedAtMs: 0, isStale: false } as const

function writeEntry(entry: Entry): void {
  const { baseKey, isLastResort, pendingHeader, outdated, superseded, archivedAtMs, ratchet } = entry
  writer.bytes(baseKey)
  writer.bool(isLastResort)
  writer.bool(pendingHeader !== undefined)
  if (pendingHeader !== undefined) writer.bytes(pendingHeader)
  writer.bool(outdated)
  writer.bool(superseded)
  writer.u64(archivedAtMs)
  ratchet.write(writer)
}

/** `prefix` is kind, version and initial header. */
interface MessageParts {
  readonly header: InitialHeader | undefined
  readonly prefix: Uint8Array
  readonly body: Uint8Array
}

/** `undefined` when it is no message of ours. */
function splitKind(message: Uint8Array): MessageParts | undefined {
  const [kind, version] = message
  if (version !== messageVersion) return undefined
  const bodyAt = kind === kinds.initial ? kindBytes + initialHeaderBytes : kindBytes
  const parts = { prefix: message.subarray(0, bodyAt), body: message.subarray(bodyAt) }
  if (kind === kinds.ratchet) return { ...parts, header: undefined }
  if (kind !== kinds.initial) return undefined
  const header = decodeInitialHeader(message.subarray(kindBytes, bodyAt))
  return header && { ...parts, header }
}

/** What stands before a message is as good as part of it. */
function bound(prefix: Uint8Array, ad: Uint8Array): Uint8Array {
  return concat(prefix, ad)
}

function notAMessage(message: Uint8Array): Result<never> {
  return refuse('SESSION_FORMAT', `${message.length} bytes are not the message that belongs here`)
}

function otherDevice(): Result<never> {
  return refuse('HANDSHAKE_IDENTITY', 'the handshake is with another device than expected')
}

function refuse(code: string, detail: string): Result<never> {
  return { ok: false, code, detail }
}

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
 * since the other side may have lost them (and somebody else may have stolen them).
 *
 * A handshake is named by its base key. An initial message that comes again finds its session; one
 * whose session is gone is refused, so that a replay never makes a second one.
 *
 * For the caller:
 * - durable before send: store `serialize()` in one batch with the message before it leaves;
 * - atomic receive: store `serialize()`, the plaintext and the deletion of used one-time prekeys
 *   in one batch; if that fails, forget this object and deserialize again (or work on a `clone`);
 * - the AD is what both sides know about the message besides (accounts, message id …).
 */
import { concat, equalBytes, hex } from './bytes.ts'
import { OpenIMError } from './errors.ts'
import type { Result } from './errors.ts'
import { FieldReader, u32Bytes, u8Bytes } from './fields.ts'
import { decodeInitialHeader, initialHeaderBytes } from './handshake/initial-header.ts'
import type { InitialHeader } from './handshake/initial-header.ts'
import { initiateHandshake, respondHandshake, sameIdentity } from './handshake/pqxdh.ts'
import type { OwnIdentity, PrekeyBundle, PrekeyIds, PrekeyLookup, RemoteIdentity } from './handshake/types.ts'
import type { Random } from './random.ts'
import { ratchetLimits } from './ratchet/limits.ts'
import { Ratchet } from './ratchet/ratchet.ts'

const stateVersion = 1
const messageVersion = 1
const kinds = { initial: 1, ratchet: 2 } as const
const kindBytes = 2
const keyBytes = 32

/** One handshake and the ratchet from it. */
interface Entry {
  readonly baseKey: Uint8Array
  readonly ratchet: Ratchet
  /** The initiator's, until something was read: the other device may not have it yet. */
  pendingHeader: Uint8Array | undefined
  /** The other device started anew after this one: good for late messages only. */
  superseded: boolean
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
  /** Base keys of the other side's handshakes, the oldest first. */
  readonly #seen: Uint8Array[]

  private constructor(remote: RemoteIdentity, state: { entries: Entry[], seen: Uint8Array[] }) {
    this.#remote = { signingKey: remote.signingKey.slice(), dhKey: remote.dhKey.slice() }
    this.#entries = state.entries
    this.#seen = state.seen
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
    const { baseKey, ratchet, header } = initiated.value
    const session = existing ?? new SecureSession(identity, { entries: [], seen: [] })
    session.#promote({ baseKey, ratchet, pendingHeader: header, superseded: false })
    return { ok: true, value: session }
  }

  /**
   * Takes an initial message. With `existing`, that object takes up the new session and is
   * returned. When its handshake is known already, this is `decrypt` and nothing is `used`;
   * otherwise delete the one-time prekeys in `used` in the batch that stores the session.
   *
   * Refuses SESSION_FORMAT, HANDSHAKE_IDENTITY (not `remote`, not the device of `existing`, or
   * forged), HANDSHAKE_PREKEY, HANDSHAKE_KEY, or as `decrypt`; nothing is changed then.
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
    const { header, body } = parts
    for (const expected of [input.remote, existing?.remote]) {
      if (expected !== undefined && !sameIdentity(expected, header.initiator)) return otherDevice()
    }
    if (existing !== undefined && existing.#knows(header.baseKey)) {
      const read = existing.decrypt({ message, ad })
      if (!read.ok) return read
      return { ok: true, value: { session: existing, plaintext: read.value, used: undefined } }
    }
    const ratchet = respondHandshake({ own, header, prekeys })
    if (!ratchet.ok) return ratchet
    const opened = ratchet.value.decrypt({ message: body, ad })
    if (!opened.ok) return opened
    const session = existing ?? new SecureSession(header.initiator, { entries: [], seen: [] })
    session.#supersede()
    session.#promote({
      baseKey: header.baseKey, ratchet: ratchet.value, pendingHeader: undefined, superseded: false,
    })
    session.#remember(header.baseKey)
    return { ok: true, value: { session, plaintext: opened.value, used: header.prekeyIds } }
  }

  /** The device at the other end. */
  get remote(): RemoteIdentity {
    return this.#remote
  }

  /** 103 bytes longer than the plaintext, 1,365 until the first answer to our own handshake. */
  encrypt(input: { plaintext: Uint8Array, ad: Uint8Array, random: Random }): Uint8Array {
    const { ratchet, pendingHeader } = this.#entries[0]!
    const body = ratchet.encrypt(input)
    return pendingHeader === undefined
      ? concat(u8Bytes(kinds.ratchet), u8Bytes(messageVersion), body)
      : concat(u8Bytes(kinds.initial), u8Bytes(messageVersion), pendingHeader, body)
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
    const { header, body } = parts
    if (header === undefined) return this.#decryptWith(this.#entries, { message: body, ad })
    if (!this.#knows(header.baseKey)) return refuse('SESSION_HANDSHAKE', 'a handshake that is new here')
    const entries = this.#entries.filter((entry) => equalBytes(entry.baseKey, header.baseKey))
    if (entries.length === 0) return refuse('SESSION_DUPLICATE', 'a handshake that was done before')
    return this.#decryptWith(entries, { message: body, ad })
  }

  /** An independent copy. */
  clone(): SecureSession {
    const entries = this.#entries.map((entry) => ({ ...entry, ratchet: entry.ratchet.clone() }))
    return new SecureSession(this.#remote, { entries, seen: [...this.#seen] })
  }

  /** Overwrites every key; the session must not be used afterwards. */
  wipe(): void {
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
   *     bool, opaque pendingHeader[1262]
   *     bool superseded
   *     u32 length, opaque ratchet         ratchet/ratchet.ts
   *   u32    count, opaque baseKeys[32]    handshakes done, the oldest first
   * ```
   */
  serialize(): Uint8Array {
    const entries = this.#entries.flatMap(({ baseKey, pendingHeader, superseded, ratchet }) => {
      const bytes = ratchet.serialize()
      const pending = pendingHeader === undefined ? u8Bytes(0) : concat(u8Bytes(1), pendingHeader)
      return [baseKey, pending, u8Bytes(superseded ? 1 : 0), u32Bytes(bytes.length), bytes]
    })
    return concat(
      u8Bytes(stateVersion), this.#remote.signingKey, this.#remote.dhKey,
      u32Bytes(this.#entries.length), ...entries,
      u32Bytes(this.#seen.length), ...this.#seen,
    )
  }

  /** @throws SESSION_CORRUPT for anything that `serialize` did not write */
  static deserialize(bytes: Uint8Array): SecureSession {
    const reader = new FieldReader(bytes)
    const version = reader.u8()
    const remote = { signingKey: reader.bytes(keyBytes), dhKey: reader.bytes(keyBytes) }
    const entries: Entry[] = []
    const count = reader.count(1 + ratchetLimits.archivedSessionsMax)
    for (let i = 0; i < count; i++) {
      const baseKey = reader.bytes(keyBytes)
      const pendingHeader = reader.bool() ? reader.bytes(initialHeaderBytes) : undefined
      const superseded = reader.bool()
      const ratchet = Ratchet.deserialize(reader.bytes(reader.count(bytes.length)))
      if (ratchet === undefined) break
      entries.push({ baseKey, pendingHeader, superseded, ratchet })
    }
    const seenCount = reader.count(ratchetLimits.seenHandshakesMax)
    const seen = Array.from({ length: seenCount }, () => reader.bytes(keyBytes))
    if (version !== stateVersion || entries.length !== count || count === 0 || !reader.complete) {
      throw new OpenIMError('SESSION_CORRUPT', `a stored session cannot be read (${bytes.length} bytes)`)
    }
    return new SecureSession(remote, { entries, seen })
  }

  #knows(baseKey: Uint8Array): boolean {
    return this.#seen.some((seen) => equalBytes(seen, baseKey))
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
        entry.pendingHeader = undefined
        if (!entry.superseded) this.#promote(entry)
        return opened
      }
      refusal = opened
      if (opened.code !== 'SESSION_UNDECRYPTABLE') break
    }
    return refusal
  }

  /** Not those that the other device may not know yet: both may have started at once. */
  #supersede(): void {
    for (const entry of this.#entries) entry.superseded ||= entry.pendingHeader === undefined
  }

  /** Makes an entry, known or new, the current one. */
  #promote(entry: Entry): void {
    const at = this.#entries.indexOf(entry)
    if (at === 0) return
    if (at > 0) this.#entries.splice(at, 1)
    this.#entries.unshift(entry)
    for (const { ratchet } of this.#entries.splice(1 + ratchetLimits.archivedSessionsMax)) ratchet.wipe()
  }

  #remember(baseKey: Uint8Array): void {
    this.#seen.push(baseKey)
    if (this.#seen.length > ratchetLimits.seenHandshakesMax) this.#seen.shift()
  }
}

/** `undefined` when it is no message of ours. */
function splitKind(message: Uint8Array): { header: InitialHeader | undefined, body: Uint8Array } | undefined {
  const [kind, version] = message
  if (version !== messageVersion) return undefined
  if (kind === kinds.ratchet) return { header: undefined, body: message.subarray(kindBytes) }
  if (kind !== kinds.initial) return undefined
  const bodyOffset = kindBytes + initialHeaderBytes
  const header = decodeInitialHeader(message.subarray(kindBytes, bodyOffset))
  return header && { header, body: message.subarray(bodyOffset) }
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

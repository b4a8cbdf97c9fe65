/**
 * From a sealed message to its payload, inside a turn: picks this device's wrap, reads it with the
 * session (or takes up the handshake it carries) and opens the content. A refusal changes nothing.
 */
import { peekInitial, SecureSession } from '../../crypto/secure-session.ts'
import type { Result } from '../../crypto/errors.ts'
import type { PrekeyIds } from '../../crypto/handshake/types.ts'
import { deviceId } from '../account.ts'
import type { DeviceId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Payload } from '../message/payload.ts'
import type { SealedMessage } from '../message/sealed.ts'
import type { Context } from './context.ts'
import type { Prekeys } from './prekeys.ts'
import { devicesOf, identityOf, unwrapContent, wrapFor } from './sealing.ts'
import type { SessionResets } from './session-resets.ts'
import type { Turn } from './turns.ts'

export interface Unwrapped {
  readonly device: DeviceId
  readonly payload: Payload
  /** The other side began anew although there was a session: it lost something. */
  readonly isRenewal: boolean
}

/**
 * A message in a contact's inbox. Refuses DEVICE_UNKNOWN, DEVICE_REVOKED, MESSAGE_*, SESSION_*,
 * HANDSHAKE_*, CODEC_*.
 */
export async function unwrap(
  context: Context,
  turn: Turn,
  input: { message: SealedMessage, prekeys: Prekeys, resets: SessionResets },
): Promise<Result<Unwrapped>> {
  const { message, prekeys, resets } = input
  const device = message.senderDevice
  const list = turn.contact === undefined ? undefined : devicesOf(turn.contact)
  const remote = list === undefined ? undefined : identityOf(list, device)
  if (remote === undefined && turn.contact?.formerDevices.includes(device) === true) {
    return { ok: false, code: 'DEVICE_REVOKED', detail: 'the contact\'s list does not name it any more' }
  }
  if (remote === undefined) {
    return { ok: false, code: 'DEVICE_UNKNOWN', detail: 'a device that is not in the contact\'s list' }
  }
  const wrap = wrapFor(message, context.account.deviceId)
  if (!wrap.ok) return wrap
  const { ad } = wrap.value
  const existing = turn.session(device)
  existing?.expire({ nowMs: context.clock.now(), keptMs: limits.supersededSessionMs })
  const read = existing?.decrypt({ message: wrap.value.wrap, ad })
  if (existing !== undefined && read?.ok === true) {
    turn.keepSession(device, existing)
    return finish(message, { device, contentKey: read.value, isRenewal: false })
  }
  if (read !== undefined && !read.ok && read.code !== 'SESSION_HANDSHAKE') return read
  const peek = peekInitial(wrap.value.wrap)
  if (peek === undefined) {
    return { ok: false, code: 'SESSION_UNKNOWN', detail: 'there is no session with this device' }
  }
  if (!resets.allow(turn.id, device)) {
    return { ok: false, code: 'SESSION_RESETS', detail: 'this device began anew too often' }
  }
  const responded = SecureSession.respond({
    own: context.account.identity, message: wrap.value.wrap, ad, remote, prekeys: await prekeys.lookup(peek),
    ...existing === undefined ? {} : { existing },
  })
  if (!responded.ok) return responded
  const { session, plaintext, used } = responded.value
  turn.keepSession(device, session)
  if (used !== undefined) prekeys.consume(turn.batch, used)
  return finish(message, { device, contentKey: plaintext, isRenewal: existing !== undefined })
}

/** A first message of somebody whose account stands only inside it. */
export interface FirstMessage {
  readonly device: DeviceId
  readonly session: SecureSession
  readonly used: PrekeyIds | undefined
  readonly payload: Payload
}

/** A message in a request box. Nothing is kept; `joinFirst` does that in the contact's turn. */
export async function unwrapFirst(
  context: Context,
  input: { message: SealedMessage, prekeys: Prekeys },
): Promise<Result<FirstMessage>> {
  const { message, prekeys } = input
  const wrap = wrapFor(message, context.account.deviceId)
  if (!wrap.ok) return wrap
  const peek = peekInitial(wrap.value.wrap)
  if (peek === undefined) {
    return { ok: false, code: 'SESSION_UNKNOWN', detail: 'a request begins with a handshake' }
  }
  const responded = SecureSession.respond({
    own: context.account.identity,
    message: wrap.value.wrap,
    ad: wrap.value.ad,
    prekeys: await prekeys.lookup(peek),
  })
  if (!responded.ok) return responded
  const { session, plaintext, used } = responded.value
  const device = deviceId(session.remote.signingKey)
  if (device !== message.senderDevice) {
    return { ok: false, code: 'DEVICE_UNKNOWN', detail: 'the handshake is of another device' }
  }
  const payload = unwrapContent(message, plaintext)
  return payload.ok ? { ok: true, value: { device, session, used, payload: payload.value } } : payload
}

/** Keeps the session of a first message, behind or beside one that we have with that device. */
export async function joinFirst(
  context: Context,
  turn: Turn,
  input: { message: SealedMessage, first: FirstMessage, prekeys: Prekeys },
): Promise<Result<undefined>> {
  const { message, first, prekeys } = input
  const existing = turn.session(first.device)
  if (existing === undefined) {
    turn.keepSession(first.device, first.session)
  } else {
    const wrap = wrapFor(message, context.account.deviceId)
    const peek = wrap.ok ? peekInitial(wrap.value.wrap) : undefined
    if (!wrap.ok || peek === undefined) return { ok: false, code: 'SESSION_UNKNOWN' }
    existing.expire({ nowMs: context.clock.now(), keptMs: limits.supersededSessionMs })
    const joined = SecureSession.respond({
      own: context.account.identity,
      message: wrap.value.wrap,
      ad: wrap.value.ad,
      existing,
      prekeys: await prekeys.lookup(peek),
    })
    if (!joined.ok) return joined
    turn.keepSession(first.device, joined.value.session)
  }
  if (first.used !== undefined) prekeys.consume(turn.batch, first.used)
  return { ok: true, value: undefined }
}

function finish(
  message: SealedMessage,
  read: { device: DeviceId, contentKey: Uint8Array, isRenewal: boolean },
): Result<Unwrapped> {
  const payload = unwrapContent(message, read.contentKey)
  if (!payload.ok) return payload
  return { ok: true, value: { device: read.device, payload: payload.value, isRenewal: read.isRenewal } }
}

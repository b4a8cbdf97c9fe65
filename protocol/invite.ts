/**
 * The invite: what one person hands to another so that they find each other and can talk, as a
 * URI of at most 106 bytes (a QR code of version 5).
 *
 * ```text
 *   "openim:" base64url without padding (RFC 4648 §5) of
 *     u8     version (high 4 bits) = 1, flags (low 4 bits): 1 = hint present, others 0
 *     opaque rootKey[32]      whom it leads to
 *     opaque seed[15]         rendezvous seed: finds the account's location records; resettable
 *     opaque introToken[15]   opens one request box; good for one person
 *     u24    expiryHour       hours since 1970
 *     opaque hint[6]          optional: IPv4 and port of the home node, saves a walk
 *     opaque checksum[2]      first bytes of SHA-256(label ‖ everything above)
 * ```
 *
 * 68 bytes make 98 characters, 74 (with hint) make 106. The checksum is last in every version, so
 * a mistyped invite is told from one that a newer openIM made. It is no protection against
 * forgery and needs none: whoever can alter the invite can replace it whole.
 *
 * The token is a secret of 120 bits. From it come the write key of the request box and the key
 * that seals what is put there; the box's read key stands in the location record.
 */
import { base64urlnopad } from '@scure/base'
import { concat, equalBytes, utf8 } from '../crypto/bytes.ts'
import { assert } from '../crypto/errors.ts'
import type { Result } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'
import type { SigningKeyPair } from '../crypto/provider.ts'
import { Reader } from './codec/reader.ts'
import { encode, fixed, struct, tryDecode, u8 } from './codec/struct.ts'
import type { Codec } from './codec/struct.ts'
import { Writer } from './codec/writer.ts'
import { expiryMs } from './envelope.ts'

/** Where the home node was reachable when the invite was made; a hint, never trusted. */
export interface InviteHint {
  readonly ipv4: readonly [number, number, number, number]
  readonly port: number
}

export interface InviteContent {
  readonly rootKey: Uint8Array
  /** 15 bytes. */
  readonly seed: Uint8Array
  /** 15 bytes, secret. */
  readonly introToken: Uint8Array
  readonly expiryHour: number
  readonly hint?: InviteHint
}

/** What an intro token opens. */
export interface IntroKeys {
  /** Ed25519 seed of the request box's write key, for leases and cards. */
  readonly writeSeed: Uint8Array
  readonly writeKeys: SigningKeyPair
  /** Seals messages in the request box (message/sealed.ts). */
  readonly sealKey: Uint8Array
}

export const inviteUriBytesMax = 106
const scheme = 'openim:'
const version = 1
const hintFlag = 1
const seedBytes = 15
const tokenBytes = 15
const checksumBytes = 2
const bodyBytes = 66
const hintBytes = 6
/** Longer text is not looked at: it is no invite, whatever it is. */
const pastedLengthMax = 512
const checksumLabel = utf8('openim invite v1')

interface Wire {
  readonly versionAndFlags: number
  readonly rootKey: Uint8Array
  readonly seed: Uint8Array
  readonly introToken: Uint8Array
  readonly expiryHour: number
}

const u24: Codec<number> = {
  write(w, v) {
    w.u8(v >> 16)
    w.u16(v & 0xffff)
  },
  read: (r) => r.u8() * 65_536 + r.u16(),
}

const wireCodec = struct<Wire>({
  versionAndFlags: u8,
  rootKey: fixed(32),
  seed: fixed(seedBytes),
  introToken: fixed(tokenBytes),
  expiryHour: u24,
})

export function formatInvite(content: InviteContent): string {
  const { rootKey, seed, introToken, expiryHour, hint } = content
  const versionAndFlags = version * 16 + (hint === undefined ? 0 : hintFlag)
  const wire = encode(wireCodec, { versionAndFlags, rootKey, seed, introToken, expiryHour })
  const body = hint === undefined ? wire : concat(wire, encodeHint(hint))
  const uri = scheme + base64urlnopad.encode(concat(body, checksum(body)))
  assert(uri.length <= inviteUriBytesMax, `invite of ${uri.length} bytes`)
  return uri
}

/**
 * Reads an invite that somebody pasted: spaces, line breaks, quotes and angle brackets around it
 * are put up with. Refuses with INVITE_FORMAT, INVITE_CHECKSUM, INVITE_VERSION or INVITE_EXPIRED.
 */
export function parseInvite(text: string, nowMs: number): Result<InviteContent> {
  const payload = pastedPayload(text)
  if (!payload.ok) return payload
  const bytes = payload.value
  const body = bytes.subarray(0, Math.max(0, bytes.length - checksumBytes))
  const checksumFits = equalBytes(checksum(body), bytes.subarray(body.length))
  const knownLength = body.length === bodyBytes || body.length === bodyBytes + hintBytes
  if (!checksumFits && !knownLength) return refuse('INVITE_FORMAT', lengthHint(bytes.length))
  if (!checksumFits) return refuse('INVITE_CHECKSUM', 'a character of this invite is wrong: copy it again')
  const flags = body[0]! & 0x0f
  if (body[0]! >> 4 !== version || flags > hintFlag) {
    return refuse('INVITE_VERSION', 'this invite was made by a newer openIM: update openIM')
  }
  const hintLength = flags === hintFlag ? hintBytes : 0
  if (body.length !== bodyBytes + hintLength) return refuse('INVITE_FORMAT', lengthHint(bytes.length))
  const wire = tryDecode(wireCodec, body.subarray(0, bodyBytes))
  if (!wire.ok) return wire
  return checkContent(wire.value, decodeHint(body.subarray(bodyBytes)), nowMs)
}

function checkContent(wire: Wire, hint: InviteHint | undefined, nowMs: number): Result<InviteContent> {
  const { rootKey, seed, introToken, expiryHour } = wire
  if (!crypto.isVerifyKey(rootKey)) {
    return refuse('INVITE_FORMAT', 'this invite holds no usable key: ask for a new invite')
  }
  if (nowMs >= expiryMs(expiryHour)) {
    const day = new Date(expiryMs(expiryHour)).toISOString().slice(0, 10)
    return refuse('INVITE_EXPIRED', `this invite was good until ${day}: ask for a new one`)
  }
  const content = { rootKey: rootKey.slice(), seed: seed.slice(), introToken: introToken.slice(), expiryHour }
  return { ok: true, value: hint === undefined ? content : { ...content, hint } }
}

/** The keys behind a token: the same for the one who made the invite and the one who got it. */
export function introKeys(invite: Pick<InviteContent, 'rootKey' | 'introToken'>): IntroKeys {
  const derive = (label: string): Uint8Array =>
    crypto.hkdf({ secret: invite.introToken, salt: invite.rootKey, info: utf8(label), length: 32 })
  const writeSeed = derive('openim intro write v1')
  return { writeSeed, writeKeys: crypto.signingKeyPair(writeSeed), sealKey: derive('openim intro seal v1') }
}

function checksum(body: Uint8Array): Uint8Array {
  return crypto.sha256(concat(checksumLabel, body)).subarray(0, checksumBytes)
}

/** Takes the wrapping off, then the base64url. */
function pastedPayload(text: string): Result<Uint8Array> {
  if (text.length > pastedLengthMax) {
    return refuse('INVITE_FORMAT', 'this text is too long for an invite: paste only the openim: line')
  }
  const bare = text.replace(/\s+/gu, '').replace(/^[<"'`«“‘„]+|[>"'`»”’“]+$/gu, '')
  if (!bare.toLowerCase().startsWith(scheme)) return refuse('INVITE_FORMAT', otherTextHint(bare))
  try {
    return { ok: true, value: base64urlnopad.decode(bare.slice(scheme.length)) }
  } catch {
    return refuse('INVITE_FORMAT', 'after openim: come only letters, digits, - and _: copy the whole line')
  }
}

function otherTextHint(bare: string): string {
  if (/^oim1/iu.test(bare)) return 'this is an address: ask its owner for an invite (openim invite)'
  if (bare.includes(scheme)) return 'other text stands before the invite: paste it from openim: on'
  return 'an invite starts with openim: (its owner makes one with openim invite)'
}

function lengthHint(length: number): string {
  return `an invite holds ${bodyBytes + checksumBytes} or ${bodyBytes + hintBytes + checksumBytes} bytes, `
    + `this one ${length}: copy the whole line`
}

function refuse(code: string, detail: string): Result<never> {
  return { ok: false, code, detail }
}

function encodeHint({ ipv4, port }: InviteHint): Uint8Array {
  const writer = new Writer(hintBytes)
  for (const byte of ipv4) writer.u8(byte)
  writer.u16(port)
  return writer.finish()
}

function decodeHint(bytes: Uint8Array): InviteHint | undefined {
  if (bytes.length === 0) return undefined
  const reader = new Reader(bytes)
  return { ipv4: [reader.u8(), reader.u8(), reader.u8(), reader.u8()], port: reader.u16() }
}

/**
 * The link code: what a device of the account shows and a new device reads, so that the two find
 * each other at the account's node and can tell each other from strangers.
 *
 * ```text
 *   "openim-link:" base64url without padding (RFC 4648 §5) of
 *     u8     version (high 4 bits) = 1, flags (low 4 bits) = 0
 *     opaque doorKey[32]      the node's X25519 door key
 *     opaque token[16]        secret, good for one device and ten minutes
 *     hints<V>                at most 2 of { u8 scheme, opaque ipv4[4], u16 port }
 *                             scheme: 0 tcp, 1 udp, 2 ws, 3 http; + 16 over TLS
 *     opaque checksum[2]      first bytes of SHA-256(label ‖ everything above)
 * ```
 *
 * With two hints it has 100 characters: a QR code of version 5. The checksum tells a mistyped code
 * from a wrong one; it protects nothing.
 *
 * ```text
 *   guest key   X25519 secret = HKDF(token, salt doorKey, info "openim link guest v1")
 *               static key of the new device's channel to the node: lets it in as a guest
 *   proof key   HKDF(token, salt doorKey, info "openim link proof v1")     link-channel.ts
 * ```
 */
import { base64urlnopad } from '@scure/base'
import { concat, equalBytes, utf8 } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import { crypto } from '../../crypto/index.ts'
import type { DhKeyPair } from '../../crypto/provider.ts'
import { encode, fixed, struct, tryDecode, u16, u8, vector } from '../codec/struct.ts'
import type { Codec } from '../codec/struct.ts'
import { limits } from '../limits.ts'

export interface LinkCode {
  /** 32 bytes. */
  readonly doorKey: Uint8Array
  /** 16 bytes, secret. */
  readonly token: Uint8Array
  /** Where the node may be dialled: `tcp://192.0.2.7:4482`. IPv4 only; the rest is said by hand. */
  readonly hints: readonly string[]
}

export interface LinkKeys {
  readonly guestKeys: DhKeyPair
  /** 32 bytes. */
  readonly proofKey: Uint8Array
}

interface Hint {
  readonly scheme: number
  readonly ipv4: Uint8Array
  readonly port: number
}

interface Fields {
  readonly head: number
  readonly doorKey: Uint8Array
  readonly token: Uint8Array
  readonly hints: Hint[]
}

const prefix = 'openim-link:'
const head = 1 << 4
const checksumLabel = utf8('openim link code v1')
const checksumBytes = 2
export const linkTokenBytes = 16
const schemes: Readonly<Record<string, number>> = {
  tcp: 0, udp: 1, ws: 2, http: 3, tls: 16, wss: 18, https: 19,
}
const schemeNames = new Map(Object.entries(schemes).map(([name, code]) => [code, name]))

const fieldsCodec: Codec<Fields> = struct<Fields>({
  head: u8,
  doorKey: fixed(32),
  token: fixed(linkTokenBytes),
  hints: vector(struct<Hint>({ scheme: u8, ipv4: fixed(4), port: u16 }), limits.linkHintsMax),
})

/** Hints that have no short form are left out. */
export function formatLinkCode(code: LinkCode): string {
  const hints = code.hints.map(packHint).filter((hint) => hint !== undefined).slice(0, limits.linkHintsMax)
  const content = encode(fieldsCodec, { head, doorKey: code.doorKey, token: code.token, hints })
  return prefix + base64urlnopad.encode(concat(content, checksum(content)))
}

/** Refuses LINK_CODE_FORM (no link code, or mistyped) or LINK_CODE_VERSION (of a newer openIM). */
export function parseLinkCode(text: string): Result<LinkCode> {
  const trimmed = text.trim()
  if (!trimmed.toLowerCase().startsWith(prefix) || trimmed.length > limits.linkCodeBytesMax) return notACode()
  let bytes: Uint8Array
  try {
    bytes = base64urlnopad.decode(trimmed.slice(prefix.length))
  } catch {
    return notACode()
  }
  const content = bytes.subarray(0, Math.max(0, bytes.length - checksumBytes))
  if (!equalBytes(checksum(content), bytes.subarray(content.length))) return notACode()
  if ((content[0] ?? 0) >> 4 !== head >> 4) {
    return { ok: false, code: 'LINK_CODE_VERSION', detail: 'a link code of a newer openIM: update this one' }
  }
  const fields = tryDecode(fieldsCodec, content)
  if (!fields.ok) return notACode()
  const { doorKey, token } = fields.value
  const hints = fields.value.hints.map(unpackHint).filter((hint) => hint !== undefined)
  return { ok: true, value: { doorKey: doorKey.slice(), token: token.slice(), hints } }
}

export function linkKeys({ token, doorKey }: Pick<LinkCode, 'token' | 'doorKey'>): LinkKeys {
  const derive = (label: string): Uint8Array =>
    crypto.hkdf({ secret: token, salt: doorKey, info: utf8(label), length: 32 })
  return {
    guestKeys: crypto.dhKeyPair(derive('openim link guest v1')),
    proofKey: derive('openim link proof v1'),
  }
}

function packHint(address: string): Hint | undefined {
  const match = /^([a-z0-9]+):\/\/(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3}):(\d{1,5})$/.exec(address)
  const scheme = match === null ? undefined : schemes[match[1]!]
  if (match === null || scheme === undefined) return undefined
  const numbers = match.slice(2).map(Number)
  const port = numbers.pop()!
  if (numbers.some((part) => part > 255) || port < 1 || port > 65_535) return undefined
  return { scheme, ipv4: Uint8Array.from(numbers), port }
}

function unpackHint({ scheme, ipv4, port }: Hint): string | undefined {
  const name = schemeNames.get(scheme)
  return name === undefined || port === 0 ? undefined : `${name}://${ipv4.join('.')}:${port}`
}

function checksum(content: Uint8Array): Uint8Array {
  return crypto.sha256(concat(checksumLabel, content)).subarray(0, checksumBytes)
}

function notACode(): Result<never> {
  return { ok: false, code: 'LINK_CODE_FORM', detail: 'this is no link code, or a letter of it is wrong' }
}

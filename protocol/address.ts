/**
 * The address of an account: `oim1…`, 63 characters, what people may print on a card.
 *
 * ```text
 *   bech32m("oim", u8 version = 1 ‖ opaque rootKey[32])      BIP 350; 53 data words, 6 of checksum
 * ```
 *
 * bech32m finds every error of up to four characters, has no look-alike letters and survives a
 * double click; upper case is read too (it makes smaller QR codes). The key must be a torsion-free
 * Ed25519 point, because location records blind it: a blinded key with torsion would not be
 * unlinkable (Tor rend-spec-v3 §A.2).
 */
import { bech32m } from '@scure/base'
import { concat } from '../crypto/bytes.ts'
import { assert } from '../crypto/errors.ts'
import type { Result } from '../crypto/errors.ts'
import { crypto } from '../crypto/index.ts'

const prefix = 'oim'
const version = 1
const textLength = 63
const shape = /^oim1[02-9ac-hj-np-z]{59}$/

export function formatAddress(rootKey: Uint8Array): string {
  assert(rootKey.length === 32, `a root key has 32 bytes, got ${rootKey.length}`)
  return bech32m.encode(prefix, bech32m.toWords(concat(new Uint8Array([version]), rootKey)))
}

/**
 * The root key behind an address that somebody typed or pasted.
 * Refuses with ADDRESS_FORMAT, ADDRESS_CHECKSUM, ADDRESS_VERSION or ADDRESS_KEY.
 */
export function parseAddress(text: string): Result<Uint8Array> {
  const trimmed = text.trim()
  const lower = trimmed.toLowerCase()
  const oneCase = trimmed === lower || trimmed === trimmed.toUpperCase()
  if (!oneCase || !shape.test(lower)) return refuse('ADDRESS_FORMAT', formatHint(lower))
  const decoded = bech32m.decodeUnsafe(lower)
  if (decoded === undefined) {
    return refuse('ADDRESS_CHECKSUM', 'a character of the address is wrong: copy it again')
  }
  const payload = bech32m.fromWordsUnsafe(decoded.words)
  if (payload === undefined || payload === null || payload.length !== 33) {
    return refuse('ADDRESS_FORMAT', formatHint(lower))
  }
  if (payload[0] !== version) {
    return refuse('ADDRESS_VERSION', `an address of version ${payload[0]}, not ${version}: update openIM`)
  }
  const rootKey = payload.slice(1)
  if (!crypto.isVerifyKey(rootKey)) {
    return refuse('ADDRESS_KEY', 'the address holds no usable key: ask its owner for it again')
  }
  return { ok: true, value: rootKey }
}

function refuse(code: string, detail: string): Result<never> {
  return { ok: false, code, detail }
}

function formatHint(lower: string): string {
  if (lower.startsWith('openim:')) return 'this is an invite, not an address: use it with "add"'
  if (lower.startsWith('oim1') && lower.length !== textLength) {
    return `an address has ${textLength} characters, this has ${lower.length}: copy all of it`
  }
  return `an address is oim1 and ${textLength - 4} letters and digits`
}

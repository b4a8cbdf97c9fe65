/**
 * A safety number as people pass it on: 60 digits, or what a QR code holds.
 *
 * ```text
 *   "openim-verify:" ‖ base64url without padding (RFC 4648 §5) of the scannable form,
 *                      65 bytes (crypto/safety-number.ts)
 * ```
 *
 * 101 characters, so the QR code is of version 5 like an invite's. Nothing in it is secret. Readers
 * put up with white space anywhere, and with hyphens between groups of digits. A form that was
 * damaged on the way is told from one that does not match: the second is an alarm, the first is not.
 */
import { base64urlnopad } from '@scure/base'
import type { Result } from '../crypto/errors.ts'
import { safetyNumberVersion, scannableBytes } from '../crypto/safety-number.ts'

const scheme = 'openim-verify:'
const digitsLength = 60
/** Longer text is not looked at: it is no safety number, whatever it is. */
const pastedLengthMax = 512

export type SafetyCode = { readonly digits: string } | { readonly scanned: Uint8Array }

export function formatSafetyCode(scannable: Uint8Array): string {
  return scheme + base64urlnopad.encode(scannable)
}

/** Either form. Refuses with SAFETY_NUMBER_FORMAT. */
export function parseSafetyCode(text: string): Result<SafetyCode> {
  if (text.length > pastedLengthMax) return refuse(`${text.length} characters are no safety number`)
  const dense = text.replace(/\s/g, '')
  if (dense.slice(0, scheme.length).toLowerCase() !== scheme) return parseDigits(dense)
  const scanned = decodeBase64url(dense.slice(scheme.length))
  // Of another version only the first byte is known.
  const isWhole = scanned !== undefined && scanned.length > 0
    && (scanned[0] !== safetyNumberVersion || scanned.length === scannableBytes)
  return isWhole ? { ok: true, value: { scanned } } : refuse('a part of the code is missing: scan it again')
}

function parseDigits(dense: string): Result<SafetyCode> {
  const digits = dense.replaceAll('-', '')
  if (/^\d*$/.test(digits) && digits.length === digitsLength) return { ok: true, value: { digits } }
  const got = /^\d*$/.test(digits) ? `${digits.length} digits` : 'other text'
  return refuse(`a safety number has ${digitsLength} digits, this is ${got}`)
}

function decodeBase64url(text: string): Uint8Array | undefined {
  try {
    return base64urlnopad.decode(text)
  } catch {
    return undefined
  }
}

function refuse(detail: string): Result<never> {
  return { ok: false, code: 'SAFETY_NUMBER_FORMAT', detail }
}

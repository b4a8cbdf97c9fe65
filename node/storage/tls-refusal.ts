/**
 * What the drivers say of a database whose TLS cannot be trusted, told apart from one that does not
 * answer: nothing passes by waiting when a certificate is of a strange authority, names another host
 * or has expired, or when the server speaks no TLS at all.
 */
import { OpenIMError } from '../../crypto/errors.ts'

/** Codes of Node's `tls`: https://nodejs.org/api/tls.html#x509-certificate-error-codes, and its own. */
const refusals = new RegExp([
  'CERT', '^UNABLE_TO_', '^ERR_(TLS|SSL)_', '^(INVALID_(CA|PURPOSE)|PATH_LENGTH_EXCEEDED|HOSTNAME_MISMATCH)$',
].join('|'))

export function isTlsRefusal(code: string): boolean {
  return refusals.test(code)
}

export function tlsError(reason: string, cause?: unknown): OpenIMError {
  const message = `the TLS of the database is refused (${reason}); see its certificate, ?ca=FILE, the host`
  return new OpenIMError('STORE_TLS', message, {
    details: { reason }, ...cause === undefined ? {} : { cause },
  })
}

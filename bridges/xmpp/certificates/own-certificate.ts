/**
 * The certificate that we show for our domain, looked at before anybody else does: other servers refuse
 * one that is for another name, for another purpose or out of date, and their refusals say little.
 */
import { OpenIMError } from '../../../crypto/errors.ts'
import { verifyLeaf } from '../s2s/certificate-path.ts'

/** @throws CONFIG_TLS with what is wrong and what was wanted */
export function checkOwnCertificate(
  pem: string,
  { domain, path, nowMs }: { readonly domain: string, readonly path: string, readonly nowMs: number },
): void {
  const verdict = verifyLeaf(pem, { domain, nowMs })
  if (verdict.ok) return
  throw new OpenIMError(
    'CONFIG_TLS', `xmpp.cert: the certificate in ${path} ${verdict.text}; it must be one of a server for `
      + `${domain}, in date`,
  )
}

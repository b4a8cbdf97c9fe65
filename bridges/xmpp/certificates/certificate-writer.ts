/**
 * Writes a certificate of version 3 (RFC 5280 §4.1), ECDSA P-256 with SHA-256, for the two kinds that a
 * house needs: its authority, held to one domain, and a server's.
 *
 * ```text
 *   subject, issuer      CN alone                             authority          server
 *   basicConstraints     critical                             CA, path length 0  –
 *   keyUsage             critical                             sign certificates  digital signature
 *   nameConstraints      critical: below the domain,          yes                –
 *                        no addresses
 *   extendedKeyUsage     serverAuth                           yes                yes
 *   subjectAltName                                            –                  DNS names
 *   key identifiers      SHA-256 of the key, 20 bytes (RFC 7093 §2)
 * ```
 */
import { createHash, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { derTags } from '../s2s/der.ts'
import { derBitsOf, derOidOf, derSequence, derTimeOf, derValue } from './der-writer.ts'

export interface CertificateRequest {
  /** At most 64 characters (RFC 5280 appendix A, ub-common-name). */
  readonly subject: string
  readonly publicKey: KeyObject
  readonly issuer: { readonly name: string, readonly privateKey: KeyObject, readonly publicKey: KeyObject }
  /** 16 bytes, of chance. */
  readonly serial: Uint8Array
  readonly fromMs: number
  readonly toMs: number
  readonly use:
    | { readonly as: 'authority', readonly domain: string }
    | { readonly as: 'server', readonly names: readonly string[] }
}

const usage = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const
const serverAuth = '1.3.6.1.5.5.7.3.1'
const dnsName = 0x82
const addressName = 0x87

/** In DER. */
export function writeCertificate(request: CertificateRequest): Buffer {
  const { subject, publicKey, issuer, serial, fromMs, toMs } = request
  const algorithm = derSequence(derOidOf('1.2.840.10045.4.3.2'))
  const body = derSequence(
    derValue(0xa0, derValue(derTags.integer, Buffer.from([2]))),
    // The first bits 01: positive, and as long as it is.
    derValue(derTags.integer, Buffer.from([(serial[0]! & 0x3f) | 0x40, ...serial.subarray(1)])),
    algorithm,
    nameOf(issuer.name),
    derSequence(derTimeOf(fromMs), derTimeOf(toMs)),
    nameOf(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    derValue(0xa3, derSequence(...extensions(request))),
  )
  return derSequence(body, algorithm, derValue(
    derTags.bitString, Buffer.from([0]), sign('sha256', body, issuer.privateKey),
  ))
}

function extensions({ publicKey, issuer, use }: CertificateRequest): Buffer[] {
  const isAuthority = use.as === 'authority'
  const basic = isAuthority
    ? [derValue(derTags.boolean, Buffer.from([0xff])), derValue(derTags.integer, Buffer.from([0]))] : []
  const bits = isAuthority ? [usage.keyCertSign, usage.cRLSign] : [usage.digitalSignature]
  return [
    extension('2.5.29.19', derSequence(...basic), 'critical'),
    extension('2.5.29.15', derBitsOf(bits), 'critical'),
    extension('2.5.29.37', derSequence(derOidOf(serverAuth))),
    use.as === 'authority' ? extension('2.5.29.30', constraintsTo(use.domain), 'critical')
      : extension('2.5.29.17', derSequence(...use.names.map((name) => derValue(dnsName, ascii(name))))),
    extension('2.5.29.14', derValue(derTags.octetString, keyId(publicKey))),
    extension('2.5.29.35', derSequence(derValue(0x80, keyId(issuer.publicKey)))),
  ]
}

function extension(id: string, value: Buffer, critical?: 'critical'): Buffer {
  const mark = critical === undefined ? [] : [derValue(derTags.boolean, Buffer.from([0xff]))]
  return derSequence(derOidOf(id), ...mark, derValue(derTags.octetString, value))
}

/** Of addresses everything is excluded, IPv4 and IPv6: an unconstrained form of name is a free one. */
function constraintsTo(domain: string): Buffer {
  const tree = (tag: number, base: Uint8Array): Buffer => derSequence(derValue(tag, base))
  return derSequence(
    derValue(0xa0, tree(dnsName, ascii(domain))),
    derValue(0xa1, tree(addressName, Buffer.alloc(8)), tree(addressName, Buffer.alloc(32))),
  )
}

function nameOf(commonName: string): Buffer {
  const text = derValue(derTags.utf8String, Buffer.from(commonName))
  return derSequence(derValue(derTags.set, derSequence(derOidOf('2.5.4.3'), text)))
}

function keyId(key: KeyObject): Buffer {
  const spki = key.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest().subarray(0, 20)
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

/**
 * What a certificate says of itself (RFC 5280 §4), as far as path validation and name matching need it:
 *
 * ```text
 *   Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
 *   tbsCertificate ::= SEQUENCE { [0] version, serial, algorithm, issuer, validity, subject,
 *                                 subjectPublicKeyInfo, [1] [2] unique ids, [3] extensions }
 * ```
 */
import {
  DerError, derAscii, derBits, derBoolean, derChildren, derCount, derOid, derTags, derTime, readDer,
} from './der.ts'
import type { DerValue } from './der.ts'

/** Names of the subjectAltName that say who a server is. */
export interface SubjectNames {
  readonly dns: readonly string[]
  /** RFC 6120 §13.7.1.4. */
  readonly xmppAddrs: readonly string[]
  /** RFC 4985, with service: `_xmpp-server.a.test`. */
  readonly srvNames: readonly string[]
  /** Forms of names besides these: 1 e-mail, 4 directory, 6 URI, 7 address; 0 other otherNames. */
  readonly otherForms: ReadonlySet<number>
}

export interface NameConstraints {
  readonly permittedDns: readonly string[]
  readonly excludedDns: readonly string[]
  /** Forms besides DNS that are constrained, as tag numbers: names of them are refused. */
  readonly otherForms: ReadonlySet<number>
}

export interface CertificateFields {
  /** Encoded, for comparison. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly signatureAlgorithm: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly isAuthority: boolean
  /** Authorities allowed between this one and the leaf. */
  readonly pathLength: number
  /** Absent: any use. */
  readonly keyUsage: ReadonlySet<number> | undefined
  readonly purposes: ReadonlySet<string> | undefined
  readonly names: SubjectNames
  readonly constraints: NameConstraints | undefined
  /** Of extensions that are critical and unknown to us: the certificate must be refused (§4.2). */
  readonly unknownCritical: readonly string[]
}

const otherNames = { xmppAddr: '1.3.6.1.5.5.7.8.5', srvName: '1.3.6.1.5.5.7.8.7' } as const

const extensionIds = {
  keyUsage: '2.5.29.15', subjectAltName: '2.5.29.17', basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30', purposes: '2.5.29.37',
} as const

/** May be critical and bind nobody who asks for no policy: certificate policies. */
const harmless = new Set(['2.5.29.32'])

const noNames: SubjectNames = { dns: [], xmppAddrs: [], srvNames: [], otherForms: new Set() }

/** @throws DerError for whatever is no certificate in DER, or says one thing twice */
export function readCertificate(der: Uint8Array): CertificateFields {
  const [body, algorithm] = parts(readDer(der, derTags.sequence), 3)
  const fields = derChildren(body!)
  const version = fields[0]?.tag === 0xa0 ? derCount(readDer(fields.shift()!.content)) : 0
  const [, innerAlgorithm, issuer, validity, subject, , ...rest] = fields
  if (subject === undefined || !sameBytes(innerAlgorithm!.whole, algorithm!.whole)) {
    throw new DerError('two signature algorithms')
  }
  const [notBefore, notAfter] = parts(validity!, 2)
  const extensions = readExtensions(rest.find(({ tag }) => tag === 0xa3))
  if (extensions.size > 0 && version !== 2) throw new DerError('extensions before version 3')
  const value = (id: string): DerValue | undefined => {
    const found = extensions.get(id)
    return found === undefined ? undefined : readDer(found.value)
  }
  const known = new Set<string>([...Object.values(extensionIds), ...harmless])
  const usage = value(extensionIds.keyUsage)
  const purposes = value(extensionIds.purposes)
  const names = value(extensionIds.subjectAltName)
  const constraints = value(extensionIds.nameConstraints)
  return {
    issuer: issuer!.whole,
    subject: subject.whole,
    signatureAlgorithm: derOid(derChildren(algorithm!)[0]!),
    notBeforeMs: derTime(notBefore!),
    notAfterMs: derTime(notAfter!),
    ...readBasicConstraints(value(extensionIds.basicConstraints)),
    keyUsage: usage === undefined ? undefined : derBits(usage),
    purposes: purposes === undefined ? undefined : new Set(derChildren(purposes).map(derOid)),
    names: names === undefined ? noNames : readNames(names),
    constraints: constraints === undefined ? undefined : readConstraints(constraints),
    unknownCritical: [...extensions].filter(([id, { isCritical }]) => isCritical && !known.has(id))
      .map(([id]) => id),
  }
}

function parts(value: DerValue, count: number): DerValue[] {
  const children = derChildren(value)
  if (children.length !== count) throw new DerError(`${children.length} parts instead of ${count}`)
  return children
}

function readExtensions(
  field: DerValue | undefined,
): ReadonlyMap<string, { readonly isCritical: boolean, readonly value: Uint8Array }> {
  const found = new Map<string, { isCritical: boolean, value: Uint8Array }>()
  if (field === undefined) return found
  for (const extension of derChildren(readDer(field.content, derTags.sequence))) {
    const [id, ...rest] = derChildren(extension)
    const value = rest.pop()
    if (id === undefined || value?.tag !== derTags.octetString || rest.length > 1) {
      throw new DerError('no extension')
    }
    const oid = derOid(id)
    if (found.has(oid)) throw new DerError(`extension ${oid} twice`)
    found.set(oid, { isCritical: rest[0] !== undefined && derBoolean(rest[0]), value: value.content })
  }
  return found
}

function readBasicConstraints(value: DerValue | undefined): { isAuthority: boolean, pathLength: number } {
  const fields = value === undefined ? [] : derChildren(value)
  const isAuthority = fields[0]?.tag === derTags.boolean && derBoolean(fields.shift()!)
  return { isAuthority, pathLength: fields[0] === undefined ? Infinity : derCount(fields[0]) }
}

function readNames(value: DerValue): SubjectNames {
  const dns: string[] = []
  const xmppAddrs: string[] = []
  const srvNames: string[] = []
  const otherForms = new Set<number>()
  for (const name of derChildren(value)) {
    const form = name.tag & 0x1f
    if (name.tag === 0x82) {
      dns.push(derAscii(name.content))
    } else if (name.tag === 0xa0) {
      const [id, wrapped] = parts(name, 2)
      const oid = derOid(id!)
      const { tag, content } = readDer(wrapped!.content)
      if (oid === otherNames.xmppAddr && tag === derTags.utf8String) xmppAddrs.push(utf8(content))
      else if (oid === otherNames.srvName && tag === derTags.ia5String) srvNames.push(derAscii(content))
      else otherForms.add(0)
    } else {
      otherForms.add(form)
    }
  }
  return { dns, xmppAddrs, srvNames, otherForms }
}

/** Subtrees with a minimum or maximum do not exist in this profile (RFC 5280 §4.2.1.10). */
function readConstraints(value: DerValue): NameConstraints {
  const lists: { readonly [tag: number]: string[] } = { 0xa0: [], 0xa1: [] }
  const otherForms = new Set<number>()
  for (const list of derChildren(value)) {
    for (const subtree of derChildren(list)) {
      const [base] = parts(subtree, 1)
      if (base!.tag === 0x82 && lists[list.tag] !== undefined) {
        lists[list.tag]!.push(derAscii(base!.content).toLowerCase().replace(/^\./, ''))
      } else {
        otherForms.add(base!.tag & 0x1f)
      }
    }
  }
  return { permittedDns: lists[0xa0]!, excludedDns: lists[0xa1]!, otherForms }
}

function utf8(content: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content)
  } catch {
    throw new DerError('text that is no UTF-8')
  }
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

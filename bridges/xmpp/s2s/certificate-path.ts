/**
 * Validates the certificate of another server (RFC 5280 §6.1) up to an authority that we trust.
 *
 * Node cannot do it for us where the other server is the TLS client. Authorities have issued for servers
 * alone since 2026, so OpenSSL refuses their certificates as those of clients (`INVALID_PURPOSE`); and it
 * says the same of a self-signed one, because it looks at the purpose first. Who ignores that error
 * lets anybody in. So the path is built and checked here, for both directions alike, and signatures by
 * OpenSSL.
 *
 * What is checked of each certificate: signature, time, issuer; of authorities: basic constraints, path
 * length, key usage, purposes and DNS name constraints (held against XmppAddr and SRV-ID, too, which is
 * stricter than the RFC: a DNS constraint says which domains an authority may speak for); of the leaf:
 * serverAuth, digital signature, and its names. Whatever is constrained in a way we do not know is
 * refused. Not done: revocation (authorities give it up for short-lived certificates) and certificate
 * policies.
 */
import { createHash, X509Certificate } from 'node:crypto'
import { readCertificate } from './certificate-fields.ts'
import type { CertificateFields, NameConstraints } from './certificate-fields.ts'
import { domainOfXmppAddr, isNamed } from './certificate-names.ts'
import { DerError } from './der.ts'

export type CertificateReason =
  | 'absent' | 'malformed' | 'expired' | 'not-yet-valid' | 'untrusted' | 'self-signed' | 'purpose'
  | 'constraint' | 'weak' | 'other-name' | 'not-pinned'

export type CertificateVerdict =
  | { readonly ok: true }
  /** `text` completes "the certificate of b.test …". */
  | { readonly ok: false, readonly reason: CertificateReason, readonly text: string }

/** What the other end of a TLS connection sent, as Node hangs it up at the leaf. */
export function presentedBy(leaf: X509Certificate | undefined): Presented {
  const others: Uint8Array[] = []
  // A root is its own issuer in some versions of Node, and absent in others.
  for (let at = leaf?.issuerCertificate; at !== undefined && others.length < presentedMax;) {
    const { raw } = at
    if (others.some((one) => raw.equals(one))) break
    others.push(raw)
    at = at.issuerCertificate
  }
  return { leaf: leaf?.raw, others }
}

export interface Presented {
  /** DER of the certificate whose key the other end proved to have. */
  readonly leaf: Uint8Array | undefined
  /** DER of what it sent beside it, in any order. */
  readonly others: readonly Uint8Array[]
}

/** Names, keys and time of a certificate, in the form that path building asks for. */
interface Certificate {
  readonly x509: X509Certificate
  readonly fields: CertificateFields
}

/** Authorities between leaf and root, at most; in the world there are one or two. */
const depthMax = 6
/** Signatures checked for one path: a peer who sends a tangle of issuers pays with a refusal. */
const signaturesMax = 24
const presentedMax = 16
const rsaBitsMin = 2_048

const serverAuth = '1.3.6.1.5.5.7.3.1'
const anyPurpose = '2.5.29.37.0'
const usage = { digitalSignature: 0, keyCertSign: 5 } as const

/** SHA-2 with RSA (PKCS #1 and PSS) and ECDSA, EdDSA. */
const strongAlgorithms = new Set([
  '1.2.840.113549.1.1.10', '1.2.840.113549.1.1.11', '1.2.840.113549.1.1.12', '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2', '1.2.840.10045.4.3.3', '1.2.840.10045.4.3.4', '1.3.101.112', '1.3.101.113',
])

/** Authorities by the name they have. Parsed when first looked for: a system trusts 150 of them. */
export class TrustedRoots {
  readonly #pems: readonly string[]
  #bySubject: ReadonlyMap<string, readonly Certificate[]> | undefined

  /** @param pems each with one certificate or several */
  constructor(pems: readonly string[]) {
    this.#pems = pems
  }

  named(subject: Uint8Array): readonly Certificate[] {
    this.#bySubject ??= this.#index()
    return this.#bySubject.get(keyOf(subject)) ?? []
  }

  #index(): ReadonlyMap<string, readonly Certificate[]> {
    const bySubject = new Map<string, Certificate[]>()
    const blocks = this.#pems.flatMap((pem) =>
      pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [])
    for (const block of blocks) {
      const root = parse(block)
      if (root === undefined) continue
      const key = keyOf(root.fields.subject)
      bySubject.set(key, [...bySubject.get(key) ?? [], root])
    }
    return bySubject
  }
}

/** Whether the other end may speak for `domain`, by certificate. */
export function verifyCertificate(
  presented: Presented,
  domain: string,
  context: { readonly roots: TrustedRoots, readonly nowMs: number },
): CertificateVerdict {
  if (presented.leaf === undefined) return refused('absent', 'was not sent')
  const leaf = parse(presented.leaf)
  if (leaf === undefined) return refused('malformed', 'cannot be read')
  const own = checkLeaf(leaf.fields, context.nowMs)
  if (own !== undefined) return own
  const others = presented.others.slice(0, presentedMax).map(parse).filter((one) => one !== undefined)
  const search = new PathSearch(others, context)
  const path = search.from(leaf)
  if (!path.ok) return path
  return checkNames(leaf.fields, domain)
}

/**
 * Whether a certificate says that it is for a server of `domain`, now: all that its owner can find wrong
 * with it before anybody else looks. Who issued it is not looked at.
 */
export function verifyLeaf(
  certificate: Uint8Array | string,
  { domain, nowMs }: { readonly domain: string, readonly nowMs: number },
): CertificateVerdict {
  const leaf = parse(certificate)
  if (leaf === undefined) return refused('malformed', 'cannot be read')
  const own = checkLeaf(leaf.fields, nowMs)
  return own ?? checkNames(leaf.fields, domain)
}

function checkNames(fields: CertificateFields, domain: string): CertificateVerdict {
  return isNamed(fields.names, domain) ? { ok: true }
    : refused('other-name', `is not for this domain but for ${shownNames(fields)}`)
}

/** Whether the certificate or its key is one of those agreed on: SHA-256, lower-case hexadecimal. */
export function verifyPinned({ leaf }: Presented, pins: readonly string[]): CertificateVerdict {
  if (leaf === undefined) return refused('absent', 'was not sent')
  const x509 = parse(leaf)?.x509
  if (x509 === undefined) return refused('malformed', 'cannot be read')
  const key = x509.publicKey.export({ type: 'spki', format: 'der' })
  const hashes = [leaf, key].map((bytes) => createHash('sha256').update(bytes).digest('hex'))
  return hashes.some((hash) => pins.includes(hash)) ? { ok: true }
    : refused('not-pinned', `is not the one that is pinned here; its SHA-256 is ${hashes[0]!}`)
}

/** Depth first from the leaf: trusted issuers before those sent along. Keeps the most telling refusal. */
class PathSearch {
  readonly #others: readonly Certificate[]
  readonly #context: { readonly roots: TrustedRoots, readonly nowMs: number }
  #signaturesLeft = signaturesMax
  #refusal: CertificateVerdict | undefined

  constructor(
    others: readonly Certificate[],
    context: { readonly roots: TrustedRoots, readonly nowMs: number },
  ) {
    this.#others = others
    this.#context = context
  }

  from(leaf: Certificate): CertificateVerdict {
    // A certificate that is trusted by itself needs nobody to vouch for it.
    const isRoot = this.#context.roots.named(leaf.fields.subject)
      .some(({ x509 }) => x509.raw.equals(leaf.x509.raw))
    if (isRoot || this.#climb([leaf])) return { ok: true }
    if (this.#refusal !== undefined) return this.#refusal
    const isOwn = keyOf(leaf.fields.subject) === keyOf(leaf.fields.issuer) && isSigned(leaf, leaf)
    return isOwn ? refused('self-signed', 'is self-signed')
      : refused('untrusted', 'was issued by an authority that is not trusted here')
  }

  /** @param path leaf first */
  #climb(path: readonly Certificate[]): boolean {
    const top = path.at(-1)!
    const { issuer } = top.fields
    for (const root of this.#context.roots.named(issuer)) {
      if (this.#isIssuer(root, path, 'root')) return true
    }
    if (path.length > depthMax) return false
    const name = keyOf(issuer)
    return this.#others.some((one) => keyOf(one.fields.subject) === name
      && !path.some(({ x509 }) => x509.raw.equals(one.x509.raw))
      && this.#isIssuer(one, path, 'between') && this.#climb([...path, one]))
  }

  #isIssuer(issuer: Certificate, path: readonly Certificate[], place: 'root' | 'between'): boolean {
    if (this.#signaturesLeft-- <= 0) return false
    if (!isSigned(path.at(-1)!, issuer)) return false
    const refusal = checkAuthority(issuer, path, { nowMs: this.#context.nowMs, place })
    if (refusal !== undefined) this.#refusal = refusal
    return refusal === undefined
  }
}

function isSigned(certificate: Certificate, issuer: Certificate): boolean {
  try {
    return certificate.x509.verify(issuer.x509.publicKey)
  } catch {
    return false
  }
}

function checkLeaf(leaf: CertificateFields, nowMs: number): CertificateVerdict | undefined {
  const { keyUsage, purposes } = leaf
  if (keyUsage !== undefined && !keyUsage.has(usage.digitalSignature)) {
    return refused('purpose', 'is not for signatures')
  }
  if (!allowsServer(purposes)) return refused('purpose', 'is not for servers (serverAuth)')
  return checkAny(leaf, nowMs)
}

/** What holds for every certificate of a path. */
function checkAny(fields: CertificateFields, nowMs: number, whose = ''): CertificateVerdict | undefined {
  if (fields.notAfterMs < nowMs) return refused('expired', `has expired${whose}`)
  if (fields.notBeforeMs > nowMs) return refused('not-yet-valid', `is not valid yet${whose}`)
  if (fields.unknownCritical.length > 0) {
    return refused('constraint', `has an unknown critical extension ${fields.unknownCritical[0]!}${whose}`)
  }
  return undefined
}

function checkAuthority(
  issuer: Certificate,
  path: readonly Certificate[],
  { nowMs, place }: { readonly nowMs: number, readonly place: 'root' | 'between' },
): CertificateVerdict | undefined {
  const { fields, x509 } = issuer
  const below = path.at(-1)!.fields
  const whose = ' (that of an authority above it)'
  if (!strongAlgorithms.has(below.signatureAlgorithm)) {
    return refused('weak', `is signed with a weak algorithm (${below.signatureAlgorithm})`)
  }
  if ((x509.publicKey.asymmetricKeyDetails?.modulusLength ?? rsaBitsMin) < rsaBitsMin) {
    return refused('weak', 'is signed with a weak key')
  }
  const any = checkAny(fields, nowMs, whose)
  if (any !== undefined) return any
  if (!fields.isAuthority || (fields.keyUsage !== undefined && !fields.keyUsage.has(usage.keyCertSign))) {
    return refused('constraint', 'was issued by a certificate that is no authority')
  }
  // A root is trusted for what its owner trusts it for; what stands between was told its purpose.
  if (place === 'between' && !allowsServer(fields.purposes)) {
    return refused('purpose', 'was issued by an authority that is not for servers')
  }
  // Not counted: an authority's certificate for a new key of its own (RFC 5280 §4.2.1.9).
  const between = path.slice(1).filter((one) => keyOf(one.fields.subject) !== keyOf(one.fields.issuer)).length
  if (between > fields.pathLength) return refused('constraint', 'has more authorities above it than allowed')
  if (fields.constraints !== undefined && !path.every((one) => isWithin(one.fields, fields.constraints!))) {
    return refused('constraint', 'is outside the domains that its authority may issue for')
  }
  return undefined
}

/** Authorities constrain purposes by listing them, as if it were a constraint of the path. */
function allowsServer(purposes: ReadonlySet<string> | undefined): boolean {
  return purposes === undefined || purposes.has(serverAuth) || purposes.has(anyPurpose)
}

const directoryForm = 4
const emptySequence = 2

function isWithin(fields: CertificateFields, constraints: NameConstraints): boolean {
  const { names, subject } = fields
  const { permittedDns, excludedDns, otherForms } = constraints
  if (otherForms.has(directoryForm) && subject.length > emptySequence) return false
  if ([...names.otherForms].some((form) => otherForms.has(form))) return false
  const isOther = names.xmppAddrs.length + names.srvNames.length > 0
  if (isOther && otherForms.has(0)) return false
  const domains = [
    ...names.dns,
    ...names.srvNames.map((name) => name.replace(/^[^.]*\./, '')),
    ...names.xmppAddrs.map((address) => domainOfXmppAddr(address) ?? address.replace(/^.*@/, '')),
  ].map((domain) => domain.toLowerCase())
  return domains.every((domain) => {
    // A wildcard reaches into an excluded tree below it.
    const reach = domain.replace(/^\*\./, '')
    const isExcluded = excludedDns.some((tree) =>
      isBelow(reach, tree) || (reach !== domain && isBelow(tree, reach)))
    return !isExcluded && (permittedDns.length === 0 || permittedDns.some((tree) => isBelow(reach, tree)))
  })
}

/** The empty tree is everything. */
function isBelow(domain: string, tree: string): boolean {
  return tree === '' || domain === tree || domain.endsWith(`.${tree}`)
}

function parse(certificate: Uint8Array | string): Certificate | undefined {
  try {
    const x509 = new X509Certificate(certificate)
    return { x509, fields: readCertificate(x509.raw) }
  } catch (error) {
    // OpenSSL's own refusals are plain errors; ours is named.
    const { code = '' } = error as { code?: string }
    if (error instanceof DerError || code.startsWith('ERR_')) return undefined
    throw error
  }
}

function keyOf(name: Uint8Array): string {
  return Buffer.from(name).toString('latin1')
}

function refused(reason: CertificateReason, text: string): CertificateVerdict {
  return { ok: false, reason, text }
}

function shownNames({ names }: CertificateFields): string {
  const all = [...new Set([...names.dns, ...names.xmppAddrs])].map((name) => name.replace(/[^\w.*-]/g, '?'))
  return all.length === 0 ? 'none' : all.slice(0, 3).map((name) => name.slice(0, 80)).join(', ')
}

/**
 * Certificates for tests: an authority of its own, intermediates, and leaves of every kind that a
 * verifier must tell apart. Written as DER (RFC 5280) and signed by `node:crypto`, because the openssl
 * program cannot write half of the wrong ones and takes a process for each.
 *
 * ```ts
 * const ca = TestCA.create()
 * const good = ca.issue({ dns: ['a.test', '*.a.test'] })
 * good.fullChain      // PEM: leaf, then intermediates; what a server is given beside `good.key`
 * ca.pem              // PEM: what the other end trusts
 * TestCA.create().issue({ dns: ['a.test'] })       // same name of the authority, another key
 * selfSigned({ dns: ['a.test'], purposes: ['serverAuth'] })
 * ```
 */
import { X509Certificate, createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export type Purpose = 'serverAuth' | 'clientAuth' | 'emailProtection' | 'any'

export interface CertificateOptions {
  /** Of the subject; empty when left out, as it is in certificates of today. */
  readonly commonName?: string
  /** DNS-IDs of the subjectAltName, as they are to stand there. */
  readonly dns?: readonly string[]
  /** XmppAddr otherNames (RFC 6120 §13.7.1.4). */
  readonly xmppAddrs?: readonly string[]
  /** SRV-IDs (RFC 4985), `_xmpp-server.a.test`. */
  readonly srvNames?: readonly string[]
  readonly uris?: readonly string[]
  /** Extended key usage; both of TLS when left out, no extension when empty. */
  readonly purposes?: readonly Purpose[]
  /** Days from now; both may be negative. Default −1 and 90. */
  readonly fromDays?: number
  readonly toDays?: number
  /** An authority: basicConstraints with cA. */
  readonly isAuthority?: boolean
  /** Of an authority; no limit when left out. */
  readonly pathLength?: number
  /** Name constraints: DNS subtrees. */
  readonly permitted?: readonly string[]
  readonly excluded?: readonly string[]
  /** Extensions that nothing above writes. */
  readonly extensions?: readonly Extension[]
  /** Bits of keyUsage by number, left to right; what an authority or a leaf has when left out. */
  readonly keyUsage?: readonly number[]
  /** P-256 when left out. */
  readonly keyType?: 'ec' | 'rsa' | 'ed25519'
}

export interface Extension {
  readonly oid: string
  readonly critical?: boolean
  readonly value: Uint8Array
}

/** Key usage bits of RFC 5280 §4.2.1.3. */
export const keyUsageBits = { digitalSignature: 0, keyEncipherment: 2, keyCertSign: 5, cRLSign: 6 } as const

/** A certificate and its private key. */
export class Issued {
  readonly der: Buffer
  readonly privateKey: KeyObject
  /** Certificates between this one and the root, nearest first. */
  readonly above: readonly Issued[]

  constructor(der: Buffer, privateKey: KeyObject, above: readonly Issued[]) {
    this.der = der
    this.privateKey = privateKey
    this.above = above
  }

  get pem(): string {
    return this.x509.toString()
  }

  get x509(): X509Certificate {
    return new X509Certificate(this.der)
  }

  /** PEM of the private key (PKCS #8). */
  get key(): string {
    return this.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  }

  /** What a server sends: this one and those above, without the root. */
  get fullChain(): string {
    return [this, ...this.above].map(({ pem }) => pem).join('')
  }

  /** SHA-256 of the certificate, lower-case hexadecimal. */
  get fingerprint(): string {
    return createHash('sha256').update(this.der).digest('hex')
  }

  /** SHA-256 of its SubjectPublicKeyInfo, lower-case hexadecimal. */
  get keyFingerprint(): string {
    const spki = this.x509.publicKey.export({ type: 'spki', format: 'der' })
    return createHash('sha256').update(spki).digest('hex')
  }

  /** `NAME.crt` (whole chain) and `NAME.key`: what Prosody finds by the name of its host. */
  writeTo(folder: string, name: string): { readonly cert: string, readonly key: string } {
    mkdirSync(folder, { recursive: true })
    const paths = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
    writeFileSync(paths.cert, this.fullChain)
    writeFileSync(paths.key, this.key)
    return paths
  }
}

export class TestCA {
  readonly certificate: Issued
  readonly #name: Buffer

  private constructor(certificate: Issued, name: Buffer) {
    this.certificate = certificate
    this.#name = name
  }

  /** A root. Two with the same name differ in their keys alone. */
  static create(commonName = 'openIM test authority', options: CertificateOptions = {}): TestCA {
    const given = { purposes: [], isAuthority: true, toDays: 3_650, ...options, commonName }
    const root = make(given, undefined)
    return new TestCA(root, nameOf(given))
  }

  get pem(): string {
    return this.certificate.pem
  }

  issue(options: CertificateOptions): Issued {
    return make(options, this)
  }

  /** An authority below this one; what it issues carries it in its chain. */
  intermediate(options: CertificateOptions & { readonly commonName: string }): TestCA {
    const given = { purposes: [], isAuthority: true, ...options }
    return new TestCA(make(given, this), nameOf(given))
  }

  get issuer(): { readonly name: Buffer, readonly key: KeyObject, readonly chain: readonly Issued[] } {
    const { certificate } = this
    const isRoot = certificate.x509.checkIssued(certificate.x509)
    return {
      name: this.#name, key: certificate.privateKey,
      chain: isRoot ? [] : [certificate, ...certificate.above],
    }
  }
}

export function selfSigned(options: CertificateOptions): Issued {
  return make(options, undefined)
}

function make(options: CertificateOptions, authority: TestCA | undefined): Issued {
  const { publicKey, privateKey } = newKey(options.keyType ?? 'ec')
  const issuer = authority?.issuer ?? { name: nameOf(options), key: privateKey, chain: [] }
  const algorithm = signatureAlgorithm(issuer.key)
  const serial = randomBytes(16)
  serial[0] = serial[0]! & 0x7f | 0x40
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(serial),
    algorithm,
    issuer.name,
    sequence(time(options.fromDays ?? -1), time(options.toDays ?? 90)),
    nameOf(options),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensionsOf(options))),
  )
  const hash = issuer.key.asymmetricKeyType === 'ed25519' ? undefined : 'sha256'
  const der = sequence(body, algorithm, bitString(sign(hash, body, issuer.key)))
  return new Issued(der, privateKey, issuer.chain)
}

function newKey(type: 'ec' | 'rsa' | 'ed25519'): { publicKey: KeyObject, privateKey: KeyObject } {
  if (type === 'rsa') return generateKeyPairSync('rsa', { modulusLength: 2048 })
  if (type === 'ed25519') return generateKeyPairSync('ed25519')
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

function signatureAlgorithm(key: KeyObject): Buffer {
  if (key.asymmetricKeyType === 'rsa') return sequence(oid('1.2.840.113549.1.1.11'), tagged(0x05))
  return sequence(oid(key.asymmetricKeyType === 'ed25519' ? '1.3.101.112' : '1.2.840.10045.4.3.2'))
}

function extensionsOf(options: CertificateOptions): Buffer[] {
  const { isAuthority = false, pathLength, purposes = ['serverAuth', 'clientAuth'] } = options
  const found: Extension[] = []
  const names = generalNames(options)
  if (names.length > 0) {
    // Critical where the subject is empty (RFC 5280 §4.2.1.6).
    found.push({ oid: '2.5.29.17', critical: options.commonName === undefined, value: sequence(...names) })
  }
  const limit = pathLength === undefined ? [] : [integer(Buffer.from([pathLength]))]
  const constraints = isAuthority ? [tagged(0x01, Buffer.from([0xff])), ...limit] : []
  found.push({ oid: '2.5.29.19', critical: true, value: sequence(...constraints) })
  const { digitalSignature, keyCertSign, cRLSign } = keyUsageBits
  const usage = options.keyUsage ?? (isAuthority ? [keyCertSign, cRLSign] : [digitalSignature])
  found.push({ oid: '2.5.29.15', critical: true, value: bits(usage) })
  if (purposes.length > 0) {
    found.push({ oid: '2.5.29.37', value: sequence(...purposes.map((one) => oid(purposeOids[one]))) })
  }
  const { permitted = [], excluded = [] } = options
  if (permitted.length + excluded.length > 0) {
    const trees = (tag: number, list: readonly string[]): Buffer[] => list.length === 0 ? []
      : [tagged(tag, ...list.map((name) => sequence(tagged(0x82, Buffer.from(name)))))]
    const value = sequence(...trees(0xa0, permitted), ...trees(0xa1, excluded))
    found.push({ oid: '2.5.29.30', critical: true, value })
  }
  return [...found, ...options.extensions ?? []].map(({ oid: id, critical = false, value }) => sequence(
    oid(id), ...critical ? [tagged(0x01, Buffer.from([0xff]))] : [], tagged(0x04, value),
  ))
}

const purposeOids: Readonly<Record<Purpose, string>> = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  emailProtection: '1.3.6.1.5.5.7.3.4',
  any: '2.5.29.37.0',
}

function generalNames({ dns = [], xmppAddrs = [], srvNames = [], uris = [] }: CertificateOptions): Buffer[] {
  const other = (id: string, value: Buffer): Buffer => tagged(0xa0, oid(id), tagged(0xa0, value))
  return [
    ...xmppAddrs.map((name) => other('1.3.6.1.5.5.7.8.5', tagged(0x0c, Buffer.from(name)))),
    ...srvNames.map((name) => other('1.3.6.1.5.5.7.8.7', tagged(0x16, Buffer.from(name)))),
    ...dns.map((name) => tagged(0x82, Buffer.from(name, 'latin1'))),
    ...uris.map((name) => tagged(0x86, Buffer.from(name))),
  ]
}

function nameOf({ commonName }: CertificateOptions): Buffer {
  if (commonName === undefined) return sequence()
  return sequence(tagged(0x31, sequence(oid('2.5.4.3'), tagged(0x0c, Buffer.from(commonName)))))
}

// ── DER ─────────────────────────────────────────────────────────────────────────────────────

/** One value: tag, length, content. */
export function tagged(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  const { length } = body
  const size = length < 0x80 ? [length]
    : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), body])
}

export function sequence(...content: readonly Uint8Array[]): Buffer {
  return tagged(0x30, ...content)
}

function integer(value: Buffer): Buffer {
  return tagged(0x02, value)
}

function bitString(value: Buffer): Buffer {
  return tagged(0x03, Buffer.from([0]), value)
}

/** Named bits without zeros at the end (X.690 §11.2.2). */
function bits(numbers: readonly number[]): Buffer {
  if (numbers.length === 0) return tagged(0x03, Buffer.from([0]))
  const last = Math.max(...numbers)
  const bytes = Buffer.alloc((last >> 3) + 1)
  for (const bit of numbers) bytes[bit >> 3]! |= 0x80 >> (bit & 7)
  return tagged(0x03, Buffer.from([7 - (last & 7)]), bytes)
}

function oid(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number)
  const bytes = [first! * 40 + second!, ...rest].flatMap((value) => {
    const digits = [value & 0x7f]
    for (let left = value >> 7; left > 0; left >>= 7) digits.unshift(left & 0x7f | 0x80)
    return digits
  })
  return tagged(0x06, Buffer.from(bytes))
}

/** UTCTime, which is what RFC 5280 §4.1.2.5 wants before the year 2050. */
function time(days: number): Buffer {
  const at = new Date(Date.now() + days * 86_400_000).toISOString()
  return tagged(0x17, Buffer.from(`${at.slice(2, 19).replace(/[-T:]/g, '')}Z`))
}

/**
 * Certificates without anybody else: an authority of the house that may speak for one domain alone, and
 * under it the certificate that our doors show, renewed by itself. For a network at home, where no public
 * authority issues for `home.example`. Other servers have no reason to trust it.
 *
 * ```text
 *   ca/DOMAIN → authority: key (PKCS #8), certificate · server: key, certificate      sealed, in KvStore
 * ```
 *
 * Keys come from OpenSSL, not from the Random port: the signatures do, too, and nothing replays them.
 * A new certificate has a new key. The authority is replaced when it would end before what it issues.
 */
import {
  createHash, createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate,
} from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import type { Random } from '../../../crypto/random.ts'
import type { Log } from '../../../node/ports.ts'
import { decode, encode, opaque, struct } from '../../../protocol/codec/struct.ts'
import { changeEntry } from '../../../protocol/kv.ts'
import type { Clock, KvStore } from '../../../protocol/ports.ts'
import { Repeater } from '../../../protocol/timers.ts'
import { xmppLimits } from '../limits.ts'
import { readCertificate } from '../s2s/certificate-fields.ts'
import { writeCertificate } from './certificate-writer.ts'

export interface HomeCaComponents {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly kv: KvStore
}

/** What people are shown of a certificate. */
export interface ShownCertificate {
  readonly pem: string
  /** SHA-256 of its DER: `AB:CD:…`. */
  readonly fingerprint: string
  readonly untilMs: number
}

interface Pair {
  /** PKCS #8. */
  readonly key: Uint8Array
  readonly certificate: Uint8Array
}

interface House {
  readonly authority: Pair
  readonly server: Pair
}

const pairCodec = struct<Pair>({ key: opaque(1_000), certificate: opaque(4_000) })
const houseCodec = struct<House>({ authority: pairCodec, server: pairCodec })

/** Clocks of other machines may be behind ours. */
const backdatedMs = 86_400_000

export class HomeCa {
  readonly #components: HomeCaComponents
  readonly #domain: string
  readonly #repeater: Repeater
  #house: House
  #context: SecureContext

  /** Makes what is not there, and renews what ends soon. @throws STORE_* */
  static async open(components: HomeCaComponents, domain: string): Promise<HomeCa> {
    return new HomeCa(components, domain, await renewed(components, domain))
  }

  private constructor(components: HomeCaComponents, domain: string, house: House) {
    this.#components = components
    this.#domain = domain
    this.#house = house
    this.#context = contextOf(house)
    this.#repeater = new Repeater(components, () => this.renew(), {
      everyMs: xmppLimits.homeRenewEveryMs,
      onError: (error) => components.log.warn({ err: error }, 'the certificate could not be renewed'),
    })
  }

  start(): void {
    this.#repeater.start()
  }

  stop(): Promise<void> {
    return this.#repeater.stop()
  }

  /** For the doors; another one after a renewal. */
  get context(): SecureContext {
    return this.#context
  }

  /** What devices install to trust this node. */
  get authority(): ShownCertificate {
    return shown(this.#house.authority.certificate)
  }

  /** What the doors show. */
  get server(): ShownCertificate {
    return shown(this.#house.server.certificate)
  }

  /** Looks whether it is time. @throws STORE_* */
  async renew(): Promise<void> {
    const before = this.#house
    const house = await renewed(this.#components, this.#domain)
    if (Buffer.from(house.server.certificate).equals(before.server.certificate)) return
    this.#house = house
    this.#context = contextOf(house)
    const { log } = this.#components
    log.info({ until: new Date(this.server.untilMs).toISOString() }, 'a new certificate is in use')
    if (!Buffer.from(house.authority.certificate).equals(before.authority.certificate)) {
      log.warn({ fingerprint: this.authority.fingerprint }, 'a new authority is in use: install it anew')
    }
  }
}

async function renewed({ clock, random, kv }: HomeCaComponents, domain: string): Promise<House> {
  const key = `ca/${domain}`
  await changeEntry(kv, key, (value) => {
    const nowMs = clock.now()
    const known = value === undefined ? undefined : decode(houseCodec, value)
    if (known !== undefined && isGood(known.server, nowMs + xmppLimits.homeRenewBeforeMs)) return undefined
    const isKept = known !== undefined && isGood(known.authority, nowMs + xmppLimits.homeCertificateMs)
    const authority = isKept ? known.authority : makeAuthority({ random, nowMs }, domain)
    return encode(houseCodec, { authority, server: makeServer({ random, nowMs }, { authority, domain }) })
  })
  return decode(houseCodec, (await kv.get(key))!.value)
}

interface Moment {
  readonly random: Random
  readonly nowMs: number
}

function makeAuthority({ random, nowMs }: Moment, domain: string): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const serial = random.bytes(16)
  // A name of its own: after a renewal both may be installed, and are told apart by it.
  const name = authorityName(serial)
  const certificate = writeCertificate({
    subject: name, publicKey, issuer: { name, privateKey, publicKey }, serial,
    fromMs: nowMs - backdatedMs, toMs: nowMs + xmppLimits.homeAuthorityMs, use: { as: 'authority', domain },
  })
  return { key: privateKey.export({ type: 'pkcs8', format: 'der' }), certificate }
}

function makeServer(
  { random, nowMs }: Moment, { authority, domain }: { readonly authority: Pair, readonly domain: string },
): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuerKey = createPrivateKey({ key: Buffer.from(authority.key), format: 'der', type: 'pkcs8' })
  const { subject } = new X509Certificate(authority.certificate)
  const certificate = writeCertificate({
    subject: 'openIM', publicKey,
    issuer: {
      name: subject.replace(/^CN=/, ''), privateKey: issuerKey, publicKey: createPublicKey(issuerKey),
    },
    serial: random.bytes(16),
    fromMs: nowMs - backdatedMs, toMs: nowMs + xmppLimits.homeCertificateMs,
    use: { as: 'server', names: [domain, `*.${domain}`] },
  })
  return { key: privateKey.export({ type: 'pkcs8', format: 'der' }), certificate }
}

function authorityName(serial: Uint8Array): string {
  return `openIM home authority ${Buffer.from(serial.subarray(8, 12)).toString('hex')}`
}

function isGood({ certificate }: Pair, untilMs: number): boolean {
  return readCertificate(certificate).notAfterMs > untilMs
}

function contextOf({ authority, server }: House): SecureContext {
  const key = createPrivateKey({ key: Buffer.from(server.key), format: 'der', type: 'pkcs8' })
  return createSecureContext({
    cert: pemOf(server.certificate) + pemOf(authority.certificate),
    key: key.export({ type: 'pkcs8', format: 'pem' }),
    minVersion: 'TLSv1.2',
  })
}

function shown(certificate: Uint8Array): ShownCertificate {
  const hash = createHash('sha256').update(certificate).digest('hex').toUpperCase()
  return {
    pem: pemOf(certificate),
    fingerprint: hash.match(/../g)!.join(':'),
    untilMs: readCertificate(certificate).notAfterMs,
  }
}

function pemOf(certificate: Uint8Array): string {
  return new X509Certificate(certificate).toString()
}

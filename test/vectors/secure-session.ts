/**
 * Frozen vectors of the handshake and the ratchet: `node test/vectors/secure-session.ts` writes
 * secure-session.json, on the reference backend alone. A test compares all backends with the
 * file, so whatever changes a byte of what devices say to each other, or store, shows.
 *
 * The file is enough for another implementation: its first part has every derivation by itself
 * (session-parts.ts), the scenarios have every secret and every random draw, in the order in which
 * they are used. `sha256` is of the rest, as compact JSON.
 */
import { writeFileSync } from 'node:fs'
import { hex, utf8 } from '../../crypto/bytes.ts'
import type { Result } from '../../crypto/errors.ts'
import type { OwnIdentity, PrekeyBundle, PrekeyLookup } from '../../crypto/handshake/types.ts'
import type { Random } from '../../crypto/random.ts'
import type { SecureSession } from '../../crypto/secure-session.ts'
import { importOn } from '../crypto/support/backends.ts'
import type { BackendName } from '../crypto/support/backends.ts'
import { seededRandom } from '../helpers/seeded-random.ts'
import { sessionParts } from './session-parts.ts'
import type { PartModules } from './session-parts.ts'

/** The modules of one backend. */
export interface CryptoModules extends PartModules {
  readonly secureSession: typeof import('../../crypto/secure-session.ts')
}

export interface SessionVectors {
  readonly source: string
  readonly sha256: string
  readonly parts: object
  readonly ad: string
  readonly scenarios: readonly Scenario[]
}

interface Scenario {
  readonly name: string
  readonly alice: IdentitySecrets
  readonly bob: IdentitySecrets
  readonly prekeys: object
  readonly steps: readonly Step[]
  readonly statesAfterOffer: { readonly alice: string, readonly bob: string }
  readonly states: { readonly alice: string, readonly bob: string }
}

interface IdentitySecrets {
  readonly signingSeed: string
  readonly dhSecret: string
}

/** Random draws in order; all hex. */
interface Step {
  readonly action: string
  readonly random: readonly string[]
  readonly plaintext?: string
  readonly message?: string
}

export const vectorsFile = new URL('secure-session.json', import.meta.url)

export const loadModules = async (name: BackendName): Promise<CryptoModules> => ({
  index: await importOn(name, 'index.ts'),
  labels: await importOn(name, 'labels.ts'),
  prekeys: await importOn(name, 'handshake/prekeys.ts'),
  pqxdh: await importOn(name, 'handshake/pqxdh.ts'),
  header: await importOn(name, 'ratchet/header.ts'),
  keySchedule: await importOn(name, 'ratchet/key-schedule.ts'),
  kemStep: await importOn(name, 'ratchet/kem-step.ts'),
  secureSession: await importOn(name, 'secure-session.ts'),
  content: await importOn(name, '../protocol/message/content.ts'),
  sealed: await importOn(name, '../protocol/message/sealed.ts'),
  envelope: await importOn(name, '../protocol/envelope.ts'),
})

export function generate(modules: CryptoModules): SessionVectors {
  const rest = {
    source: 'openIM, test/vectors/secure-session.ts on the reference backend',
    parts: sessionParts(modules),
    ad: hex(ad),
    scenarios: [
      new Play(modules, 'one-time prekeys').run(true),
      new Play(modules, 'last-resort prekeys').run(false),
    ],
  }
  const { source, ...body } = rest
  const sha256 = hex(modules.index.crypto.sha256(utf8(JSON.stringify(rest))))
  return { source, sha256, ...body }
}

const ad = utf8('openIM frozen vectors')

class Play {
  readonly #modules: CryptoModules
  readonly #name: string
  readonly #random: Random
  #draws: string[] = []
  readonly #steps: Step[] = []

  constructor(modules: CryptoModules, name: string) {
    this.#modules = modules
    this.#name = name
    const seeded = seededRandom(`frozen vectors, ${name}`)
    this.#random = {
      bytes: (length) => {
        const bytes = seeded.bytes(length)
        this.#draws.push(hex(bytes))
        return bytes
      },
    }
  }

  run(oneTime: boolean): Scenario {
    const { SecureSession } = this.#modules.secureSession
    const [alice, bob] = [this.#identity(), this.#identity()]
    const { bundle, lookup, secrets } = this.#prekeys(bob.own, oneTime)

    this.#draws = []
    const aliceSession = value(SecureSession.initiate({ own: alice.own, bundle, random: this.#random }))
    this.#record('alice initiates')
    const first = this.#send('alice', aliceSession, 'first')
    const second = this.#send('alice', aliceSession, 'second, read before the first')
    const responded = SecureSession.respond({ own: bob.own, message: second, ad, prekeys: lookup })
    const { session: bobSession } = value(responded)
    value(bobSession.decrypt({ message: first, ad }))
    const late = this.#send('bob', bobSession, 'late')
    value(aliceSession.decrypt({ message: this.#send('bob', bobSession, 'answer'), ad }))
    // The first KEM step: alice offers, bob answers; then a turn without.
    value(bobSession.decrypt({ message: this.#send('alice', aliceSession, 'without the handshake'), ad }))
    const offered = { alice: hex(aliceSession.serialize()), bob: hex(bobSession.serialize()) }
    value(aliceSession.decrypt({ message: this.#send('bob', bobSession, ''), ad }))
    value(aliceSession.decrypt({ message: late, ad }))
    value(bobSession.decrypt({ message: this.#send('alice', aliceSession, 'a plain turn'), ad }))
    value(aliceSession.decrypt({ message: this.#send('bob', bobSession, 'and back'), ad }))
    this.#send('alice', aliceSession, 'never read')
    return {
      name: this.#name,
      alice: alice.secrets,
      bob: bob.secrets,
      prekeys: secrets,
      steps: this.#steps,
      statesAfterOffer: offered,
      states: { alice: hex(aliceSession.serialize()), bob: hex(bobSession.serialize()) },
    }
  }

  #identity() {
    const { crypto } = this.#modules.index
    const [seed, secret] = [this.#random.bytes(32), this.#random.bytes(32)]
    return {
      own: { signingKeys: crypto.signingKeyPair(seed), dhKeys: crypto.dhKeyPair(secret) },
      secrets: { signingSeed: hex(seed), dhSecret: hex(secret) },
    }
  }

  #prekeys(own: OwnIdentity, oneTime: boolean) {
    const { createKemPrekey, createOneTimePrekey, createSignedPrekey } = this.#modules.prekeys
    const random = this.#random
    const signed = createSignedPrekey({ own, id: 1, random })
    const kem = createKemPrekey({ own, id: 2, oneTime, random })
    const extra = createOneTimePrekey({ id: 3, random })
    const bundle: PrekeyBundle = {
      identity: { signingKey: own.signingKeys.publicKey, dhKey: own.dhKeys.publicKey },
      signedPrekey: { id: 1, publicKey: signed.keys.publicKey, signature: signed.signature },
      kemPrekey: { id: 2, oneTime, publicKey: kem.keys.publicKey, signature: kem.signature },
      ...(oneTime && { oneTimePrekey: { id: 3, publicKey: extra.keys.publicKey } }),
    }
    const lookup: PrekeyLookup = {
      signedPrekey: () => signed.keys,
      kemPrekey: () => kem.keys,
      oneTimePrekey: () => extra.keys,
    }
    const secrets = {
      signed: { id: 1, secret: hex(signed.keys.exportSecret()), signature: hex(signed.signature) },
      kem: { id: 2, oneTime, seed: hex(kem.keys.exportSecret()), signature: hex(kem.signature) },
      ...(oneTime && { oneTime: { id: 3, secret: hex(extra.keys.exportSecret()) } }),
    }
    return { bundle, lookup, secrets }
  }

  #send(name: string, session: SecureSession, text: string): Uint8Array {
    const plaintext = utf8(text)
    const message = session.encrypt({ plaintext, ad, random: this.#random })
    this.#record(`${name} encrypts`, { plaintext: hex(plaintext), message: hex(message) })
    return message
  }

  #record(action: string, more: Partial<Step> = {}): void {
    this.#steps.push({ action, random: this.#draws, ...more })
    this.#draws = []
  }
}

function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused with ${result.code}: ${result.detail ?? ''}`)
  return result.value
}

if (import.meta.main) {
  const vectors = generate(await loadModules('noble'))
  writeFileSync(vectorsFile, `${JSON.stringify(vectors, undefined, 2)}\n`)
}

/** Devices with prekeys for the tests of handshakes and sessions. */
import { crypto } from '../../../crypto/index.ts'
import {
  createKemPrekey, createOneTimePrekey, createSignedPrekey,
} from '../../../crypto/handshake/prekeys.ts'
import type {
  KemPrekey, OwnIdentity, OwnKemPrekey, OwnOneTimePrekey, OwnSignedPrekey, PrekeyBundle, PrekeyIds,
  PrekeyLookup, RemoteIdentity, SignedPrekey,
} from '../../../crypto/handshake/types.ts'
import { errorCode } from '../../../crypto/errors.ts'
import type { Result } from '../../../crypto/errors.ts'
import type { Random } from '../../../crypto/random.ts'
import { SecureSession } from '../../../crypto/secure-session.ts'

export const ad = new TextEncoder().encode('conversation of two test devices')

export class TestDevice {
  readonly own: OwnIdentity
  readonly random: Random
  signedPrekey: OwnSignedPrekey
  lastResortKem: OwnKemPrekey
  readonly oneTimeKems = new Map<number, OwnKemPrekey>()
  readonly oneTimePrekeys = new Map<number, OwnOneTimePrekey>()
  #nextId = 10

  constructor(random: Random) {
    this.random = random
    this.own = {
      signingKeys: crypto.signingKeyPair(random.bytes(32)),
      dhKeys: crypto.dhKeyPair(random.bytes(32)),
    }
    this.signedPrekey = createSignedPrekey({ own: this.own, id: 1, random })
    this.lastResortKem = createKemPrekey({ own: this.own, id: 2, oneTime: false, random })
  }

  get identity(): RemoteIdentity {
    return { signingKey: this.own.signingKeys.publicKey, dhKey: this.own.dhKeys.publicKey }
  }

  /** New signed and last-resort prekeys in the place of the old ones. */
  rotate(): void {
    const { own, random } = this
    this.signedPrekey = createSignedPrekey({ own, id: this.#nextId++, random })
    this.lastResortKem = createKemPrekey({ own, id: this.#nextId++, oneTime: false, random })
  }

  /** What a stranger gets: with fresh one-time prekeys, or only what never runs out. */
  bundle(kind: 'oneTime' | 'lastResort' = 'oneTime'): PrekeyBundle {
    const { identity } = this
    const signedPrekey = publicSigned(this.signedPrekey)
    if (kind === 'lastResort') return { identity, signedPrekey, kemPrekey: publicKem(this.lastResortKem) }
    const { random, own } = this
    const oneTime = createOneTimePrekey({ id: this.#nextId++, random })
    const kem = createKemPrekey({ own, id: this.#nextId++, oneTime: true, random })
    this.oneTimePrekeys.set(oneTime.id, oneTime)
    this.oneTimeKems.set(kem.id, kem)
    return {
      identity,
      signedPrekey,
      kemPrekey: publicKem(kem),
      oneTimePrekey: { id: oneTime.id, publicKey: oneTime.keys.publicKey },
    }
  }

  get prekeys(): PrekeyLookup {
    return {
      signedPrekey: (id) => (id === this.signedPrekey.id ? this.signedPrekey.keys : undefined),
      kemPrekey: (id, oneTime) => {
        if (oneTime) return this.oneTimeKems.get(id)?.keys
        return id === this.lastResortKem.id ? this.lastResortKem.keys : undefined
      },
      oneTimePrekey: (id) => this.oneTimePrekeys.get(id)?.keys,
    }
  }

  /** As a client does in the batch that stores the session. */
  deleteUsed(used: PrekeyIds | undefined): void {
    if (used === undefined) return
    if (used.kemOneTime) this.oneTimeKems.delete(used.kemPrekeyId)
    if (used.oneTimePrekeyId !== undefined) this.oneTimePrekeys.delete(used.oneTimePrekeyId)
  }

  initiate(bundle: PrekeyBundle, existing?: SecureSession): SecureSession {
    const { own, random } = this
    return value(SecureSession.initiate({ own, bundle, random, ...(existing && { existing }) }))
  }

  respond(message: Uint8Array, existing?: SecureSession): ReturnType<typeof SecureSession.respond> {
    const { own, prekeys } = this
    const responded = SecureSession.respond({ own, message, ad, prekeys, ...(existing && { existing }) })
    if (responded.ok) this.deleteUsed(responded.value.used)
    return responded
  }

  encrypt(session: SecureSession, text: string): Uint8Array {
    return session.encrypt({ plaintext: new TextEncoder().encode(text), ad, random: this.random })
  }
}

/** A session on both ends, with one message read each way. */
export function establish(initiator: TestDevice, responder: TestDevice): [SecureSession, SecureSession] {
  const session = initiator.initiate(responder.bundle())
  const { session: other } = value(responder.respond(initiator.encrypt(session, 'hello')))
  value(session.decrypt({ message: responder.encrypt(other, 'hello back'), ad }))
  return [session, other]
}

export function read(session: SecureSession, message: Uint8Array): string {
  return new TextDecoder().decode(value(session.decrypt({ message, ad })))
}

/** The code of a refusal, or `read` when there was none. */
export function outcome(result: Result<unknown>): string {
  return result.ok ? 'read' : result.code
}

export function value<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`refused with ${result.code}: ${result.detail ?? ''}`)
  return result.value
}

/** For assert.throws. */
export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => errorCode(error) === code
}

function publicSigned({ id, keys, signature }: OwnSignedPrekey): SignedPrekey {
  return { id, publicKey: keys.publicKey, signature }
}

function publicKem({ id, oneTime, keys, signature }: OwnKemPrekey): KemPrekey {
  return { id, oneTime, publicKey: keys.publicKey, signature }
}

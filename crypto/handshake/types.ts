/**
 * Who takes part in a handshake and what they lay out beforehand. The handshake itself is
 * pqxdh.ts; what a caller uses is `SecureSession` (secure-session.ts).
 *
 * Own and remote things are different types on purpose: own ones hold key pairs, remote ones only
 * public keys, so that they cannot be swapped.
 */
import type { DhKeyPair, KemKeyPair, SigningKeyPair } from '../provider.ts'

/** This device. Both keys are long-lived; the signing key vouches for the DH key. */
export interface OwnIdentity {
  readonly signingKeys: SigningKeyPair
  readonly dhKeys: DhKeyPair
}

/** Another device; 32 bytes each. That it belongs to somebody is the caller's to know. */
export interface RemoteIdentity {
  readonly signingKey: Uint8Array
  readonly dhKey: Uint8Array
}

/** X25519, 32 bytes. Ids are u32, chosen by the owner, one number space per kind of prekey. */
export interface OneTimePrekey {
  readonly id: number
  readonly publicKey: Uint8Array
}

/** X25519 with the owner's signature of 64 bytes (prekeys.ts says over what). */
export interface SignedPrekey extends OneTimePrekey {
  readonly signature: Uint8Array
}

/** ML-KEM-768, 1,184 bytes. `oneTime` is part of what is signed; false means last resort. */
export interface KemPrekey extends SignedPrekey {
  readonly oneTime: boolean
}

/** From this a stranger starts a session. The KEM prekey is never optional. */
export interface PrekeyBundle {
  readonly identity: RemoteIdentity
  readonly signedPrekey: SignedPrekey
  readonly kemPrekey: KemPrekey
  readonly oneTimePrekey?: OneTimePrekey
}

/** Own prekeys: `keys.publicKey` and `signature` go out, `keys.exportSecret()` is kept sealed. */
export interface OwnOneTimePrekey {
  readonly id: number
  readonly keys: DhKeyPair
}
export interface OwnSignedPrekey extends OwnOneTimePrekey {
  readonly signature: Uint8Array
}
export interface OwnKemPrekey {
  readonly id: number
  readonly oneTime: boolean
  readonly keys: KemKeyPair
  readonly signature: Uint8Array
}

/** Which of our prekeys an initial message used. */
export interface PrekeyIds {
  readonly signedPrekeyId: number
  readonly kemPrekeyId: number
  readonly kemOneTime: boolean
  readonly oneTimePrekeyId?: number
}

/** `undefined` for ids that are unknown or used up. */
export interface PrekeyLookup {
  signedPrekey(id: number): DhKeyPair | undefined
  kemPrekey(id: number, oneTime: boolean): KemKeyPair | undefined
  oneTimePrekey(id: number): DhKeyPair | undefined
}

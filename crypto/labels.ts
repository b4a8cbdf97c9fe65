/**
 * Every label of `crypto/`: what keeps one use of a key or hash apart from all others. Each is
 * used for exactly one thing, and none is the beginning of another (a test holds both), so two
 * inputs can never meet. Labels of wire structs stand in `protocol/` beside their struct.
 *
 * A change of what is derived or signed is a new version in the label, never a new meaning.
 */
import { utf8 } from './bytes.ts'

export const labels = {
  /** Ed25519: the signing key of a device vouches for its DH key (handshake/pqxdh.ts). */
  identityProof: utf8('openim identity proof v1'),
  /** Ed25519: signed prekeys, one label per kind (handshake/prekeys.ts). */
  signedPrekey: utf8('openim prekey x25519 v1'),
  lastResortKemPrekey: utf8('openim prekey mlkem768 last-resort v1'),
  oneTimeKemPrekey: utf8('openim prekey mlkem768 one-time v1'),
  /** SHA-256: all that both ends of a handshake must agree on. */
  handshakeTranscript: utf8('openim pqxdh transcript v1 x25519 mlkem768 sha256'),
  /** HKDF: the first keys of a session. */
  handshakeKeys: utf8('openim pqxdh keys v1 x25519 mlkem768 sha256'),

  /** HKDF: root key, chain key and next header key of a ratchet step. */
  ratchetRoot: utf8('openim ratchet root v1'),
  /** SHA-256: the public parts of a KEM step, for the root step that takes its secret. */
  ratchetKem: utf8('openim ratchet kem v1 mlkem768'),
  /** HMAC under a chain key. */
  ratchetChain: utf8('openim ratchet chain v1'),
  ratchetMessageKey: utf8('openim ratchet message key v1'),

  /** SHA-512: nonce prefix of a blinded signing key (blinding.ts). */
  blindedNonce: utf8('openim blinded nonce v1'),

  /** XChaCha20-Poly1305 associated data (vault.ts). */
  vaultKey: utf8('openim vault key v1'),
  vaultBody: utf8('openim vault body v1'),

  /** HKDF over the recovery entropy (recovery.ts). */
  recoveryAccountRoot: utf8('openim account root v1'),
  recoveryRendezvous: utf8('openim rendezvous seed v1'),

  /** SHA-512: the first of a fingerprint's hashes (safety-number.ts). */
  safetyNumber: utf8('openim safety number v1'),
  /** SHA-256 (short-auth.ts). */
  shortAuthCommitment: utf8('openim short auth commitment v1'),
  shortAuthCode: utf8('openim short auth code v1'),
} as const
